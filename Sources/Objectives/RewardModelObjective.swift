import Core

/// The Bradley–Terry loss of a reward model (arXiv 1706.03741; 2307.09288, eq. 2): the chosen completion of a pair shall score
/// higher than the rejected one.
///
/// `mean(−logσ(c − j − margin)) + λ·mean((c + j)²)`, the second term (arXiv 2312.09244) keeping scores around 0.
public struct RewardModelObjective: ScoreObjective {
  public static let name = "reward"
  public static let summary = "a reward model: scores the chosen completion of a pair above the rejected one"
  public static let parameters: [ObjectiveParameter] = [
    .init(
      "center_rewards_coefficient", .number, .unset(meaning: "no such term"), in: .atLeast(0),
      "Weight of the term that keeps scores around 0; 0.01 is usual.")
  ]

  public let centering: Double?

  public init(_ settings: ObjectiveSettings) throws {
    centering = settings.optionalNumber("center_rewards_coefficient")
  }

  public func evaluate(scores: [Double], margins: [Double]?, pairs: Int) throws -> ScoreResult {
    guard scores.count % 2 == 0, margins.map({ $0.count == scores.count / 2 }) ?? true else {
      throw AttuneError.work("\(scores.count) scores and \(margins?.count ?? 0) margins are not of pairs")
    }
    let divisor = Double(max(1, pairs))
    var result = ScoreResult(loss: 0, gradients: [Double](repeating: 0, count: scores.count), metrics: [])
    var (wins, gap) = (0.0, 0.0)
    for k in 0..<scores.count / 2 {
      let (c, j) = (scores[2 * k], scores[2 * k + 1])
      let z = c - j - (margins?[k] ?? 0)
      let slope = PortableMath.sigmoid(-z) / divisor
      let pull = 2 * (centering ?? 0) * (c + j) / divisor
      result.loss += (-PortableMath.logSigmoid(z) + (centering ?? 0) * (c + j) * (c + j)) / divisor
      result.gradients[2 * k] = pull - slope
      result.gradients[2 * k + 1] = pull + slope
      if c > j { wins += 1 }
      gap += c - j
    }
    let (count, own) = (Double(max(1, scores.count)), Double(max(1, scores.count / 2)))
    result.metrics = [
      .init("min_reward", scores.min() ?? .nan, reduction: .lowest),
      .init("max_reward", scores.max() ?? .nan, reduction: .highest),
      .init("mean_reward", scores.reduce(0, +) / count, weight: own), .init("accuracy", wins / own, weight: own),
      .init("margin", gap / own, weight: own),
    ]
    return result
  }
}
