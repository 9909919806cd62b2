/// Where each token's text begins in a completion's raw text.
enum TokenOffsets {
  /// Tokens that are decoded at a time, at least.
  private static let window = 12

  /// The byte of `text` at which each token begins: always the first byte of a character. Tokens that share a character
  /// (its bytes are split over them) all begin where the character begins; a token that adds no text begins where the next
  /// one does.
  ///
  /// - Parameters:
  ///   - ids: the completion's tokens.
  ///   - text: all of them decoded.
  ///   - decode: of the tokenizer, special tokens kept.
  static func of(_ ids: [Int32], in text: String, decode: ([Int32]) -> String) -> [UInt32] {
    let raw = Array(text.utf8)
    var offsets: [UInt32] = []
    offsets.reserveCapacity(ids.count)
    // Tokens from `start` on are decoded; those before `measured` make the first `known` bytes of that and end at `base` of
    // the raw text. Decoders treat a text's first token in their own way, so the two share a begin.
    var (start, measured, known, base) = (0, 0, 0, 0)
    var last = 0
    for t in ids.indices {
      let decoded = Array(decode(Array(ids[start..<t])).utf8)
      var end = base
      var i = known
      while i < decoded.count, end < raw.count, decoded[i] == raw[end] { (i, end) = (i + 1, end + 1) }
      while end > 0, end < raw.count, raw[end] & 0xC0 == 0x80 { end -= 1 }
      // An unfinished character is decoded as U+FFFD and may share bytes with what follows.
      last = max(last, end)
      offsets.append(UInt32(clamping: last))
      if t - start >= 2 * window, i == decoded.count, end == last {
        start = measured
        measured = t
        known = decode(Array(ids[start..<t])).utf8.count
        base = last
      }
    }
    return offsets
  }
}
