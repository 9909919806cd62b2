import Core
import Rewards

/// The outcomes of every reward about every completion as numbers, one column per score and per weighted component.
///
/// What decides an entry, in this order: a reward without an opinion says nothing (NaN); a completion that hit the length
/// limit counts what the rule's `truncation` says; a failure counts what its `failure` says; a score is clipped. NaN is
/// never replaced by a number. Components are taken as they are from samples with a score, and say nothing elsewhere.
package struct RewardMatrix: Sendable {
  /// What a column holds.
  package struct Column: Sendable, Equatable {
    /// The reward's name, or `NAME.COMPONENT`.
    package let name: String
    package let weight: Double
    /// Index of the reward.
    package let reward: Int
    /// nil: the score.
    package let component: String?
  }

  package let columns: [Column]
  /// `[completion][column]`; NaN says nothing.
  package let values: [[Double]]
  /// By reward: completions whose score was clipped.
  package let clipped: [Int]

  /// - Parameters:
  ///   - outcomes: `[reward][completion]`.
  ///   - finishReasons: one per completion.
  /// - Throws: `AttuneError` (work) if a sample failed whose rule says abort.
  package init(_ rules: [ScoringRule], outcomes: [[RewardOutcome]], finishReasons: [FinishReason]) throws {
    precondition(rules.count == outcomes.count, "\(outcomes.count) rewards' outcomes for \(rules.count) rules")
    for column in outcomes {
      precondition(
        column.count == finishReasons.count, "\(column.count) outcomes of \(finishReasons.count) completions")
    }
    columns = RewardMatrix.columns(of: rules)
    var clipped = [Int](repeating: 0, count: rules.count)
    var rows = [[Double]](repeating: [], count: finishReasons.count)
    for (k, rule) in rules.enumerated() {
      try rule.refuseAborting(outcomes[k], finishReasons)
      for (row, outcome) in outcomes[k].enumerated() {
        let isCut = finishReasons[row] == .length && rule.truncation != .score
        var value = rule.value(outcome, isCut: isCut)
        if !isCut, outcome.status == .ok, let clip = rule.clip, !value.isNaN, !clip.contains(value) {
          value = min(max(value, clip.lowerBound), clip.upperBound)
          clipped[k] += 1
        }
        rows[row].append(value)
        for component in rule.components {
          let found = outcome.components.first { $0.name == component.name }?.value
          rows[row].append(!isCut && outcome.status == .ok ? found.flatMap { $0.isFinite ? $0 : nil } ?? .nan : .nan)
        }
      }
    }
    values = rows
    self.clipped = clipped
  }

  /// The columns that rules make: each reward's score, then its weighted components.
  package static func columns(of rules: [ScoringRule]) -> [Column] {
    rules.enumerated().flatMap { k, rule in
      [Column(name: rule.name, weight: rule.weight, reward: k, component: nil)]
        + rule.components.map {
          Column(name: "\(rule.name).\($0.name)", weight: $0.weight, reward: k, component: $0.name)
        }
    }
  }

  /// Columns with a weight: what training compares.
  package var weighted: [Int] { columns.indices.filter { columns[$0].weight != 0 } }

  /// `[completion][weighted column]`.
  package var weightedValues: [[Double]] {
    let chosen = weighted
    return values.map { row in chosen.map { row[$0] } }
  }

  /// True for completions about which no column with a weight says anything: they leave their group.
  package var isUnscored: [Bool] {
    let chosen = weighted
    return values.map { row in chosen.allSatisfy { row[$0].isNaN } }
  }

  /// The weighted sum over the columns that say something; nil if none with a weight does.
  package func total(_ completion: Int) -> Double? {
    var sum = 0.0
    var applies = false
    for k in columns.indices where columns[k].weight != 0 && !values[completion][k].isNaN {
      sum += columns[k].weight * values[completion][k]
      applies = true
    }
    return applies ? sum : nil
  }
}

extension ScoringRule {
  fileprivate func value(_ outcome: RewardOutcome, isCut: Bool) -> Double {
    if outcome.status == .notApplicable { return .nan }
    if isCut {
      if case .value(let value) = truncation { return value }
      return .nan
    }
    guard outcome.isFailure else { return outcome.score ?? .nan }
    if case .value(let value) = failure { return value }
    return .nan
  }

  fileprivate func refuseAborting(_ outcomes: [RewardOutcome], _ finishReasons: [FinishReason]) throws {
    guard failure == .abort else { return }
    let failed = outcomes.indices.filter {
      outcomes[$0].isFailure && (finishReasons[$0] != .length || truncation == .score)
    }
    guard let first = failed.first else { return }
    let outcome = outcomes[first]
    throw AttuneError.work(
      "reward \(name) failed on \(failed.count) of \(outcomes.count) samples, first on sample \(first) (\(outcome.status.rawValue)): \(outcome.log)",
      hint: "the recipe says on_failure: abort; skip leaves such samples out, and a fixed value lets the run go on too")
  }
}
