import Core

/// Is the completion's answer an integer?
struct IntegerCheckReward: BuiltInReward {
  static let name = "integer_check"
  static let summary = "1 if the completion's answer is an integer; needs no reference"
  static let parameters: [RewardParameter] = [
    .answerSpan,
    .bool("literal", default: true, "the answer has to be written as digits, rather than as an expression such as 6/2"),
  ]

  private let verifier: MathVerifier
  private let isLiteral: Bool

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    verifier = MathVerifier(answerSpan: try reader.choice("answer_span", MathVerifier.AnswerSpan.self))
    isLiteral = reader.flag("literal")
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    // All of the text is the answer where nothing marks one.
    let answer =
      verifier.answer(sample.completion, prefix: sample.generationPrefix)
      ?? MathAnswer(text: sample.completion.trimmedSpace, expression: nil)
    let isInteger = isLiteral ? Self.isLiteral(answer.text) : value(answer)?.isInteger == true
    return RewardOutcome(
      score: isInteger ? 1 : 0, status: .ok,
      log: answer.text.isEmpty ? "no answer" : "\(answer.text.quoted()) is \(isInteger ? "an" : "no") integer")
  }

  private func value(_ answer: MathAnswer) -> Rational? {
    (answer.expression ?? (try? MathParser.parse(plain: answer.text))).flatMap(MathExact.value)
  }

  /// A sign and digits, in groups of three or not.
  static func isLiteral(_ text: String) -> Bool {
    guard let tokens = try? MathLexer.tokens(text, isPlain: true) else { return false }
    let digits = tokens.first == .symbol("-") || tokens.first == .symbol("+") ? tokens.dropFirst() : tokens[...]
    guard digits.count == 1, case .number(let number)? = digits.first else { return false }
    return !number.contains(".")
  }
}
