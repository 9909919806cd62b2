import Core

extension GRPO.Configuration {
  /// Checks every value and every combination.
  /// - Throws: `AttuneError` that names the key, its value and what it may be.
  public func validate() throws {
    for (key, value) in [("epsilon", epsilon), ("epsilon_high", upperEpsilon), ("beta", beta)] {
      guard value >= 0, value.isFinite else {
        throw AttuneError.request("\(key) is \(value); it must be a finite number of at least 0")
      }
    }
    if let delta, !(delta > 0) {
      throw AttuneError.request(
        "delta is \(delta); it bounds a ratio and must be positive", hint: "take more than 1 + epsilon_high")
    }
    guard topEntropyQuantile >= 0, topEntropyQuantile <= 1 else {
      throw AttuneError.request("top_entropy_quantile is \(topEntropyQuantile); it must lie in 0 ... 1")
    }
    guard entropyCoefficient.isFinite else {
      throw AttuneError.request("entropy_coef is \(entropyCoefficient); it must be a finite number")
    }
    guard maxCompletionLength >= 1 else {
      throw AttuneError.request("max_completion_length is \(maxCompletionLength); it must be at least 1")
    }
    let temperatures = [
      ("sapo_temperature_pos", sapoTemperaturePositive), ("sapo_temperature_neg", sapoTemperatureNegative),
    ]
    for (key, value) in temperatures where !(value > 0 && value.isFinite) {
      throw AttuneError.request("\(key) is \(value); it must be a positive number")
    }
    if let threshold = offPolicyMaskThreshold, threshold.isNaN {
      throw AttuneError.request("off_policy_mask_threshold is not a number")
    }
    try adaptiveEntropy?.validate()
    try samplerCorrection?.validate()
    try validateCombinations()
  }

  private func validateCombinations() throws {
    if lossType == .vespo, let mode = samplerCorrection?.mode, mode.isSequenceLevel {
      throw AttuneError.request(
        "loss_type 'vespo' weighs sequences itself and takes no sampler_correction_mode '\(mode.rawValue)'",
        hint: "use 'token_truncate' or 'token_mask'")
    }
    guard lossType == .gmpo else { return }
    let clashes: [(String, Bool)] = [
      ("importance_sampling_level", importanceLevel != .token), ("delta", delta != nil),
      ("off_policy_mask_threshold", offPolicyMaskThreshold != nil), ("sampler_correction", samplerCorrection != nil),
      ("entropy_coef", hasEntropyBonus),
    ]
    for case (let key, true) in clashes {
      throw AttuneError.request(
        "loss_type 'gmpo' takes no \(key)", hint: "remove \(key), or use loss_type 'grpo' with its reduction")
    }
  }
}

extension Advantages {
  /// - Throws: `AttuneError` if there isn't one value per row, or per token.
  func validate(_ streams: TokenStreams) throws {
    switch self {
    case .perRow(let values):
      guard values.count == streams.rowCount else {
        throw AttuneError.work("\(values.count) advantages for \(streams.rowCount) completions")
      }
    case .perToken(let values):
      guard values.count == streams.tokenCount else {
        throw AttuneError.work("\(values.count) token advantages for \(streams.tokenCount) tokens")
      }
    }
  }

  /// The advantage of token `t` in row `row`.
  func value(row: Int, token t: Int) -> Double {
    switch self {
    case .perRow(let values): values[row]
    case .perToken(let values): values[t]
    }
  }

  var isPerRow: Bool { if case .perRow = self { true } else { false } }
}
