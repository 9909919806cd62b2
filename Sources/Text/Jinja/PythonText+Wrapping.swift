extension PythonText {
  /// `textwrap.wrap` without expanding tabs or replacing white space: lines of at most `width` code points.
  static func wrap(_ text: String, width: Int, breaksWords: Bool, breaksHyphens: Bool) -> [String] {
    var chunks = Array(self.chunks(text, breaksHyphens: breaksHyphens).reversed())
    var lines: [String] = []
    func isSpace(_ chunk: Scalars) -> Bool { chunk.allSatisfy(isPythonSpace) }
    while !chunks.isEmpty {
      var line: [Scalars] = []
      var length = 0
      if let last = chunks.last, isSpace(last), !lines.isEmpty { chunks.removeLast() }
      while let next = chunks.last, length + next.count <= width {
        line.append(next)
        length += next.count
        chunks.removeLast()
      }
      if let next = chunks.last, next.count > width {
        let space = max(1, width - length)
        if breaksWords {
          var end = space
          // Break behind the last hyphen that fits, if letters are before it.
          if breaksHyphens, next.count > space, let hyphen = next[..<space].lastIndex(of: "-"), hyphen > 0,
            next[..<hyphen].contains(where: { $0 != "-" })
          {
            end = hyphen + 1
          }
          line.append(Array(next[..<end]))
          chunks[chunks.count - 1] = Array(next[end...])
        } else if line.isEmpty {
          line.append(next)
          chunks.removeLast()
        }
      }
      if let last = line.last, isSpace(last) { line.removeLast() }
      if !line.isEmpty { lines.append(string(line.joined())) }
    }
    return lines
  }

  /// Runs of space, and words cut behind the hyphens inside them.
  private static func chunks(_ text: String, breaksHyphens: Bool) -> [Scalars] {
    let scalars = Array(text.unicodeScalars)
    var result: [Scalars] = []
    var chunk: Scalars = []
    func isLetter(_ place: Int) -> Bool {
      scalars.indices.contains(place) && (isAlpha(scalars[place]) || scalars[place] == "_")
    }
    for i in scalars.indices {
      if let last = chunk.last, isPythonSpace(last) != isPythonSpace(scalars[i]) {
        result.append(chunk)
        chunk = []
      }
      chunk.append(scalars[i])
      // A hyphen between two letters and two more is where a word may be broken.
      if breaksHyphens, scalars[i] == "-", isLetter(i - 1), isLetter(i - 2), isLetter(i + 1), isLetter(i + 2) {
        result.append(chunk)
        chunk = []
      }
    }
    if !chunk.isEmpty { result.append(chunk) }
    return result
  }

  /// Text without comments and tags, runs of white space made one space, entities resolved.
  static func withoutTags(_ text: String) -> String {
    var kept = String.UnicodeScalarView()
    let scalars = Array(text.unicodeScalars)
    var at = 0
    while at < scalars.count {
      if scalars[at] == "<" {
        let isComment = scalars[at...].starts(with: "<!--".unicodeScalars)
        let end = isComment ? commentEnd(scalars, at + 4) : scalars[at...].firstIndex(of: ">").map { $0 + 1 }
        if let end {
          at = end
          continue
        }
        // Without a closing bracket anywhere there is no tag in the rest either.
        kept.append(contentsOf: scalars[at...])
        break
      }
      kept.append(scalars[at])
      at += 1
    }
    return unescaped(splitWords(String(kept), limit: -1).joined(separator: " "))
  }

  private static func commentEnd(_ scalars: Scalars, _ start: Int) -> Int? {
    var i = start
    while i + 2 < scalars.count {
      if scalars[i] == "-", scalars[i + 1] == "-", scalars[i + 2] == ">" { return i + 3 }
      i += 1
    }
    return nil
  }

  private static let entities = [
    "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": "\u{A0}", "hellip": "…", "ndash": "–",
    "mdash": "—", "copy": "©",
  ]

  private static func unescaped(_ text: String) -> String {
    var out = ""
    var rest = text[...]
    while let start = rest.firstIndex(of: "&") {
      out += rest[..<start]
      rest = rest[start...]
      guard let end = rest.prefix(12).firstIndex(of: ";") else {
        out += "&"
        rest = rest.dropFirst()
        continue
      }
      let name = rest[rest.index(after: start)..<end]
      var found = entities[String(name)]
      if name.hasPrefix("#") {
        let digits = name.dropFirst()
        let code = digits.lowercased().hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
        found = code.map { String(Character(Unicode.Scalar($0) ?? "\u{FFFD}")) }
      }
      out += found ?? "&"
      rest = found == nil ? rest.dropFirst() : rest[rest.index(after: end)...]
    }
    return out + rest
  }
}
