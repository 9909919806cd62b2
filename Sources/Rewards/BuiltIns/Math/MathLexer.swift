/// A piece of an answer: LaTeX or plain text.
enum MathToken: Hashable, Sendable {
  /// Digits with at most one point.
  case number(String)
  case letter(Character)
  /// Without the backslash.
  case command(String)
  /// `\text{...}` and its kin, and words of plain text.
  case text(String)
  case symbol(Character)
  /// `\\` or `\cr`.
  case rowBreak
  /// `,`, `;`, "and", "or", all separating the elements of a list.
  case comma
}

/// Why an answer is not read.
struct MathError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// Cuts an answer into tokens. Spacing, sizes and `\left`, `\right` are gone afterwards.
struct MathLexer {
  /// Characters of one answer, and tokens.
  static let maximumLength = 8192
  static let maximumTokens = 2048

  private let text: [Character]
  private var at = 0
  private var tokens: [MathToken] = []
  /// For each token, whether white space stands before it.
  private var spaced: [Bool] = []
  /// In plain text a run of letters is a word; in LaTeX it is a product.
  private let isPlain: Bool

  private init(_ text: String, isPlain: Bool) throws {
    guard text.utf8.count <= Self.maximumLength else { throw MathError("longer than \(Self.maximumLength) bytes") }
    self.text = Array(text)
    self.isPlain = isPlain
  }

  static func tokens(_ text: String, isPlain: Bool) throws -> [MathToken] {
    var lexer = try MathLexer(text, isPlain: isPlain)
    try lexer.run()
    return MathThousands.joined(lexer.tokens, spaced: lexer.spaced)
  }

  private mutating func append(_ token: MathToken, spaced: Bool) throws {
    guard tokens.count < Self.maximumTokens else { throw MathError("more than \(Self.maximumTokens) tokens") }
    tokens.append(token)
    self.spaced.append(spaced)
  }

  private mutating func run() throws {
    var space = false
    while at < text.count {
      let character = text[at]
      if character.isWhitespace || character == "~" {
        at += 1
        space = true
        continue
      }
      if character == "\\" {
        space = try command(space) == false
        continue
      }
      if MathCharacters.digit(character) != nil || character == "." && digitFollows {
        try number(space)
      } else if character.isLetter && MathCharacters.command(character) == nil {
        try letters(space)
      } else {
        at += 1
        try single(character, space)
      }
      space = false
    }
  }

  private var digitFollows: Bool { at + 1 < text.count && MathCharacters.digit(text[at + 1]) != nil }

  private mutating func single(_ character: Character, _ space: Bool) throws {
    switch character {
    case "$", "€", "£", "¥", "₹", "₽", "₩", "\"", "“", "”", "\u{200B}", "\u{FEFF}": return
    case "*":
      // Bold type of Markdown, or a power of a programming language.
      guard at < text.count, text[at] == "*" else { return try append(.symbol("*"), spaced: space) }
      at += 1
      let between = tokens.last.map(Self.endsOperand) ?? false
      if between, at < text.count, !text[at].isWhitespace { try append(.symbol("^"), spaced: space) }
    case ",", ";", "\u{3001}", "\u{FF0C}", "\u{FF1B}": try append(.comma, spaced: space)
    default:
      if let exponent = MathCharacters.superscript(character) {
        // A run of superscript digits is one exponent.
        var digits = String(exponent)
        while at < text.count, let next = MathCharacters.superscript(text[at]) {
          digits.append(next)
          at += 1
        }
        try append(.symbol("^"), spaced: space)
        try append(.symbol("{"), spaced: false)
        if digits.first == "-" { try append(.symbol("-"), spaced: false) }
        let magnitude = digits.filter { $0 != "-" }
        guard !magnitude.isEmpty else { throw MathError("a superscript without digits") }
        try append(.number(magnitude), spaced: false)
        try append(.symbol("}"), spaced: false)
      } else if let fraction = MathCharacters.fraction(character) {
        for token: MathToken in [
          .command("frac"), .symbol("{"), .number(fraction.0), .symbol("}"), .symbol("{"), .number(fraction.1),
          .symbol("}"),
        ] { try append(token, spaced: space) }
      } else if let command = MathCharacters.command(character) {
        try append(MathWords.token(named: command), spaced: space)
      } else {
        try append(.symbol(MathCharacters.plain(character)), spaced: space)
      }
    }
  }

  static func endsOperand(_ token: MathToken) -> Bool {
    switch token {
    case .number, .letter: true
    case .symbol(let c): c == ")" || c == "]" || c == "}" || c == "!"
    default: false
    }
  }

  private mutating func number(_ space: Bool) throws {
    var digits = ""
    var hasPoint = false
    while at < text.count {
      if let digit = MathCharacters.digit(text[at]) {
        digits.append(digit)
      } else if text[at] == ".", !hasPoint, digitFollows || digits.isEmpty == false && !letterFollows {
        // "5." ends a sentence.
        hasPoint = true
        let periodFollows = at + 1 < text.count && text[at + 1] == "\\"
        if digitFollows || periodFollows { digits.append(".") }
      } else {
        break
      }
      at += 1
    }
    if digits.first == "." { digits = "0" + digits }
    try append(.number(digits), spaced: space)
    try exponent()
  }

  private var letterFollows: Bool { at + 1 < text.count && text[at + 1].isLetter }

  /// `e-5` behind a number.
  private mutating func exponent() throws {
    guard at < text.count, text[at] == "e" || text[at] == "E" else { return }
    var end = at + 1
    var isNegative = false
    if end < text.count, text[end] == "+" || text[end] == "-" {
      isNegative = text[end] == "-"
      end += 1
    }
    let first = end
    while end < text.count, MathCharacters.digit(text[end]) != nil { end += 1 }
    guard end > first, end == text.count || !text[end].isLetter else { return }
    let digits = String(text[first..<end].compactMap { MathCharacters.digit($0) })
    at = end
    for token: MathToken in [.symbol("*"), .number("10"), .symbol("^"), .symbol("{")] {
      try append(token, spaced: false)
    }
    if isNegative { try append(.symbol("-"), spaced: false) }
    try append(.number(digits), spaced: false)
    try append(.symbol("}"), spaced: false)
  }

  private mutating func letters(_ space: Bool) throws {
    let start = at
    while at < text.count, text[at].isLetter, MathCharacters.command(text[at]) == nil { at += 1 }
    let run = String(text[start..<at])
    guard run.count > 1 else { return try append(.letter(text[start]), spaced: space) }
    let lower = run.lowercased()
    if let token = MathWords.token(lower, behindOperand: tokens.last.map(Self.endsOperand) ?? false) {
      return try append(token, spaced: space)
    }
    if isPlain && (run.count > 2 || MathWords.units.contains(lower) || MathWords.short.contains(lower))
      || !run.allSatisfy(\.isASCII)
    {
      return try append(.text(run), spaced: space)
    }
    let isUnit = MathWords.units.contains(lower) && (tokens.last.map(Self.endsOperand) ?? false)
    if isUnit { return try append(.text(run), spaced: space) }
    for (i, letter) in run.enumerated() { try append(.letter(letter), spaced: space && i == 0) }
  }

  /// False for what only makes space.
  private mutating func command(_ space: Bool) throws -> Bool {
    at += 1
    guard at < text.count else { return true }
    let character = text[at]
    guard character.isASCII, character.isLetter else {
      at += 1
      switch character {
      case "\\":
        // A doubled backslash before a name is a slip; before anything else it ends a row.
        if at < text.count, text[at].isLetter, !insideEnvironment {
          at -= 1
          return try command(space)
        }
        try append(.rowBreak, spaced: space)
      case "{": try append(.command("{"), spaced: space)
      case "}": try append(.command("}"), spaced: space)
      case "|": try append(.symbol("|"), spaced: space)
      case "%": try append(.symbol("%"), spaced: space)
      case "&", "#", "_": try append(.symbol(character), spaced: space)
      case "$": break
      case "!":
        // Negative space joins what stands around it.
        while at < text.count, text[at].isWhitespace { at += 1 }
      default: return false
      }
      return true
    }
    let start = at
    while at < text.count, text[at].isASCII, text[at].isLetter { at += 1 }
    let name = String(text[start..<at])
    if MathWords.ignored.contains(name) {
      // `\left.` and `\right.` stand for no bracket at all.
      if name == "left" || name == "right", at < text.count, text[at] == "." { at += 1 }
      return false
    }
    if name.hasPrefix("quad") {
      // `\quadx` is a slip for `\quad x`.
      at = start + 4
      return false
    }
    if MathWords.wrappers.contains(name) {
      try wrapped(name, space)
    } else if name == "cr" || name == "newline" {
      try append(.rowBreak, spaced: space)
    } else {
      try append(MathWords.token(named: MathWords.synonyms[name] ?? name), spaced: space)
    }
    return true
  }

  private var insideEnvironment: Bool { tokens.contains(.command("begin")) }

  /// `\text{...}`: words, a letter, or a number in another type face.
  private mutating func wrapped(_ name: String, _ space: Bool) throws {
    while at < text.count, text[at].isWhitespace { at += 1 }
    guard at < text.count, text[at] == "{" else { return }
    var depth = 0
    let start = at + 1
    while at < text.count {
      if text[at] == "{" { depth += 1 }
      if text[at] == "}" { depth -= 1 }
      at += 1
      if depth == 0 { break }
    }
    let content = String(text[start..<max(start, depth == 0 ? at - 1 : at)])
    let trimmed = content.trimmedSpace
    // `\mathrm{m/s}` behind a number is a unit.
    let isUnit =
      tokens.last.map(Self.endsOperand) == true && name != "operatorname"
      && trimmed.contains { $0 == "/" || $0 == " " } && trimmed.allSatisfy { $0.isLetter || $0 == "/" || $0 == " " }
    let isProse = MathWords.textual.contains(name) || isUnit
    if trimmed.isEmpty { return }
    if !isProse || trimmed.contains("$") || trimmed.contains("\\") || !trimmed.contains(where: \.isLetter) {
      // Mathematics in another type face.
      if trimmed.count == 1 || isProse || trimmed.contains(where: { !$0.isLetter }) {
        guard !trimmed.contains("\\text") else { throw MathError("text inside text") }
        for token in try MathLexer.tokens(trimmed, isPlain: false) { try append(token, spaced: space) }
        return
      }
      if MathWords.functionNames.contains(trimmed) { return try append(.command(trimmed), spaced: space) }
    }
    let lower = trimmed.lowercased()
    if let token = MathWords.token(lower, behindOperand: true) { return try append(token, spaced: space) }
    if lower == ",and" || lower == ", and" || lower == ", or" { return try append(.comma, spaced: space) }
    try append(.text(trimmed), spaced: space)
  }
}
