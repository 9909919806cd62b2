import Core

extension Jinja {
  struct Token {
    enum Kind: Equatable {
      case data(String)
      case variableBegin
      case variableEnd
      case blockBegin
      case blockEnd
      case name(String)
      case string(String)
      case int(Int)
      case double(Double)
      case symbol(String)
      case end
    }

    var kind: Kind
    var line: Int
  }

  /// Cuts a template into text and the tokens of its tags, with `trim_blocks` and `lstrip_blocks` on.
  struct Lexer {
    private let source: [Unicode.Scalar]
    private let file: String
    private var at = 0
    private var line = 1
    private var tokens: [Token] = []

    static func tokens(of text: String, file: String) throws -> [Token] {
      var lexer = Lexer(text, file: file)
      try lexer.run()
      return lexer.tokens
    }

    private init(_ text: String, file: String) {
      self.file = file
      // Every line break counts as one line feed, and a single one at the end is not part of the template.
      var scalars: [Unicode.Scalar] = []
      var afterReturn = false
      for scalar in text.unicodeScalars {
        if scalar == "\n", afterReturn {
          afterReturn = false
          continue
        }
        afterReturn = scalar == "\r"
        scalars.append(afterReturn ? "\n" : scalar)
      }
      if scalars.last == "\n" { scalars.removeLast() }
      source = scalars
    }

    private func failure(_ message: String) -> AttuneError {
      .request(message, at: .init(file: file, line: line))
    }

    private func peek(_ ahead: Int = 0) -> Unicode.Scalar? {
      at + ahead < source.count ? source[at + ahead] : nil
    }

    private func matches(_ text: StaticString, at place: Int) -> Bool {
      let count = text.utf8CodeUnitCount
      guard place >= 0, place + count <= source.count else { return false }
      for i in 0..<count where source[place + i].value != UInt32(text.utf8Start[i]) { return false }
      return true
    }

    private mutating func advance(to place: Int) {
      for i in at..<place where source[i] == "\n" { line += 1 }
      at = place
    }

    private func text(_ range: Range<Int>) -> String { String(String.UnicodeScalarView(source[range])) }

    private mutating func run() throws {
      while at < source.count {
        guard let begin = nextTag(from: at) else {
          tokens.append(Token(kind: .data(text(at..<source.count)), line: line))
          advance(to: source.count)
          break
        }
        let sign = begin + 2 < source.count && (source[begin + 2] == "-" || source[begin + 2] == "+")
        appendData(until: begin, sign: sign ? source[begin + 2] : nil, isVariable: source[begin + 1] == "{")
        advance(to: begin + (sign ? 3 : 2))
        switch source[begin + 1] {
        case "#": try comment()
        case "{":
          tokens.append(Token(kind: .variableBegin, line: line))
          try tag(isVariable: true)
        default:
          if let end = rawBegin() {
            advance(to: end)
            try raw()
          } else {
            tokens.append(Token(kind: .blockBegin, line: line))
            try tag(isVariable: false)
          }
        }
      }
      tokens.append(Token(kind: .end, line: line))
    }

    private func nextTag(from start: Int) -> Int? {
      var i = start
      while i + 1 < source.count {
        if source[i] == "{", source[i + 1] == "%" || source[i + 1] == "{" || source[i + 1] == "#" { return i }
        i += 1
      }
      return nil
    }

    /// The text before a tag, without what the tag takes away from it.
    private mutating func appendData(until end: Int, sign: Unicode.Scalar?, isVariable: Bool) {
      var last = end
      if sign == "-" {
        while last > at, isPythonSpace(source[last - 1]) { last -= 1 }
      } else if sign != "+", !isVariable {
        var lineStart = end
        while lineStart > at, source[lineStart - 1] != "\n" { lineStart -= 1 }
        let beginsLine = lineStart > at || at == 0 || source[at - 1] == "\n"
        if beginsLine, source[lineStart..<end].allSatisfy(isPythonSpace) { last = lineStart }
      }
      if last > at { tokens.append(Token(kind: .data(text(at..<last)), line: line)) }
      advance(to: end)
    }

    private mutating func skipSpace() {
      var end = at
      while end < source.count, isPythonSpace(source[end]) { end += 1 }
      advance(to: end)
    }

    private mutating func comment() throws {
      var i = at
      while !matches("#}", at: i) {
        guard i < source.count else { throw failure("a comment is not closed: '#}' is missing") }
        i += 1
      }
      let sign = i > at ? source[i - 1] : " "
      advance(to: i + 2)
      trimAfterTag(sign)
    }

    /// After a block or a comment one line feed goes; after `-` all white space.
    private mutating func trimAfterTag(_ sign: Unicode.Scalar) {
      if sign == "-" { skipSpace() } else if sign != "+", peek() == "\n" { advance(to: at + 1) }
    }

    /// The end of `{% raw %}` if that is what begins here.
    private func rawBegin() -> Int? {
      var i = at
      while i < source.count, isPythonSpace(source[i]) { i += 1 }
      guard matches("raw", at: i) else { return nil }
      i += 3
      while i < source.count, isPythonSpace(source[i]) { i += 1 }
      if matches("%}", at: i) { return i + 2 }
      guard matches("-%}", at: i) else { return nil }
      i += 3
      while i < source.count, isPythonSpace(source[i]) { i += 1 }
      return i
    }

    private mutating func raw() throws {
      var begin = at
      while true {
        guard begin < source.count else { throw failure("a raw block is not closed: 'endraw' is missing") }
        guard matches("{%", at: begin) else {
          begin += 1
          continue
        }
        var i = begin + 2
        var sign: Unicode.Scalar?
        if i < source.count, source[i] == "-" || source[i] == "+" {
          sign = source[i]
          i += 1
        }
        while i < source.count, isPythonSpace(source[i]) { i += 1 }
        guard matches("endraw", at: i) else {
          begin += 1
          continue
        }
        i += 6
        while i < source.count, isPythonSpace(source[i]) { i += 1 }
        let closing = i < source.count ? source[i] : " "
        if closing == "-" || closing == "+" { i += 1 }
        guard matches("%}", at: i) else {
          begin += 1
          continue
        }
        appendData(until: begin, sign: sign, isVariable: false)
        advance(to: i + 2)
        trimAfterTag(closing)
        return
      }
    }

    // MARK: Inside a tag

    private static let closing: [Unicode.Scalar: Unicode.Scalar] = ["(": ")", "[": "]", "{": "}"]

    private mutating func tag(isVariable: Bool) throws {
      let opening = line
      var open: [Unicode.Scalar] = []
      while true {
        skipSpace()
        guard let scalar = peek() else {
          line = opening
          throw failure("a tag is not closed: '\(isVariable ? "}}" : "%}")' is missing")
        }
        if open.isEmpty, let sign = tagEnd(isVariable: isVariable) {
          tokens.append(Token(kind: isVariable ? .variableEnd : .blockEnd, line: line))
          advance(to: at + (sign == " " ? 2 : 3))
          if isVariable {
            if sign == "-" { skipSpace() }
          } else {
            trimAfterTag(sign)
          }
          return
        }
        switch scalar {
        case "\"", "'": try string(scalar)
        case "0"..."9": try number()
        default:
          if isNameStart(scalar) {
            var end = at
            while end < source.count, isNamePart(source[end]) { end += 1 }
            tokens.append(Token(kind: .name(text(at..<end)), line: line))
            advance(to: end)
          } else {
            try symbol(scalar, &open)
          }
        }
      }
    }

    /// The sign before the end of the tag (`" "` for none) if it ends here.
    private func tagEnd(isVariable: Bool) -> Unicode.Scalar? {
      if isVariable { return matches("}}", at: at) ? " " : matches("-}}", at: at) ? "-" : nil }
      return matches("%}", at: at) ? " " : matches("-%}", at: at) ? "-" : matches("+%}", at: at) ? "+" : nil
    }

    private mutating func symbol(_ scalar: Unicode.Scalar, _ open: inout [Unicode.Scalar]) throws {
      for double in ["//", "**", "==", "!=", ">=", "<="] {
        let pair = Array(double.unicodeScalars)
        if scalar == pair[0], peek(1) == pair[1] {
          tokens.append(Token(kind: .symbol(double), line: line))
          advance(to: at + 2)
          return
        }
      }
      guard "+-/*%~[](){}><=.:|,;".unicodeScalars.contains(scalar) else {
        throw failure("unexpected character '\(scalar)' in a tag")
      }
      if Self.closing[scalar] != nil {
        open.append(scalar)
      } else if scalar == ")" || scalar == "]" || scalar == "}" {
        guard let last = open.popLast() else { throw failure("unexpected '\(scalar)'") }
        if let wanted = Self.closing[last], wanted != scalar {
          throw failure("found '\(scalar)' where '\(wanted)' was expected")
        }
      }
      tokens.append(Token(kind: .symbol(String(scalar)), line: line))
      advance(to: at + 1)
    }

    private func isNameStart(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "_" || scalar.properties.isXIDStart
    }

    private func isNamePart(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "_" || scalar.properties.isXIDContinue
    }

    /// Digits with single underscores between them.
    private func digits(from start: Int, _ isDigit: (Unicode.Scalar) -> Bool) -> Int {
      var end = start
      while end < source.count {
        if isDigit(source[end]) {
          end += 1
        } else if source[end] == "_", end > start, end + 1 < source.count, isDigit(source[end + 1]) {
          end += 1
        } else {
          break
        }
      }
      return end
    }

    private mutating func number() throws {
      func isDecimal(_ scalar: Unicode.Scalar) -> Bool { scalar >= "0" && scalar <= "9" }
      func clean(_ range: Range<Int>) -> String { text(range).filter { $0 != "_" } }
      let radixes: [Unicode.Scalar: Int] = ["x": 16, "X": 16, "o": 8, "O": 8, "b": 2, "B": 2]
      if source[at] == "0", let letter = peek(1), let radix = radixes[letter] {
        let end = digits(from: at + 2) { $0.value < 128 && Int(String($0), radix: radix) != nil }
        guard end > at + 2, let value = Int(clean(at + 2..<end), radix: radix) else {
          throw failure("'\(text(at..<max(end, at + 2)))' is not a number of 64 bits")
        }
        tokens.append(Token(kind: .int(value), line: line))
        advance(to: end)
        return
      }
      var end = digits(from: at, isDecimal)
      var isInteger = true
      // A number right behind a dot is an index (`list.0.1`), never a fraction.
      let afterDot = at > 0 && source[at - 1] == "."
      if !afterDot, end + 1 < source.count, source[end] == ".", isDecimal(source[end + 1]) {
        end = digits(from: end + 1, isDecimal)
        isInteger = false
      }
      if !afterDot, end < source.count, source[end] == "e" || source[end] == "E" {
        var exponent = end + 1
        if exponent < source.count, source[exponent] == "+" || source[exponent] == "-" { exponent += 1 }
        let exponentEnd = digits(from: exponent, isDecimal)
        if exponentEnd > exponent {
          end = exponentEnd
          isInteger = false
        }
      }
      let written = clean(at..<end)
      if isInteger {
        guard let value = Int(written) else { throw failure("\(written) is larger than 64 bits") }
        tokens.append(Token(kind: .int(value), line: line))
      } else {
        guard let value = Double(written) else { throw failure("\(written) is not a number") }
        tokens.append(Token(kind: .double(value), line: line))
      }
      advance(to: end)
    }

    /// A string literal with Python's escapes.
    private mutating func string(_ quote: Unicode.Scalar) throws {
      let opening = line
      var value = String.UnicodeScalarView()
      var i = at + 1
      func hex(_ count: Int) throws -> UInt32 {
        guard i + count <= source.count, let code = UInt32(text(i..<i + count), radix: 16) else {
          throw failure("an incomplete escape in a string")
        }
        i += count
        return code
      }
      while true {
        guard i < source.count else { throw failure("a string is not closed") }
        let scalar = source[i]
        i += 1
        if scalar == quote { break }
        guard scalar == "\\" else {
          value.append(scalar)
          continue
        }
        guard i < source.count else { throw failure("a string is not closed") }
        let escape = source[i]
        i += 1
        switch escape {
        case "\n": break
        case "n": value.append("\n")
        case "t": value.append("\t")
        case "r": value.append("\r")
        case "a": value.append("\u{07}")
        case "b": value.append("\u{08}")
        case "f": value.append("\u{0C}")
        case "v": value.append("\u{0B}")
        case "\\", "'", "\"": value.append(escape)
        case "0"..."7":
          i -= 1
          var code: UInt32 = 0
          var count = 0
          while count < 3, i < source.count, source[i] >= "0", source[i] <= "7" {
            code = code * 8 + source[i].value - 48
            i += 1
            count += 1
          }
          value.append(Unicode.Scalar(code) ?? "\u{FFFD}")
        case "x": value.append(Unicode.Scalar(try hex(2)) ?? "\u{FFFD}")
        case "U": value.append(Unicode.Scalar(try hex(8)) ?? "\u{FFFD}")
        case "u":
          var code = try hex(4)
          if code >= 0xD800, code < 0xDC00, matches("\\u", at: i) {
            let mark = i
            i += 2
            let low = try hex(4)
            if low >= 0xDC00, low < 0xE000 {
              code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            } else {
              i = mark
            }
          }
          value.append(Unicode.Scalar(code) ?? "\u{FFFD}")
        default:
          value.append("\\")
          value.append(escape)
        }
      }
      tokens.append(Token(kind: .string(String(value)), line: opening))
      advance(to: i)
    }
  }
}

/// White space as Python's `str.isspace` and `\s` see it.
@inline(__always)
func isPythonSpace(_ scalar: Unicode.Scalar) -> Bool {
  let value = scalar.value
  if value < 0x80 { return value == 0x20 || (value >= 9 && value <= 13) || (value >= 0x1C && value <= 0x1F) }
  return scalar.properties.isWhitespace
}
