/// Memory lent to a plugin: cleared, aligned to 16, with a guard behind every piece.
final class GuardedArena {
  private static let pattern: UInt64 = 0xA77A_5AFE_D00D_FEED
  static let guardBytes = 64
  private static let largest = 1 << 30

  /// What a guard stands beside; put into words only when it fell.
  private struct Guard {
    var place: UnsafeMutableRawPointer
    var purpose: String
    var index: Int?
    var isInFront = false

    var words: String {
      purpose + (index.map { " \($0)" } ?? "") + (isInFront ? ", in front of it" : ", behind it")
    }
  }

  private var blocks: [UnsafeMutableRawPointer] = []
  private var guards: [Guard] = []
  private var free: UnsafeMutableRawPointer?
  private var left = 0
  private var total = 0

  init() {}
  deinit { clear() }

  /// nil if the arena would hold more than 1 GiB.
  ///
  /// - Parameters:
  ///   - purpose: what is said of it if its guard falls.
  ///   - index: of one among several with this purpose.
  func allocate(_ size: Int, _ purpose: String, index: Int? = nil) -> UnsafeMutableRawPointer? {
    guard size >= 0, size <= Self.largest - total else { return nil }
    let rounded = (size + 15) & ~15
    let needed = rounded + Self.guardBytes
    if needed > left {
      let bytes = max(1 << 16, needed + Self.guardBytes)
      let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 16)
      blocks.append(block)
      addGuard(block, Self.guardBytes, Guard(place: block, purpose: purpose, index: index, isInFront: true))
      free = block + Self.guardBytes
      left = bytes - Self.guardBytes
    }
    guard let start = free else { return nil }
    start.initializeMemory(as: UInt8.self, repeating: 0, count: rounded)
    // The guard begins right behind the piece, so that a single byte too many is seen.
    addGuard(start + size, needed - size, Guard(place: start + size, purpose: purpose, index: index))
    free = start + needed
    left -= needed
    total += needed
    return start
  }

  private func addGuard(_ place: UnsafeMutableRawPointer, _ count: Int, _ entry: Guard) {
    var done = 0
    while done + 8 <= count {
      place.storeBytes(of: Self.pattern, toByteOffset: done, as: UInt64.self)
      done += 8
    }
    while done < count {
      place.storeBytes(
        of: UInt8(truncatingIfNeeded: Self.pattern >> (8 * (done & 7))), toByteOffset: done, as: UInt8.self)
      done += 1
    }
    guards.append(entry)
  }

  /// What was overrun, or nil if every guard stands.
  func violation() -> String? {
    for entry in guards {
      var difference: UInt64 = 0
      for i in stride(from: 0, to: Self.guardBytes, by: 8) {
        difference |= entry.place.loadUnaligned(fromByteOffset: i, as: UInt64.self) ^ Self.pattern
      }
      if difference != 0 { return entry.words }
    }
    return nil
  }

  /// Takes everything back.
  func clear() {
    for block in blocks { block.deallocate() }
    blocks = []
    guards.removeAll(keepingCapacity: true)
    free = nil
    left = 0
    total = 0
  }
}
