import Core
import Datasets
import Rollout

/// How preference data is made of a policy's own completions: how they are sampled, and what their rewards decide.
public struct PreferenceSettings: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// A better and a worse completion a row.
    case pairs
    /// A completion a row, and whether it is desirable.
    case labels
  }

  /// Which two completions of a prompt make a pair.
  public enum Pairing: String, Sendable, CaseIterable {
    /// The best and the worst.
    case bestWorst = "best_worst"
    /// Every two with a difference.
    case all
  }

  public var kind: Kind = .pairs
  /// 0 takes all that the source has.
  public var prompts: Int = 0
  /// Of each prompt.
  public var completions: Int = 8
  public var maxNewTokens: Int = 512
  public var temperature: Double = 1
  /// 0 samples from all ids.
  public var topK: Int = 0
  public var topP: Double = 1
  public var minP: Double = 0
  public var pairing: Pairing = .bestWorst
  /// Least difference of the weighted rewards of a pair; whatever it is, equal rewards make none.
  public var margin: Double = 0
  /// Most pairs of a prompt, largest differences first; 0 has no limit.
  public var maxPairs: Int = 0
  /// Least weighted reward of a desirable completion.
  public var threshold: Double = 0.5
  /// Completions that hit the length limit are left out.
  public var dropsTruncated: Bool = true
  public var seed: UInt64 = 1

  public init() {}

  /// - Throws: `.request` naming the first value that cannot work.
  public func validate() throws {
    func require(_ holds: Bool, _ name: String, _ found: some Any, _ expected: String) throws {
      guard holds else { throw AttuneError.request("\(name) is \(found), expected \(expected)") }
    }
    let least = kind == .pairs ? 2 : 1
    try require(prompts >= 0, "prompts", prompts, "1 or more, or 0 for all")
    try require(completions >= least, "completions", completions, "\(least) or more")
    try require(temperature > 0 && temperature.isFinite, "temperature", temperature, "a number above 0")
    try require(margin >= 0 && margin.isFinite, "margin", margin, "0 or more")
    try require(maxPairs >= 0, "max_pairs", maxPairs, "1 or more, or 0 for no limit")
    try require(threshold.isFinite, "threshold", threshold, "a number")
    try sampling(stopIDs: []).validate()
  }

  /// How completions are drawn.
  func sampling(stopIDs: [Int32]) -> SamplingParameters {
    SamplingParameters(
      temperature: temperature, topK: topK, topP: topP, minP: minP, maxNewTokens: maxNewTokens, stopIDs: Set(stopIDs),
      logprobTemperature: temperature)
  }

  /// How many prompts of a source are sampled.
  ///
  /// - Throws: `.request` if the source never ends and no number is given, or if it has fewer.
  func promptCount(of source: any SampleSource, named name: String) throws -> Int {
    guard let available = source.count else {
      guard prompts > 0 else {
        throw AttuneError.request(
          "the data source '\(name)' never ends, so all of its prompts cannot be sampled",
          hint: "say how many: prompts, or count in the source")
      }
      return prompts
    }
    guard prompts <= available else {
      throw AttuneError.request(
        "\(prompts) prompts are asked for, expected at most \(available), which the data source '\(name)' has",
        hint: "0 takes all")
    }
    return prompts > 0 ? prompts : available
  }
}
