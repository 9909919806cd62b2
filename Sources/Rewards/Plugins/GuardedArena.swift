/// Memory lent to a plugin: cleared, aligned to 16, with a guard in front of and behind every piece.
final class GuardedArena {
  private static let pattern: UInt64 = 0xA77A_5AFE_D00D_FEED
  static let guardBytes = 64
  private static let largest = 1 << 30

  /// What a guard stands beside; put into words only when it fell.
  private struct Guard {
    var place: UnsafeMutableRawPointer
    var count: Int
    var purpose: String
    var index: Int?
    var isInFront = false

    /// - Parameter inFront: of the piece that follows the guard, not behind the one before.
    func words(inFront: Bool) -> String {
      purpose + (index.map { " \($0)" } ?? "") + (inFront ? ", in front of it" : ", behind it")
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
      addGuard(Guard(place: block, count: Self.guardBytes, purpose: purpose, index: index, isInFront: true))
      free = block + Self.guardBytes
      left = bytes - Self.guardBytes
    }
    guard let start = free else { return nil }
    start.initializeMemory(as: UInt8.self, repeating: 0, count: rounded)
    // The guard begins right behind the piece, so that a single byte too many is seen.
    addGuard(Guard(place: start + size, count: needed - size, purpose: purpose, index: index))
    free = start + needed
    left -= needed
    total += needed
    return start
  }

  private func addGuard(_ entry: Guard) {
    let (place, count) = (entry.place, entry.count)
    var done = 0
    while done + 8 <= count {
      place.storeBytes(of: Self.pattern, toByteOffset: done, as: UInt64.self)
      done += 8
    }
    while done < count {
      place.storeBytes(of: Self.byte(done), toByteOffset: done, as: UInt8.self)
      done += 1
    }
    guards.append(entry)
  }

  private static func byte(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: pattern.littleEndian >> (8 * (i & 7))) }

  /// What was overrun, or nil if every guard stands.
  func violation() -> String? {
    for (i, entry) in guards.enumerated() {
      var difference: UInt64 = 0
      for at in stride(from: 0, to: Self.guardBytes, by: 8) {
        difference |= entry.place.loadUnaligned(fromByteOffset: at, as: UInt64.self) ^ Self.pattern
      }
      // A piece ends anywhere, the next one begins at a multiple of 16.
      for at in Self.guardBytes..<entry.count {
        difference |= UInt64(entry.place.load(fromByteOffset: at, as: UInt8.self) ^ Self.byte(at))
      }
      if difference != 0 { return words(of: i) }
    }
    return nil
  }

  /// A guard stands behind one piece and in front of the next: the nearer one is named.
  private func words(of i: Int) -> String {
    let entry = guards[i]
    let first = (0..<entry.count).first { entry.place.load(fromByteOffset: $0, as: UInt8.self) != Self.byte($0) } ?? 0
    if entry.isInFront { return entry.words(inFront: true) }
    if first >= entry.count / 2, i + 1 < guards.count, !guards[i + 1].isInFront {
      return guards[i + 1].words(inFront: true)
    }
    return entry.words(inFront: false)
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
