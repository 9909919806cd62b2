/// A vocabulary of whole pieces.
struct WordLevel: PieceModel {
  let vocabulary: ByteStringTable
  let unknown: Int32

  func encode(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [PieceSymbol]) {
    out.removeAll(keepingCapacity: true)
    out.append(PieceSymbol(id: vocabulary.value(of: piece) ?? unknown, start: 0, end: Int32(piece.count)))
  }
}

/// The longest token first, again and again; tokens inside a word carry a prefix. A word with a part that is no token is
/// unknown as a whole.
///
/// Source: Devlin et al., *BERT* (2019), the published tokenizer.
struct WordPiece: PieceModel {
  let vocabulary: ByteStringTable
  let unknown: Int32
  let prefix: [UInt8]
  /// Longer words, in characters, are unknown.
  let longestWord: Int

  func encode(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [PieceSymbol]) {
    out.removeAll(keepingCapacity: true)
    let unknownWord = PieceSymbol(id: unknown, start: 0, end: Int32(piece.count))
    guard piece.count(where: { $0 & 0xC0 != 0x80 }) <= longestWord else {
      out.append(unknownWord)
      return
    }
    var start = 0
    while start < piece.count {
      var end = piece.count
      var found: Int32?
      while end > start {
        let slice = UnsafeBufferPointer(rebasing: piece[start..<end])
        found = start == 0 ? vocabulary.value(of: slice) : vocabulary.value(of: prefix + slice)
        if found != nil { break }
        repeat { end -= 1 } while end > start && piece[end] & 0xC0 == 0x80
      }
      guard let found else {
        out.removeAll(keepingCapacity: true)
        out.append(unknownWord)
        return
      }
      out.append(PieceSymbol(id: found, start: Int32(start), end: Int32(end)))
      start = end
    }
  }
}
