import Core

/// Cases of objectives that learn from scored completions, other than GRPO's: rewards or scores in, credit, then the loss of
/// the whole batch.
extension ObjectiveSuite {
  /// Rewards of a case with the names that the reference gives them.
  struct Rewards {
    /// `[completion][reward]`.
    var values: [[Double]]
    var names: [String]
    /// False for one number per completion: then no reward has metrics of its own.
    var areNamed: Bool

    init(_ c: SuiteCase, rows: Int) throws {
      areNamed = !c.has("scores")
      let tensor = areNamed ? try c.tensor("rewards_per_func", rank: 2) : try c.tensor("scores", shape: [rows])
      guard tensor.shape[0] == rows else {
        throw AttuneError.request("'rewards_per_func' has \(tensor.shape[0]) rows for \(rows) completions")
      }
      let count = areNamed ? tensor.shape[1] : 1
      values = (0..<rows).map { Array(tensor.data[$0 * count..<($0 + 1) * count]) }
      names = (0..<count).map { "f\($0)" }
    }
  }

  /// The completion mask `[rows, T]`, without completions that hit the length limit where the case says so.
  static func effectiveMask(_ c: SuiteCase) throws -> SuiteTensor {
    let given = try c.tensor("completion_mask", rank: 2)
    let (rows, width) = (given.shape[0], given.shape[1])
    var mask = given.bools
    if try c.flag("mask_truncated_completions") == true {
      let lengths = [Int](repeating: width, count: rows)
      CompletionStatistics(lengths: lengths, terminated: try c.tensor("terminated", shape: [rows]).bools)
        .maskTruncated(&mask, rowOffsets: TokenStreams.offsets(ofLengths: lengths))
    }
    return SuiteTensor(.i64, given.shape, mask.map { $0 ? 1 : 0 })
  }

  static func rollouts(_ c: SuiteCase, _ objective: any PolicyObjective) throws -> SuiteOutputs {
    let policy = try c.tensor("policy_logps", rank: 2)
    let (shape, rows) = (policy.shape, policy.shape[0])
    let mask = try effectiveMask(c)
    guard mask.shape == shape else {
      throw AttuneError.request("'completion_mask' has shape \(mask.shape), expected \(shape)")
    }
    func stream(_ name: String) throws -> [Float]? { try c.optionalTensor(name, shape: shape)?.floats }
    let rewards = try Rewards(c, rows: rows)
    let groupSize = try c.integer("num_generations") ?? (objective.comparesGroups ? 2 : 1)
    guard groupSize >= 1, rows % groupSize == 0 else {
      throw AttuneError.request("num_generations is \(groupSize), expected a divisor of the \(rows) completions")
    }
    let old = try stream("old_logps") ?? policy.floats
    var streams = TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: [Int](repeating: shape[1], count: rows)), mask: mask.bools,
      policyLogprobs: old, referenceLogprobs: try stream("ref_logps"), values: try stream("values"))
    let credit = try objective.credit(
      ScoredRollouts(
        groupSize: groupSize, rewards: rewards.values, names: rewards.names, weights: c.numbers("reward_weights"),
        terminated: c.optionalTensor("terminated", shape: [rows])?.bools ?? [], streams: streams))
    streams.policyLogprobs = policy.floats
    streams.oldLogprobs = old
    streams.entropies = try stream("token_entropy")
    streams.values = try stream("new_values")
    let result = try objective.evaluate(streams, credit, StepTotals(of: streams), [:])

    var outputs = SuiteOutputs(loss: result.loss)
    outputs.gradients = [("policy_logps", SuiteTensor(shape, result.gradients.logprob))]
    if let values = result.gradients.value { outputs.gradients.append(("new_values", SuiteTensor(shape, values))) }
    outputs.values = values(credit, mask: mask)
    if rewards.areNamed { outputs.values.append(("effective_mask", mask.json)) }
    // The suite of REINFORCE++ lists losses and gradients alone.
    if !(objective is ReinforcePlusPlus) {
      let known = credit.metrics.filter { rewards.areNamed || !$0.name.hasPrefix("reward") }
      outputs.metrics = known + result.metrics
    }
    return outputs
  }

  private static func values(_ credit: Credit, mask: SuiteTensor) -> [(String, JSON)] {
    func tensor(_ values: [Double]) -> JSON {
      SuiteTensor(.f32, mask.shape, zip(values, mask.bools).map { $1 ? $0 : 0 }).json
    }
    var values: [(String, JSON)] = []
    if let rewards = credit.tokenRewards { values.append(("token_rewards", tensor(rewards))) }
    switch credit.advantages {
    case .perRow(let advantages):
      values.append(("advantages", SuiteTensor(.f32, [advantages.count], advantages).json))
    case .perToken(let advantages): values.append(("advantages", tensor(advantages)))
    }
    if let returns = credit.returns {
      if let critic = credit.values {
        values.append(("raw_advantages", tensor(zip(returns, critic).map { $0 - $1 })))
      }
      values.append(("returns", tensor(returns)))
    }
    return values
  }
}
