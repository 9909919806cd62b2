import Core

extension DPO.Configuration {
  /// Checks every value and every combination.
  /// - Throws: `AttuneError` that names the key, its value and what it may be.
  public func validate() throws {
    guard !lossTypes.isEmpty else { throw AttuneError.request("loss_type is an empty list; it must name a loss") }
    if let lossWeights {
      guard lossWeights.count == lossTypes.count else {
        throw AttuneError.request(
          "loss_weights has \(lossWeights.count) values for \(lossTypes.count) entries of loss_type; "
            + "it must have one for each")
      }
      for weight in lossWeights where !weight.isFinite {
        throw AttuneError.request("loss_weights holds \(weight); a weight must be a finite number")
      }
    }
    for (key, value) in [("beta", beta), ("discopop_tau", discopopTemperature)] where !(value > 0 && value.isFinite) {
      throw AttuneError.request("\(key) is \(value); it must be a finite number above 0")
    }
    guard labelSmoothing >= 0, labelSmoothing < 1 else {
      throw AttuneError.request("label_smoothing is \(labelSmoothing); it must be at least 0 and below 1")
    }
    guard alpha.isFinite else {
      throw AttuneError.request("f_alpha_divergence_coef is \(alpha); it must be a finite number")
    }
    if let lengthDesensitization, !(0...1).contains(lengthDesensitization) {
      throw AttuneError.request("ld_alpha is \(lengthDesensitization); it must lie in 0 ... 1")
    }
    for type in lossTypes { try validateCombination(type) }
    guard labelSmoothing == 0 || lossTypes.contains(where: \.takesLabelSmoothing) else {
      let names = DPO.LossType.allCases.filter(\.takesLabelSmoothing).map(\.rawValue)
      throw AttuneError.request(
        "label_smoothing \(labelSmoothing) has no meaning with loss_type '\(lossTypes[0].rawValue)'",
        hint: "leave it at 0, or use one of \(names.joined(separator: ", ")); 'robust' is smoothed 'sigmoid', debiased")
    }
  }

  private func validateCombination(_ type: DPO.LossType) throws {
    let name = type.rawValue
    if divergence != .reverseKL, !type.takesDivergence {
      let names = DPO.LossType.allCases.filter(\.takesDivergence).map(\.rawValue)
      throw AttuneError.request(
        "f_divergence_type '\(divergence.rawValue)' can't be combined with loss_type '\(name)', whose formula has the "
          + "plain log-ratio", hint: "use 'reverse_kl', or one of \(names.joined(separator: ", "))")
    }
    if type == .exoPair, labelSmoothing == 0 {
      throw AttuneError.request(
        "loss_type 'exo_pair' needs a label_smoothing above 0; it is 0, whose logarithm the loss would take",
        hint: "0.001 is usual")
    }
    if type == .robust, labelSmoothing >= 0.5 {
      throw AttuneError.request(
        "loss_type 'robust' needs a label_smoothing below 0.5; it is \(labelSmoothing), and with half of the labels "
          + "flipped nothing can be learned from them")
    }
    if usesWeighting, type.sorts || type == .sft {
      throw AttuneError.request(
        "use_weighting can't be combined with loss_type '\(name)', which has no loss of a single pair to weigh",
        hint: "remove '\(name)' or use_weighting")
    }
  }
}
