import AttuneTensor
import Core
import Models
import Objectives
import Rollout
import TestSupport
import Testing

@testable import Lab

/// From completions to gradients, for every objective for which the policy samples, critics included.
@Suite struct PolicyGradientTests {
  /// An objective with what its step needs, on a small model.
  private struct Setting {
    let objective: any PolicyObjective
    let model: LanguageModel
    /// On the trunk, or with `critic` a model of its own.
    let head: ScoreHead?
    let critic: LanguageModel?
    let trees: [PromptTree]
    let scored: ScoredRollouts
    let credit: Credit

    static let groupSize = 3

    init(_ entry: ObjectiveEntry, hasOwnCritic: Bool = false, _ more: JSON.Object = .init()) throws {
      objective = try #require(try entry.make(more) as? any PolicyObjective)
      model = try PassSupport.model(TinyModels.qwen3)
      critic = objective.usesValues && hasOwnCritic ? try PassSupport.model(TinyModels.llama, hasHead: false) : nil
      head = objective.usesValues ? PassSupport.head(critic ?? model) : nil
      trees = try PassSupport.trees(model, 5).enumerated().map { i, tree in
        PromptTree(
          prompt: tree.prompt,
          completions: (0..<Self.groupSize).map { j in
            PassSupport.numbers(2 + (i + 2 * j) % 6, 20 + j, i).map { Int32(abs($0) * 1000) % 90 }
          })
      }
      let lengths = trees.flatMap { $0.completions.map(\.count) }
      let count = lengths.reduce(0, +)
      // The policy has moved a little since it sampled, further from its reference.
      let pass = TrainingPass(model: model, temperature: 0.8, wanted: [.logprob])
      let now = pass.forward(trees, recording: false).stream(.logprob)
      func near(_ spread: Float, _ kind: Int) -> [Float] {
        zip(now, PassSupport.numbers(count, kind, 0)).map { $0 + spread * $1 }
      }
      var streams = TokenStreams(
        rowOffsets: TokenStreams.offsets(ofLengths: lengths),
        mask: lengths.enumerated().flatMap { i, n in [Bool](repeating: i % 7 != 3, count: n) },
        policyLogprobs: near(0.1, 30), referenceLogprobs: near(0.4, 31))
      if let head {
        streams.values = zip(
          ScorePass(model: critic ?? model, head: head).values(trees, recording: false).scores,
          PassSupport.numbers(count, 32, 0)
        ).map { $0 + 0.1 * $1 }
      }
      let scored = ScoredRollouts(
        groupSize: Self.groupSize, rewards: lengths.indices.map { [Double(PassSupport.numbers(1, 33, $0)[0])] },
        names: ["r"], tokenRewards: lengths.map { _ in nil },
        terminated: lengths.indices.map { $0 % 4 != 1 }, streams: streams)
      self.scored = scored
      credit = try objective.credit(scored)
    }

    var parameters: [Parameter] {
      model.trainedParameters + (critic?.trainedParameters ?? []) + (head?.parameters ?? [])
    }

    /// Loss and gradients of the step.
    ///
    /// - Parameters:
    ///   - alone: every completion is a tree of its own.
    ///   - isFirst: the old log-probabilities are left out, as at the first pass.
    func run(microBatch: Int, alone: Bool = false, old: [Float]?) throws -> (loss: Double, gradients: [[Double]]) {
      for parameter in parameters { parameter.clearGradient() }
      let trees =
        alone
        ? self.trees.flatMap { tree in tree.completions.map { PromptTree(prompt: tree.prompt, completions: [$0]) } }
        : self.trees
      let perTree = alone ? 1 : Self.groupSize
      var step = StepGradients(
        pass: TrainingPass(
          model: model, temperature: 0.8,
          wanted: TrainingPass.headStreams(objective.statistics.union([.entropy])),
          valueHead: critic == nil ? head : nil), microBatch: microBatch, clock: PhaseClock(on: model.backend))
      let offsets = scored.streams.rowOffsets
      let totals = StepTotals(rows: scored.streams.rowCount, tokens: scored.streams.maskedCount)
      func rows(_ part: Range<Int>) -> [Int] { Array(part.lowerBound * perTree..<part.upperBound * perTree) }
      let own = critic.flatMap { critic in head.map { (ScorePass(model: critic, head: $0), trees) } }
      try step.add(trees, values: own, needsWholeStep: objective.needsWholeStep) { part, streams in
        let tokens = rows(part).flatMap { Array(offsets[$0]..<offsets[$0 + 1]) }
        streams.mask = tokens.map { scored.streams.mask[$0] }
        if let old { streams.oldLogprobs = tokens.map { old[$0] } }
        if objective.usesReference {
          streams.referenceLogprobs = tokens.map { scored.streams.referenceLogprobs![$0] }
        }
      } evaluate: { part, streams in
        try objective.evaluate(streams, credit.of(rows: rows(part), offsets: offsets), totals, [:])
      }
      return (step.loss, parameters.map { model.backend.doubles($0.gradient!) })
    }
  }

  static let names = ObjectiveRegistry.names(of: .rollouts)

  private func settings(_ name: String) throws -> [(label: String, Setting)] {
    let entry = try #require(ObjectiveRegistry.named(name))
    let plain = try Setting(entry)
    var all = [(name, plain)]
    if plain.head != nil { all.append((name + " with a critic of its own", try Setting(entry, hasOwnCritic: true))) }
    if entry.objective == GRPO.self {
      var keys = JSON.Object()
      (keys["beta"], keys["entropy_coef"]) = (0.1, 0.02)
      all.append((name + " with terms", try Setting(entry, keys)))
      keys["top_entropy_quantile"] = 0.5
      all.append((name + " at uncertain tokens", try Setting(entry, keys)))
    }
    return all
  }

  @Test(arguments: names) func aForestHasTheGradientsOfSequences(name: String) throws {
    for (label, setting) in try settings(name) {
      let old = setting.scored.streams.policyLogprobs
      let forest = try setting.run(microBatch: 0, old: old)
      let alone = try setting.run(microBatch: 1, alone: true, old: old)
      expectClose([forest.loss], [alone.loss], absolute: 1e-7, relative: 1e-5, label)
      #expect(forest.gradients.contains { $0.contains { $0 != 0 } }, "\(label)")
      for (i, parameter) in setting.parameters.enumerated() {
        let largest = alone.gradients[i].map(abs).max() ?? 0
        expectClose(
          forest.gradients[i], alone.gradients[i], absolute: 1e-5 * max(largest, 1e-3), relative: 1e-5,
          "\(label): \(parameter.name)")
      }
    }
  }

  @Test(arguments: names) func anyCutGivesTheSameBits(name: String) throws {
    for (label, setting) in try settings(name) {
      let old = setting.scored.streams.policyLogprobs
      let whole = try setting.run(microBatch: 0, old: old)
      for size in [1, 2, 3] {
        let cut = try setting.run(microBatch: size, old: old)
        #expect(cut.gradients == whole.gradients, "\(label), \(size) at once")
        expectClose([cut.loss], [whole.loss], absolute: 1e-12, relative: 1e-12, label)
      }
    }
  }

  /// Where the policy is the one that sampled, the sampler's log-probabilities are its own bits, and nothing depends on whether the
  /// ratio is computed or known to be 1.
  @Test(arguments: [Precision.full, .bf16], ["preset", "lora"])
  func theFirstRatioIsOne(precision: Precision, kind: String) throws {
    let folder = try TemporaryFolder()
    try Preset.named("tiny").write(to: folder.path, seed: 4)
    let policy = try Policy(folder: folder.path, backend: try CPUBackend(threads: 2), precision: precision)
    if kind == "lora" { try policy.model.attachLoRA(LoRAConfiguration(rank: 4), seed: 4) }
    let prompts = try ["1 + 2 =", "7 + 5 =", "9"].map { try policy.encode(text: $0) }
    let groups = try LocalEngine(policy.model, decoder: policy.tokenizer, seed: 4).generate(
      prompts.enumerated().map { RolloutRequest(prompt: $1, completions: 3, promptNumber: $0) },
      SamplingParameters(
        temperature: 0.7, topK: 50, topP: 0.9, maxNewTokens: 12, stopIDs: Set(policy.endIDs), logprobTemperature: 0.7))
    let trees = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
    let pass = TrainingPass(model: policy.model, temperature: 0.7, wanted: [.logprob, .entropy])
    for cut in [0, 1] {
      let now = TrainingPass.microBatches(trees, size: cut).flatMap {
        pass.forward(Array(trees[$0]), recording: false).stream(.logprob)
      }
      #expect(PassSupport.bits([now]) == PassSupport.bits([groups.flatMap { $0.flatMap(\.logprobs) }]))
    }
  }

  @Test(arguments: names) func aRatioOfOneNeedsNoOldLogprobs(name: String) throws {
    for (label, setting) in try settings(name) {
      let now = TrainingPass(model: setting.model, temperature: 0.8, wanted: [.logprob])
        .forward(setting.trees, recording: false).stream(.logprob)
      let known = try setting.run(microBatch: 0, old: nil)
      let computed = try setting.run(microBatch: 0, old: now)
      #expect(known.loss == computed.loss, "\(label)")
      #expect(known.gradients == computed.gradients, "\(label)")
    }
  }
}
