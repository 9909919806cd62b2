/// A set of token ids, one bit each.
public struct TokenMask: Sendable, Equatable {
  private var words: [UInt64]
  /// Ids that it speaks of: 0 up to, not including, this. All others are outside.
  public let count: Int

  /// An empty set.
  public init(count: Int) {
    self.count = count
    words = [UInt64](repeating: 0, count: (count + 63) / 64)
  }

  public func contains(_ id: Int32) -> Bool {
    id >= 0 && Int(id) < count && words[Int(id) >> 6] >> (UInt64(id) & 63) & 1 == 1
  }

  public mutating func insert(_ id: Int32) { words[Int(id) >> 6] |= 1 << (UInt64(id) & 63) }

  mutating func remove(_ id: Int32) { words[Int(id) >> 6] &= ~(1 << (UInt64(id) & 63)) }

  /// How many ids are in it.
  public var population: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// The lowest id in it.
  public var first: Int32? {
    words.firstIndex { $0 != 0 }.map { Int32($0 * 64 + words[$0].trailingZeroBitCount) }
  }

  /// Calls `body` with every id in it, ascending.
  public func forEach(_ body: (Int32) -> Void) {
    for (place, word) in words.enumerated() where word != 0 {
      var rest = word
      while rest != 0 {
        body(Int32(truncatingIfNeeded: place * 64 + rest.trailingZeroBitCount))
        rest &= rest - 1
      }
    }
  }

  /// The ids in it, ascending.
  public var ids: [Int32] {
    var result: [Int32] = []
    forEach { result.append($0) }
    return result
  }

  var byteCount: Int { words.count * 8 }
}
