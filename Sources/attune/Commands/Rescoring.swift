import Core
import Foundation
import Lab

/// `A..B`, or one number.
private func steps(_ arguments: Arguments) throws -> ClosedRange<Int>? {
  guard let text = arguments.string("--step") else { return nil }
  let ends = text.split(separator: "..", omittingEmptySubsequences: false).map { Int($0) }
  guard ends.count == 1 || ends.count == 2, let first = ends[0], let last = ends[ends.count - 1], first >= 0,
    first <= last
  else { throw AttuneError.request("--step is '\(text)', a step such as 7, or steps such as 0..49, were expected") }
  return first...last
}

private func atLeastOne(_ flag: String, _ fallback: Int, _ arguments: Arguments) throws -> Int {
  let value = try arguments.int(flag) ?? fallback
  guard value >= 1 else { throw AttuneError.request("\(flag) is \(value), 1 or more was expected") }
  return value
}

let rescoreCommand = Command(
  words: ["runs", "rescore"], summary: "asks a reward again about a run's samples: which advantages change their sign",
  positionals: ["RUN"],
  options: [
    runsFolder,
    .init(
      name: "--reward", value: "SOURCE",
      help: "a source file, a library, a shipped reward, or the name of one of the run's rewards"),
    .init(name: "--name", value: "NAME", help: "the reward to replace, or to add (default: from SOURCE)"),
    .init(
      name: "--set", value: "key=value", help: "a parameter of the reward, before those of the recipe", repeats: true),
    .init(name: "--weight", value: "W", help: "its weight (default: the replaced reward's, or 1)"),
    .init(name: "--stage", value: "NAME", help: "only this stage"),
    .init(name: "--step", value: "A..B", help: "only these steps of their stage, from 0"),
    .init(name: "--limit", value: "N", help: "rows of a page (default 20)"),
    .init(name: "--page", value: "N", help: "which page of the table (default 1)"), CommonFlags.json,
  ],
  example: "attune runs rescore latest --reward rewards/digit_match/digit_match.c",
  details: """
    The run is only read, and may still be running. Samples are handed over as the run saw them; totals and advantages
    follow from its recipe. With --json every sample stands there, before and after.
    """
) { arguments in
  let folder = try resolveRun(arguments)
  let limit = try atLeastOne("--limit", 20, arguments)
  let page = try atLeastOne("--page", 1, arguments)
  let rescoring = try Rescoring(
    folder,
    .init(
      source: try arguments.require("--reward"), name: arguments.string("--name"),
      parameters: try rewardParameters(arguments), weight: try arguments.number("--weight"),
      stage: try stageIndex(arguments, RunStore.read(folder)), steps: try steps(arguments)),
    workerCommand: rewardWorkerCommand)
  for remark in rescoring.remarks { printNote("note: \(remark)") }
  try printResult(
    arguments.has("--json") ? rescoring.json.text(.pretty) : rescoring.text(limit: limit, page: page), terminator: "")
  if arguments.has("--json") { try printResult("") }
  return 0
}
