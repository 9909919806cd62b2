import AttuneTensor
import Core
import Datasets
import Foundation
import Models
import Rollout
import TestSupport
import Testing

@testable import Lab

/// Preference data of a fresh policy's own completions, beside pairs that are worked out here.
@Suite struct PreferenceMakerTests {
  private func recipe(_ source: String, more: String = "") throws -> Recipe {
    try Recipe.parse(
      """
      model: {path: "preset:tiny"}
      data:
        train: \(source)
      stages:
        - {objective: sft, steps: 1}
      rewards:
        - {name: brief, source: length, isolation: inline, parameters: {unit: characters, min: 3, max: 3, decay: 8}}
      reward_limits: {max_unscored: 1, max_failed: 1}
      \(more)
      """, file: Fixtures.root + "/recipes/made-up.yaml")
  }

  private static let sums = "{kind: jsonl, file: data/sums/sums.jsonl, system: Be brief.}"
  private static let digits =
    "{kind: digits, file: data/digits/digits.csv, count: 5, placement: cells, canvas: [64, 16], digit_size: 15}"

  private static let folders: [String: String] = {
    var folders: [String: String] = [:]
    for name in ["tiny", "tiny-vl"] {
      guard let folder = try? Program.temporaryFolder(), let preset = try? Preset.named(name),
        (try? preset.write(to: folder, seed: 3)) != nil
      else { continue }
      folders[name] = folder
    }
    return folders
  }()

  private func policy(_ preset: String, threads: Int = 1) throws -> Policy {
    try Policy(
      folder: try #require(Self.folders[preset]), backend: CPUBackend(threads: threads), precision: .full)
  }

  private func settings(_ change: (inout PreferenceSettings) -> Void = { _ in }) -> PreferenceSettings {
    var settings = PreferenceSettings()
    settings.prompts = 5
    settings.completions = 6
    settings.maxNewTokens = 3
    settings.dropsTruncated = false
    settings.seed = 11
    change(&settings)
    return settings
  }

  private func make(
    _ recipe: Recipe, _ settings: PreferenceSettings, to path: String, preset: String = "tiny", threads: Int = 1
  ) throws -> PreferenceCounts {
    var plan = try PreferencePlan(recipe)
    plan.settings = settings
    return try plan.write(to: path, policy: policy(preset, threads: threads), workerCommand: []) { _ in }
  }

  private func samples(_ path: String, _ task: SampleTask) throws -> [Sample] {
    let source = try DataSources.openSampled(path, task: task)
    return try (0..<(source.count ?? 0)).map { try source.sample(at: $0) }
  }

  /// 1 for three characters, an eighth less for each more or less; special tokens are no characters to a reward.
  private func reward(_ text: String, _ policy: Policy) -> Double {
    let seen = policy.tokenizer.decode(policy.tokenizer.encode(text), skipSpecialTokens: true)
    return max(0, 1 - Double(abs(seen.unicodeScalars.count - 3)) / 8)
  }

  /// Sampled again one by one, scored here, paired by hand: the same rows, whose texts are the very tokens.
  @Test func pairsAreThoseOfTheSampledCompletions() throws {
    let recipe = try recipe(Self.sums)
    let path = try Program.temporaryFolder() + "/pairs.jsonl"
    let settings = settings()
    let counts = try make(recipe, settings, to: path)
    let made = try samples(path, .preference)
    #expect(made.count == counts.rows && counts.rows > 0)
    #expect(counts.prompts == 5 && counts.completions == 30)

    let policy = try policy("tiny")
    func reward(_ text: String) -> Double { self.reward(text, policy) }
    let source = try #require(recipe.source("train"))
    let prompts = DataStream(
      name: "train", source: try DataSources.open(source, task: .rl), seed: recipe.seed &+ source.seed)
    let engine = LocalEngine(policy.model, decoder: policy.tokenizer, seed: settings.seed, for: .preferences)
    var expected: [(Sample, chosen: String, rejected: String)] = []
    for position in 0..<5 {
      let sample = try prompts.sample(at: position)
      let prompt = try policy.prompt(messages: sample.prompt.map(\.json))
      let group = try engine.generate(
        [RolloutRequest(prompt: prompt.encoded, completions: 6, promptNumber: sample.id)],
        settings.sampling(stopIDs: policy.endIDs))[0]
      var texts: [String] = []
      for completion in group {
        let ids = completion.finishReason == .stop ? Array(completion.ids.dropLast()) : completion.ids
        let text = policy.tokenizer.decode(ids, skipSpecialTokens: false)
        let again = policy.tokenizer.encode(text) + (completion.finishReason == .stop ? policy.endIDs.prefix(1) : [])
        guard !text.isEmpty, again == completion.ids, !texts.contains(text) else { continue }
        texts.append(text)
      }
      guard let best = texts.map(reward).max(), let worst = texts.map(reward).min(), best > worst,
        let chosen = texts.first(where: { reward($0) == best }),
        let rejected = texts.first(where: { reward($0) == worst })
      else { continue }
      expected.append((sample, chosen, rejected))
    }
    try #require(made.count == expected.count)
    for (made, expected) in zip(made, expected) {
      #expect(made.prompt == expected.0.prompt && made.prompt[0].text == "Be brief.")
      #expect(made.completion == expected.chosen && made.rejected == expected.rejected)
      #expect(made.margin == reward(expected.chosen) - reward(expected.rejected))
      #expect(made.columns["score_chosen"]?.double == reward(expected.chosen))
      #expect(made.columns["score_rejected"]?.double == reward(expected.rejected))
      #expect(made.reference == expected.0.reference)
    }
  }

  /// A row is a function of its prompt alone: neither threads nor the number of prompts change a byte.
  @Test func rowsDependOnNothingElse() throws {
    let recipe = try recipe(Self.sums)
    let folder = try Program.temporaryFolder()
    func lines(_ name: String, _ settings: PreferenceSettings, threads: Int = 1) throws -> [Substring] {
      _ = try make(recipe, settings, to: folder + "/" + name, threads: threads)
      return try String(contentsOfFile: folder + "/" + name, encoding: .utf8).split(separator: "\n")
    }
    let one = try lines("1.jsonl", settings())
    #expect(try lines("2.jsonl", settings(), threads: 2) == one)
    let more = try lines("3.jsonl", settings { $0.prompts = 40 })
    #expect(more.starts(with: one) && more.count > one.count)
    #expect(try lines("4.jsonl", settings { $0.seed = 12 }) != one)
  }

  @Test func labels() throws {
    let recipe = try recipe(Self.sums)
    let path = try Program.temporaryFolder() + "/labels.jsonl"
    let counts = try make(
      recipe,
      settings {
        $0.kind = .labels
        $0.threshold = 0.875
      }, to: path)
    let made = try samples(path, .unpaired)
    #expect(made.count == counts.rows)
    #expect(made.filter { $0.label == true }.count == counts.desirable)
    let policy = try policy("tiny")
    #expect(counts.desirable > 0 && counts.desirable < counts.rows)
    for sample in made {
      let text = try #require(sample.completion)
      #expect(sample.label == (reward(text, policy) >= 0.875))
      #expect(sample.columns["score"]?.double == reward(text, policy))
    }
    #expect(counts.rows + counts.leftOut.values.reduce(0, +) == counts.completions)
  }

  /// Drawn pictures come back bit for bit, and the prompts around them.
  @Test func picturesComeBack() throws {
    let recipe = try recipe(Self.digits)
    let folder = try Program.temporaryFolder()
    let path = folder + "/deep/pairs.jsonl"
    let counts = try make(recipe, settings { $0.pairing = .all }, to: path, preset: "tiny-vl")
    let made = try samples(path, .preference)
    #expect(made.count == counts.rows && counts.rows > counts.usedPrompts)
    let source = try #require(recipe.source("train"))
    let drawn = try DataSources.open(source, task: .rl)
    for sample in made {
      // The number of a drawn sample is among its columns.
      let original = try #require(
        try (0..<5).map { try drawn.sample(at: $0) }.first {
          $0.columns["records"] == sample.columns["records"] && $0.reference == sample.reference
        })
      #expect(sample.pictures == original.pictures && sample.prompt == original.prompt)
      #expect(sample.columns["number"] == original.columns["number"])
    }
    let pictures = try FileManager.default.contentsOfDirectory(atPath: folder + "/deep/pairs.images")
    #expect(pictures.count == counts.usedPrompts && pictures.allSatisfy { $0.hasSuffix(".png") && $0.count == 68 })
    // The paths are relative to the file: the folder may move.
    try FileManager.default.moveItem(atPath: folder + "/deep", toPath: folder + "/moved")
    #expect(try samples(folder + "/moved/pairs.jsonl", .preference).map(\.pictures) == made.map(\.pictures))
  }

  @Test func nothingIsWrittenWhereNothingCanBeMade() throws {
    let recipe = try recipe(Self.sums)
    let folder = try Program.temporaryFolder()
    try "as it was".write(toFile: folder + "/old.jsonl", atomically: true, encoding: .utf8)
    expectAttuneError(containing: "5 prompts gave no pairs", "below the margin: ", "lower the margin") {
      _ = try make(recipe, settings { $0.margin = 100 }, to: folder + "/old.jsonl")
    }
    #expect(try String(contentsOfFile: folder + "/old.jsonl", encoding: .utf8) == "as it was")
    expectAttuneError(containing: "hit the length limit: 5", "raise max_new_tokens") {
      _ = try make(
        recipe,
        settings {
          $0.dropsTruncated = true
          $0.maxNewTokens = 1
          $0.topK = 1
        }, to: folder + "/none.jsonl")
    }
    #expect(!FileManager.default.fileExists(atPath: folder + "/none.jsonl"))
    expectAttuneError(containing: "1000000 prompts are asked for, expected at most") {
      _ = try make(recipe, settings { $0.prompts = 1_000_000 }, to: folder + "/none.jsonl")
    }
    let endless = try self.recipe(Self.digits.replacing("count: 5, ", with: ""))
    expectAttuneError(containing: "'train' never ends", "say how many") {
      _ = try make(endless, settings { $0.prompts = 0 }, to: folder + "/none.jsonl", preset: "tiny-vl")
    }
  }

  // MARK: What a recipe says

  @Test func aPlanTakesItsSettingsFromTheRecipe() throws {
    let stage = "\n  - {objective: grpo, steps: 1, generations: 4, max_new_tokens: 7, temperature: 0.5, top_k: 9}"
    let text = """
      model: {path: "preset:tiny"}
      seed: 5
      data:
        sums: \(Self.sums)
        preferences: {kind: sampled, from: sums, prompts: 3, pairs: all, margin: 0.25, max_pairs: 2, seed: 8}
      stages:
        - {objective: sft, steps: 1, data: preferences}\(stage.replacing("steps: 1", with: "steps: 1, data: sums"))
      rewards: [{source: length, isolation: inline, parameters: {max: 3}}]
      """
    let recipe = try Recipe.parse(text, file: Fixtures.root + "/recipes/made-up.yaml")
    let first = try PreferencePlan(recipe)
    #expect(first.source.name == "sums" && first.settings.completions == 4 && first.settings.maxNewTokens == 7)
    #expect(first.settings.temperature == 0.5 && first.settings.topK == 9 && first.settings.seed == 5)
    let sampled = try PreferencePlan(recipe, data: "preferences")
    #expect(sampled.source.name == "sums" && sampled.settings.prompts == 3 && sampled.settings.pairing == .all)
    #expect(sampled.settings.margin == 0.25 && sampled.settings.maxPairs == 2 && sampled.settings.seed == 8)
    #expect(sampled.settings.completions == 8 && sampled.settings.threshold == 0.5)
    expectAttuneError(containing: "no data source 'sum'", "did you mean 'sums'?") {
      _ = try PreferencePlan(recipe, data: "sum")
    }
    // A stored recipe means the same.
    #expect(try Recipe(effective: recipe.effective, text: recipe.text, file: recipe.file) == recipe)
  }

  private func refuse(
    _ data: String, stages: String = "{objective: sft, steps: 1, data: made}", rewards: String = "{source: length}",
    _ fragments: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let text = """
      model: {path: "preset:tiny"}
      data:
        sums: \(Self.sums)
        digits: \(Self.digits.replacing("count: 5, ", with: ""))
        made: \(data)
      stages: [\(stages)]
      rewards: [\(rewards)]
      """
    for fragment in fragments {
      expectAttuneError(containing: fragment, sourceLocation: sourceLocation) {
        let recipe = try Recipe.parse(text, file: Fixtures.root + "/recipes/made-up.yaml")
        _ = try DataSources.open(recipe)
      }
    }
  }

  @Test func recipesThatCannotSample() {
    refuse("{kind: sampled}", "data.made.from is missing")
    refuse("{kind: sampled, from: sum}", "no data source 'sum'", "did you mean 'sums'?")
    refuse("{kind: sampled, from: made}", "'made' is sampled itself")
    refuse("{kind: sampled, from: digits}", "data.made.prompts: the source 'digits' is endless")
    refuse("{kind: sampled, from: sums}", rewards: "", "compared by rewards, and the recipe has none")
    refuse("{kind: sampled, from: sums, margin: wide}", "data.made.margin", "expected a number")
    refuse("{kind: sampled, from: sums, file: x}", "'file' goes with kind: digits or jsonl; here kind is sampled")
    refuse("{kind: digits, file: data/digits/digits.csv, margin: 1}", "'margin' goes with kind: jsonl or sampled")
    refuse(
      "{kind: sampled, from: sums}", stages: "{objective: grpo, steps: 1, data: made}",
      "the stage grpo reads the sampled source 'made'")
    refuse(
      "{kind: sampled, from: sums}",
      stages: "{objective: kto, steps: 1, data: made}, {objective: dpo, steps: 1, data: made}",
      "the stage kto reads labelled completions", "the stage dpo pairs", "a source of its own")
    refuse(
      "{kind: digits, file: data/digits/digits.csv}", stages: "{objective: kto, steps: 1, data: made}",
      "'made' is of the kind digits, which holds no labelled completions")
  }
}
