/// The merges of a byte-pair encoding and the vocabulary they lead into.
///
/// Source: Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (ACL 2016).
struct BytePairEncoding: PieceModel {
  /// What a piece is cut into before the first merge.
  enum Symbols: Sendable {
    /// One symbol a byte: the id of each, or -1 for a byte that the vocabulary lacks (it is left out, as elsewhere).
    case bytes([Int32])
    /// One symbol a character.
    case characters(Characters)
  }

  /// How characters become symbols. What the vocabulary lacks becomes byte tokens or the unknown token.
  struct Characters: Sendable {
    /// The token of each byte, -1 where there is none; nil if bytes are no fallback.
    var byteTokens: [Int32]?
    var unknown: Int32?
    var fusesUnknown = false
    /// Stands before every character of a piece but the first.
    var prefix: [UInt8] = []
    /// Stands behind the last character of a piece.
    var suffix: [UInt8] = []
  }

  /// Tokens by the bytes that they stand for.
  let vocabulary: ByteStringTable
  let merges: PairTable
  let symbols: Symbols
  /// A piece that is in the vocabulary as a whole is taken as it is.
  let ignoresMerges: Bool
  /// Where long pieces may be cut without a change of the result; nil if nowhere.
  let borders: MergeBorders?

  func encode(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [PieceSymbol]) {
    out.removeAll(keepingCapacity: true)
    if ignoresMerges, let id = vocabulary.value(of: piece) {
      out.append(PieceSymbol(id: id, start: 0, end: Int32(piece.count)))
      return
    }
    switch symbols {
    case .bytes(let ids):
      for byte in piece where ids[Int(byte)] >= 0 { append(ids[Int(byte)], 1, &out) }
    case .characters(let characters): split(piece, characters, into: &out)
    }
    if out.count <= 48 { mergeByScanning(&out) } else { mergeByHeap(&out) }
  }

  func border(in piece: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
    guard let borders, piece.count > PieceCache.longestPiece else { return piece.count }
    return borders.next(in: piece, after: start) { vocabulary.value(of: $0) != nil }
  }

  /// Symbols stand one behind the other: what is left out moves those behind it forward, as elsewhere.
  @inline(__always)
  private func append(_ id: Int32, _ length: Int, _ out: inout [PieceSymbol]) {
    let start = out.last?.end ?? 0
    out.append(PieceSymbol(id: id, start: start, end: start + Int32(length)))
  }

  private func split(
    _ piece: UnsafeBufferPointer<UInt8>, _ characters: Characters, into out: inout [PieceSymbol]
  ) {
    // An unknown character waits for the next known one: byte tokens go past it, as elsewhere.
    var unknownLength = 0
    var at = 0
    var spelled: [UInt8] = []
    while at < piece.count {
      let end = min(piece.count, at + utf8Length(piece[at]))
      defer { at = end }
      let hasPrefix = at > 0 && !characters.prefix.isEmpty
      let hasSuffix = end == piece.count && !characters.suffix.isEmpty
      let slice = UnsafeBufferPointer(rebasing: piece[at..<end])
      if hasPrefix || hasSuffix {
        spelled = (hasPrefix ? characters.prefix : []) + slice + (hasSuffix ? characters.suffix : [])
      }
      if let id = hasPrefix || hasSuffix ? vocabulary.value(of: spelled) : vocabulary.value(of: slice) {
        if unknownLength > 0, let unknown = characters.unknown { append(unknown, unknownLength, &out) }
        unknownLength = 0
        append(id, end - at, &out)
        continue
      }
      if let byteTokens = characters.byteTokens {
        if !hasPrefix, !hasSuffix { spelled = Array(slice) }
        if spelled.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
          for byte in spelled { append(byteTokens[Int(byte)], 1, &out) }
          continue
        }
      }
      guard let unknown = characters.unknown else { continue }
      if !characters.fusesUnknown, unknownLength > 0 {
        append(unknown, unknownLength, &out)
        unknownLength = 0
      }
      unknownLength += end - at
    }
    if unknownLength > 0, let unknown = characters.unknown { append(unknown, unknownLength, &out) }
  }

  /// Applies the lowest-ranked merge (the leftmost of them) until none is left: quick for short pieces.
  private func mergeByScanning(_ symbols: inout [PieceSymbol]) {
    var count = symbols.count
    guard count > 1 else { return }
    symbols.withUnsafeMutableBufferPointer { symbols in
      withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { merge in
        // merge[i] joins symbols i and i+1: rank in the upper half, new id in the lower.
        for i in 0..<count - 1 { merge[i] = merges.merge(symbols[i].id, symbols[i + 1].id) }
        while count > 1 {
          var best = 0
          var i = 1
          while i < count - 1 {
            if merge[i] >> 32 < merge[best] >> 32 { best = i }
            i += 1
          }
          guard merge[best] != PairTable.none else { break }
          symbols[best].id = Int32(truncatingIfNeeded: merge[best])
          symbols[best].end = symbols[best + 1].end
          i = best + 1
          while i < count - 1 {
            symbols[i] = symbols[i + 1]
            merge[i] = merge[i + 1 < count - 1 ? i + 1 : i]
            i += 1
          }
          count -= 1
          if best > 0 { merge[best - 1] = merges.merge(symbols[best - 1].id, symbols[best].id) }
          if best < count - 1 { merge[best] = merges.merge(symbols[best].id, symbols[best + 1].id) }
        }
      }
    }
    symbols.removeLast(symbols.count - count)
  }

  /// The same result for long pieces in n log n: candidates in a heap over a linked list of symbols.
  private func mergeByHeap(_ symbols: inout [PieceSymbol]) {
    struct Candidate: Comparable {
      var merge: UInt64
      var left: Int32
      var leftID: Int32
      var rightID: Int32
      static func < (a: Candidate, b: Candidate) -> Bool {
        a.merge >> 32 != b.merge >> 32 ? a.merge >> 32 < b.merge >> 32 : a.left < b.left
      }
    }
    let count = symbols.count
    var next = (0..<count).map { $0 + 1 < count ? $0 + 1 : -1 }
    var previous = (0..<count).map { $0 - 1 }
    var alive = [Bool](repeating: true, count: count)
    var heap = BinaryHeap<Candidate>()
    func candidate(_ left: Int, _ right: Int) -> Candidate? {
      let merge = merges.merge(symbols[left].id, symbols[right].id)
      guard merge != PairTable.none else { return nil }
      return Candidate(merge: merge, left: Int32(left), leftID: symbols[left].id, rightID: symbols[right].id)
    }
    for i in 0..<count - 1 { if let new = candidate(i, i + 1) { heap.push(new) } }
    while let top = heap.pop() {
      let left = Int(top.left)
      // A candidate is stale once either of its symbols has been merged into something else.
      guard alive[left], symbols[left].id == top.leftID, next[left] >= 0 else { continue }
      let right = next[left]
      guard symbols[right].id == top.rightID else { continue }
      symbols[left].id = Int32(truncatingIfNeeded: top.merge)
      symbols[left].end = symbols[right].end
      alive[right] = false
      next[left] = next[right]
      if next[right] >= 0 { previous[next[right]] = left }
      if previous[left] >= 0, let new = candidate(previous[left], left) { heap.push(new) }
      if next[left] >= 0, let new = candidate(left, next[left]) { heap.push(new) }
    }
    var kept = 0
    for i in 0..<count where alive[i] {
      symbols[kept] = symbols[i]
      kept += 1
    }
    symbols.removeLast(count - kept)
  }
}
