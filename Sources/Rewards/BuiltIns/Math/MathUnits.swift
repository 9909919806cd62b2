/// Takes off what does not change a value: units at the end, a label at the beginning, a full stop.
enum MathUnits {
  static func stripped(_ tokens: [MathToken]) -> [MathToken] {
    var tokens = tokens[...]
    while let last = tokens.last, last == .symbol(".") || last == .comma || last == .symbol(":") { tokens.removeLast() }
    stripEnd(&tokens)
    stripLabel(&tokens)
    return Array(tokens)
  }

  private static func isText(_ token: MathToken?) -> Bool { if case .text? = token { true } else { false } }

  /// `5 \text{ m}/\text{s}^2` is 5, and `20^\circ C` is 20°.
  private static func stripEnd(_ tokens: inout ArraySlice<MathToken>) {
    if case .letter(let letter)? = tokens.last, letter == "C" || letter == "F", tokens.count > 2 {
      let before = tokens.dropLast()
      if before.last == .command("circ") || before.suffix(2) == [.command("circ"), .symbol("}")] { tokens = before }
    }
    while true {
      var rest = tokens
      if case .number? = rest.last, rest.dropLast().last == .symbol("^") {
        rest = rest.dropLast(2)
      } else if rest.last == .symbol("}"), rest.count > 4, rest[rest.endIndex - 3] == .symbol("{"),
        rest[rest.endIndex - 4] == .symbol("^")
      {
        rest = rest.dropLast(4)
      }
      guard isText(rest.last) else { return }
      rest.removeLast()
      while let last = rest.last, last == .symbol("/") || last == .symbol("*") { rest.removeLast() }
      guard let last = rest.last, MathLexer.endsOperand(last) || isText(last) || last == .symbol("%"),
        rest.contains(where: { !isText($0) && !isBracket($0) })
      else { return }
      tokens = rest
    }
  }

  private static func isBracket(_ token: MathToken) -> Bool {
    token == .symbol("(") || token == .symbol(")") || token == .comma
  }

  /// `\text{Area: } 5` is 5.
  private static func stripLabel(_ tokens: inout ArraySlice<MathToken>) {
    guard isText(tokens.first), tokens.count > 1 else { return }
    var rest = tokens.drop(while: isText)
    if rest.first == .symbol(":") { rest = rest.dropFirst() }
    switch rest.first {
    case .number, .letter, .symbol("-"), .symbol("("), .symbol("["), .command("{"), .command("frac"), .command("sqrt"):
      tokens = rest
    default: break
    }
  }
}
