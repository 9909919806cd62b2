/// Memory lent to a plugin: cleared, aligned to 16, with a guard behind every piece.
final class GuardedArena {
  private static let pattern: UInt64 = 0xA77A_5AFE_D00D_FEED
  static let guardBytes = 64
  private static let largest = 1 << 30

  private var blocks: [UnsafeMutableRawPointer] = []
  private var guards: [(UnsafeMutableRawPointer, String)] = []
  private var free: UnsafeMutableRawPointer?
  private var left = 0
  private var total = 0

  init() {}
  deinit { clear() }

  /// nil if the arena would hold more than 1 GiB.
  func allocate(_ size: Int, _ purpose: String) -> UnsafeMutableRawPointer? {
    guard size >= 0, size <= Self.largest - total else { return nil }
    let rounded = (size + 15) & ~15
    let needed = rounded + Self.guardBytes
    if needed > left {
      let bytes = max(1 << 16, needed + Self.guardBytes)
      let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 16)
      blocks.append(block)
      addGuard(block, "\(purpose), in front of it")
      free = block + Self.guardBytes
      left = bytes - Self.guardBytes
    }
    guard let start = free else { return nil }
    start.initializeMemory(as: UInt8.self, repeating: 0, count: rounded)
    // The guard begins right behind the piece, so that a single byte too many is seen.
    addGuard(start + size, "\(purpose), behind it", count: needed - size)
    free = start + needed
    left -= needed
    total += needed
    return start
  }

  private func addGuard(_ place: UnsafeMutableRawPointer, _ purpose: String, count: Int = guardBytes) {
    for i in 0..<count { place.storeBytes(of: Self.byte(i), toByteOffset: i, as: UInt8.self) }
    guards.append((place, purpose))
  }

  private static func byte(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: pattern >> UInt64(8 * (i & 7))) }

  /// What was overrun, or nil if every guard stands.
  func violation() -> String? {
    for (place, purpose) in guards {
      for i in 0..<Self.guardBytes where place.load(fromByteOffset: i, as: UInt8.self) != Self.byte(i) {
        return purpose
      }
    }
    return nil
  }

  func clear() {
    for block in blocks { block.deallocate() }
    blocks = []
    guards = []
    free = nil
    left = 0
    total = 0
  }
}
