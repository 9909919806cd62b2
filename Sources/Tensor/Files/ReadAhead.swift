import Synchronization

/// Keeps the disk busy while weights are packed: asks the system for the next parts of mapped files while one is worked on.
///
/// Page faults alone read a little around the place that was touched, and whoever touched it waits.
final class ReadAhead: Sendable {
  /// Bytes that are asked for and not worked on yet, at most (but a part is asked for whole).
  private static let window = 256 << 20

  private struct Part {
    weak var file: MappedFile?
    let bytes: UnsafeRawBufferPointer
    var isAskedFor = false
    var isBegun = false
  }
  private struct State: @unchecked Sendable {
    // Safety: the addresses are only handed to the system while their file is alive.
    var parts: [Part] = []
    var places: [UInt: Int] = [:]
    /// Bytes asked for and not begun.
    var ahead = 0
    /// Parts not asked for.
    var left = 0

    mutating func ask(_ place: Int) {
      parts[place].file?.willNeed(parts[place].bytes)
      parts[place].isAskedFor = true
      left -= 1
    }
  }
  private let state = Mutex(State())

  /// In the order in which the parts will be read, as far as that is known.
  func announce(_ bytes: UnsafeRawBufferPointer, of file: MappedFile) {
    let part = Part(file: file, bytes: bytes)
    state.withLock {
      $0.places[UInt(bitPattern: part.bytes.baseAddress)] = $0.parts.count
      $0.parts.append(part)
      $0.left += 1
    }
  }

  /// Asks for what comes behind a part that is about to be read, then for what was left out before it (such as a table of
  /// tokens, which stands first and is packed with the head).
  func begin(_ bytes: UnsafeRawBufferPointer) {
    let address = UInt(bitPattern: bytes.baseAddress)
    state.withLock { state in
      guard let place = state.places[address] else { return }
      let part = state.parts[place]
      if part.isAskedFor, !part.isBegun { state.ahead -= part.bytes.count }
      if !part.isAskedFor { state.ask(place) }
      state.parts[place].isBegun = true
      var next = place
      while state.left > 0, state.ahead < Self.window {
        next = (next + 1) % state.parts.count
        guard !state.parts[next].isAskedFor else { continue }
        state.ask(next)
        state.ahead += state.parts[next].bytes.count
      }
    }
  }
}
