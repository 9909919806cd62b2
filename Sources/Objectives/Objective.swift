import Core

/// A training objective: log-probabilities, masks, scores in; a loss and its closed-form gradient out.
///
/// A pure value made of its hyper-parameters: no model, no file, no loop. What it learns from is said by the protocol that
/// it conforms to: `SupervisedObjective`, `PairObjective`, `UnpairedObjective`, `ScoreObjective` or `PolicyObjective`.
public protocol Objective: Sendable {
  /// The word that recipes and suites name it by.
  static var name: String { get }
  /// What it does, one line.
  static var summary: String { get }
  /// Its hyper-parameters: keys of its section in a recipe, and of `config` in a suite.
  static var parameters: [ObjectiveParameter] { get }

  /// - Throws: `AttuneError` for combinations that have no meaning, beginning with a parameter's name.
  init(_ settings: ObjectiveSettings) throws

  /// What it reads of the policy's distribution at each token beside the log-probability.
  var statistics: Set<TokenStatistic> { get }
  /// True if it reads log-probabilities of the reference model.
  var usesReference: Bool { get }
  /// True if what a row adds to the loss depends on the other rows of its step: the loss is then evaluated once on the streams
  /// of the whole step, however many micro-batches those come from.
  var needsWholeStep: Bool { get }
  /// Refuses settings that can be computed but not learned from; suites compute them all the same.
  ///
  /// - Throws: `AttuneError` that begins with a parameter's name.
  func checkForTraining() throws
  /// Takes note of a step that is done.
  ///
  /// - Parameters:
  ///   - tallies: the sum of the step's `ObjectiveResult.tallies`.
  ///   - memory: what the objective keeps from step to step, by name, changed to what the next step shall find. It belongs
  ///     into checkpoints; empty at first.
  func finishStep(_ tallies: [String: Double], _ memory: inout [String: Double])
}

extension Objective {
  public var statistics: Set<TokenStatistic> { [] }
  public var usesReference: Bool { false }
  public var needsWholeStep: Bool { false }
  public func checkForTraining() throws {}
  public func finishStep(_ tallies: [String: Double], _ memory: inout [String: Double]) {}

  /// The objective with the hyper-parameters that a mapping gives.
  ///
  /// - Parameter isLenient: pass over parameters that the others leave without meaning.
  public static func make(_ given: JSON.Object = JSON.Object(), isLenient: Bool = false) throws -> Self {
    try Self(ObjectiveSettings(given, of: parameters, isLenient: isLenient))
  }
}

/// What can be had of a distribution at a token, beside its log-probability, from one pass of the head.
public enum TokenStatistic: Sendable, Hashable {
  /// Entropy, nats.
  case entropy
  case logSumExp
  /// Mean logit over the vocabulary.
  case meanLogit
  /// log Σ p².
  case logSumSquaredProbs
  /// Whether the token is the likeliest one.
  case isTop1
}

/// What the sums of a step are divided by, counted over all of its micro-batches: so that any cut of a step into
/// micro-batches adds up to the same loss and the same gradients.
public struct StepTotals: Sendable, Equatable {
  /// Sequences; of pairs chosen and rejected ones.
  public var rows: Int
  /// Tokens that the loss sees.
  public var tokens: Int
  /// Those of them that are in chosen completions.
  public var chosenTokens: Int
  /// Tokens of the prompts of pairs that are predicted, each prompt once.
  public var promptTokens: Int

  public init(rows: Int, tokens: Int, chosenTokens: Int = 0, promptTokens: Int = 0) {
    self.rows = rows
    self.tokens = tokens
    self.chosenTokens = chosenTokens
    self.promptTokens = promptTokens
  }

  /// What one batch holds that is not cut. Rows of pairs are chosen and rejected by turns.
  public init(of streams: TokenStreams) {
    rows = streams.rowCount
    tokens = streams.maskedCount
    chosenTokens = stride(from: 0, to: streams.rowCount, by: 2).reduce(0) { $0 + streams.maskedCount(inRow: $1) }
    promptTokens = streams.prompts?.mask.reduce(0) { $1 ? $0 + 1 : $0 } ?? 0
  }

  public var pairs: Int { rows / 2 }
}

/// Learns from completions to imitate.
public protocol SupervisedObjective: Objective {
  /// - Parameters:
  ///   - streams: one row per sequence, the mask true at targets.
  ///   - totals: of the whole step.
  func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult
}

/// Learns from pairs: a chosen and a rejected completion of a prompt.
public protocol PairObjective: Objective {
  /// True if the prompts' own tokens are targets too.
  var scoresPrompts: Bool { get }
  /// - Parameters:
  ///   - streams: rows `2k` and `2k + 1` are the chosen and the rejected completion of pair `k`.
  ///   - totals: of the whole step.
  func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult
}

extension PairObjective {
  public var scoresPrompts: Bool { false }
}

/// Learns from single completions that are said to be desirable or not.
public protocol UnpairedObjective: Objective {
  /// True if it wants, for every prompt, the log-ratio of another prompt's completion.
  var usesMismatched: Bool { get }
  /// What a person should know of so many labels of each kind; nil if nothing.
  func remark(desirable: Int, undesirable: Int) -> String?
  /// - Parameters:
  ///   - streams: one row per completion.
  ///   - desirable: one per row.
  ///   - mismatchedLogRatios: `Σ m·(x − r)` of the step's mismatched completions; empty unless `usesMismatched`.
  ///   - totals: of the whole step.
  ///   - memory: what the objective keeps from step to step, as it stood when the step began.
  func evaluate(
    _ streams: TokenStreams, desirable: [Bool], mismatchedLogRatios: [Double], _ totals: StepTotals,
    _ memory: [String: Double]
  ) throws -> ObjectiveResult
}

extension UnpairedObjective {
  public func remark(desirable: Int, undesirable: Int) -> String? { nil }
}

/// Learns to score: one number per completion, of pairs.
public protocol ScoreObjective: Objective {
  /// - Parameters:
  ///   - scores: `2N`, of chosen and rejected completions by turns.
  ///   - margins: by how much the chosen one should win, one per pair.
  ///   - pairs: of the whole step.
  /// - Returns: the loss, one gradient per score, metrics.
  func evaluate(scores: [Double], margins: [Double]?, pairs: Int) throws -> ScoreResult
}

/// What a `ScoreObjective` returns.
public struct ScoreResult: Sendable {
  public var loss: Double
  /// d loss / d score.
  public var gradients: [Double]
  public var metrics: [ObjectiveResult.Metric]

  public init(loss: Double, gradients: [Double], metrics: [ObjectiveResult.Metric]) {
    self.loss = loss
    self.gradients = gradients
    self.metrics = metrics
  }
}
