import Core

/// The numbers game: does the equation use each given number once and come to the target?
struct CountdownReward: BuiltInReward {
  static let name = "countdown"
  static let summary = "1 if the answer's equation uses exactly the given numbers, each once, and comes to the target"
  static let parameters: [RewardParameter] = [
    .answerSpan,
    .number("format_credit", default: 0, in: 0...1, "the score of a well-formed equation that is wrong"),
  ]

  static let columns = ["target"]

  /// Columns that hold the numbers, the first that is there.
  private static let numberColumns = ["numbers", "nums"]

  private let span: MathVerifier.AnswerSpan
  private let formatCredit: Double

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    span = try reader.choice("answer_span", MathVerifier.AnswerSpan.self)
    formatCredit = reader.number("format_credit")
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    guard let column = Self.numberColumns.lazy.compactMap({ sample.columns[$0] }).first(where: { !$0.isNull }) else {
      return .none(.notApplicable, "the sample has no column 'numbers' or 'nums'")
    }
    guard let list = column.array, !list.isEmpty else {
      return .none(.invalid, "the column of numbers is \(column.text().quoted()), a list of numbers was expected")
    }
    let given = list.compactMap(Self.rational)
    guard given.count == list.count else {
      return .none(.invalid, "the numbers are \(column.text().quoted()), a list of numbers was expected")
    }
    guard let wanted = sample.columns["target"], !wanted.isNull else {
      return .none(.notApplicable, "the sample has no column 'target'")
    }
    guard let target = Self.rational(wanted) else {
      return .none(.invalid, "the target is \(wanted.text().quoted()), a number was expected")
    }
    let text = equation(sample)
    guard let text, !text.isEmpty else { return RewardOutcome(score: 0, status: .ok, log: "no equation") }
    var outcome = judged(text, given, target)
    outcome.notes = [("equation", text)]
    return outcome
  }

  /// The answer span, or the last box; with the left side alone where the right one repeats the target.
  private func equation(_ sample: RewardSample) -> String? {
    let verifier = MathVerifier(answerSpan: span)
    let text = sample.generationPrefix + sample.completion
    return (verifier.span(text) ?? BoxedAnswer.last(in: sample.completion))?.trimmedSpace
  }

  private func judged(_ text: String, _ given: [Rational], _ target: Rational) -> RewardOutcome {
    func wrong(_ words: String, credit: Double) -> RewardOutcome {
      RewardOutcome(score: credit, status: .ok, log: words)
    }
    let expression: MathExpression
    do {
      let isLatex = text.contains("\\")
      expression = isLatex ? try MathParser.parse(latex: text) : try MathParser.parse(plain: text)
    } catch { return wrong("\(text.quoted()) is no equation: \(error)", credit: 0) }
    var left = expression
    if case .relation(let operands, let relations) = expression, relations == [.equal] {
      guard let right = MathExact.value(operands[1]), right == target else {
        return wrong("the right side of \(text.quoted()) is not \(target)", credit: 0)
      }
      left = operands[0]
    }
    guard let numbers = Self.numbers(in: text, given) else {
      return wrong("\(text.quoted()) holds something besides numbers and + - * / ( )", credit: 0)
    }
    guard numbers.sorted() == given.sorted() else {
      return wrong("\(text.quoted()) does not use each of \(Self.list(given)) once", credit: formatCredit)
    }
    guard let value = MathExact.value(left) else { return wrong("\(text.quoted()) has no value", credit: formatCredit) }
    guard value == target else { return wrong("\(text.quoted()) is \(value), not \(target)", credit: formatCredit) }
    return RewardOutcome(score: 1, status: .ok, log: "\(text.quoted()) is \(target)")
  }

  /// The numbers of the left side, as they are written: `1/2` is two numbers. Nil for anything but the four operations.
  private static func numbers(in text: String, _ given: [Rational]) -> [Rational]? {
    guard let tokens = try? MathLexer.tokens(text, isPlain: !text.contains("\\")) else { return nil }
    var numbers: [Rational] = []
    for token in tokens {
      switch token {
      case .number(let digits):
        guard let number = Rational(decimal: digits) else { return nil }
        numbers.append(number)
      case .symbol("="): return numbers
      case .symbol(let sign): if !"+-*/:(){}[]".contains(sign) { return nil }
      case .command("frac"): break
      default: return nil
      }
    }
    return numbers
  }

  private static func rational(_ json: JSON) -> Rational? {
    if let whole = json.int { return Rational(whole) }
    guard let text = json.string ?? json.double.map({ "\($0)" }),
      let value = (try? MathParser.parse(plain: text)).flatMap(MathExact.value)
    else { return nil }
    return value
  }

  private static func list(_ numbers: [Rational]) -> String { numbers.map(\.description).joined(separator: ", ") }
}
