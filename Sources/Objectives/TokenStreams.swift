import Core

/// The numbers of one micro-batch that an objective reads: flat streams with one value per token, no padding.
///
/// Row `i` (a sequence, a completion) is the tokens `rowOffsets[i] ..< rowOffsets[i + 1]`. The value at a token is the
/// one that scores *that* token. Four different models' logprobs meet here and never share a name:
/// *policy* (the weights being trained, the only stream that receives a gradient), *old* (the weights at generation
/// time, scored by the trainer), *sampling* (what the sampler drew from) and *reference* (the frozen model).
///
/// Values where `mask` is false may be anything, infinities and NaN included: they are never read.
public struct TokenStreams: Sendable {
  /// Where each row begins, and at the end the number of tokens: `rowCount + 1` ascending values, the first 0.
  public var rowOffsets: [Int]
  /// True at tokens that the loss sees: a target of SFT, a token that the policy wrote.
  public var mask: [Bool]
  /// Log-probability of the token under the policy, in nats.
  public var policyLogprobs: [Float]
  /// Entropy of the policy's distribution at the token, in nats.
  public var entropies: [Float]?
  /// Log-sum-exp of the policy's logits at the token.
  public var logSumExps: [Float]?
  /// Mean of the policy's logits over the vocabulary at the token.
  public var meanLogits: [Float]?
  /// log Σ p² of the policy's distribution at the token.
  public var logSumSquaredProbs: [Float]?
  /// True where the token is the policy's most probable one.
  public var isTop1: [Bool]?
  /// Log-probability under the policy as it was when the completions were generated; nil means "the policy itself".
  public var oldLogprobs: [Float]?
  /// Log-probability that the sampler recorded; NaN where it recorded none.
  public var samplingLogprobs: [Float]?
  /// Log-probability under the frozen reference model.
  public var referenceLogprobs: [Float]?
  /// What the policy's value head says of the state before the token.
  public var values: [Float]?
  /// The prompts' own tokens.
  public var prompts: PromptStreams?

  public init(
    rowOffsets: [Int], mask: [Bool], policyLogprobs: [Float], entropies: [Float]? = nil, logSumExps: [Float]? = nil,
    meanLogits: [Float]? = nil, logSumSquaredProbs: [Float]? = nil, isTop1: [Bool]? = nil,
    oldLogprobs: [Float]? = nil, samplingLogprobs: [Float]? = nil, referenceLogprobs: [Float]? = nil,
    values: [Float]? = nil, prompts: PromptStreams? = nil
  ) {
    self.rowOffsets = rowOffsets
    self.mask = mask
    self.policyLogprobs = policyLogprobs
    self.entropies = entropies
    self.logSumExps = logSumExps
    self.meanLogits = meanLogits
    self.logSumSquaredProbs = logSumSquaredProbs
    self.isTop1 = isTop1
    self.oldLogprobs = oldLogprobs
    self.samplingLogprobs = samplingLogprobs
    self.referenceLogprobs = referenceLogprobs
    self.values = values
    self.prompts = prompts
  }

  public var rowCount: Int { max(0, rowOffsets.count - 1) }
  public var tokenCount: Int { policyLogprobs.count }

  /// The tokens of row `i`.
  public func row(_ i: Int) -> Range<Int> { rowOffsets[i]..<rowOffsets[i + 1] }

  /// How many tokens of row `i` the loss sees.
  public func maskedCount(inRow i: Int) -> Int { row(i).reduce(0) { mask[$1] ? $0 + 1 : $0 } }

  /// How many tokens the loss sees.
  public var maskedCount: Int { mask.reduce(0) { $1 ? $0 + 1 : $0 } }

  /// The offsets of rows with these lengths.
  public static func offsets(ofLengths lengths: [Int]) -> [Int] {
    var offsets = [0]
    offsets.reserveCapacity(lengths.count + 1)
    var sum = 0
    for length in lengths {
      sum += length
      offsets.append(sum)
    }
    return offsets
  }

  /// Checks that the rows cover the tokens and that every stream has one value per token.
  /// - Throws: `AttuneError` that names the stream that does not fit.
  public func validate() throws {
    guard rowOffsets.first == 0, rowOffsets.last == tokenCount, zip(rowOffsets, rowOffsets.dropFirst()).allSatisfy(<=)
    else {
      throw AttuneError.work("the rows of a token batch must ascend from 0 to its \(tokenCount) tokens")
    }
    let counts: [(String, Int?)] = [
      ("mask", mask.count), ("entropies", entropies?.count), ("log-sum-exps", logSumExps?.count),
      ("mean logits", meanLogits?.count), ("log Σp²", logSumSquaredProbs?.count), ("is-top-1", isTop1?.count),
      ("old logprobs", oldLogprobs?.count), ("sampling logprobs", samplingLogprobs?.count),
      ("reference logprobs", referenceLogprobs?.count), ("values", values?.count),
    ]
    for case (let name, let count?) in counts where count != tokenCount {
      throw AttuneError.work("the stream '\(name)' has \(count) values for \(tokenCount) tokens")
    }
    try prompts?.validate()
  }

  /// Puts the rows of another batch behind these. A stream that either lacks is dropped.
  public mutating func append(_ other: TokenStreams) {
    func joined<T>(_ a: [T]?, _ b: [T]?) -> [T]? {
      guard let a, let b else { return nil }
      return a + b
    }
    let first = tokenCount
    rowOffsets += other.rowOffsets.dropFirst().map { $0 + first }
    mask += other.mask
    policyLogprobs += other.policyLogprobs
    entropies = joined(entropies, other.entropies)
    logSumExps = joined(logSumExps, other.logSumExps)
    meanLogits = joined(meanLogits, other.meanLogits)
    logSumSquaredProbs = joined(logSumSquaredProbs, other.logSumSquaredProbs)
    isTop1 = joined(isTop1, other.isTop1)
    oldLogprobs = joined(oldLogprobs, other.oldLogprobs)
    samplingLogprobs = joined(samplingLogprobs, other.samplingLogprobs)
    referenceLogprobs = joined(referenceLogprobs, other.referenceLogprobs)
    values = joined(values, other.values)
    if let more = other.prompts { prompts?.append(more) } else { prompts = nil }
  }

  /// The stream, or an error that says who needed it.
  func required<T>(_ stream: [T]?, _ name: String, by user: String) throws -> [T] {
    guard let stream else { throw AttuneError.work("\(user) needs the stream '\(name)', which was not given") }
    return stream
  }

  /// Mean of a stream over the tokens that the loss sees; 0 if there are none.
  func maskedMean(_ stream: [Float]) -> Double { maskedMean(stream, rows: 0..<rowCount) }

  /// Mean of a stream over the tokens that the loss sees in these rows; 0 if there are none.
  func maskedMean(_ stream: [Float], rows: some Sequence<Int>) -> Double {
    var sum = 0.0
    var count = 0
    for i in rows {
      for t in row(i) where mask[t] {
        sum += Double(stream[t])
        count += 1
      }
    }
    return count == 0 ? 0 : sum / Double(count)
  }
}

/// The numbers of the prompts of a micro-batch: one row per prompt, one value per token that has one before it.
///
/// Values where `mask` is false may be anything: they are never read.
public struct PromptStreams: Sendable {
  /// Where each prompt begins, and at the end the number of tokens.
  public var rowOffsets: [Int]
  /// True at tokens that the loss sees; places of pictures are not among them.
  public var mask: [Bool]
  /// Log-probability of the token under the policy, in nats.
  public var policyLogprobs: [Float]

  public init(rowOffsets: [Int], mask: [Bool], policyLogprobs: [Float]) {
    self.rowOffsets = rowOffsets
    self.mask = mask
    self.policyLogprobs = policyLogprobs
  }

  public var rowCount: Int { max(0, rowOffsets.count - 1) }
  public var tokenCount: Int { policyLogprobs.count }

  /// The tokens of row `i`.
  public func row(_ i: Int) -> Range<Int> { rowOffsets[i]..<rowOffsets[i + 1] }

  /// Puts the prompts of another batch behind these.
  mutating func append(_ other: PromptStreams) {
    let first = tokenCount
    rowOffsets += other.rowOffsets.dropFirst().map { $0 + first }
    mask += other.mask
    policyLogprobs += other.policyLogprobs
  }

  /// - Throws: `AttuneError` if the rows do not cover the tokens, or the mask has another length.
  public func validate() throws {
    guard rowOffsets.first == 0, rowOffsets.last == tokenCount, zip(rowOffsets, rowOffsets.dropFirst()).allSatisfy(<=),
      mask.count == tokenCount
    else {
      throw AttuneError.work(
        "prompts with \(tokenCount) tokens have rows up to \(rowOffsets.last ?? 0) and \(mask.count) mask values")
    }
  }
}
