import AttuneTensor
import Core
import Foundation
import Models
import Objectives
import TestSupport
import Testing

@testable import Lab

/// An estimate is made, the same recipe is run, and what was measured must lie near it.
@Suite(.serialized) struct MemoryEstimateTests {
  /// `ATTUNE_PRINT_MEMORY=1` shows the ratios.
  private static let prints = ProcessInfo.processInfo.environment["ATTUNE_PRINT_MEMORY"] != nil
  private static let folder = NSTemporaryDirectory() + "/attune-memory-\(UUID().uuidString)"

  /// Rows of different lengths.
  private static func data(words: Int, answer: Int) throws -> String {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/\(words)-\(answer).jsonl"
    let lines = (0..<40).map { row -> String in
      let prompt = (0..<max(1, words - row % 5)).map { "word\($0 % 7)" }.joined(separator: " ")
      let completion = (0..<max(1, answer - row % 3)).map { "\($0 % 10)" }.joined(separator: " ")
      return JSON.object([
        ("prompt", .string(prompt)), ("completion", .string(completion)), ("chosen", .string(completion)),
        ("rejected", .string(String(completion.dropLast(2)) + "x")), ("label", .bool(row % 2 == 0)),
      ]).text()
    }
    try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private static let digits = """
    {kind: digits, file: \(Fixtures.root)/recipes/data/digits/digits.csv, count: 40, length: [2, 3], canvas: [64, 16],
      placement: cells, digit_size: 15, question: Which number is written here?}
    """

  private static let sft = "{name: s, objective: sft, steps: 3, batch: 8}"
  private static let grpo = "{name: s, objective: grpo, steps: 2, prompts: 4, generations: 4, max_new_tokens: 24}"

  /// A recipe for a preset and a stage.
  private static func recipe(
    _ preset: String, _ stage: String, _ overrides: [String] = [], words: Int = 12, answer: Int = 8
  ) throws -> Recipe {
    let sees = try Preset.named(preset).vision
    let file = try data(words: words, answer: answer)
    let text = """
      name: memory
      threads: 2
      output: \(folder)
      model: {path: 'preset:\(preset)'}
      data:
        train: \(sees ? digits : "{kind: jsonl, file: \(file)}")
      optimizer: {learning_rate: 0}
      watch: {before: false}
      checkpoint: {every: 0}
      rewards: [{name: length, source: 'libc.so.6: size_t strlen(const char *completion)', isolation: inline}]
      stages: [\(stage)]
      """
    return try Recipe.parse(text, file: folder + "/recipe.yaml", overrides: overrides)
  }

  private final class Listener: RunObserver {
    var phases: [(name: String, mebibytes: Double)] = []
    var held = 0.0
    func handle(_ event: RunEvent) throws {
      if case .memory(let phases, let held) = event { (self.phases, self.held) = (phases, held) }
    }
  }

  /// Estimates, runs, and compares every phase and what the arena held.
  private func compare(_ recipe: Recipe, _ label: String) throws {
    let expected = try Rehearsal.estimate(recipe)
    let listener = Listener()
    let run = try Run.start(recipe, output: Self.folder + "/\(UUID().uuidString)")
    _ = try run.execute(observers: [listener], workerCommand: [], isCancelled: { false }, report: { _ in })
    for (name, measured) in listener.phases {
      let bytes = try #require(expected.peak(of: name), "\(label): the phase \(name) is missing")
      let ratio = Double(bytes) / 1_048_576 / measured
      #expect(abs(ratio - 1) <= 0.15, "\(label), \(name): \(bytes) bytes estimated, \(measured) MiB measured")
    }
    let ratio = Double(expected.tensorBytes) / 1_048_576 / listener.held
    #expect(abs(ratio - 1) <= 0.15, "\(label): \(expected.tensorBytes) bytes estimated, \(listener.held) MiB held")
    for phase in expected.phases {
      let sum = phase.parts.values.reduce(0, +)
      #expect(sum == phase.bytes, "\(label), \(phase.name): parts of \(sum) bytes")
    }
    if Self.prints { print("\(label): \(Int(listener.held)) MiB held, \(ratio) of it estimated") }
  }

  @Test(arguments: ["tiny", "tiny-moe", "tiny-deepseek", "tiny-vl"], [sft, grpo])
  func everyKindOfModelTrainsInWhatWasEstimated(_ preset: String, _ stage: String) throws {
    try compare(try Self.recipe(preset, stage), "\(preset) \(stage)")
  }

  @Test(
    .enabled(if: LongTests.areWanted, "takes a minute: make test-long"), arguments: Preset.all.map(\.name), [sft, grpo])
  func everyPresetTrainsInWhatWasEstimated(_ preset: String, _ stage: String) throws {
    try compare(try Self.recipe(preset, stage), "\(preset) \(stage)")
  }

  private static let ways = [
    ["dtype=bf16"], ["model.train=lora"], ["model.train=lora", "dtype=bf16"],
    ["model.train=lora", "dtype=bf16", "model.weights=int8"], ["model.train=lora", "dtype=bf16", "model.weights=int4"],
    ["model.train=lora", "model.lora.dora=true"], ["stages.s.micro_batch=1"], ["stages.s.micro_batch=8"],
    ["stages.s.recompute=true"], ["stages.s.recompute=true", "model.train=lora", "dtype=bf16"],
  ]

  @Test(arguments: ways) func everyWayToHoldWeightsIsEstimated(_ overrides: [String]) throws {
    try compare(try Self.recipe("tiny-moe", Self.grpo, overrides), "tiny-moe \(overrides)")
    try compare(try Self.recipe("tiny-vl", Self.sft, overrides), "tiny-vl \(overrides)")
  }

  @Test(.enabled(if: LongTests.areWanted, "takes a minute: make test-long"), arguments: ways, [sft, grpo])
  func everyWayIsEstimatedOfAModelOfSomeSize(_ overrides: [String], _ stage: String) throws {
    try compare(try Self.recipe("mini", stage, overrides), "mini \(stage) \(overrides)")
  }

  @Test(
    .enabled(if: LongTests.areWanted, "takes a minute: make test-long"),
    arguments: [(2, 30), (8, 30), (32, 30), (8, 200)])
  func everySizeIsEstimated(_ batch: Int, _ words: Int) throws {
    let stage = "{name: s, objective: sft, steps: 2, batch: \(batch)}"
    for overrides in [[], ["model.train=lora", "dtype=bf16"]] {
      try compare(
        try Self.recipe("mini", stage, overrides, words: words, answer: words / 2),
        "mini batch \(batch), \(words) words \(overrides)")
    }
  }

  /// Objectives that learn from pairs and labels, with their reference models, and a critic beside the policy.
  @Test(arguments: [
    "{name: s, objective: dpo, steps: 2, batch: 4}", "{name: s, objective: kto, steps: 2, batch: 4}",
    "{name: s, objective: orpo, steps: 2, batch: 4}",
  ])
  func preferencesAreEstimated(_ stage: String) throws {
    for overrides in [[], ["model.train=lora", "dtype=bf16"]] {
      try compare(try Self.recipe("mini", stage, overrides, words: 40, answer: 20), "mini \(stage) \(overrides)")
    }
  }

  @Test(arguments: ["critic: {kind: trunk}", "critic: {kind: checkpoint, path: 'preset:mini', train: full}"])
  func aCriticIsEstimated(_ critic: String) throws {
    let stage =
      "{name: s, objective: ppo, steps: 2, prompts: 4, generations: 2, max_new_tokens: 24, \(critic)}"
    try compare(try Self.recipe("mini", stage), "mini \(stage)")
  }

  @Test func aReferenceModelIsEstimated() throws {
    try compare(try Self.recipe("mini", Self.grpo, ["stages.s.grpo.beta=0.1"]), "mini with a reference")
    try compare(
      try Self.recipe("mini", Self.grpo, ["stages.s.grpo.beta=0.1", "model.train=lora"]), "mini, adapter off")
  }

  // MARK: What does not fit

  private func verdict(_ recipe: Recipe, gibibytes: Double) throws -> MemoryVerdict {
    try MemoryVerdict.judge(
      recipe, machine: MachineMemory(memory: Int(gibibytes * 1_073_741_824), swap: 0))
  }

  @Test func whatFitsIsNotRefused() throws {
    let verdict = try verdict(try Self.recipe("tiny", Self.sft), gibibytes: 64)
    #expect(verdict.fits && verdict.refusal == nil && verdict.warning == nil && verdict.advice == nil)
    #expect(verdict.json["fits"]?.bool == true)
  }

  @Test func whatDoesNotFitNamesWhatWould() throws {
    let recipe = try Self.recipe("mini", Self.sft, ["stages.s.batch=32", "stages.s.micro_batch=32"])
    let needed = try Rehearsal.estimate(recipe)
    let override = "stages.0.micro_batch=1"
    let changed = try Rehearsal.estimate(recipe.setting([override]))
    let saved = needed.tensorBytes - changed.tensorBytes
    #expect(saved > 20 << 20)
    // Room for half of what that saves.
    let room = needed.residentBytes - saved / 2
    let verdict = try verdict(recipe, gibibytes: Double(room) / 1_073_741_824)
    #expect(!verdict.fits && verdict.advice?.overrides == [override])
    let refusal = try #require(verdict.refusal)
    #expect(refusal.kind == .request && refusal.hint?.contains("micro_batch=1") == true)
  }

  @Test func whatCannotFitNamesTheNearest() throws {
    let verdict = try verdict(try Self.recipe("mini", Self.grpo), gibibytes: 0.001)
    #expect(verdict.advice == nil)
    let nearest = try #require(verdict.nearest)
    #expect(nearest.bytes < verdict.estimate.residentBytes && nearest.overrides.contains("model.train=lora"))
  }

  @Test func aLimitOfTheRecipeCountsInsteadOfTheMachines() throws {
    let recipe = try Self.recipe("tiny", Self.sft, ["memory.limit_gib=0.001"])
    let limited = try verdict(recipe, gibibytes: 64)
    #expect(!limited.fits)
    let free = try Self.recipe("tiny", Self.sft, ["memory.limit_gib=0"])
    let unasked = try verdict(free, gibibytes: 0.001)
    #expect(unasked.fits)
  }

  @Test func aRunThatDoesNotFitDoesNotBegin() throws {
    let recipe = try Self.recipe("tiny", Self.sft, ["memory.limit_gib=0.001"])
    let output = Self.folder + "/refused"
    let run = try Run.start(recipe, output: output)
    #expect(throws: AttuneError.self) {
      try run.execute(observers: [], workerCommand: [], isCancelled: { false }, report: { _ in })
    }
    #expect(!FileManager.default.fileExists(atPath: output), "a wrong request leaves no run behind")
  }

  @Test func whatAPhaseHoldsIsNamed() throws {
    let full = try Rehearsal.estimate(try Self.recipe("mini", Self.grpo))
    let backward = try #require(full.phases.first { $0.name == "backward" })
    // 15,7 million parameters: masters, gradients and two moments in f32.
    let weights = try #require(backward.parts[.weights])
    #expect(backward.parts[.gradients] == weights)
    let moments = try #require(backward.parts[.optimizer])
    #expect(abs(Double(moments) / Double(weights) - 2) < 1e-6)
    let rollout = try #require(full.phases.first { $0.name == "rollout" })
    #expect(rollout.parts[.cache] ?? 0 > 0)
    let adapted = try Rehearsal.estimate(try Self.recipe("mini", Self.grpo, ["model.train=lora"]))
    let forward = try #require(adapted.phases.first { $0.name == "forward" })
    #expect(forward.parts[.adapter] ?? 0 > 0 && forward.parts[.panels] ?? 0 > weights / 2)
    #expect(forward.parts[.gradients] ?? 0 < weights / 4)
  }

  /// Objectives are not known by name: whatever is registered can be rehearsed.
  @Test(arguments: ObjectiveRegistry.all.map(\.name)) func everyObjectiveIsRehearsed(_ name: String) throws {
    let entry = try #require(ObjectiveRegistry.named(name))
    guard entry.kind != .scores else { return }
    let size = entry.kind == .rollouts ? "prompts: 2, generations: 4, max_new_tokens: 8" : "batch: 4"
    let recipe = try Self.recipe("tiny", "{name: s, objective: \(name), steps: 3, \(size)}")
    let phases = try Rehearsal.estimate(recipe).phases.map(\.name)
    #expect(phases.contains("backward") && phases.contains("optimizer"), "\(name): \(phases)")
    #expect(phases.contains("rollout") == (entry.kind == .rollouts))
  }

  @Test func anEstimateIsTheSameEveryTime() throws {
    let recipe = try Self.recipe("tiny-moe", Self.grpo)
    let (a, b) = (try Rehearsal.estimate(recipe), try Rehearsal.estimate(recipe))
    #expect(a.tensorBytes == b.tensorBytes)
    #expect(a.phases.map(\.parts) == b.phases.map(\.parts))
  }

  @Test func twiceTheWorkTakesTwiceTheTime() throws {
    let rates = MachineRates(full: 1e11, bf16: 2e11, bytes: 1e12, call: 0)
    // Two steps see all of the rows, or all of them twice.
    func seconds(_ batch: Int) throws -> Double {
      let recipe = try Self.recipe("mini", "{name: s, objective: sft, steps: 2, batch: \(batch), micro_batch: 4}")
      return try Rehearsal.estimate(recipe, rates: rates).durations[0].seconds
    }
    // The optimizer takes the same.
    let ratio = try seconds(40) / seconds(20)
    #expect(ratio > 1.8 && ratio < 2)
  }

  @Test func memoryOfTheMachineIsRead() {
    #expect(MachineMemory.here.memory > 1 << 20)
    #expect(MachineMemory.swapBytes("MemTotal: 1 kB\nSwapTotal:       2048 kB\n") == 2 << 20)
    #expect(MachineMemory.number("max\n") == nil && MachineMemory.number("4096\n") == 4096)
  }
}
