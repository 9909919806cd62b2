/// Edits of one row of logits `[vocabulary]`, in place; a forbidden id becomes −∞.
///
/// `Sampler` applies them in transformers' order: sequence bias, repetition penalty, presence and frequency penalties,
/// n-gram ban, minimum length, suppressed ids, temperature; then the truncations of `Candidates`.
/// Source: transformers' `generation/logits_process.py`; the presence and frequency penalties are those of OpenAI's API.
public enum LogitProcessors {
  /// Adds each bias to the last id of its sequence, if the ids before that one are the newest of the history.
  ///
  /// A sequence longer than the history is left out, as transformers does.
  public static func sequenceBias(_ logits: inout [Float], _ history: TokenHistory, _ biases: [SequenceBias]) {
    for bias in biases {
      let prefix = bias.ids.dropLast()
      guard let last = bias.ids.last, prefix.isEmpty || bias.ids.count <= history.count,
        logits.indices.contains(Int(last)), history.suffix(prefix.count).elementsEqual(prefix)
      else { continue }
      logits[Int(last)] += Float(bias.bias)
    }
  }

  /// Once per id: positive logits are divided, negative ones multiplied (1909.05858).
  public static func repetitionPenalty(_ logits: inout [Float], ids: some Sequence<Int32>, _ penalty: Double) {
    var seen = [UInt64](repeating: 0, count: (logits.count + 63) / 64)
    for id in ids {
      let word = Int(id) >> 6
      let bit: UInt64 = 1 << (UInt64(id) & 63)
      if seen[word] & bit != 0 { continue }
      seen[word] |= bit
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

  /// Forbids every id that would repeat `size` ids in a row that the history already has; 0 forbids none.
  public static func noRepeatNGram(_ logits: inout [Float], _ history: TokenHistory, size: Int) {
    guard size > 0, history.count + 1 >= size else { return }
    let prefix = Array(history.suffix(size - 1))
    for end in stride(from: size - 1, to: history.count, by: 1) {
      var place = 0
      while place < prefix.count, history[end - prefix.count + place] == prefix[place] { place += 1 }
      if place == prefix.count { logits[Int(history[end])] = -.infinity }
    }
  }

  /// Forbids the ids; those outside the vocabulary are nothing to forbid.
  public static func suppress(_ logits: inout [Float], _ ids: some Sequence<Int32>) {
    for id in ids where logits.indices.contains(Int(id)) { logits[Int(id)] = -.infinity }
  }

  public static func temperature(_ logits: inout [Float], _ temperature: Double) {
    for i in logits.indices { logits[i] /= Float(temperature) }
  }
}

/// What is added to the logit of a sequence's last id when the ids before it have just been generated or prompted.
public struct SequenceBias: Sendable, Equatable {
  /// One id (always biased) or several.
  public var ids: [Int32]
  /// Positive makes the sequence likelier; −∞ forbids it.
  public var bias: Double

  public init(ids: [Int32], bias: Double) {
    self.ids = ids
    self.bias = bias
  }
}
