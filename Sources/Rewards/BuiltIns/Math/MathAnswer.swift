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
    let expressions = try parts.map { try isPlain ? MathParser.parse(plain: $0) : Self.latex($0) }
    let whole = expressions.count == 1 ? expressions[0] : MathExpression.list(expressions.flatMap(\.listed))
    return isPercent ? .percent(whole) : whole
  }
}

extension MathCandidate {
  /// All of the text, or what its last equals sign says about a left side that is not understood.
  private static func latex(_ text: String) throws -> MathExpression {
    do { return try MathParser.parse(latex: text) } catch {
      var depth = 0
      var sign: String.UTF8View.Index?
      var before: UInt8 = 0
      for i in text.utf8.indices {
        let byte = text.utf8[i]
        switch byte {
        case 0x7B: depth += 1
        case 0x7D: depth -= 1
        case 0x2C where depth == 0, 0x3B where depth == 0:
          // Of a list, no element is left out.
          if before != 0x5C { throw error }
        case 0x3D where depth == 0 && !"\\<>!".utf8.contains(before): sign = i
        default: break
        }
        before = byte
      }
      guard let sign else { throw error }
      let right = try MathParser.parse(latex: String(text[text.utf8.index(after: sign)...]))
      return .relation([.symbol("?"), right], [.equal])
    }
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
  ///
  /// - Parameter firstMatch: the first place is the answer whether it is understood or not.
  static func anywhere(_ text: String, firstMatch: Bool = false) -> MathAnswer? {
    let trimmed = text.trimmedSpace
    guard !trimmed.isEmpty else { return nil }
    let scan = MathScan(trimmed)
    if scan.boxed.isEmpty, scan.environments.allSatisfy({ $0.isBare }), trimmed.utf8.count <= MathLexer.maximumLength {
      let isLatex = trimmed.utf8.contains { $0 == 0x5C || $0 == 0x5E || $0 == 0x5F || $0 == 0x7B }
      let whole = MathCandidate(parts: [trimmed], isPlain: !isLatex, range: 0..<trimmed.utf8.count)
      if let expression = try? whole.parsed() { return MathAnswer(text: trimmed, expression: expression) }
      // LaTeX that is not understood is not the number that may be in it.
      if isLatex, !hasWords(trimmed) { return MathAnswer(text: trimmed, expression: nil) }
    }
    let latex = (scan.boxed.map(\.range) + scan.environments.map(\.candidate.range)).sorted {
      $0.lowerBound < $1.lowerBound
    }
    let plain = outside(latex, MathPlainScan.candidates(trimmed))
    var ranked = scan.boxed.map { (priority: 50, candidate: $0) }
    ranked += scan.anchors.behind(scan.environments) + scan.anchors.behind(plain)
    ranked += (scan.environments.map(\.candidate) + plain).map { (priority: 300, candidate: $0) }
    return first(ranked, firstMatch: firstMatch)
  }

  /// Four letters or more that are no command.
  private static func hasWords(_ text: String) -> Bool {
    var run = 0
    var isCommand = false
    for byte in text.utf8 {
      if byte == 0x5C {
        (run, isCommand) = (0, true)
      } else if byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A {
        run += 1
        if run >= 4, !isCommand { return true }
      } else {
        (run, isCommand) = (0, false)
      }
    }
    return false
  }

  /// The candidates that touch none of the ranges; both in ascending order.
  private static func outside(_ ranges: [Range<Int>], _ candidates: [MathCandidate]) -> [MathCandidate] {
    var next = 0
    return candidates.filter { candidate in
      while next < ranges.count, ranges[next].upperBound <= candidate.range.lowerBound { next += 1 }
      return next == ranges.count || !ranges[next].overlaps(candidate.range)
    }
  }

  private static func first(
    _ ranked: [(priority: Int, candidate: MathCandidate)], firstMatch: Bool = false
  ) -> MathAnswer? {
    let order = ranked.sorted {
      if $0.priority != $1.priority { return $0.priority < $1.priority }
      if $0.candidate.range.upperBound != $1.candidate.range.upperBound {
        return $0.candidate.range.upperBound > $1.candidate.range.upperBound
      }
      return $0.candidate.range.lowerBound < $1.candidate.range.lowerBound
    }
    var fallback: MathAnswer?
    for (_, candidate) in order.prefix(firstMatch ? 1 : maximumCandidates) {
      if let expression = try? candidate.parsed() { return MathAnswer(text: candidate.text, expression: expression) }
      if fallback == nil, !candidate.text.isEmpty { fallback = MathAnswer(text: candidate.text, expression: nil) }
    }
    return fallback
  }
}
