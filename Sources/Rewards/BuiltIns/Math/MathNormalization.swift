/// Texts that mean the same on sight.
enum MathNormalization {
  /// Without spaces, sizes, signs of mathematics, and the braces of words.
  static func string(_ text: String) -> String {
    guard text.utf8.count <= MathLexer.maximumLength else { return text }
    var out: [Character] = []
    // Digits stay apart: `1 1/2` is not `11/2`.
    var isSpaced = false
    func append(_ character: Character) {
      if isSpaced, character.isNumber, out.last?.isNumber == true { out.append(" ") }
      isSpaced = false
      out.append(character)
    }
    let text = [Character](text)
    var at = 0
    while at < text.count {
      let character = text[at]
      at += 1
      guard character == "\\" else {
        if character.isWhitespace || character == "~" { isSpaced = true } else if character != "$" { append(character) }
        continue
      }
      let start = at
      while at < text.count, text[at].isASCII, text[at].isLetter { at += 1 }
      let name = String(text[start..<at])
      if name.isEmpty {
        guard at < text.count else { break }
        if "{}|%&#_\\".contains(text[at]) { out += ["\\", text[at]] } else if text[at] != "!" { isSpaced = true }
        at += 1
      } else if MathWords.textual.contains(name), at < text.count, text[at] == "{",
        let end = text[at...].firstIndex(of: "}"), !text[(at + 1)..<end].contains("{")
      {
        out += text[(at + 1)..<end].filter { !$0.isWhitespace }
        at = end + 1
      } else if MathWords.ignored.contains(name) {
        isSpaced = true
      } else {
        out.append("\\")
        out += name == "dfrac" || name == "tfrac" ? [Character]("frac") : [Character](name)
      }
    }
    while let last = out.last, last == "." || last == "," { out.removeLast() }
    return String(out)
  }
}
