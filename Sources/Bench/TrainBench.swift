import AttuneTensor
import Core
import Lab
import Models
import Objectives
import Rollout

/// Steps of training on made-up data: sampling where the objective samples, reference, loss, gradients, AdamW.
public struct TrainBench {
  public enum Objective: String, Sendable, CaseIterable { case sft, dpo, kto, grpo }

  public struct Workload: Sendable {
    public var objective: Objective
    /// Sequences (sft), pairs (dpo), completions (kto) or prompts (grpo) of a step.
    public var rows: Int
    /// Completions of a prompt (grpo).
    public var generations: Int
    public var promptTokens: Int
    public var newTokens: Int
    public var pictures: Int
    public var microBatch: Int
    public var recomputesLayers: Bool

    public init(
      objective: Objective, rows: Int, generations: Int = 8, promptTokens: Int, newTokens: Int, pictures: Int = 0,
      microBatch: Int = 0, recomputesLayers: Bool = false
    ) {
      self.objective = objective
      self.rows = rows
      self.generations = generations
      self.promptTokens = promptTokens
      self.newTokens = newTokens
      self.pictures = pictures
      self.microBatch = microBatch
      self.recomputesLayers = recomputesLayers
    }
  }

  public struct Figures: Sendable {
    /// Tokens as a trainer without shared prompts would count them: sequences times their length, for grpo new ones alone.
    public let tokensPerSecond: Double
    public let stepSeconds: Double
    public let samples: [Double]
    public let peakMiB: Double
    public let ofPeakFlops: Double
    /// Largest memory of tensors in each phase of a step, MiB.
    public let phases: [(name: String, mebibytes: Double, seconds: Double)]
    public let loss: Double
    /// From the start of the process to the begin of the first step; NaN where the system does not tell.
    public let readySeconds: Double

    public var json: JSON {
      .object([
        ("tokens_per_s", .double(tokensPerSecond)), ("step_s", .double(stepSeconds)),
        ("samples_s", .array(samples.map { .double($0) })), ("peak_rss_mib", .double(peakMiB)),
        ("of_peak_flops", .double(ofPeakFlops)),
        (
          "phases",
          .object(phases.map { ($0.name, ["peak_mib": .double($0.mebibytes), "seconds": .double($0.seconds)]) })
        ),
        ("loss", .double(loss)), ("ready_s", readySeconds.isNaN ? .null : .double(readySeconds)),
      ])
    }
  }

  private let bench: BenchModel
  private let workload: Workload
  private let reference: LanguageModel?
  private let optimizer: Optimizer
  private let clock: PhaseClock
  private var flops = 0.0

  /// - Parameter reference: for full training, a frozen copy; with an adapter the policy without it is the reference.
  public static func run(
    _ bench: BenchModel, _ workload: Workload, reference: LanguageModel?, repeats: Int
  ) throws -> Figures {
    var run = TrainBench(
      bench: bench, workload: workload, reference: reference,
      optimizer: Optimizer(bench.model.trainedParameters, on: bench.backend), clock: PhaseClock(on: bench.backend))
    let ready = ProcessAge.seconds ?? .nan
    var loss = try run.step(0)
    var samples: [Double] = []
    for i in 0..<repeats {
      let start = secondsNow()
      run.clock.reset()
      run.flops = 0
      loss = try run.step(i + 1)
      samples.append(secondsNow() - start)
    }
    let peak = ProcessMemory.peakMiB
    let median = samples.sorted()[samples.count / 2]
    return Figures(
      tokensPerSecond: Double(run.tokens) / median, stepSeconds: median, samples: samples, peakMiB: peak,
      ofPeakFlops: run.flops / median / 1e9 / MachineLimits.gflops(bench.backend, bench.model.precision),
      phases: run.clock.phases.map { ($0.name, $0.mebibytes, $0.seconds) }, loss: loss,
      readySeconds: ready)
  }

  private var tokens: Int {
    let w = workload
    switch w.objective {
    case .sft, .kto: return w.rows * (w.promptTokens + w.newTokens)
    case .dpo: return w.rows * 2 * (w.promptTokens + w.newTokens)
    case .grpo: return w.rows * w.generations * w.newTokens
    }
  }

  private func phase<R>(_ name: String, _ body: () throws -> R) rethrows -> R {
    try clock.measure(name, body)
  }

  private mutating func step(_ number: Int) throws -> Double {
    let w = workload
    let loss: Double
    switch w.objective {
    case .sft:
      loss = try update(try trees(number, completions: 1), wanted: [.logprob]) { streams, range in
        try SFT(.init(lossType: .nll, labelSmoothing: 0)).evaluate(
          streams, targetCount: w.rows * w.newTokens, processCount: 1, attendedTokenCount: 0)
      }
    case .dpo:
      let trees = try trees(number, completions: 2)
      let references = referenceLogprobs(trees)
      loss = try update(trees, wanted: [.logprob], references: references) { streams, range in
        try DPO().evaluate(streams, StepTotals(rows: 2 * w.rows, tokens: 2 * w.rows * w.newTokens))
      }
    case .kto:
      let trees = try trees(number, completions: 1)
      let mismatched = trees.indices.map {
        PromptTree(prompt: trees[$0].prompt, completions: trees[($0 + 1) % trees.count].completions)
      }
      let references = referenceLogprobs(trees)
      let apart = referenceLogprobs(mismatched)
      let estimate = try phase("mismatched") {
        var streams = try policyLogprobs(mismatched)
        streams.referenceLogprobs = apart.flatMap { $0 }
        return try KTO.klEstimate(streams)
      }
      loss = try update(trees, wanted: [.logprob], references: references) { streams, range in
        try KTO().evaluate(
          streams, desirable: range.map { $0 % 2 == 0 }, klEstimate: estimate, rowCount: w.rows)
      }
    case .grpo:
      let prompts = try (0..<w.rows).map { try bench.prompt(w.promptTokens, pictures: w.pictures, $0 + 100 * number) }
      let groups = try phase("rollout") {
        try LocalEngine(bench.model, decoder: NumberText(), seed: 1).generate(
          prompts.enumerated().map {
            RolloutRequest(prompt: $1, completions: w.generations, step: number, promptNumber: $0)
          }, SamplingParameters(maxNewTokens: w.newTokens))
      }
      let trees = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
      flops += bench.forwardFlops(trees)
      let rewards = groups.flatMap { $0.map { [Double($0.ids.reduce(0) { $0 + Int($1) } % 17)] } }
      let scores = try GroupAdvantages(
        .init(groupSize: w.generations, rewardWeights: [1], scaling: .group, aggregation: .sumThenNormalize)
      ).compute(rewards: rewards, names: ["sum"])
      let references = referenceLogprobs(trees)
      var configuration = GRPO.Configuration(lossType: .dapo)
      configuration.beta = 0.04
      configuration.maxCompletionLength = w.newTokens
      let objective = GRPO(configuration)
      let normalization = GRPO.Normalization(
        itemCount: w.rows * w.generations * w.newTokens, rowCount: w.rows * w.generations)
      loss = try update(trees, wanted: [.logprob, .entropy], references: references) { streams, range in
        let own = range.flatMap { Array(scores.advantages[$0 * w.generations..<($0 + 1) * w.generations]) }
        return try objective.evaluate(streams, advantages: .perRow(own), normalization: normalization)
      }
    }
    try phase("optimizer") { _ = try optimizer.update(AdamWStep(learningRate: 1e-5, step: 0), maxNorm: 1) }
    return loss
  }

  private func trees(_ number: Int, completions: Int) throws -> [PromptTree] {
    try (0..<workload.rows).map { row in
      PromptTree(
        prompt: try bench.prompt(workload.promptTokens, pictures: workload.pictures, row + 100 * number),
        completions: (0..<completions).map { bench.ids(workload.newTokens, 50_000 + row * completions + $0) })
    }
  }

  /// Policy log-probabilities alone, without a way back.
  private func policyLogprobs(_ trees: [PromptTree]) throws -> TokenStreams {
    let pass = TrainingPass(model: bench.model, temperature: 1, wanted: [.logprob])
    var values: [Float] = []
    for range in TrainingPass.microBatches(trees, size: workload.microBatch) {
      values += pass.forward(Array(trees[range]), recording: false).stream(.logprob)
    }
    let lengths = trees.flatMap { $0.completions.map(\.count) }
    return TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: lengths), mask: [Bool](repeating: true, count: values.count),
      policyLogprobs: values)
  }

  /// Log-probabilities of the reference, one list for each tree.
  private mutating func referenceLogprobs(_ trees: [PromptTree]) -> [[Float]] {
    flops += bench.forwardFlops(trees)
    return phase("reference") {
      let adapter = reference == nil ? bench.model.adapter : nil
      adapter?.isEnabled = false
      defer { adapter?.isEnabled = true }
      let pass = TrainingPass(model: reference ?? bench.model, temperature: 1, wanted: [.logprob])
      return TrainingPass.microBatches(trees, size: workload.microBatch).flatMap { range -> [[Float]] in
        var values = pass.forward(Array(trees[range]), recording: false).stream(.logprob)[...]
        return trees[range].map { tree in
          let count = tree.completions.reduce(0) { $0 + $1.count }
          defer { values = values.dropFirst(count) }
          return Array(values.prefix(count))
        }
      }
    }
  }

  /// Forward, loss and backward over all trees.
  private mutating func update(
    _ trees: [PromptTree], wanted: Set<HeadStream>, references: [[Float]]? = nil,
    _ objective: (TokenStreams, Range<Int>) throws -> ObjectiveResult
  ) throws -> Double {
    let forward = bench.forwardFlops(trees)
    // The input gradient costs what the forward pass does, the weights' as much again where all are trained.
    flops += forward * (bench.model.adapter == nil ? 3 : 2)
    let pass = TrainingPass(
      model: bench.model, temperature: 1, wanted: wanted, recomputesLayers: workload.recomputesLayers)
    var loss = 0.0
    for range in TrainingPass.microBatches(trees, size: workload.microBatch) {
      let result = try phase("forward") { () -> (TrainingPass.Forward, ObjectiveResult) in
        let forward = pass.forward(Array(trees[range]), recording: true)
        var streams = pass.streams(forward)
        if let references { streams.referenceLogprobs = references[range].flatMap { $0 } }
        return (forward, try objective(streams, range))
      }
      loss += result.1.loss
      phase("backward") { pass.backward(result.0, result.1.gradients) }
    }
    return loss
  }
}
