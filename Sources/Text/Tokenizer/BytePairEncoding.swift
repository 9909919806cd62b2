/// The merges of a byte-pair encoding and the vocabulary they lead into.
///
/// Source: Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (ACL 2016).
struct BytePairEncoding: Sendable {
  /// What a piece is cut into before the first merge.
  enum Symbols: Sendable {
    /// One symbol a byte: the id of each, or -1 for a byte that the vocabulary lacks (it is left out, as elsewhere).
    case bytes([Int32])
    /// One symbol a character; characters that the vocabulary lacks become byte tokens or the unknown token.
    case characters(byteTokens: [Int32]?, unknown: Int32?, fusesUnknown: Bool)
  }

  /// Tokens by the bytes that they stand for.
  let vocabulary: ByteStringTable
  let merges: PairTable
  let symbols: Symbols
  /// A piece that is in the vocabulary as a whole is taken as it is.
  let ignoresMerges: Bool

  /// One symbol while it is being merged: its id and the bytes of the piece that it covers.
  struct Symbol {
    var id: Int32
    var start: Int32
    var end: Int32
  }

  /// Encodes one piece into `out`; symbol positions count from the beginning of the piece.
  func encode(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [Symbol]) {
    out.removeAll(keepingCapacity: true)
    if ignoresMerges, let id = vocabulary.value(of: piece) {
      out.append(Symbol(id: id, start: 0, end: Int32(piece.count)))
      return
    }
    split(piece, into: &out)
    if out.count <= 48 { mergeByScanning(&out) } else { mergeByHeap(&out) }
  }

  private func split(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [Symbol]) {
    switch symbols {
    case .bytes(let ids):
      for (i, byte) in piece.enumerated() where ids[Int(byte)] >= 0 {
        out.append(Symbol(id: ids[Int(byte)], start: Int32(i), end: Int32(i + 1)))
      }
    case .characters(let byteTokens, let unknown, let fusesUnknown):
      var at = 0
      while at < piece.count {
        let end = min(piece.count, at + utf8Length(piece[at]))
        defer { at = end }
        if let id = vocabulary.value(of: UnsafeBufferPointer(rebasing: piece[at..<end])) {
          out.append(Symbol(id: id, start: Int32(at), end: Int32(end)))
        } else if let byteTokens {
          for i in at..<end {
            out.append(Symbol(id: byteTokens[Int(piece[i])], start: Int32(i), end: Int32(i + 1)))
          }
        } else if let unknown {
          if fusesUnknown, let last = out.last, last.id == unknown, Int(last.end) == at {
            out[out.count - 1].end = Int32(end)
          } else {
            out.append(Symbol(id: unknown, start: Int32(at), end: Int32(end)))
          }
        }
      }
    }
  }

  /// Applies the lowest-ranked merge (the leftmost of them) until none is left: quick for short pieces.
  private func mergeByScanning(_ symbols: inout [Symbol]) {
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
  private func mergeByHeap(_ symbols: inout [Symbol]) {
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

/// Pairs of ids and what they merge into.
///
/// Safety: the two buffers are written by `init` alone and read only afterwards, so sharing them is safe.
final class PairTable: @unchecked Sendable {
  /// No merge: above every rank.
  static let none = UInt64.max

  private let keys: UnsafeMutablePointer<UInt64>
  private let values: UnsafeMutablePointer<UInt64>
  private let mask: Int

  /// - Parameter merges: (left id, right id, merged id) by rising rank; of equal pairs the last one counts.
  init(_ merges: [(left: Int32, right: Int32, merged: Int32)]) {
    let size = max(16, (merges.count * 2).nextPowerOfTwo)
    keys = .allocate(capacity: size)
    values = .allocate(capacity: size)
    keys.initialize(repeating: .max, count: size)
    values.initialize(repeating: Self.none, count: size)
    mask = size - 1
    for (rank, merge) in merges.enumerated() {
      let key = Self.key(merge.left, merge.right)
      let slot = slot(of: key)
      keys[slot] = key
      values[slot] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merge.merged))
    }
  }

  deinit {
    keys.deallocate()
    values.deallocate()
  }

  /// Rank in the upper half and merged id in the lower, or `none`.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> UInt64 { values[slot(of: Self.key(left, right))] }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private func slot(of key: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: mixed(key)) & mask
    while keys[slot] != key, keys[slot] != .max { slot = (slot + 1) & mask }
    return slot
  }
}

/// A binary heap; the smallest element comes out first.
struct BinaryHeap<Element: Comparable> {
  private var items: [Element] = []

  mutating func push(_ item: Element) {
    items.append(item)
    var child = items.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard items[child] < items[parent] else { break }
      items.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> Element? {
    guard let top = items.first else { return nil }
    let last = items.removeLast()
    guard !items.isEmpty else { return top }
    items[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && items[child] < items[least] {
        least = child
      }
      if least == parent { return top }
      items.swapAt(parent, least)
      parent = least
    }
  }
}

/// The length that a UTF-8 character's first byte announces; 1 for a byte that begins none.
@inline(__always)
func utf8Length(_ first: UInt8) -> Int {
  first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
}
