import Core
import Testing

@testable import Lab

/// Which completions become pairs: ties, margins, limits, and what is said where there are none.
@Suite struct PreferenceSelectionTests {
  private func candidates(_ rewards: [Double]) -> [PreferenceSelection.Candidate] {
    rewards.enumerated().map { .init(index: $0, reward: $1) }
  }

  private func indices(_ rewards: [Double], _ change: (inout PreferenceSettings) -> Void = { _ in }) -> [[Int]] {
    var settings = PreferenceSettings()
    change(&settings)
    return PreferenceSelection.pairs(candidates(rewards), settings).pairs.map { [$0.chosen.index, $0.rejected.index] }
  }

  private func reason(_ rewards: [Double], margin: Double = 0) -> PreferenceCounts.Reason? {
    var settings = PreferenceSettings()
    settings.margin = margin
    return PreferenceSelection.pairs(candidates(rewards), settings).reason
  }

  @Test func theBestWithTheWorst() {
    #expect(indices([0.5, 1, 0.25, 0.75]) == [[1, 2]])
    // Of equals the lowest index, on both sides.
    #expect(indices([0, 1, 1, 0]) == [[1, 0]])
    #expect(indices([0.5, 0, 0, 0.5]) == [[0, 1]])
    #expect(indices([-1, -2]) == [[0, 1]])
  }

  @Test func everyTwo() {
    // Largest differences first, then the lowest indices.
    #expect(indices([0, 1, 3]) { $0.pairing = .all } == [[2, 0], [2, 1], [1, 0]])
    #expect(indices([1, 0, 1, 0]) { $0.pairing = .all } == [[0, 1], [0, 3], [2, 1], [2, 3]])
    #expect(
      indices([0, 1, 3]) {
        $0.pairing = .all
        $0.maxPairs = 2
      } == [[2, 0], [2, 1]])
    #expect(
      indices([0, 1, 3]) {
        $0.pairing = .all
        $0.margin = 2
      } == [[2, 0], [2, 1]])
  }

  @Test func equalRewardsMakeNoPair() {
    #expect(reason([1, 1, 1]) == .equal && indices([1, 1, 1]).isEmpty)
    #expect(indices([1, 1]) { $0.pairing = .all }.isEmpty)
    #expect(reason([1, 0.5], margin: 0.5) == nil)
    #expect(reason([1, 0.5], margin: 0.75) == .belowMargin)
    #expect(reason([1, 1], margin: 0.75) == .equal)
    #expect(reason([0, 1]) == nil)
  }

  /// The reason is what left too few completions, in the order in which they are looked at.
  @Test func shortages() {
    typealias Kind = PreferenceSettings.Kind
    #expect(Kind.pairs.shortage(of: 4, [:]) == nil)
    #expect(Kind.pairs.shortage(of: 4, [.truncated: 2]) == nil)
    #expect(Kind.pairs.shortage(of: 4, [.truncated: 3]) == .truncated)
    #expect(Kind.pairs.shortage(of: 4, [.truncated: 2, .repeated: 1]) == .repeated)
    #expect(Kind.pairs.shortage(of: 4, [.unscored: 4]) == .unscored)
    #expect(Kind.labels.shortage(of: 4, [.truncated: 3]) == nil)
    #expect(Kind.labels.shortage(of: 4, [.truncated: 3, .otherTokens: 1]) == .otherTokens)
  }

  @Test func countsInWords() throws {
    var counts = PreferenceCounts(kind: .pairs)
    (counts.prompts, counts.completions, counts.rows) = (8, 32, 3)
    counts.leftOut = [.repeated: 6, .truncated: 2]
    counts.nothing = [.equal: 4, .truncated: 1]
    #expect(counts.usedPrompts == 3)
    #expect(counts.summary == "3 pairs of 8 prompts (32 completions)")
    #expect(counts.line == counts.summary + "; none of 5 prompts (hit the length limit: 1, all rewards equal: 4)")
    let lines = counts.text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
    #expect(lines.contains(["hit", "the", "length", "limit", "2", "1"]))
    #expect(lines.contains(["all", "rewards", "equal", "4"]))
    #expect(
      counts.json == [
        "kind": "pairs", "rows": 3, "prompts": 8, "prompts_used": 3, "completions": 32,
        "completions_left_out": ["truncated": 2, "repeated": 6],
        "prompts_without_rows": ["truncated": 1, "equal": 4],
      ])
    var labels = PreferenceCounts(kind: .labels)
    (labels.prompts, labels.completions, labels.rows, labels.desirable) = (2, 8, 7, 5)
    #expect(labels.summary == "7 labels, 5 desirable and 2 not, of 2 prompts (8 completions)")
    #expect(labels.text == labels.summary + "\n")
    #expect(labels.json["undesirable"]?.int == 2)
  }

  @Test func settingsThatCannotWork() {
    func refused(_ fragments: String, _ change: (inout PreferenceSettings) -> Void) {
      var settings = PreferenceSettings()
      change(&settings)
      let error = #expect(throws: AttuneError.self) { try settings.validate() }
      #expect(error?.kind == .request && error?.message.contains(fragments) == true, "\(error?.message ?? "")")
    }
    refused("completions is 1, expected 2 or more") { $0.completions = 1 }
    refused("temperature is 0.0") { $0.temperature = 0 }
    refused("margin is -1.0") { $0.margin = -1 }
    refused("margin is nan") { $0.margin = .nan }
    refused("top_p is 0.0") { $0.topP = 0 }
    refused("max_new_tokens is 0") { $0.maxNewTokens = 0 }
    refused("prompts is -1") { $0.prompts = -1 }
    var labels = PreferenceSettings()
    (labels.kind, labels.completions) = (.labels, 1)
    #expect(throws: Never.self) { try labels.validate() }
  }
}
