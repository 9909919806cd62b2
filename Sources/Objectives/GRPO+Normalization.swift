import Core

extension GRPO {
  /// What the sums of one micro-batch are divided by.
  public struct Normalization: Sendable, Equatable {
    /// `num_items_in_batch`: masked tokens of the whole generation batch over all ranks; nil counts this micro-batch.
    public var itemCount: Int?
    /// Rows over which row means are averaged; nil counts the rows given. Set it when a micro-batch comes in pieces.
    public var rowCount: Int?
    /// Masked tokens of the micro-batch, which `bnpo` divides by; nil counts those given. Set it when one comes in pieces.
    public var microBatchTokens: Int?
    /// Micro-batches in the present accumulation window.
    public var accumulationSteps: Int
    /// Micro-batches that the generation batch was split into.
    public var stepsPerGeneration: Int
    /// Ranks, whose gradients will be averaged.
    public var processCount: Int
    /// False in evaluation, which doesn't accumulate.
    public var isTraining: Bool

    public init(
      itemCount: Int? = nil, rowCount: Int? = nil, microBatchTokens: Int? = nil, accumulationSteps: Int = 1,
      stepsPerGeneration: Int = 1, processCount: Int = 1, isTraining: Bool = true
    ) {
      self.microBatchTokens = microBatchTokens
      self.itemCount = itemCount
      self.rowCount = rowCount
      self.accumulationSteps = accumulationSteps
      self.stepsPerGeneration = stepsPerGeneration
      self.processCount = processCount
      self.isTraining = isTraining
    }
  }
}

extension GRPO.Normalization {
  /// - Throws: `AttuneError` for counts below 1.
  func validate() throws {
    let counts = [
      ("accumulation steps", accumulationSteps), ("steps per generation", stepsPerGeneration),
      ("processes", processCount), ("rows", rowCount ?? 1),
    ]
    for (name, count) in counts where count < 1 {
      throw AttuneError.request("the number of \(name) is \(count); it must be at least 1")
    }
  }

  /// The accumulation factor; 1 in evaluation.
  var accumulation: Double { isTraining ? Double(accumulationSteps) : 1 }

  /// What token `ℓ` of a row with `length` masked tokens is divided by.
  ///
  /// Products of counts, exact in Double: pieces of a micro-batch get the very divisor of the whole.
  func divisor(
    _ lossType: GRPO.LossType, length: Int, streams: TokenStreams, maskedCount: Int, maxCompletionLength: Int
  ) -> Double {
    let rows = Double(rowCount ?? max(1, streams.rowCount))
    switch lossType {
    case .grpo, .sapo, .gmpo: return Double(max(1, length)) * rows * accumulation
    case .bnpo: return Double(max(1, microBatchTokens ?? maskedCount)) * accumulation
    case .drGRPO: return rows * Double(maxCompletionLength) * accumulation
    case .luspo: return rows * accumulation
    case .dapo, .cispo, .vespo:
      let items = Double(max(1, itemCount ?? maskedCount))
      guard isTraining else { return items / Double(processCount) }
      return items * Double(accumulationSteps) / (Double(processCount) * Double(stepsPerGeneration))
    }
  }

  /// What `policy_loss` multiplies the loss with: types divided by the accumulation steps are logged before that.
  func policyLossFactor(_ lossType: GRPO.LossType) -> Double {
    switch lossType {
    case .dapo, .cispo, .vespo: 1
    default: accumulation
    }
  }
}
