import Core
import Datasets
import Foundation

/// What a recipe says about making preference data: where prompts come from, and how they are sampled.
public struct PreferencePlan: Sendable {
  public let recipe: Recipe
  /// Where the prompts come from.
  public let source: Recipe.Source
  public var settings: PreferenceSettings

  /// Takes a sampled source's settings; for any other source those of the first stage that samples, where there is one.
  ///
  /// - Parameter data: the source's name; nil takes `train`, or the recipe's first.
  /// - Throws: `.request` with the nearest name, or if the recipe has no rewards.
  public init(_ recipe: Recipe, data: String? = nil) throws {
    guard !recipe.rewards.isEmpty else {
      throw AttuneError.request(
        "completions are compared by rewards, and the recipe has none", at: .init(file: recipe.file),
        hint: "add 'rewards: [{source: exact_match}]', or the source file of your own")
    }
    let name = data ?? recipe.source("train")?.name ?? recipe.data.first?.name ?? "train"
    guard let named = recipe.source(name) else {
      let known = recipe.data.map(\.name)
      throw AttuneError.request(
        "there is no data source '\(name)'", at: .init(file: recipe.file),
        hint: nearestName(to: name, among: known).map { "did you mean '\($0)'?" }
          ?? (known.isEmpty ? "describe it under 'data:'" : "known: " + known.joined(separator: ", ")))
    }
    self.recipe = recipe
    if case .sampled(let sampled) = named.content {
      // The recipe's own checks have seen to it that this source is there.
      source = recipe.source(sampled.from) ?? named
      settings = sampled.settings
      return
    }
    source = named
    settings = PreferenceSettings()
    settings.seed = recipe.seed
    guard let rollouts = recipe.stages.compactMap(\.rollouts).first else { return }
    settings.completions = rollouts.generations
    settings.maxNewTokens = rollouts.maxNewTokens
    settings.temperature = rollouts.temperature
    (settings.topK, settings.topP, settings.minP) = (rollouts.topK, rollouts.topP, rollouts.minP)
  }

  /// Samples, scores and writes.
  ///
  /// - Parameters:
  ///   - path: the JSONL file; pictures that are drawn go into a folder beside it.
  ///   - workerCommand: starts this program as the process that a reward plugin runs in.
  /// - Throws: what `PreferenceMaker.write` throws.
  public func write(
    to path: String, policy: Policy, workerCommand: [String], report: (String) -> Void
  ) throws -> PreferenceCounts {
    try settings.validate()
    let prompts = try DataSources.open(source, task: .rl)
    let rewards = try RewardSet(recipe, workerCommand: workerCommand, copies: nil)
    defer { rewards.close() }
    try rewards.checkColumns(of: prompts, named: source.name, file: recipe.file)
    let maker = PreferenceMaker(
      recipe: recipe, policy: policy, rewards: rewards,
      services: HostServices(tokenizer: policy.tokenizer, judges: try recipe.judgeService()), settings: settings)
    return try maker.write(
      DataStream(name: source.name, source: prompts, seed: recipe.seed &+ source.seed), to: path, report: report)
  }
}
