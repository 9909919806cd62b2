/// An answer that was found in a text.
struct MathAnswer {
  /// As it was written, without the signs around it.
  var text: String
  /// Nil if it was not understood; it can still be equal as a text.
  var expression: MathExpression?
}

/// Where in a text an answer may stand.
struct MathCandidate {
  /// Parts joined by commas or "and".
  var parts: [String]
  /// A percent sign stands behind the last part.
  var isPercent = false
  var isPlain = false
  /// Bytes of the text.
  var range: Range<Int>

  var text: String { parts.joined(separator: ", ") }

  /// - Throws: `MathError` for what is no mathematics.
  func parsed() throws -> MathExpression {
    let expressions = try parts.map {
      isPlain ? try MathParser.parse(plain: $0) : try MathParser.parse(latex: $0)
    }
    let whole = expressions.count == 1 ? expressions[0] : MathExpression.list(expressions.flatMap(\.listed))
    return isPercent ? .percent(whole) : whole
  }
}

extension MathExpression {
  /// The elements of a list or a set, which join the list around it.
  fileprivate var listed: [MathExpression] {
    switch self {
    case .list(let elements), .set(let elements): elements
    default: [self]
    }
  }
}

/// Finds answers as Math-Verify does: patterns from the most specific to the most general, in each the last occurrence
/// first, and of all those the first that is understood.
enum MathAnswers {
  /// How many places are looked at before the search is given up.
  static let maximumCandidates = 24

  /// In text that nobody marked as an answer: LaTeX in a box, or behind "answer".
  static func anchored(_ text: String) -> MathAnswer? {
    let scan = MathScan(text)
    var ranked = scan.boxed.map { (priority: 0, candidate: $0) }
    ranked += scan.anchors.behind(scan.environments)
    return first(ranked)
  }

  /// In a reference, or between answer tags: all of the text, or LaTeX or a plain expression anywhere in it.
  static func anywhere(_ text: String) -> MathAnswer? {
    let trimmed = text.trimmedSpace
    guard !trimmed.isEmpty else { return nil }
    let scan = MathScan(trimmed)
    var fallback: MathAnswer?
    if scan.boxed.isEmpty, scan.environments.allSatisfy({ $0.isBare }), trimmed.utf8.count <= MathLexer.maximumLength {
      let isLatex = trimmed.utf8.contains { $0 == 0x5C || $0 == 0x5E || $0 == 0x5F || $0 == 0x7B }
      let whole = MathCandidate(parts: [trimmed], isPlain: !isLatex, range: 0..<trimmed.utf8.count)
      if let expression = try? whole.parsed() { return MathAnswer(text: trimmed, expression: expression) }
      // Not understood, but written in LaTeX from the first sign to the last.
      if isLatex, !trimmed.contains(" ") { fallback = MathAnswer(text: trimmed, expression: nil) }
    }
    let plain = MathPlainScan.candidates(trimmed)
    var ranked = scan.boxed.map { (priority: 50, candidate: $0) }
    ranked += scan.anchors.behind(scan.environments) + scan.anchors.behind(plain)
    ranked += (scan.environments.map(\.candidate) + plain).map { (priority: 300, candidate: $0) }
    return first(ranked) ?? fallback
  }

  private static func first(_ ranked: [(priority: Int, candidate: MathCandidate)]) -> MathAnswer? {
    let order = ranked.sorted {
      if $0.priority != $1.priority { return $0.priority < $1.priority }
      if $0.candidate.range.upperBound != $1.candidate.range.upperBound {
        return $0.candidate.range.upperBound > $1.candidate.range.upperBound
      }
      return $0.candidate.range.lowerBound < $1.candidate.range.lowerBound
    }
    var fallback: MathAnswer?
    for (_, candidate) in order.prefix(maximumCandidates) {
      if let expression = try? candidate.parsed() { return MathAnswer(text: candidate.text, expression: expression) }
      if fallback == nil, !candidate.text.isEmpty { fallback = MathAnswer(text: candidate.text, expression: nil) }
    }
    return fallback
  }
}
