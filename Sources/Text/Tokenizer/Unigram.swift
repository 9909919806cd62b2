/// Tokens with log-probabilities: the most probable way to cut a piece.
///
/// Source: Kudo, *Subword Regularization* (ACL 2018), decoded as SentencePiece does.
struct Unigram: PieceModel {
  /// How much less probable an unknown character is than the least probable token.
  private static let unknownPenalty = 10.0

  let vocabulary: ByteStringTable
  let scores: [Double]
  let unknown: Int32?
  /// The token of each byte, -1 where there is none; nil if bytes are no fallback.
  let byteTokens: [Int32]?
  private let longestToken: Int
  private let unknownScore: Double
  /// Whether a token begins with these two bytes (the second zero for tokens of one byte).
  private let beginnings: [Bool]

  init(tokens: [(text: [UInt8], score: Double)], unknown: Int32?, byteTokens: [Int32]?) {
    var vocabulary = ByteStringTable(capacity: tokens.count)
    var beginnings = [Bool](repeating: false, count: 1 << 16)
    for (id, token) in tokens.enumerated() {
      vocabulary.insert(token.text, Int32(id))
      guard let first = token.text.first else { continue }
      beginnings[Int(first) << 8 | Int(token.text.count > 1 ? token.text[1] : 0)] = true
    }
    self.vocabulary = vocabulary
    self.beginnings = beginnings
    scores = tokens.map(\.score)
    self.unknown = unknown
    self.byteTokens = byteTokens
    longestToken = tokens.map(\.text.count).max() ?? 0
    unknownScore = (scores.min() ?? 0) - Self.unknownPenalty
  }

  var spelledUnknown: Int32? { unknown }

  private struct Node {
    var id: Int32 = -1
    var score = 0.0
    var start = -1
  }

  func encode(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [PieceSymbol]) {
    out.removeAll(keepingCapacity: true)
    var nodes = [Node](repeating: Node(), count: piece.count + 1)
    var start = 0
    while start < piece.count {
      let score = nodes[start].score
      let length = min(utf8Length(piece[start]), piece.count - start)
      var hasCharacter = false
      func offer(_ end: Int, _ id: Int32, _ total: Double) {
        if nodes[end].start < 0 || total > nodes[end].score { nodes[end] = Node(id: id, score: total, start: start) }
      }
      for end in ends(of: piece, from: start) {
        guard let id = vocabulary.value(of: UnsafeBufferPointer(rebasing: piece[start..<end])) else { continue }
        offer(end, id, scores[Int(id)] + score)
        if end - start == length { hasCharacter = true }
      }
      if !hasCharacter { offer(start + length, unknown ?? -1, unknownScore + score) }
      start += length
    }
    var parts: [PieceSymbol] = []
    var end = piece.count
    while end > 0 {
      let node = nodes[end]
      guard node.start >= 0 else { break }
      // Unknown characters in a row are one.
      if node.id == (unknown ?? -1), let last = parts.last, last.id == node.id {
        parts[parts.count - 1].start = Int32(node.start)
      } else {
        parts.append(PieceSymbol(id: node.id, start: Int32(node.start), end: Int32(end)))
      }
      end = node.start
    }
    for part in parts.reversed() { append(part, piece, &out) }
  }

  private func ends(of piece: UnsafeBufferPointer<UInt8>, from start: Int) -> ClosedRange<Int> {
    let first = Int(piece[start]) << 8
    let longer = start + 1 < piece.count && beginnings[first | Int(piece[start + 1])]
    return start + 1...(longer ? min(piece.count, start + longestToken) : start + 1)
  }

  /// What was cut out as unknown may be a token after all (where neighbours were joined), or become byte tokens.
  private func append(_ part: PieceSymbol, _ piece: UnsafeBufferPointer<UInt8>, _ out: inout [PieceSymbol]) {
    guard part.id == (unknown ?? -1) else {
      out.append(part)
      return
    }
    let text = UnsafeBufferPointer(rebasing: piece[Int(part.start)..<Int(part.end)])
    if let id = vocabulary.value(of: text) {
      out.append(PieceSymbol(id: id, start: part.start, end: part.end))
    } else if let byteTokens, text.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
      for byte in text { out.append(PieceSymbol(id: byteTokens[Int(byte)], start: part.start, end: part.end)) }
    } else if unknown != nil {
      out.append(part)
    }
  }
}
