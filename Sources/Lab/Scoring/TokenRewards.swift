import Rewards

/// What token and step rewards add to the advantages of a completion's tokens.
///
/// A token reward counts at its token. A step's reward counts at every token of the step, as a completion's advantage
/// counts at every token of the completion. Both are multiplied by the reward's token weight and compared with nothing:
/// what a reward wants centred it has to centre itself.
package enum TokenRewards {
  /// Outcomes as they count: those of samples with a score, unless the completion was cut off and its rule says that
  /// something else counts then.
  ///
  /// - Parameters:
  ///   - outcomes: one per rule, all about one completion.
  ///   - tokenCount: of the completion.
  ///   - policyMask: true where the policy wrote the token; nil: everywhere.
  /// - Returns: `[tokens]`, or nil where nothing is added.
  package static func sum(
    _ rules: [ScoringRule], _ outcomes: [RewardOutcome], tokenCount: Int, isTruncated: Bool, policyMask: [Bool]? = nil
  ) -> [Double]? {
    var sum: [Double]?
    func add(_ value: Double, at tokens: Range<Int>) {
      guard value != 0 else { return }
      var all = sum ?? [Double](repeating: 0, count: tokenCount)
      for t in tokens.clamped(to: 0..<tokenCount) where policyMask?[t] != false { all[t] += value }
      sum = all
    }
    for (rule, outcome) in zip(rules, outcomes) where rule.tokenWeight != 0 && outcome.status == .ok {
      if isTruncated, rule.truncation != .score { continue }
      for (t, reward) in (outcome.tokenRewards ?? []).enumerated() {
        add(rule.tokenWeight * Double(reward), at: t..<t + 1)
      }
      for step in outcome.stepRewards { add(rule.tokenWeight * step.value, at: step.tokens) }
    }
    return sum
  }
}
