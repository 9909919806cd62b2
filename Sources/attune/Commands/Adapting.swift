import AttuneTensor
import Core
import Foundation
import Lab
import Models

let adapterMergeCommand = Command(
  words: ["adapter", "merge"], summary: "folds a PEFT adapter into a checkpoint, and compares what the two compute",
  positionals: ["DIR"],
  options: [
    CommonFlags.model, CommonFlags.adapter,
    .init(name: "--dtype", value: "f32|bf16", help: "what the weights are stored in (default f32)"),
    .init(
      name: "--tolerance", value: "T",
      help: "largest difference of log-probabilities, nats (default 0.001, for bf16 0.25)"),
    .init(name: "--shard-size", value: "SIZE", help: "largest file of weights, such as 500MB or 2GiB (default 5GB)"),
    CommonFlags.threads,
  ],
  example: "attune adapter merge --model checkpoints/tiny --adapter runs/latest/adapter merged",
  details: """
    The log-probabilities of probe tokens (and of a picture, where the model takes one) are computed with the adapter beside
    the checkpoint and again with what was written; a folder that computes something else is not kept.
    """
) { arguments in
  let adapters = CommonFlags.adapters(arguments)
  guard adapters.count == 1 else {
    throw AttuneError.request(
      "attune adapter merge needs one --adapter, \(adapters.count) were found",
      hint: adapters.count > 1 ? "`attune adapter combine` makes one of several" : "usage: \(arguments.command.usage)")
  }
  let dtype: DType
  switch arguments.string("--dtype") ?? "f32" {
  case "f32": dtype = .f32
  case "bf16": dtype = .bf16
  case let other: throw AttuneError.request("--dtype is '\(other)', f32 or bf16 was expected")
  }
  let bound = try arguments.number("--tolerance") ?? MergeCheck.bound(for: dtype)
  guard bound >= 0 else { throw AttuneError.request("--tolerance is \(bound), 0 or more was expected") }
  let target = arguments.positionals[0]
  let backend = try CommonFlags.backend(arguments)
  let policy = try Policy(folder: CommonFlags.modelFolder(arguments), backend: backend, precision: .full)
  try policy.model.loadAdapter(folder: adapters[0].path, trainable: false)
  let before = try MergeCheck.logprobs(policy)
  let files = FileManager.default
  let unchecked = (target.hasSuffix("/") ? String(target.dropLast()) : target) + ".unchecked-\(getpid())"
  defer { try? files.removeItem(atPath: unchecked) }
  let shardSize = try arguments.string("--shard-size").map { try CommonFlags.byteCount($0, of: "--shard-size") }
  try policy.save(to: unchecked, shardSize: shardSize ?? Policy.shardSize, dtype: dtype)
  let after = try MergeCheck.logprobs(Policy(folder: unchecked, backend: backend, precision: .full))
  let gap = zip(before, after).map { abs($0 - $1) }.max() ?? 0
  guard gap <= bound else {
    throw AttuneError.work(
      "the merged checkpoint computes something else: log-probabilities differ by up to \(gap), at most \(bound) was expected; nothing was kept",
      hint: dtype == .bf16 ? "--dtype f32 keeps what the adapter adds below bf16's precision" : nil)
  }
  try files.createDirectory(atPath: target, withIntermediateDirectories: true)
  for name in try files.contentsOfDirectory(atPath: unchecked) {
    try? files.removeItem(atPath: target + "/" + name)
    try files.moveItem(atPath: unchecked + "/" + name, toPath: target + "/" + name)
  }
  printNote("largest difference of log-probabilities over \(before.count) tokens: \(gap) (at most \(bound))")
  printNote("wrote \(target)")
  return 0
}

let adapterExportCommand = Command(
  words: ["adapter", "export"], summary: "a run's adapter as a PEFT folder", positionals: ["RUN", "DIR"],
  options: [.init(name: "--runs", value: "DIR", help: "the folder that holds runs (default: runs)")],
  example: "attune adapter export latest my-adapter",
  details: "Of a run that is not finished, the adapter of its newest checkpoint."
) { arguments in
  try Run.exportAdapter(
    of: arguments.positionals[0], root: arguments.string("--runs") ?? "runs", to: arguments.positionals[1],
    report: printNote)
  printNote("wrote \(arguments.positionals[1])")
  return 0
}

let adapterCombineCommand = Command(
  words: ["adapter", "combine"], summary: "one adapter from the weighted sum of several", positionals: ["DIR"],
  options: [
    CommonFlags.model, CommonFlags.adapter,
    .init(name: "--weights", value: "W,W..", help: "one number for each adapter (default: 1 over their number)"),
    .init(
      name: "--by", value: "cat|linear",
      help: "cat: exact, ranks add up (default); linear: sums of factors at the same rank, a rough approximation"),
    CommonFlags.threads,
  ],
  example: "attune adapter combine --model checkpoints/tiny --adapter a=first --adapter b=second --weights 0.5,0.5 both"
) { arguments in
  let adapters = CommonFlags.adapters(arguments)
  guard adapters.count > 1 else {
    throw AttuneError.request(
      "attune adapter combine needs two or more --adapter NAME=DIR, \(adapters.count) were found",
      hint: "usage: \(arguments.command.usage)")
  }
  var weights = [Double](repeating: 1 / Double(adapters.count), count: adapters.count)
  if let text = arguments.string("--weights") {
    let given = text.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
    guard given.count == adapters.count, given.allSatisfy({ $0?.isFinite ?? false }) else {
      throw AttuneError.request("--weights is '\(text)', \(adapters.count) numbers with commas were expected")
    }
    weights = given.map { $0! }
  }
  let word = arguments.string("--by") ?? "cat"
  guard let combination = AdapterCombination(rawValue: word) else {
    throw AttuneError.request("--by is '\(word)', cat or linear was expected")
  }
  let model = try LanguageModel.load(
    folder: CommonFlags.modelFolder(arguments), backend: CommonFlags.backend(arguments), precision: .full)
  for (name, path) in adapters { try model.loadAdapter(folder: path, name: name, trainable: false) }
  let free = sequence(first: "combined") { $0 + "_" }.first { !model.adapterNames.contains($0) }!
  try model.combineAdapters(Array(zip(adapters.map(\.name), weights)), by: combination, as: free)
  let target = arguments.positionals[0]
  try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
  try model.saveAdapter(folder: target, baseModel: arguments.require("--model"))
  printNote("wrote \(target)")
  return 0
}
