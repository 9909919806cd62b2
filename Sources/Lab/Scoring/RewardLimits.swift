import Core
import Rewards

extension Recipe.RewardLimits {
  /// Looks whether rewards went so wrong that training on makes no sense.
  ///
  /// - Parameters:
  ///   - outcomes: `[reward][completion]`.
  ///   - occasion: what the samples are of, in words.
  /// - Throws: `AttuneError` (work) naming the reward, the shares and what its outcomes mostly say.
  package func check(
    _ rules: [ScoringRule], _ outcomes: [[RewardOutcome]], _ matrix: RewardMatrix, occasion: String
  ) throws {
    for (rule, outcomes) in zip(rules, outcomes) where !outcomes.isEmpty {
      let failed = outcomes.filter(\.isFailure)
      guard Double(failed.count) > maxFailed * Double(outcomes.count) else { continue }
      throw AttuneError.work(
        "reward \(rule.name) failed on \(failed.count) of \(outcomes.count) samples of \(occasion), more than reward_limits.max_failed = \(maxFailed) allows; most often: \(commonestLog(of: failed))",
        hint: "repair the reward and go on with the run, or raise the limit")
    }
    let unscored = matrix.isUnscored.filter { $0 }.count
    guard Double(unscored) > maxUnscored * Double(matrix.values.count) else { return }
    let silent = zip(rules, outcomes).filter { rule, _ in rule.weight != 0 || !rule.components.isEmpty }
    let words = silent.map { rule, outcomes in
      "\(rule.name): \(commonestLog(of: outcomes.filter { $0.status != .ok }))"
    }
    throw AttuneError.work(
      "no reward scored \(unscored) of \(matrix.values.count) samples of \(occasion), more than reward_limits.max_unscored = \(maxUnscored) allows (\(words.joined(separator: "; ")))",
      hint: "add a reward that has an opinion on such samples, or raise the limit")
  }
}

/// What outcomes say most often in their logs; the earliest among equals.
package func commonestLog(of outcomes: [RewardOutcome]) -> String {
  var counts: [String: Int] = [:]
  var order: [String] = []
  for outcome in outcomes {
    let text = outcome.log.isEmpty ? outcome.status.rawValue : outcome.log
    if counts[text] == nil { order.append(text) }
    counts[text, default: 0] += 1
  }
  var best: String?
  for text in order where counts[text, default: 0] > best.map({ counts[$0, default: 0] }) ?? 0 { best = text }
  return best ?? "nothing"
}
