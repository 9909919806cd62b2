import Core

/// Cases of what stands beside the losses: packing, penalties, dynamic sampling, KL estimates, a reference that follows.
extension ObjectiveSuite {
  // MARK: Packing

  static func packing(_ c: SuiteCase) throws -> SuiteOutputs {
    let packing: Packing = try c.choice("strategy") ?? .bestFit
    let documents = try c.integerLists("documents")
    guard let length = try c.integer("seq_length"), length >= 1 else {
      throw AttuneError.request("config key 'seq_length' must be a whole number of at least 1")
    }
    let rows = packing.rows(ofLengths: documents.map(\.count), length: length)
    func lists(_ value: (Packing.Piece) -> [Int]) -> JSON {
      .array(rows.map { row in .array(row.flatMap(value).map { .int($0) }) })
    }
    var values = [("rows", lists { Array(documents[$0.document][$0.tokens]) })]
    // Wrapped rows know no documents.
    if packing != .wrapped { values.append(("seq_lengths", lists { [$0.tokens.count] })) }
    return SuiteOutputs(values: values)
  }

  // MARK: DAPO

  static func dapo(_ c: SuiteCase) throws -> SuiteOutputs {
    switch c.variant {
    case "soft_overlong":
      guard let limit = try c.integer("max_completion_len"), let buffer = try c.integer("soft_punish_cache") else {
        throw AttuneError.request("soft_overlong needs 'max_completion_len' and 'soft_punish_cache'")
      }
      let lengths = try c.integers("completion_lengths")
      return rewards(lengths.map { CompletionPenalties.softOverlong(length: $0, limit: limit, buffer: buffer) })
    case "repetition":
      let (n, most) = (try c.integer("ngram_size") ?? 3, try c.number("max_penalty") ?? -1)
      guard n >= 1, most <= 0 else {
        throw AttuneError.request("ngram_size is \(n) and max_penalty \(most), expected at least 1 and at most 0")
      }
      let completions = try c.integerLists("completion_ids")
      return rewards(completions.map { CompletionPenalties.repetition($0, n: n, most: most) })
    case "dynamic_sampling": return try dynamicSampling(c)
    default:
      let known = ["soft_overlong", "repetition", "dynamic_sampling"]
      throw AttuneError.request(
        "'\(c.variant)' is no piece of DAPO; available: \(known.joined(separator: ", "))",
        hint: nearestName(to: c.variant, among: known).map { "did you mean '\($0)'?" })
    }
  }

  private static func rewards(_ values: [Double]) -> SuiteOutputs {
    SuiteOutputs(values: [("rewards", SuiteTensor(.f64, [values.count], values).json)])
  }

  /// Rounds of rewards in; which completions fill the generation batch.
  private static func dynamicSampling(_ c: SuiteCase) throws -> SuiteOutputs {
    let size = try c.integer("num_generations") ?? 8
    let rounds = try c.tensors("rewards_per_round", rank: 2)
    let wanted = try c.integer("generation_batch_size") ?? rounds.first?.shape[0] ?? 0
    let weights = try c.numbers("reward_weights")
    guard size >= 2, wanted >= 0, rounds.allSatisfy({ $0.shape[0] % size == 0 }) else {
      throw AttuneError.request("num_generations is \(size), expected 2 or more in rounds made of whole groups")
    }
    var sampling = DynamicSampling(
      wanted: wanted / size + (wanted % size == 0 ? 0 : 1), rounds: try c.integer("max_resample_times") ?? 3)
    var masks: [JSON] = []
    var kept: [(round: Int, index: Int)] = []
    for (k, round) in rounds.enumerated() where sampling.isShort {
      let functions = round.shape[1]
      let totals = try RewardTotals(
        (0..<round.shape[0]).map { Array(round.data[$0 * functions..<($0 + 1) * functions]) },
        names: (0..<functions).map { "f\($0)" }, weights: weights
      ).values
      let groups = stride(from: 0, to: totals.count, by: size).map { Array(totals[$0..<$0 + size]) }
      let flags = groups.flatMap { [Double](repeating: DynamicSampling.hasSignal($0) ? 1 : 0, count: size) }
      masks.append(SuiteTensor(.bool, [flags.count], flags).json)
      for group in sampling.examine(groups) { kept += (group * size..<(group + 1) * size).map { (k, $0) } }
    }
    let isFilled = kept.count >= wanted
    let rows = isFilled ? Array(kept.prefix(wanted)) : (0..<min(wanted, rounds.first?.shape[0] ?? 0)).map { (0, $0) }
    func indices(_ values: [Int]) -> JSON { SuiteTensor(.i64, [values.count], values.map(Double.init)).json }
    return SuiteOutputs(values: [
      ("keep_mask_per_round", .array(masks)), ("rounds_used", .int(masks.count)), ("filled", .bool(isFilled)),
      ("selected_round", indices(rows.map(\.0))), ("selected_index", indices(rows.map(\.1))),
    ])
  }

  // MARK: KL estimates

  static func kl(_ c: SuiteCase) throws -> SuiteOutputs {
    let estimator: KLEstimator = try c.choice("estimator") ?? .k1
    let policy = try c.tensor("policy_logps", rank: 2)
    let reference = try c.tensor("ref_logps", shape: policy.shape)
    let mask = try c.tensor("completion_mask", shape: policy.shape).bools
    let count = Double(max(1, mask.reduce(0) { $1 ? $0 + 1 : $0 }))
    func perToken(_ value: (Double) -> Double) -> [Double] {
      mask.indices.map { mask[$0] ? value(policy.data[$0] - reference.data[$0]) : 0 }
    }
    let values = perToken(estimator.value)
    return SuiteOutputs(
      loss: values.reduce(0, +) / count,
      gradients: [("policy_logps", SuiteTensor(.f32, policy.shape, perToken { estimator.slope($0) / count }))],
      values: [("per_token_kl", SuiteTensor(.f32, policy.shape, values).json)])
  }

  // MARK: A reference that follows

  static func referenceSync(_ c: SuiteCase) throws -> SuiteOutputs {
    let reference = try c.tensor("ref")
    var weights = reference.floats
    ReferenceSync.mix(
      &weights, policy: try c.tensor("policy", shape: reference.shape).floats,
      alpha: try c.number("ref_model_mixup_alpha") ?? 0.6)
    return SuiteOutputs(values: [("ref_after", SuiteTensor(reference.shape, weights).json)])
  }
}
