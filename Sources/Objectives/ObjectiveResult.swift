/// What every objective returns: the loss, its closed-form gradient for each token stream it read, and its metrics.
public struct ObjectiveResult: Sendable {
  /// A number for the log, under the name that the field knows it by.
  public struct Metric: Sendable, Equatable {
    public var name: String
    /// NaN where the batch has nothing to say; such entries are skipped when a log line averages.
    public var value: Double
    /// Of how many items it is the mean, so that micro-batches can be averaged; nil: of the tokens that the loss sees.
    public var weight: Double?
    /// What the values of a step's micro-batches come to together.
    public var reduction: Reduction

    public enum Reduction: Sendable {
      /// The mean, by weight.
      case mean
      case sum, lowest, highest
    }

    public init(_ name: String, _ value: Double, weight: Double? = nil, reduction: Reduction = .mean) {
      self.name = name
      self.value = value
      self.weight = weight
      self.reduction = reduction
    }
  }

  /// What backward is called on, in nats.
  public var loss: Double
  public var gradients: StreamGradients
  /// In a fixed order, each name once.
  public var metrics: [Metric]
  /// Sums and counts that the objective wants to see of the whole step, see `Objective.finishStep`.
  public var tallies: [String: Double] = [:]

  public init(loss: Double, gradients: StreamGradients, metrics: [Metric]) {
    self.loss = loss
    self.gradients = gradients
    self.metrics = metrics
  }

  /// The metric of that name.
  public subscript(metric name: String) -> Double? { metrics.first { $0.name == name }?.value }
}

/// d loss / d stream, one value per token and exactly 0 where the mask is false; nil where the loss does not depend on
/// the stream at all.
public struct StreamGradients: Sendable {
  /// For the policy's logprobs.
  public var logprob: [Float]
  public var entropy: [Float]?
  public var logSumExp: [Float]?
  public var meanLogit: [Float]?
  /// For the values of the policy's value head.
  public var value: [Float]?
  /// For the policy's logprobs of the prompts' tokens, one value per token of `PromptStreams`.
  public var promptLogprob: [Float]?

  public init(
    logprob: [Float], entropy: [Float]? = nil, logSumExp: [Float]? = nil, meanLogit: [Float]? = nil,
    value: [Float]? = nil, promptLogprob: [Float]? = nil
  ) {
    self.logprob = logprob
    self.entropy = entropy
    self.logSumExp = logSumExp
    self.meanLogit = meanLogit
    self.value = value
    self.promptLogprob = promptLogprob
  }

  /// The gradients of some of the tokens.
  ///
  /// - Parameter prompts: which of the prompts' tokens.
  public func slice(_ tokens: Range<Int>, prompts: Range<Int>) -> StreamGradients {
    StreamGradients(
      logprob: Array(logprob[tokens]), entropy: entropy.map { Array($0[tokens]) },
      logSumExp: logSumExp.map { Array($0[tokens]) }, meanLogit: meanLogit.map { Array($0[tokens]) },
      value: value.map { Array($0[tokens]) }, promptLogprob: promptLogprob.map { Array($0[prompts]) })
  }
}

extension ObjectiveResult {
  /// A loss of 0 without gradients and metrics, to be added to.
  init(tokens: Int) {
    self.init(loss: 0, gradients: StreamGradients(logprob: [Float](repeating: 0, count: tokens)), metrics: [])
  }
}
