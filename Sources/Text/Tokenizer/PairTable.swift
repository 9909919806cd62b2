/// Pairs of ids and what they merge into.
///
/// Safety: the two buffers are written by `init` alone and read only afterwards, so sharing them is safe.
final class PairTable: @unchecked Sendable {
  /// No merge: above every rank.
  static let none = UInt64.max

  private let keys: UnsafeMutablePointer<UInt64>
  private let values: UnsafeMutablePointer<UInt64>
  private let mask: Int

  typealias Merge = (left: Int32, right: Int32, merged: Int32)

  /// - Parameter merges: by rising rank; of equal pairs the last one counts.
  init(_ merges: [Merge]) {
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
