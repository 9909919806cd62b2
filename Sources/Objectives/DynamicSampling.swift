/// Which groups of a step are trained on where only those with signal count (DAPO, 2503.14476, eq. 11).
///
/// A group is kept if its rewards differ by more than rounding. Kept groups fill the step in the order in which they come; once it is
/// full, further ones are left out. After the last round a step that is not full is trained on its first round unchanged.
public struct DynamicSampling: Sendable {
  /// Groups of a step.
  public let wanted: Int
  /// Rounds that are examined at most, the first included.
  public let rounds: Int
  /// Of every round that was examined, per group its completions' weighted rewards `ρ`; NaN where none applies.
  public private(set) var rewards: [[[Double]]] = []
  private var kept = 0

  public init(wanted: Int, rounds: Int) {
    self.wanted = wanted
    self.rounds = rounds
  }

  /// True while another round is to be sampled.
  public var isShort: Bool { kept < wanted && rewards.count < rounds }

  /// True if the weighted rewards of a group differ by more than rounding.
  static func hasSignal(_ group: [Double]) -> Bool { !Spread(group).isFlat }

  /// Takes note of a round.
  ///
  /// - Parameter round: per group the weighted reward of each completion; NaN where none applies.
  /// - Returns: the groups of the round that fill the step.
  public mutating func examine(_ round: [[Double]]) -> [Int] {
    rewards.append(round)
    let chosen = Array(round.indices.filter { Self.hasSignal(round[$0]) }.prefix(max(0, wanted - kept)))
    kept += chosen.count
    return chosen
  }

  /// All examined groups.
  private var groups: [[Double]] { rewards.flatMap { $0 } }
  private var flat: [[Double]] { groups.filter { !Self.hasSignal($0) } }

  /// `dynamic_sampling/rounds`; `kept`, groups that fill the step; `flat_share` of the examined groups; `reward`, the mean over every
  /// completion that was sampled, which that of the completions trained on is not.
  public var metrics: [ObjectiveResult.Metric] {
    [
      .init("dynamic_sampling/rounds", Double(rewards.count)), .init("dynamic_sampling/kept", Double(kept)),
      .init("dynamic_sampling/flat_share", Double(flat.count) / Double(max(1, groups.count))),
      .init("dynamic_sampling/reward", Spread(groups.flatMap { $0 }).mean),
    ]
  }

  /// Why the first round is trained on unchanged: what the flat groups have in common; nil if the step is full.
  public var shortage: String? {
    guard kept < wanted, !isShort else { return nil }
    let flat = self.flat
    let unscored = flat.count { Spread($0).count == 0 }
    let means = flat.map { Spread($0).mean }.filter { !$0.isNaN }
    let counts = Dictionary(means.map { ($0, 1) }, uniquingKeysWith: +).sorted {
      ($1.value, $0.key) < ($0.value, $1.key)
    }
    let shown = 4
    var parts = counts.prefix(shown).map { "\($0.value) with all rewards \(Self.short($0.key))" }
    let others = counts.dropFirst(shown).reduce(0) { $0 + $1.value }
    if others > 0 { parts.append("\(others) at other values") }
    if unscored > 0 { parts.append("\(unscored) unscored") }
    return "dynamic sampling found \(kept) of \(wanted) groups with signal among \(groups.count) in \(rewards.count) "
      + "round\(rewards.count == 1 ? "" : "s"), so the first round is trained on as it is; flat were \(flat.count): "
      + parts.joined(separator: ", ")
  }

  /// Four digits behind the point at most.
  private static func short(_ x: Double) -> String {
    guard abs(x) < 1e9 else { return "\(x)" }
    let rounded = (x * 1e4).rounded() / 1e4
    return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
  }
}
