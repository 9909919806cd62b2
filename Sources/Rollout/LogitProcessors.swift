import AttuneTensor

/// The transforms between logits and the distribution that is sampled, in transformers' order.
///
/// Each works in place on one row `[vocabulary]`; a dropped id becomes −∞. Source: transformers'
/// `generation/logits_process.py`; the presence and frequency penalties are those of OpenAI's API.
public enum LogitProcessors {
  /// Over prompt and completion, once per id: positive logits are divided, negative ones multiplied (1909.05858).
  public static func repetitionPenalty(_ logits: inout [Float], ids: some Sequence<Int32>, _ penalty: Double) {
    for id in Set(ids) {
      let value = logits[Int(id)]
      logits[Int(id)] = value < 0 ? value * Float(penalty) : value / Float(penalty)
    }
  }

  /// Over generated ids only.
  public static func presenceAndFrequency(
    _ logits: inout [Float], generated: some Sequence<Int32>, presence: Double, frequency: Double
  ) {
    var counts: [Int32: Int] = [:]
    for id in generated { counts[id, default: 0] += 1 }
    for (id, count) in counts { logits[Int(id)] -= Float(presence + frequency * Double(count)) }
  }

  public static func temperature(_ logits: inout [Float], _ temperature: Double) {
    for i in logits.indices { logits[i] /= Float(temperature) }
  }

  /// Drops everything below the k-th largest value.
  public static func topK(_ logits: inout [Float], _ k: Int) {
    guard k > 0, k < logits.count else { return }
    let limit = logits.sorted(by: >)[k - 1]
    for i in logits.indices where logits[i] < limit { logits[i] = -.infinity }
  }

  /// Drops the least likely ids while their probability adds up to at most 1 − p; at least one stays (1904.09751).
  public static func topP(_ logits: inout [Float], _ p: Double) {
    guard p < 1 else { return }
    let probabilities = softmax(logits)
    let order = logits.indices.sorted { (probabilities[$0], $1) < (probabilities[$1], $0) }
    var sum = 0.0
    for i in order.dropLast() {
      sum += probabilities[i]
      guard sum <= 1 - p else { break }
      logits[i] = -.infinity
    }
  }

  /// Drops ids less probable than `share` of the likeliest (2407.01082).
  public static func minP(_ logits: inout [Float], _ share: Double) {
    guard share > 0 else { return }
    let probabilities = softmax(logits)
    let limit = share * (probabilities.max() ?? 0)
    for i in logits.indices where probabilities[i] < limit { logits[i] = -.infinity }
  }

  /// Probabilities in f64, summed with ascending ids.
  static func softmax(_ logits: [Float]) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    var values = logits.map { $0 == -.infinity ? 0 : PortableMath.exp(Double($0) - largest) }
    let sum = values.reduce(0, +)
    for i in values.indices { values[i] /= sum }
    return values
  }
}
