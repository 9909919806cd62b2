import Core
import Rewards
import TestSupport
import Testing

@testable import Lab

/// Statistics of rewards beside numbers worked out by hand.
@Suite struct RewardSummaryTests {
  @Test func correlationsByHand() {
    // Deviations (−1.5, −0.5, 0.5, 1.5) and (−1, −2, 2, 1): covariance 5, variances 5 and 10.
    expectClose([Statistics.correlation([1, 2, 3, 4], [2, 1, 5, 4])], [5 / 50.0.squareRoot()], absolute: 1e-12)
    // Ranks 1, 2, 3, 4 and 2, 1, 4, 3: one minus six times four over sixty.
    expectClose([Statistics.rankCorrelation([1, 2, 3, 400], [2, 1, 5, 4])], [0.6], absolute: 1e-12)
    #expect(Statistics.ranks([5, 1, 5, 7]) == [2.5, 1, 2.5, 4])
    #expect(Statistics.correlation([1, 1, 1], [1, 2, 3]).isNaN)
    #expect(Statistics.correlation([], []).isNaN)
    // A pair with a hole is left out whole.
    expectClose([Statistics.correlation([1, 2, .nan, 3], [2, 4, 100, 6])], [1], absolute: 1e-12)
    // 0.1 is no sum of halves: what is left of it after rounding is no spread.
    #expect(Statistics.isFlat([0.1, 0.1 + 1e-16, 0.1]) && !Statistics.isFlat([0.1, 0.1001]))
    #expect(Statistics.median([3, .nan, 1, 2, 10]) == 2.5)
    expectClose([Statistics.robustDeviation([1, 2, 3, 4, 1000])], [1.4826], absolute: 1e-12)
  }

  /// Two groups of three; the second reward has a weight of 0.5 and no opinion on one completion.
  private func batch(normalizesFirst: Bool = false) -> RewardBatch {
    let right: [Double] = [1, 0, 0, 1, 1, 1]
    let form: [Double] = [0, 1, .nan, 1, 1, 0]
    return RewardBatch(
      groupSize: 3,
      columns: [
        .init(name: "right", weight: 1, scores: right, statuses: .init(repeating: .ok, count: 6)),
        .init(
          name: "form", weight: 0.5, scores: form, statuses: [.ok, .ok, .failed, .ok, .ok, .ok]),
        .init(
          name: "seen", weight: 0, scores: .init(repeating: .nan, count: 6),
          statuses: .init(repeating: .notApplicable, count: 6)),
      ],
      lengths: [10, 20, 30, 5, 5, 5], totals: [1, 0.5, 0, 1.5, 1.5, 1], normalizesFirst: normalizesFirst)
  }

  @Test func sharesAndMeansByHand() throws {
    let all = batch().summaries()
    let (right, form, seen) = (all[0], all[1], all[2])
    expectClose([right.mean, right.applicable, right.failed], [2 / 3.0, 1, 0], absolute: 1e-12)
    expectClose([form.mean, form.applicable, form.failed], [0.6, 5 / 6.0, 1 / 6.0], absolute: 1e-12)
    #expect(right.flat == 0.5 && form.flat == 0 && seen.flat.isNaN && seen.mean.isNaN && seen.applicable == 0)
    #expect(right.best == 0 && right.worst == 1 && form.best == 1 && form.worst == 0 && seen.best == nil)
    // Centred totals: ½, 0, −½ and ⅙, ⅙, −⅓: variance ⅔. The right one's part is ⅔, −⅓, −⅓ there, 0 in the second
    // group: covariance ½. The form's part is −⅙, ⅓, −⅙ and ⅙, ⅙, −⅓: covariance ⅙.
    expectClose([right.advantageShare, form.advantageShare], [0.75, 0.25], absolute: 1e-12)
    #expect(seen.advantageShare == 0)
    // Right falls with length in the first group; the second has neither spread.
    expectClose([right.lengthCorrelation], [-(10.0) / (200 * (2 / 3.0)).squareRoot()], absolute: 1e-12)
    #expect(right.pairs.map(\.name) == ["form", "seen"] && right.pairs[1].correlation.isNaN)
    let total = batch().totalSummary()
    #expect(total.highest == 1.5 && total.lowest == 0 && total.best == 3 && total.worst == 2 && total.applicable == 1)
  }

  @Test func sharesSumToOneHoweverRewardsAreCombined() {
    let random = Randomness(seed: 5, for: .testing)
    for normalizesFirst in [false, true] {
      for trial in 0..<20 {
        let columns = (0..<3).map { k in
          RewardBatch.Column(
            name: "r\(k)", weight: [1, 0.3, -2][k],
            scores: (0..<32).map { random.uniform(trial, k, $0) < 0.1 ? .nan : random.uniform(trial, k, $0, 1) },
            statuses: .init(repeating: .ok, count: 32))
        }
        let totals = (0..<32).map { row -> Double in
          let parts = columns.filter { !$0.scores[row].isNaN }
          return parts.isEmpty ? .nan : parts.reduce(0) { $0 + $1.weight * $1.scores[row] }
        }
        let batch = RewardBatch(
          groupSize: 8, columns: columns, lengths: .init(repeating: 3, count: 32), totals: totals,
          normalizesFirst: normalizesFirst)
        expectClose([batch.summaries().reduce(0) { $0 + $1.advantageShare }], [1], absolute: 1e-9)
      }
    }
  }
}
