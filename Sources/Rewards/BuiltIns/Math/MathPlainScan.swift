/// Numbers and arithmetic in prose.
enum MathPlainScan {
  /// In the order of the text, not overlapping. Takes time linear in the text.
  static func candidates(_ text: String) -> [MathCandidate] {
    let bytes = Array(text.utf8)
    var out: [MathCandidate] = []
    var at = 0
    // The end of the stretch of digits and operators that was entered last, and whether all of it may be an expression.
    var end = 0
    var mayBeExpression = false
    while at < bytes.count {
      guard isBoundary(bytes, at), numberBegins(bytes, at) else {
        at += 1
        continue
      }
      if at >= end {
        end = runEnd(bytes, at)
        mayBeExpression = true
      }
      let expression = mayBeExpression ? self.expression(bytes, at..<end) : nil
      mayBeExpression = false
      let candidate = expression ?? number(bytes, at..<end)
      out.append(candidate)
      at = max(at + 1, candidate.range.upperBound)
    }
    return out
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  /// The beginning, white space, "=", bold type, or a currency before a number.
  private static func isBoundary(_ bytes: [UInt8], _ at: Int) -> Bool {
    guard at > 0 else { return true }
    let before = bytes[at - 1]
    // The last byte of €, £, ¥, ₹ and other signs; never of a letter of ASCII.
    return before <= 0x20 || before == 0x3D || before == 0x2A || before == 0x24 || before >= 0x80
  }

  private static let operators: Set<UInt8> = [0x2B, 0x2D, 0x2A, 0x2F, 0x5E, 0x28, 0x29]

  private static func numberBegins(_ bytes: [UInt8], _ start: Int) -> Bool {
    var at = start
    for optional: UInt8 in [0x2D, 0x28, 0x2D, 0x2E] where at < bytes.count && bytes[at] == optional { at += 1 }
    return at < bytes.count && isDigit(bytes[at])
  }

  /// The end of the digits, operators and spaces from `start` on.
  private static func runEnd(_ bytes: [UInt8], _ start: Int) -> Int {
    var at = start
    while at < bytes.count,
      isDigit(bytes[at]) || operators.contains(bytes[at]) || bytes[at] == 0x20 || bytes[at] == 0x2E || bytes[at] == 0x2C
    {
      at += 1
    }
    return at
  }

  /// All of a run, if it is arithmetic.
  private static func expression(_ bytes: [UInt8], _ run: Range<Int>) -> MathCandidate? {
    var end = run.upperBound
    let trimmed: Set<UInt8> = [0x20, 0x2E, 0x2C, 0x2B, 0x2D, 0x2A, 0x2F, 0x5E, 0x28]
    while end > run.lowerBound, trimmed.contains(bytes[end - 1]) { end -= 1 }
    let inner = bytes[(run.lowerBound + 1)..<max(run.lowerBound + 1, end)]
    let isWhole =
      run.upperBound == bytes.count || end < run.upperBound || [0x3A, 0x24, 0x0A, 0x0D, 0x09].contains(bytes[end])
    guard isWhole, end - run.lowerBound <= 512, inner.contains(where: operators.contains), !inner.contains(0x2C) else {
      return nil
    }
    let text = bytes.text(run.lowerBound..<end)
    guard (try? MathParser.parse(plain: text)) != nil else { return nil }
    return MathCandidate(parts: [text], isPlain: true, range: run.lowerBound..<end)
  }

  /// The number that a run begins with.
  private static func number(_ bytes: [UInt8], _ run: Range<Int>) -> MathCandidate {
    var at = run.lowerBound
    var text = ""
    while at < run.upperBound, !isDigit(bytes[at]), bytes[at] != 0x2E {
      if bytes[at] == 0x2D { text = "-" }
      at += 1
    }
    func digits() -> String {
      let start = at
      while at < run.upperBound, isDigit(bytes[at]) { at += 1 }
      return bytes.text(start..<at)
    }
    var whole = digits()
    // Thousands.
    while (1...3).contains(whole.count) || whole.count > 3, at + 3 < run.upperBound, bytes[at] == 0x2C,
      bytes[(at + 1)...(at + 3)].allSatisfy(isDigit), at + 4 >= run.upperBound || !isDigit(bytes[at + 4])
    {
      at += 1
      whole += digits()
    }
    text += whole.isEmpty ? "0" : whole
    if at + 1 < run.upperBound, bytes[at] == 0x2E || bytes[at] == 0x2C, isDigit(bytes[at + 1]) {
      at += 1
      text += "." + digits()
    }
    var after = at
    while after < bytes.count, bytes[after] == 0x20 { after += 1 }
    let isPercent =
      bytes.begins(with: "%", at: after) || bytes.begins(with: "percent", at: after)
      || bytes.begins(with: "Percent", at: after)
      || bytes.begins(with: "pct", at: after)
    return MathCandidate(
      parts: [text], isPercent: isPercent, isPlain: true, range: run.lowerBound..<max(at, run.lowerBound + 1))
  }
}
