/// Penalties for what a completion looks like, whatever it says. As rewards they are the plugins `soft_overlong` and
/// `repetition`.
public enum CompletionPenalties {
  /// Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13): 0 up to `limit − buffer` tokens, then falling linearly to −1
  /// at `limit`, −1 beyond.
  ///
  /// - Parameters:
  ///   - length: tokens of the completion.
  ///   - buffer: over how many tokens it falls; 0 is a step.
  public static func softOverlong(length: Int, limit: Int, buffer: Int) -> Double {
    let free = Double(limit) - Double(buffer)
    if Double(length) <= free { return 0 }
    return length <= limit ? (free - Double(length)) / Double(buffer) : -1
  }

  /// Repetition penalty (arXiv 2502.03373, appendix C.2): `most · (1 − different n-grams / all n-grams)`; 0 for a completion
  /// shorter than `n`.
  ///
  /// - Parameters:
  ///   - n: how many tokens in a row are compared, at least 1.
  ///   - most: what endless repetition comes to, at most 0.
  public static func repetition(_ ids: [Int], n: Int, most: Double) -> Double {
    precondition(n >= 1, "n-grams of \(n) tokens")
    guard ids.count >= n else { return 0 }
    let all = (0...ids.count - n).map { ids[$0..<$0 + n] }
    let repeated = 1 - Double(Set(all).count) / Double(all.count)
    return repeated == 0 ? 0 : repeated * most
  }
}
