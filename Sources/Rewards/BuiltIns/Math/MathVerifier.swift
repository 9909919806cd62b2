/// Whether a completion's answer is a reference's: what the rewards of this folder share.
struct MathVerifier: Sendable {
  /// Which `<answer>...</answer>` counts.
  enum AnswerSpan: String, Sendable, CaseIterable { case last, first, none }

  var answerSpan: AnswerSpan

  /// What was compared.
  struct Verdict {
    /// The rule by which the answer is right, or nil.
    var rule: MathRule?
    /// Nil if the completion gives none.
    var answer: MathAnswer?
    /// The one that matched, or the first.
    var reference: MathAnswer

    var isRight: Bool { rule != nil }

    /// One line for people.
    var log: String {
      let wanted = reference.text.quoted(120)
      guard let answer else { return "no answer, expected \(wanted)" }
      let found = answer.text.quoted(120)
      return rule.map { "\($0.rawValue): \(found) is \(wanted)" } ?? "\(found) is not \(wanted)"
    }
  }

  /// - Parameters:
  ///   - completion: the policy's own text.
  ///   - prefix: what the template wrote before it.
  /// - Returns: nil if no reference is mathematics.
  /// - Throws: `MathError` if a reference cannot be compared.
  func verdict(completion: String, prefix: String, references: [String]) throws -> Verdict? {
    let references = references.compactMap(reference)
    guard let first = references.first else { return nil }
    guard let answer = answer(completion, prefix: prefix) else {
      return Verdict(rule: nil, answer: nil, reference: first)
    }
    var failure: MathError?
    for reference in references {
      do {
        if let rule = try rule(reference, answer) { return Verdict(rule: rule, answer: answer, reference: reference) }
      } catch let error as MathError {
        failure = failure ?? error
      }
    }
    if let failure { throw failure }
    return Verdict(rule: nil, answer: answer, reference: first)
  }

  /// The answer that a completion gives.
  func answer(_ completion: String, prefix: String) -> MathAnswer? {
    if let span = span(prefix + completion) { return MathAnswers.anywhere(span) }
    return MathAnswers.anchored(completion)
  }

  func reference(_ text: String) -> MathAnswer? { MathAnswers.anywhere(span(text) ?? text, firstMatch: true) }

  /// The content of the answer tags that count.
  func span(_ text: String) -> String? {
    switch answerSpan {
    case .none: nil
    case .last: AnswerTags.last(text)
    case .first: AnswerTags.first(text)
    }
  }

  /// Whether two answers are equal.
  func rule(_ reference: MathAnswer, _ answer: MathAnswer) throws -> MathRule? {
    let wanted = MathNormalization.string(reference.text)
    let found = MathNormalization.string(answer.text)
    let isSameText = !wanted.isEmpty && wanted == found
    guard let a = reference.expression, let b = answer.expression else { return isSameText ? .string : nil }
    // Without spaces a list may look like a number.
    if isSameText, a.isCollection == b.isCollection {
      // The same text is equal whatever it means; of numbers it is said which kind they are.
      if let a = MathExact.value(a) { return a.isInteger ? .integer : .rational }
      return .string
    }
    var comparison = MathComparison()
    if let rule = try comparison.rule(a, b) { return rule }
    // The comma is a decimal point where the other side has one.
    if b.isCollection, let number = Self.decimalComma(answer.text), a.isDecimalNumber,
      try comparison.rule(a, number) != nil
    {
      return .decimalComma
    }
    if a.isCollection, let number = Self.decimalComma(reference.text), b.isDecimalNumber,
      try comparison.rule(number, b) != nil
    {
      return .decimalComma
    }
    return nil
  }

  /// `3,14` as 3.14.
  private static func decimalComma(_ text: String) -> MathExpression? {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[1].isEmpty, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
      return nil
    }
    return try? MathParser.parse(plain: parts.joined(separator: "."))
  }
}

extension MathExpression {
  fileprivate var isDecimalNumber: Bool { if case .number(let number) = self { number.isDecimal } else { false } }
}
