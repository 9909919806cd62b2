import AttuneTensor
import Bench
import Core
import Foundation
import Lab
import Models
import Objectives
import Rewards

let benchKernelsCommand = Command(
  words: ["bench", "kernels"], summary: "kernels beside the limit measured in the same process",
  options: [
    CommonFlags.threads, CommonFlags.json,
    .init(name: "--all", value: nil, help: "every instruction set of this machine, not only the chosen one"),
    .init(name: "--baseline", value: "F.json", help: "what --json gave before: shown beside, falls of a tenth marked"),
  ],
  example: "attune bench kernels --json"
) { arguments in
  let before = try baseline(arguments.string("--baseline"))
  let figures = try KernelBench().run(threads: try arguments.int("--threads") ?? 0, everySet: arguments.has("--all"))
  if arguments.has("--json") {
    try printResult(JSON.array(figures.map(\.json)).text(.pretty))
    return 0
  }
  let headers = ["kernel", "shape", "dtype", "isa", "rate", "of limit"] + (before.isEmpty ? [] : ["baseline"])
  try printResult(TerminalTable.render(headers: headers, rows: figures.map { kernelRow($0, before) }))
  return 0
}

/// Shares of the limit by kernel, from what `--json` gave.
private func baseline(_ path: String?) throws -> [String: Double] {
  guard let path else { return [:] }
  let json = try JSON.parse(MappedFile.read(path), file: path)
  guard let figures = json.array else {
    throw AttuneError.request("the baseline is \(json.kind), a list was expected", at: json.location(in: path))
  }
  var shares: [String: Double] = [:]
  for figure in figures {
    if let share = figure["of_limit"]?.double { shares[baselineKey(figure)] = share }
  }
  return shares
}

private func kernelRow(_ figure: KernelBench.Figure, _ before: [String: Double]) -> [String] {
  func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
  let unit = figure.isBandwidth ? "GB/s" : "GFLOP/s"
  var row = [figure.kernel, figure.shape.map(String.init).joined(separator: ", "), figure.dtype, figure.isa]
  row += ["\(Int(figure.rate.rounded())) \(unit)", percent(figure.ofLimit)]
  guard !before.isEmpty else { return row }
  guard let old = before[baselineKey(figure.json)] else { return row + ["-"] }
  return row + [percent(old) + (figure.ofLimit < 0.9 * old ? "  lower" : "")]
}

/// What makes two figures comparable.
private func baselineKey(_ figure: JSON) -> String {
  ["kernel", "shape", "dtype", "isa"].map { figure[$0]?.text() ?? "" }.joined(separator: " ")
}

private let workloadOptions: [Command.Option] = [
  CommonFlags.model, CommonFlags.dtype, CommonFlags.weights, CommonFlags.threads, CommonFlags.json,
  .init(name: "--prompt-tokens", value: "L", help: "tokens of a prompt (default 128)"),
  .init(name: "--new-tokens", value: "N", help: "tokens of a completion (default 128)"),
  .init(name: "--pictures", value: "K", help: "224 x 224 pictures in each prompt, among its tokens (default 0)"),
  .init(name: "--repeats", value: "R", help: "the median of so many is told (default 3)"),
]

extension Arguments {
  /// A whole number of at least `least`.
  fileprivate func count(_ name: String, _ fallback: Int, least: Int = 1) throws -> Int {
    let value = try int(name) ?? fallback
    guard value >= least else { throw AttuneError.request("\(name) is \(value), \(least) or more was expected") }
    return value
  }

  /// One of the words of a type.
  fileprivate func word<T: CaseIterable & RawRepresentable>(_ name: String, _ fallback: T) throws -> T
  where T.RawValue == String {
    guard let text = string(name) else { return fallback }
    if let value = T(rawValue: text) { return value }
    let known = T.allCases.map(\.rawValue)
    throw AttuneError.request(
      "\(name) is '\(text)', one of \(known.joined(separator: ", ")) was expected",
      hint: nearestName(to: text, among: known).map { "did you mean \($0)?" })
  }

  fileprivate func benchModel() throws -> BenchModel {
    let backend = try CommonFlags.backend(self)
    let model = try LanguageModel.load(
      folder: try CommonFlags.modelFolder(self), backend: backend, precision: try CommonFlags.precision(self),
      weights: try CommonFlags.weights(self))
    return BenchModel(model: model, backend: backend)
  }
}

private func printFigures(_ json: JSON, asJSON: Bool) throws {
  if asJSON { return try printResult(json.text(.pretty)) }
  func row(_ name: String, _ value: JSON) -> [String] {
    [name, value.double.map { String(format: $0 >= 100 ? "%.0f" : "%.3f", $0) } ?? value.text()]
  }
  var rows: [[String]] = []
  if let object = json.object {
    for (name, value) in object.entries {
      guard name == "phases", let phases = value.object else {
        rows.append(row(name, value))
        continue
      }
      for (phase, figures) in phases.entries {
        let numbers = ["peak_mib", "seconds"].map { String(format: "%.3f", figures[$0]?.double ?? 0) }
        rows.append(["phase \(phase)", "\(numbers[0]) MiB at most, \(numbers[1]) s"])
      }
    }
  }
  try printResult(TerminalTable.render(headers: ["figure", "value"], rows: rows))
}

let benchRolloutCommand = Command(
  words: ["bench", "rollout"], summary: "sampling beside what memory and arithmetic allow",
  options: workloadOptions + [
    .init(name: "--prompts", value: "P", help: "prompts (default 8)"),
    .init(name: "--completions", value: "G", help: "completions of each (default 8)"),
  ],
  example: "attune bench rollout --model checkpoints/tiny-vl --prompts 2 --completions 4 --dtype bf16"
) { arguments in
  let workload = RolloutBench.Workload(
    prompts: try arguments.count("--prompts", 8), completions: try arguments.count("--completions", 8),
    promptTokens: try arguments.count("--prompt-tokens", 128), newTokens: try arguments.count("--new-tokens", 128),
    pictures: try arguments.count("--pictures", 0, least: 0))
  let figures = try RolloutBench.run(
    try arguments.benchModel(), workload, repeats: try arguments.count("--repeats", 3))
  try printFigures(figures.json, asJSON: arguments.has("--json"))
  return 0
}

let benchTrainCommand = Command(
  words: ["bench", "train"], summary: "training steps beside what arithmetic allows",
  options: workloadOptions + [
    .init(
      name: "--objective", value: "NAME",
      help: "what is trained, by its name in recipes: sft, reward, dpo, kto, grpo and their kin (default sft)"),
    .init(
      name: "--adapter", value: "lora|none",
      help: "a LoRA of rank 16 on all linear layers, or full weights (default none)"),
    .init(
      name: "--rows", value: "B",
      help: "sequences, pairs, labelled completions, or prompts where the policy samples (default 8)"),
    .init(name: "--generations", value: "G", help: "completions of a prompt where the policy samples (default 8)"),
    .init(name: "--micro-batch", value: "T", help: "trees computed at once (default 0: about 512 rows)"),
    .init(name: "--recompute", value: nil, help: "keep only each layer's input for the way back"),
    .init(
      name: "--optimizer", value: OptimizerMethod.Kind.allCases.map(\.rawValue).joined(separator: "|"),
      help: "how gradients become steps (default adamw)"),
  ],
  example: "attune bench train --model checkpoints/tiny-vl --objective dpo --adapter lora --rows 2 --dtype bf16"
) { arguments in
  let name = arguments.string("--objective") ?? "sft"
  guard let objective = ObjectiveRegistry.named(name) else {
    let known = ObjectiveRegistry.all.map(\.name)
    throw AttuneError.request(
      "--objective is '\(name)', one of \(known.joined(separator: ", ")) was expected",
      hint: nearestName(to: name, among: known).map { "did you mean \($0)?" })
  }
  let adapter = arguments.string("--adapter") ?? "none"
  guard ["lora", "none"].contains(adapter) else {
    throw AttuneError.request("--adapter is '\(adapter)', lora or none was expected")
  }
  let workload = TrainBench.Workload(
    objective: objective, rows: try arguments.count("--rows", 8),
    generations: try arguments.count("--generations", 8, least: 2),
    promptTokens: try arguments.count("--prompt-tokens", 128), newTokens: try arguments.count("--new-tokens", 128),
    pictures: try arguments.count("--pictures", 0, least: 0),
    microBatch: try arguments.count("--micro-batch", 0, least: 0), recomputesLayers: arguments.has("--recompute"),
    optimizer: OptimizerMethod(try arguments.word("--optimizer", OptimizerMethod.Kind.adamW)))
  let bench = try arguments.benchModel()
  if adapter == "lora" {
    // The decoder's layers, as the usual recipes adapt.
    let names = bench.model.linears.map(\.name).filter { !$0.contains("visual") && !$0.hasSuffix(".gate") }
    try bench.model.attachLoRA(LoRAConfiguration(rank: 16, alpha: 32, targets: .names(names)), seed: 1)
  } else {
    bench.model.setTrainable(true)
  }
  let figures = try TrainBench.run(
    bench, workload, reference: { adapter == "lora" ? nil : try arguments.benchModel().model },
    repeats: try arguments.count("--repeats", 3))
  try printFigures(figures.json, asJSON: arguments.has("--json"))
  return 0
}

let benchCostCommand = Command(
  words: ["bench", "cost"],
  summary: "what longer completions, larger groups and longer prompts cost, beside their operations",
  options: [
    CommonFlags.model, CommonFlags.dtype, CommonFlags.threads, CommonFlags.json,
    .init(name: "--repeats", value: "R", help: "the median of so many is told (default 3)"),
    .init(name: "--plot", value: "DIR", help: "a folder for a picture of each line"),
  ],
  example: "attune bench cost --model preset:mini --dtype bf16 --plot costs",
  details: """
    Each line varies one size of a rollout and keeps the others. The slope ratio is the growth of the time over that of the
    operations: 1 where an operation costs the same everywhere, below 1 where something fixed is shared.
    """
) { arguments in
  let lines = try CostBench.run(try arguments.benchModel(), repeats: try arguments.count("--repeats", 3))
  if let folder = arguments.string("--plot") {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for line in lines {
      // The operations' line is scaled to meet the time's at the largest size.
      let last = line.points[line.points.count - 1]
      let scale = last.seconds / last.gigaflops
      let measured = line.points.map { ReportContent.Point(Double($0.size), $0.seconds) }
      let expected = line.points.map { ReportContent.Point(Double($0.size), $0.gigaflops * scale) }
      let curve = ReportContent.Curve(
        title: "Seconds of a rollout by \(line.axis)", xLabel: line.axis, yLabel: "seconds",
        series: [.init(name: "measured", points: measured), .init(name: "operations, scaled", points: expected)])
      let path = folder + "/" + line.axis.replacingOccurrences(of: " ", with: "-") + ".png"
      try AtomicFile.write(path, bytes: try ChartRenderer().png(curve))
      printNote("wrote \(path)")
    }
  }
  if arguments.has("--json") {
    try printResult(JSON.array(lines.map(\.json)).text(.pretty))
    return 0
  }
  try printResult(
    TerminalTable.render(
      headers: ["varied", "sizes", "seconds", "slope ratio"],
      rows: lines.map { line in
        [
          line.axis, "\(line.points[0].size) to \(line.points[line.points.count - 1].size)",
          line.points.map { String(format: "%.2f", $0.seconds) }.joined(separator: " "),
          String(format: "%.2f", line.slopeRatio),
        ]
      }))
  return 0
}

let benchRewardCommand = Command(
  words: ["bench", "reward"],
  summary: "what a reward costs inline and in a worker: in C, in Swift, and a function by its declaration",
  options: [
    CommonFlags.json,
    .init(name: "--samples", value: "N", help: "samples of a batch (default 64)"),
    .init(name: "--bytes", value: "N", help: "bytes of a completion (default 1024)"),
    .init(name: "--pictures", value: "K", help: "224 x 224 pictures in each prompt (default 0)"),
    .init(name: "--repeats", value: "R", help: "the median of so many is told (default 9)"),
  ],
  example: "attune bench reward --samples 64 --bytes 1024",
  details: """
    The rewards are the smallest there are, so that what is measured is the way there and back. beside_inline_us is a batch in
    a worker less the same batch inline.
    """
) { arguments in
  let workload = RewardTimings.Workload(
    samples: try arguments.count("--samples", 64), bytes: try arguments.count("--bytes", 1024, least: 0),
    pictures: try arguments.count("--pictures", 0, least: 0))
  let figures = try RewardTimings.compare(
    workload, workerCommand: rewardWorkerCommand, rounds: try arguments.count("--repeats", 9))
  let beside = RewardTimings.Kind.allCases.compactMap { kind in
    RewardTimings.besideInline(figures, kind).map { (kind.rawValue, $0 * 1e6) }
  }
  if arguments.has("--json") {
    let report: JSON = [
      "samples": .int(workload.samples), "bytes": .int(workload.bytes), "pictures": .int(workload.pictures),
      "figures": .array(figures.map(\.json)), "beside_inline_us": .object(beside.map { ($0.0, .double($0.1)) }),
    ]
    try printResult(report.text(.pretty))
    return 0
  }
  try printResult(
    TerminalTable.render(
      headers: ["kind", "where", "ns of a sample", "us of a batch"],
      rows: figures.map {
        [
          $0.kind.rawValue, $0.isolation.rawValue, String(format: "%.0f", $0.secondsPerSample * 1e9),
          String(format: "%.1f", $0.secondsPerBatch * 1e6),
        ]
      }))
  for (kind, cost) in beside {
    try printResult("a worker beside inline, \(kind): \(String(format: "%.1f", cost)) us of a batch")
  }
  return 0
}
