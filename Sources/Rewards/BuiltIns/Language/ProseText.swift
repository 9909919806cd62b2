/// A text without what is not written in its language: code, formulas, tags.
///
/// Code is a fenced block (one that is not closed runs to the end) and what stands between backticks on one line. Formulas
/// stand in `$$..$$`, `\[..\]`, `\(..\)`, or `$..$` on one line with no white space inside the signs. Tags such as
/// `<think>` and `</answer>` are names of ASCII letters, digits, `_` and `-` between angle brackets.
enum ProseText {
  static func of(_ text: String, keepsCode: Bool = false, keepsMath: Bool = false) -> String {
    var scanner = Scanner(bytes: [UInt8](text), keepsCode: keepsCode, keepsMath: keepsMath)
    return scanner.scan()
  }

  private struct Scanner {
    let bytes: [UInt8]
    let keepsCode: Bool
    let keepsMath: Bool
    private var kept: [UInt8] = []
    /// Closing signs that do not occur any more: looked for once, so that the scan stays linear.
    private var missing: Set<String> = []

    init(bytes: [UInt8], keepsCode: Bool, keepsMath: Bool) {
      self.bytes = bytes
      self.keepsCode = keepsCode
      self.keepsMath = keepsMath
    }

    mutating func scan() -> String {
      var at = 0
      while at < bytes.count {
        if let end = skipped(at) {
          // What stood before and behind is not joined into one word.
          kept.append(0x20)
          at = max(end, at + 1)
        } else {
          kept.append(bytes[at])
          at += 1
        }
      }
      return String(decoding: kept, as: UTF8.self)
    }

    /// Behind what begins here and is left out, if something does.
    private mutating func skipped(_ at: Int) -> Int? {
      switch bytes[at] {
      case UInt8(ascii: "`") where !keepsCode:
        if bytes.begins(with: "```", at: at) { return close("```", at + 3) ?? bytes.count }
        return closeOnLine(UInt8(ascii: "`"), at + 1)
      case UInt8(ascii: "~") where !keepsCode:
        guard bytes.begins(with: "~~~", at: at), at == 0 || bytes[at - 1] == 0x0A else { return nil }
        return close("~~~", at + 3) ?? bytes.count
      case UInt8(ascii: "$") where !keepsMath:
        if bytes.begins(with: "$$", at: at) { return close("$$", at + 2) }
        guard at + 1 < bytes.count, !isSpace(bytes[at + 1]), let end = closeOnLine(UInt8(ascii: "$"), at + 1),
          end - at > 2, !isSpace(bytes[end - 2]), end == bytes.count || !isDigit(bytes[end])
        else { return nil }
        return end
      case UInt8(ascii: "\\") where !keepsMath:
        if bytes.begins(with: "\\[", at: at) { return close("\\]", at + 2) }
        return bytes.begins(with: "\\(", at: at) ? close("\\)", at + 2) : nil
      case UInt8(ascii: "<"): return tagEnd(at)
      default: return nil
      }
    }

    private mutating func close(_ sign: StaticString, _ start: Int) -> Int? {
      let key = sign.description
      guard !missing.contains(key) else { return nil }
      if let found = bytes.position(of: sign, from: start) { return found + sign.utf8CodeUnitCount }
      missing.insert(key)
      return nil
    }

    /// Lines are short where this pays; a long line is searched a thousand bytes far.
    private func closeOnLine(_ sign: UInt8, _ start: Int) -> Int? {
      for i in start..<max(start, min(bytes.count, start + 1000)) {
        if bytes[i] == 0x0A { return nil }
        if bytes[i] == sign { return i + 1 }
      }
      return nil
    }

    private func tagEnd(_ at: Int) -> Int? {
      var i = at + 1
      if i < bytes.count, bytes[i] == UInt8(ascii: "/") { i += 1 }
      let start = i
      while i < bytes.count, i - start <= 40, isNamePart(bytes[i]) { i += 1 }
      return i > start && i < bytes.count && bytes[i] == UInt8(ascii: ">") ? i + 1 : nil
    }

    private func isNamePart(_ byte: UInt8) -> Bool {
      (0x61...0x7A).contains(byte | 0x20) || isDigit(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }
    private func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
  }
}
