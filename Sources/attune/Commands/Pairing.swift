import AttuneTensor
import Core
import Foundation
import Lab
import Models
import Rewards

let dataPairsCommand = Command(
  words: ["data", "pairs"],
  summary: "samples completions, scores them with a recipe's rewards, and writes pairs or labels",
  positionals: ["RECIPE"],
  options: [
    .init(name: "--output", value: "FILE.jsonl", help: "where the rows go; pictures that are drawn go beside it"),
    .init(
      name: "--model", value: "DIR|RUN",
      help: "a checkpoint folder, preset:NAME, or a run's folder, id or latest (default: the recipe's model)"),
    CommonFlags.adapter, CommonFlags.dtype, CommonFlags.weights, CommonFlags.threads,
    .init(name: "--data", value: "NAME", help: "the source with the prompts, or a sampled one (default: train)"),
    .init(name: "--prompts", value: "N", help: "how many of its prompts (default: all)"),
    .init(name: "--completions", value: "N", help: "of each prompt (default: the recipe's, or 8)"),
    .init(name: "--max-new-tokens", value: "N", help: "longest completion (default: the recipe's, or 512)"),
    .init(name: "--temperature", value: "T", help: "sampling temperature (default: the recipe's, or 1)"),
    .init(name: "--top-k", value: "K", help: "sample from the K likeliest ids"),
    .init(name: "--top-p", value: "P", help: "sample from the likeliest ids that hold P together"),
    .init(name: "--min-p", value: "P", help: "sample from ids at least this likely, as a share of the likeliest"),
    .init(name: "--kind", value: "pairs|labels", help: "rows of two completions (default), or of one and a label"),
    .init(
      name: "--pairs", value: "best_worst|all",
      help: "the best with the worst (default), or every two of unlike reward"),
    .init(name: "--margin", value: "M", help: "least difference of the rewards of a pair (default 0)"),
    .init(name: "--max-pairs", value: "N", help: "most pairs of a prompt (default: no limit)"),
    .init(name: "--threshold", value: "X", help: "labels: least reward of a desirable completion (default 0.5)"),
    .init(name: "--keep-truncated", value: nil, help: "keep completions that hit the length limit"),
    .init(name: "--seed", value: "S", help: "seed of the sampling (default: the recipe's)"),
    .init(name: "--set", value: "key.path=value", help: "overrides one key of the recipe", repeats: true),
    .init(name: "--runs", value: "DIR", help: "the folder that holds runs (default: runs)"), CommonFlags.json,
  ],
  example: "attune data pairs recipes/quickstart.yaml --model latest --prompts 256 --output pairs.jsonl",
  details: """
    The recipe gives the prompts, the rewards and the judges. Sampling is as in its first stage that samples, or as in
    the sampled source that --data names. A table of what was made, and why prompts gave nothing, is on standard error;
    with --json the counts are on standard output.
    """
) { arguments in
  let output = try arguments.require("--output")
  guard output != "-" else {
    throw AttuneError.request("--output is -, expected a file: pictures are written beside it")
  }
  let recipe = try Recipe.load(path: arguments.positionals[0], overrides: arguments.list("--set"))
  var plan = try PreferencePlan(recipe, data: arguments.string("--data"))
  try apply(arguments, to: &plan.settings)
  try plan.settings.validate()
  let counts = try plan.write(
    to: output, policy: try policy(arguments, recipe), workerCommand: rewardWorkerCommand, report: printNote)
  printNote("wrote \(output)")
  StandardStream.remark(counts.text)
  if arguments.has("--json") { try printResult(counts.json.text(.pretty)) }
  return 0
}

private func apply(_ arguments: Arguments, to settings: inout PreferenceSettings) throws {
  func choice<T: RawRepresentable & CaseIterable>(_ flag: String, _ value: inout T) throws where T.RawValue == String {
    guard let word = arguments.string(flag) else { return }
    guard let found = T(rawValue: word) else {
      let words = T.allCases.map(\.rawValue)
      throw AttuneError.request("\(flag) is '\(word)', \(words.joined(separator: " or ")) was expected")
    }
    value = found
  }
  try choice("--kind", &settings.kind)
  try choice("--pairs", &settings.pairing)
  if let n = try arguments.int("--prompts") { settings.prompts = n }
  if let n = try arguments.int("--completions") { settings.completions = n }
  if let n = try arguments.int("--max-new-tokens") { settings.maxNewTokens = n }
  if let n = try arguments.int("--max-pairs") { settings.maxPairs = n }
  if let n = try arguments.int("--top-k") { settings.topK = n }
  if let x = try arguments.number("--top-p") { settings.topP = x }
  if let x = try arguments.number("--min-p") { settings.minP = x }
  if let x = try arguments.number("--temperature") { settings.temperature = x }
  if let x = try arguments.number("--margin") { settings.margin = x }
  if let x = try arguments.number("--threshold") { settings.threshold = x }
  if arguments.has("--keep-truncated") { settings.dropsTruncated = false }
  if arguments.has("--seed") { settings.seed = try CommonFlags.seed(arguments) }
}

/// The model that `--model` names, or the recipe's with the adapter that it starts from; flags come before the recipe.
private func policy(_ arguments: Arguments, _ recipe: Recipe) throws -> Policy {
  let path = try arguments.string("--model").map { try modelPath($0, arguments) } ?? recipe.model.path
  var adapters = CommonFlags.adapters(arguments)
  if adapters.isEmpty, !arguments.has("--model"), let own = recipe.model.adapter {
    adapters = [(LanguageModel.defaultAdapterName, own)]
  }
  let asked = arguments.has("--dtype") || arguments.has("--weights")
  return try CommonFlags.policy(
    arguments, folder: CommonFlags.checkpointFolder(path, seed: recipe.seed),
    precision: asked ? CommonFlags.precision(arguments) : recipe.dtype == .bf16 ? .bf16 : .full,
    weights: asked ? CommonFlags.weights(arguments) : recipe.weightFormat, adapters: adapters)
}

/// A run stands for the model that it made.
private func modelPath(_ name: String, _ arguments: Arguments) throws -> String {
  let root = arguments.string("--runs") ?? "runs"
  let isRun =
    name == "latest"
    || [name, root + "/" + name].contains { FileManager.default.fileExists(atPath: $0 + "/run.sqlite") }
  guard isRun else { return name }
  let folder = try RunFolder.resolve(name, root: root)
  let model = folder.path + "/model"
  guard FileManager.default.fileExists(atPath: model + "/config.json") else {
    throw AttuneError.request(
      "run \(folder.id) has no model yet", at: .init(file: model), hint: "it is written when a run ends")
  }
  return model
}
