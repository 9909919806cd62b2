extension MathParser {
  mutating func number(_ digits: String) throws -> MathExpression {
    if digits.contains("."), current == .command("overline") {
      at += 1
      return try repeating(digits)
    }
    guard let value = Rational(decimal: digits) else {
      throw MathError("the number \(digits.prefix(20))... is too long")
    }
    let number = MathExpression.number(MathNumber(value: value, isDecimal: digits.contains(".")))
    guard current == .symbol("_") else { return number }
    at += 1
    return .function(.based, [number, try nested { try $0.argument() }])
  }

  /// `0.1\overline{6}`, exactly.
  private mutating func repeating(_ digits: String) throws -> MathExpression {
    let period = try spelled()
    guard !period.isEmpty, period.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let start = Rational(decimal: digits),
      let point = digits.firstIndex(of: "."), let value = Rational(decimal: period),
      let shift = Rational(10).power(digits.distance(from: point, to: digits.endIndex) - 1),
      let nines = Rational(10).power(period.count)?.minus(.one), let scale = shift.times(nines),
      let tail = value.divided(by: scale), let sum = start.plus(tail)
    else { throw MathError("a period that is no number") }
    return .number(MathNumber(value: sum))
  }

  /// `2\frac{1}{3}` and `2 1/3`.
  mutating func mixedNumber() throws -> MathExpression? {
    guard case .number(let whole) = current, !whole.contains("."), let value = Rational(decimal: whole) else {
      return nil
    }
    var end = at + 1
    var parts: [Rational] = []
    if end < tokens.count, tokens[end] == .command("frac") {
      // Looked at without parsing, so that nothing is parsed twice.
      end += 1
      for _ in 0..<2 {
        let isGroup = end < tokens.count && tokens[end] == .symbol("{")
        if isGroup { end += 1 }
        guard end < tokens.count, case .number(let digits) = tokens[end] else { return nil }
        if !isGroup, digits.count == 2, parts.isEmpty {
          parts = digits.compactMap { Rational(decimal: String($0)) }
        } else {
          guard let part = Rational(decimal: digits) else { return nil }
          parts.append(part)
        }
        end += 1
        if isGroup {
          guard end < tokens.count, tokens[end] == .symbol("}") else { return nil }
          end += 1
        }
        if parts.count == 2 { break }
      }
    } else if end + 2 < tokens.count, case .number(let a) = tokens[end], tokens[end + 1] == .symbol("/"),
      case .number(let b) = tokens[end + 2]
    {
      parts = [a, b].compactMap { Rational(decimal: $0) }
      end += 3
    }
    guard parts.count == 2, parts.allSatisfy(\.isInteger), let fraction = parts[0].divided(by: parts[1]),
      let sum = value.plus(fraction), end >= tokens.count || tokens[end] != .symbol("^")
    else { return nil }
    at = end
    let number = MathExpression.number(MathNumber(value: sum))
    return try suffixed(number)
  }

  /// `%`, degrees and units behind a number.
  private mutating func suffixed(_ number: MathExpression) throws -> MathExpression {
    var result = number
    while true {
      if accept(.symbol("%")) {
        result = .percent(result)
      } else if accept(.command("degrees")) || accept(.command("circ")) {
        result = .degrees(result)
      } else if case .text = current {
        at += 1
        try skipExponent()
      } else {
        break
      }
    }
    guard let token = current, startsOperand(token) else { return result }
    return .product(of: [result, try juxtaposed()])
  }
}
