import Core

/// Reads a signature's text, by hand and to the letter, so that an error can point at its place.
struct SignatureReader {
  /// A declaration whose names have no meaning yet.
  struct Declaration {
    var name: String
    var result: CType
    var arguments: [Argument]
  }

  /// `type name`, `type (*name)(types)`, `type literal` or `NULL`.
  struct Argument {
    var type: CType
    var value: Value
    /// The value that stands in where there is none: `double column.x = 0`.
    var fallback: JSON?
    /// Where type and value begin, from 1.
    var typeColumn: Int
    var column: Int
  }

  enum Value {
    case name(Name)
    case literal(JSON)
    case null
    case callback(String, parameters: [CType])
  }

  /// `root`, `root[1]`, `root.part`, `root."any name".part`.
  struct Name {
    var root: String
    var index: Int?
    var parts: [String]

    var words: String {
      root + (index.map { "[\($0)]" } ?? "")
        + parts.map { part in
          "." + (part.unicodeScalars.allSatisfy(SignatureReader.isWord) ? part : JSON.string(part).text())
        }.joined()
    }
  }

  enum Token: Equatable {
    case word(String)
    case number(String)
    case string(String)
    case mark(Unicode.Scalar)
    case ellipsis
    case end
  }

  let text: String
  var tokens: [(token: Token, column: Int)] = []
  var at = 0

  init(_ text: String) throws {
    // Tabs and line breaks would move the mark under a wrong place.
    let flat = text.unicodeScalars.map { $0.properties.isWhitespace ? " " : Character($0) }
    self.text = String(flat)
    try readTokens()
  }

  /// An error that shows the signature with a mark under its place.
  func problem(_ message: String, at column: Int, hint: String? = nil) -> AttuneError {
    .request(
      "\(message), at column \(column) of the signature\n  \(text)\n  \(String(repeating: " ", count: column - 1))^",
      hint: hint)
  }

  // MARK: Tokens

  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_": true
    default: false
    }
  }

  private mutating func readTokens() throws {
    let scalars = Array(text.unicodeScalars)
    var i = 0
    while i < scalars.count {
      let start = i
      func take(while test: (Unicode.Scalar) -> Bool) -> String {
        while i < scalars.count, test(scalars[i]) { i += 1 }
        var word = ""
        word.unicodeScalars.append(contentsOf: scalars[start..<i])
        return word
      }
      let next = scalars[i]
      let token: Token
      if next == " " {
        i += 1
        continue
      } else if ("0"..."9").contains(next) {
        var last: Unicode.Scalar = " "
        let isHex = i + 1 < scalars.count && (scalars[i + 1] == "x" || scalars[i + 1] == "X")
        token = .number(
          take { scalar in
            defer { last = scalar }
            let isSign = !isHex && (scalar == "+" || scalar == "-") && (last == "e" || last == "E")
            return Self.isWord(scalar) || scalar == "." || isSign
          })
      } else if Self.isWord(next) {
        token = .word(take(while: Self.isWord))
      } else if next == "\"" {
        i += 1
        token = .string(try string(scalars, &i, from: start))
      } else if next == ".", i + 2 < scalars.count, scalars[i + 1] == ".", scalars[i + 2] == "." {
        i += 3
        token = .ellipsis
      } else {
        i += 1
        token = .mark(next)
      }
      tokens.append((token, start + 1))
    }
    tokens.append((.end, scalars.count + 1))
  }

  private func string(_ scalars: [Unicode.Scalar], _ i: inout Int, from start: Int) throws -> String {
    var out = String.UnicodeScalarView()
    while i < scalars.count {
      let scalar = scalars[i]
      i += 1
      if scalar == "\"" { return String(out) }
      guard scalar == "\\" else {
        out.append(scalar)
        continue
      }
      let escapes: [Unicode.Scalar: Unicode.Scalar] = [
        "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "\"": "\"", "'": "'",
      ]
      guard i < scalars.count, let meant = escapes[scalars[i]] else {
        throw problem("an escape that is not known", at: i, hint: #"known are \n, \t, \r, \\, \" and \'"#)
      }
      out.append(meant)
      i += 1
    }
    throw problem("a text has no closing \"", at: start + 1)
  }

  var token: Token { tokens[at].token }
  var column: Int { tokens[at].column }

  func words(_ token: Token) -> String {
    switch token {
    case .word(let word): "'\(word)'"
    case .number(let number): "'\(number)'"
    case .string: "a text"
    case .mark(let mark): "'\(mark)'"
    case .ellipsis: "'...'"
    case .end: "the end"
    }
  }

  mutating func accept(_ mark: Unicode.Scalar) -> Bool {
    guard token == .mark(mark) else { return false }
    at += 1
    return true
  }

  mutating func expect(_ mark: Unicode.Scalar, _ place: String, hint: String? = nil) throws {
    guard accept(mark) else {
      throw problem("expected '\(mark)' \(place), found \(words(token))", at: column, hint: hint)
    }
  }
}
