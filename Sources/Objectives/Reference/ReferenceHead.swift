/// Logits to token streams and back, one row of logits at a time and all in Double: the slow truth that a fused head is
/// compared with.
///
/// Transforms in order: `c·tanh(z/c)` with a final soft-cap, then division by the temperature.
public struct ReferenceHead: Sendable {
  public var temperature: Double
  /// `final_logit_softcapping`.
  public var softcap: Double?

  public init(temperature: Double = 1, softcap: Double? = nil) {
    self.temperature = temperature
    self.softcap = softcap
  }

  /// What the head knows of one token.
  public struct Token: Sendable, Equatable {
    public var logprob: Double
    public var entropy: Double
    public var logSumExp: Double
    public var meanLogit: Double
    /// log Σ p².
    public var logSumSquaredProbs: Double
    /// True if no logit is above the token's.
    public var isTop1: Bool
  }

  /// The streams' values at one position.
  ///
  /// - Parameters:
  ///   - logits: raw logits over the vocabulary.
  ///   - label: the token present, an index into `logits`.
  public func token(logits: ArraySlice<Double>, label: Int) -> Token {
    let z = transformed(logits)
    precondition(z.indices.contains(label), "label \(label) of a vocabulary of \(z.count)")
    let largest = z.reduce(-.infinity) { Swift.max($0, $1) }
    let sum = z.reduce(0.0) { $0 + PortableMath.exp($1 - largest) }
    let logSumExp = largest + PortableMath.log(sum)
    var entropy = 0.0
    var squares = 0.0
    for value in z {
      let logp = value - logSumExp
      let p = PortableMath.exp(logp)
      if p > 0 { entropy -= p * logp }
      squares += PortableMath.exp(2 * (value - largest))
    }
    return Token(
      logprob: z[label] - logSumExp, entropy: entropy, logSumExp: logSumExp,
      meanLogit: z.reduce(0, +) / Double(z.count),
      logSumSquaredProbs: PortableMath.log(squares) + 2 * (largest - logSumExp), isTop1: z[label] == largest)
  }

  /// Adds d loss / d logits of one position to `result`, from d loss / d stream.
  public func addGradient(
    to result: inout ArraySlice<Double>, logits: ArraySlice<Double>, label: Int, logprob: Double, entropy: Double = 0,
    logSumExp: Double = 0, meanLogit: Double = 0
  ) {
    let z = transformed(logits)
    let token = token(logits: logits, label: label)
    for (v, value) in z.enumerated() {
      let logp = value - token.logSumExp
      let p = PortableMath.exp(logp)
      var g = logprob * ((v == label ? 1 : 0) - p) + logSumExp * p + meanLogit / Double(z.count)
      if p > 0 { g -= entropy * p * (logp + token.entropy) }
      var slope = 1 / temperature
      if let softcap {
        let t = PortableMath.tanh(logits[logits.startIndex + v] / softcap)
        slope *= 1 - t * t
      }
      result[result.startIndex + v] += g * slope
    }
  }

  private func transformed(_ logits: ArraySlice<Double>) -> [Double] {
    logits.map { logit in (softcap.map { $0 * PortableMath.tanh(logit / $0) } ?? logit) / temperature }
  }
}
