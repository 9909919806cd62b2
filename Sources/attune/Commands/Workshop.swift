import AttuneTensor
import Core
import Foundation
import Lab
import Objectives
import Rewards

let objectiveEvalCommand = Command(
  words: ["objective", "eval"], summary: "an objective on given numbers",
  options: [
    .init(name: "--input", value: "SUITE.json", help: "cases with configuration and inputs"),
    .init(name: "--output", value: "F.json", help: "the same with outputs computed here; - is standard output"),
  ],
  example: "attune objective eval --input suite.json --output computed.json"
) { arguments in
  let path = try arguments.require("--input")
  let suite = try JSON.parse(MappedFile.read(path), file: path)
  let result = try ObjectiveSuite.evaluate(suite, learningRates: LearningRateSchedule.suite).text(.pretty) + "\n"
  let output = arguments.string("--output") ?? "-"
  if output == "-" {
    try printResult(result, terminator: "")
  } else {
    try AtomicFile.write(output, text: result)
  }
  return 0
}

let doctorCommand = Command(
  words: ["doctor"], summary: "the machine, the instruction sets found and used, and what is missing",
  options: [CommonFlags.json], example: "attune doctor"
) { arguments in
  let backend = try CPUBackend()
  let tools = ["cc", "swiftc"].map { tool -> (String, JSON) in
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    let found = folders.map { "\($0)/\(tool)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    return (tool, found.map { .string($0) } ?? .null)
  }
  let confinement = WorkerConfinement.ofThisSystem
  let report: [(String, JSON)] = [
    ("version", .string(CommandLineInterface.version)), ("threads", .int(backend.threads)),
    ("instruction_sets", .array(CPUBackend.instructionSets.map { .string($0) })),
    ("instruction_set", .string(backend.instructionSet)), ("compilers", .object(tools)),
    ("reward_workers", confinement.json),
  ]
  if arguments.has("--json") {
    try printResult(JSON.object(report).text(.pretty))
    return 0
  }
  for (name, value) in report { try printResult("\(name): \(value.string ?? value.text())") }
  for gap in confinement.gaps { try printResult("reward plugins: \(gap)") }
  for (tool, path) in tools where path.isNull {
    try printResult(
      "missing: \(tool); reward plugins given as source files need it (run Scripts in the Makefile: make setup)")
  }
  return 0
}
