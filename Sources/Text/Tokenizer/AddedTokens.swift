import Core

/// A token that is cut out of the text before anything else happens to it.
struct AddedToken: Sendable {
  var id: Int32
  var content: String
  var isSpecial: Bool
  /// Searched in the normalised text (with its own content normalised) and not in the original.
  var isNormalized: Bool
  var stripsLeft: Bool
  var stripsRight: Bool
  var singleWord: Bool
}

/// Finds added tokens: the leftmost first, of those that begin at one place the longest.
struct AddedTokenMatcher: Sendable {
  struct Match {
    var token: Int
    var range: Range<Int>
  }

  private struct Node: Sendable {
    var bytes: [UInt8] = []
    var children: [Int32] = []
    var token: Int32 = -1
  }

  private var nodes = [Node()]
  private var isFirstByte = [Bool](repeating: false, count: 256)
  private let tokens: [AddedToken]

  /// - Parameter entries: what to look for, and the index of its token in `tokens`.
  init(_ entries: [(content: [UInt8], index: Int)], of tokens: [AddedToken]) {
    self.tokens = tokens
    for (content, index) in entries where !content.isEmpty {
      isFirstByte[Int(content[0])] = true
      var node = 0
      for byte in content {
        if let place = nodes[node].bytes.firstIndex(of: byte) {
          node = Int(nodes[node].children[place])
        } else {
          nodes.append(Node())
          nodes[node].bytes.append(byte)
          nodes[node].children.append(Int32(nodes.count - 1))
          node = nodes.count - 1
        }
      }
      // Of two that are normalized to the same text the first is found.
      if nodes[node].token < 0 { nodes[node].token = Int32(index) }
    }
  }

  var isEmpty: Bool { nodes.count == 1 }

  /// The tokens in `text`, from left to right, with the spaces that they take along.
  func matches(in text: [UInt8]) -> [Match] {
    var found: [Match] = []
    if isEmpty { return found }
    var at = 0
    var end = 0
    while at < text.count {
      guard isFirstByte[Int(text[at])], let (token, length) = longest(in: text, at: at) else {
        at += 1
        continue
      }
      let start = at
      at += length
      let properties = tokens[token]
      if properties.singleWord {
        let before = start > 0 && isWordCharacter(lastCharacter(of: text[..<start]))
        let after = at < text.count && isWordCharacter(firstCharacter(of: text[at...]))
        if before || after { continue }
      }
      var first = start
      var last = at
      if properties.stripsLeft {
        while first > end, let (scalar, length) = lastCharacter(of: text[..<first]), scalar.properties.isWhitespace {
          first -= length
        }
        first = max(first, end)
      }
      if properties.stripsRight {
        while last < text.count, let (scalar, length) = firstCharacter(of: text[last...]),
          scalar.properties.isWhitespace
        {
          last += length
        }
      }
      let range = min(first, last)..<last
      // A token before this one may have taken along spaces that begin it: it is found all the same, as elsewhere.
      found.append(Match(token: token, range: range))
      end = range.upperBound
    }
    return found
  }

  private func longest(in text: [UInt8], at start: Int) -> (token: Int, length: Int)? {
    var node = 0
    var best: (Int, Int)?
    var at = start
    while at < text.count, let place = nodes[node].bytes.firstIndex(of: text[at]) {
      node = Int(nodes[node].children[place])
      at += 1
      if nodes[node].token >= 0 { best = (Int(nodes[node].token), at - start) }
    }
    return best
  }

  private func firstCharacter(of text: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
    guard let first = text.first else { return nil }
    let bytes = text.prefix(utf8Length(first))
    return String(decoding: bytes, as: UTF8.self).unicodeScalars.first.map { ($0, bytes.count) }
  }

  private func lastCharacter(of text: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
    guard var start = text.indices.last else { return nil }
    while start > text.startIndex, text[start] & 0xC0 == 0x80 { start -= 1 }
    return firstCharacter(of: text[start...])
  }

  private func isWordCharacter(_ character: (Unicode.Scalar, Int)?) -> Bool {
    character.map { CharacterClass.isWord($0.0) } ?? false
  }
}
