import AttuneTensor
import Core
import Lab
import Models
import Objectives
import Rollout

/// Steps of training on made-up data: sampling where the objective samples, reference, loss, gradients, optimizer.
public struct TrainBench {
  public struct Workload: Sendable {
    public var objective: ObjectiveEntry
    /// Sequences, pairs, labelled completions or, for objectives that sample, prompts of a step.
    public var rows: Int
    /// Completions of a prompt, for objectives that sample.
    public var generations: Int
    public var promptTokens: Int
    public var newTokens: Int
    public var pictures: Int
    public var microBatch: Int
    public var recomputesLayers: Bool
    public var optimizer: OptimizerMethod

    public init(
      objective: ObjectiveEntry, rows: Int, generations: Int = 8, promptTokens: Int, newTokens: Int, pictures: Int = 0,
      microBatch: Int = 0, recomputesLayers: Bool = false, optimizer: OptimizerMethod = .adamW
    ) {
      self.objective = objective
      self.rows = rows
      self.generations = generations
      self.promptTokens = promptTokens
      self.newTokens = newTokens
      self.pictures = pictures
      self.microBatch = microBatch
      self.recomputesLayers = recomputesLayers
      self.optimizer = optimizer
    }
  }

  public struct Figures: Sendable {
    /// Tokens as a trainer without shared prompts would count them: sequences times their length, for objectives that sample new ones alone.
    public let tokensPerSecond: Double
    public let stepSeconds: Double
    public let samples: [Double]
    public let peakMiB: Double
    public let ofPeakFlops: Double
    /// Largest memory of tensors in each phase of a step, MiB.
    public let phases: [(name: String, mebibytes: Double, seconds: Double)]
    public let loss: Double
    /// What the optimizer keeps between two steps, MiB.
    public let optimizerMiB: Double
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
        ("loss", .double(loss)), ("optimizer_mib", .double(optimizerMiB)),
        ("ready_s", readySeconds.isNaN ? .null : .double(readySeconds)),
      ])
    }
  }

  private let bench: BenchModel
  private let workload: Workload
  private let objective: any Objective
  private let reference: ReferencePolicy?
  /// Of reward models and critics.
  private let head: ScoreHead?
  private let optimizer: Optimizer
  private var memory: [String: Double] = [:]
  private let clock: PhaseClock
  private var flops = 0.0

  /// - Parameter reference: for full training, makes a frozen copy; with an adapter the policy without it is the reference, and
  ///   this gives nil.
  public static func run(
    _ bench: BenchModel, _ workload: Workload, reference: () throws -> LanguageModel?, repeats: Int
  ) throws -> Figures {
    let objective = try workload.objective.makeForBench(workload)
    let hidden = bench.model.configuration.text.hiddenSize
    let readsScores = objective is any ScoreObjective || (objective as? any PolicyObjective)?.usesValues == true
    let head = readsScores ? ScoreHead(fresh: .value, hidden: hidden, seed: 1, deviation: 0.02, on: bench.backend) : nil
    head?.setTrainable(true)
    let clock = PhaseClock(on: bench.backend)
    let usesReference =
      objective.usesReference || (objective as? any PolicyObjective)?.usesReferenceInReward == true
    var run = TrainBench(
      bench: bench, workload: workload, objective: objective,
      reference: usesReference ? ReferencePolicy(policy: bench.model, copy: try reference(), clock: clock) : nil,
      head: head,
      optimizer: Optimizer(
        bench.model.trainedParameters + (head?.parameters ?? []), workload.optimizer, on: bench.backend),
      clock: clock)
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
      optimizerMiB: Double(run.optimizer.stateBytes) / 1_048_576, readySeconds: ready)
  }

  private var tokens: Int {
    let w = workload
    switch w.objective.kind {
    case .supervised, .unpaired: return w.rows * (w.promptTokens + w.newTokens)
    case .pairs, .scores: return w.rows * 2 * (w.promptTokens + w.newTokens)
    case .rollouts: return w.rows * w.generations * w.newTokens
    }
  }

  private mutating func step(_ number: Int) throws -> Double {
    let (loss, tallies) = try gradients(number)
    try clock.measure("optimizer") { _ = try optimizer.update(AdamWStep(learningRate: 1e-5, step: 0), maxNorm: 1) }
    objective.finishStep(tallies, &memory)
    return loss
  }

  private mutating func gradients(_ number: Int) throws -> (loss: Double, tallies: [String: Double]) {
    switch objective {
    case let objective as any ScoreObjective:
      let pairs = try trees(number, completions: 2).map { ScoredPair(trees: [$0]) }
      countFlops(pairs.flatMap(\.trees), passes: 0)
      guard let head else { return (0, [:]) }
      let pass = ScorePass(model: bench.model, head: head, recomputesLayers: workload.recomputesLayers)
      return (try pass.learn(pairs, objective, microBatch: workload.microBatch, clock: clock).loss, [:])
    case let objective as any PolicyObjective: return try policyGradients(number, objective)
    default: break
    }
    var gradients = stepGradients()
    switch objective {
    case let objective as any SupervisedObjective:
      let trees = try trees(number, completions: 1)
      countFlops(trees, passes: 0)
      let totals = StepTotals(rows: trees.count, tokens: trees.count * workload.newTokens)
      try gradients.add(trees) { _, _ in
      } evaluate: { _, streams in
        try objective.evaluate(streams, totals)
      }
    case let objective as any PairObjective:
      let trees = try trees(number, completions: 2)
      countFlops(trees, passes: reference == nil ? 0 : 1)
      try gradients.addPairs(trees, objective, reference)
    case let objective as any UnpairedObjective:
      let trees = try trees(number, completions: 1)
      let others = objective.usesMismatched ? trees.indices.map { ($0 + trees.count - 1) % trees.count } : []
      let mismatched = zip(trees, others).map {
        PromptTree(prompt: $0.prompt, completions: trees[$1].completions)
      }
      countFlops(trees, passes: 1)
      // Policy and reference, without a way back.
      flops += 2 * bench.forwardFlops(mismatched)
      try gradients.addLabelled(
        trees, desirable: trees.indices.map { $0 % 2 == 0 }, mismatched: mismatched, objective, reference,
        memory: memory)
    default: throw AttuneError.work("objective \(workload.objective.name) has no benchmark")
    }
    return (gradients.sums.loss, gradients.sums.tallies)
  }

  /// Samples, credits a made-up reward, and goes back once.
  private mutating func policyGradients(
    _ number: Int, _ objective: any PolicyObjective
  ) throws -> (loss: Double, tallies: [String: Double]) {
    let w = workload
    let prompts = try (0..<w.rows).map { try bench.prompt(w.promptTokens, pictures: w.pictures, $0 + 100 * number) }
    let groups = try clock.measure("rollout") {
      try LocalEngine(bench.model, decoder: NumberText(), seed: 1).generate(
        prompts.enumerated().map {
          RolloutRequest(prompt: $1, completions: w.generations, step: number, promptNumber: $0)
        }, SamplingParameters(maxNewTokens: w.newTokens))
    }
    let trees = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
    let completions = groups.flatMap { $0 }
    flops += bench.forwardFlops(trees)
    countFlops(trees, passes: (reference == nil ? 0 : 1) + (head == nil ? 0 : 1))
    let offsets = TokenStreams.offsets(ofLengths: completions.map(\.ids.count))
    var streams = TokenStreams(
      rowOffsets: offsets, mask: [Bool](repeating: true, count: offsets[completions.count]),
      policyLogprobs: completions.flatMap(\.logprobs))
    streams.referenceLogprobs = try reference?.logprobs(trees, temperature: 1, microBatch: w.microBatch)
    if let head {
      let pass = ScorePass(model: bench.model, head: head)
      streams.values = clock.measure("critic") {
        TrainingPass.microBatches(trees, size: w.microBatch).flatMap {
          pass.values(Array(trees[$0]), recording: false).scores
        }
      }
    }
    let credit = try objective.credit(
      ScoredRollouts(
        groupSize: w.generations, rewards: completions.map { [Double($0.ids.reduce(0) { $0 + Int($1) } % 17)] },
        names: ["sum"], weights: [1], tokenRewards: completions.map { _ in nil },
        terminated: completions.map { $0.finishReason != .length }, streams: streams))
    let totals = StepTotals(rows: completions.count, tokens: streams.maskedCount)
    var gradients = stepGradients()
    let g = w.generations
    try gradients.add(trees, needsWholeStep: objective.needsWholeStep) { part, own in
      let tokens = offsets[part.lowerBound * g]..<offsets[part.upperBound * g]
      if objective.usesReference { own.referenceLogprobs = streams.referenceLogprobs.map { Array($0[tokens]) } }
    } evaluate: { part, own in
      try objective.evaluate(
        own, credit.of(rows: Array(part.lowerBound * g..<part.upperBound * g), offsets: offsets), totals, memory)
    }
    return (gradients.sums.loss, gradients.sums.tallies)
  }

  private func stepGradients() -> StepGradients {
    let isPolicy = objective is any PolicyObjective
    return StepGradients(
      pass: TrainingPass(
        model: bench.model, temperature: 1,
        wanted: TrainingPass.headStreams(objective.statistics.union(isPolicy ? [.entropy] : [])),
        recomputesLayers: workload.recomputesLayers, valueHead: isPolicy ? head : nil,
        scoresPrompts: (objective as? any PairObjective)?.scoresPrompts ?? false),
      microBatch: workload.microBatch, clock: clock)
  }

  private func trees(_ number: Int, completions: Int) throws -> [PromptTree] {
    try (0..<workload.rows).map { row in
      PromptTree(
        prompt: try bench.prompt(workload.promptTokens, pictures: workload.pictures, row + 100 * number),
        completions: (0..<completions).map { bench.ids(workload.newTokens, 50_000 + row * completions + $0) })
    }
  }

  /// Counts the operations of a way there and back.
  ///
  /// - Parameter passes: ways there beside it, of other models or without a way back.
  private mutating func countFlops(_ trees: [PromptTree], passes: Int) {
    let forward = bench.forwardFlops(trees)
    // The input gradient costs what the forward pass does, the weights' as much again where all are trained.
    flops += forward * Double((bench.model.adapter == nil ? 3 : 2) + passes)
  }
}

extension ObjectiveEntry {
  /// The objective with settings that its step is measured under: GRPO and its kin with a KL term, so that a reference is read.
  fileprivate func makeForBench(_ workload: TrainBench.Workload) throws -> any Objective {
    var given = JSON.Object()
    if objective == GRPO.self {
      given["beta"] = 0.04
      given["max_completion_length"] = .int(workload.newTokens)
    }
    return try make(given)
  }
}
