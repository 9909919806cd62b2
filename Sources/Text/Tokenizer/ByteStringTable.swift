/// A hash table from byte strings to 32-bit numbers: exact where `String` keys are not, since two strings that are
/// canonically equivalent in Unicode are different tokens.
struct ByteStringTable: Sendable {
  /// All keys, one after the other.
  private var arena: [UInt8] = []
  private var starts: [Int] = [0]
  private var values: [Int32] = []
  private var slots: [Int32]

  /// - Parameters:
  ///   - capacity: how many keys are expected.
  ///   - bytes: how long they are together.
  init(capacity: Int = 0, bytes: Int = 0) {
    slots = Array(repeating: -1, count: max(16, (capacity * 2).nextPowerOfTwo))
    arena.reserveCapacity(bytes)
    starts.reserveCapacity(capacity + 1)
    values.reserveCapacity(capacity)
  }

  var count: Int { values.count }

  /// The value of `key`, or nil.
  func value(of key: UnsafeBufferPointer<UInt8>) -> Int32? {
    let entry = find(key, fastHash(key))
    return entry.map { values[$0] }
  }

  func value(of key: String) -> Int32? {
    var key = key
    return key.withUTF8 { value(of: $0) }
  }

  func value(of key: [UInt8]) -> Int32? { key.withUnsafeBufferPointer { value(of: $0) } }

  /// Sets the value of `key`, over an earlier one if there is any.
  mutating func insert(_ key: UnsafeBufferPointer<UInt8>, _ value: Int32) {
    if (values.count + 1) * 2 > slots.count { grow() }
    let hash = fastHash(key)
    if let entry = find(key, hash) {
      values[entry] = value
      return
    }
    place(Int32(values.count), hash: hash)
    arena.append(contentsOf: key)
    starts.append(arena.count)
    values.append(value)
  }

  mutating func insert(_ key: String, _ value: Int32) {
    var key = key
    key.withUTF8 { insert($0, value) }
  }

  mutating func insert(_ key: [UInt8], _ value: Int32) { key.withUnsafeBufferPointer { insert($0, value) } }

  private func find(_ key: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Int? {
    arena.withUnsafeBufferPointer { arena in
      slots.withUnsafeBufferPointer { slots in
        starts.withUnsafeBufferPointer { starts in
          let mask = slots.count - 1
          var slot = Int(truncatingIfNeeded: hash) & mask
          while slots[slot] >= 0 {
            let entry = Int(slots[slot])
            let start = starts[entry]
            if starts[entry + 1] - start == key.count,
              equalBytes(UnsafeBufferPointer(rebasing: arena[start..<start + key.count]), key)
            {
              return entry
            }
            slot = (slot + 1) & mask
          }
          return nil
        }
      }
    }
  }

  private mutating func place(_ entry: Int32, hash: UInt64) {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while slots[slot] >= 0 { slot = (slot + 1) & mask }
    slots[slot] = entry
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 2)
    for entry in values.indices {
      let hash = arena[starts[entry]..<starts[entry + 1]].withUnsafeBufferPointer { fastHash($0) }
      place(Int32(entry), hash: hash)
    }
  }
}

extension Int {
  /// The smallest power of two that is not smaller.
  var nextPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}

/// A 64-bit hash of bytes, eight at a time by multiplication and folding; not for adversaries to be kept out by.
@inline(__always)
func fastHash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
  guard let base = bytes.baseAddress else { return 0x9E37_79B9_7F4A_7C15 }
  var hash = UInt64(truncatingIfNeeded: bytes.count) &* 0x9E37_79B9_7F4A_7C15
  var at = 0
  while at + 8 <= bytes.count {
    hash = mixed(hash ^ UnsafeRawPointer(base + at).loadUnaligned(as: UInt64.self))
    at += 8
  }
  var tail: UInt64 = 0
  while at < bytes.count {
    tail = tail << 8 | UInt64(base[at])
    at += 1
  }
  return mixed(hash ^ tail)
}

@inline(__always)
func mixed(_ x: UInt64) -> UInt64 {
  let product = (x ^ 0x2D35_8DCC_AA6C_78A5).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
  return product.high ^ product.low
}

@inline(__always)
func equalBytes(_ a: UnsafeBufferPointer<UInt8>, _ b: UnsafeBufferPointer<UInt8>) -> Bool {
  guard a.count == b.count else { return false }
  for i in 0..<a.count where a[i] != b[i] { return false }
  return true
}
