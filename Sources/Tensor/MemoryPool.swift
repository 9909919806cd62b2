import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Blocks of host memory that are handed out again by size, so that a training step touches no fresh pages.
///
/// Sizes are rounded up to eight steps per power of two; 128 spare bytes behind every block let a vector overrun its end.
final class MemoryPool: Sendable {
  private struct Block: @unchecked Sendable {
    // Safety: a block in the list is referenced by nobody else.
    let pointer: UnsafeMutableRawPointer
  }
  private struct State {
    var free: [Int: [Block]] = [:]
    var allocated = 0
    var peak = 0
    var phasePeak = 0
    var inUse = 0
  }
  private let state = Mutex(State())

  /// Largest number of bytes that were in use at once.
  var peakBytes: Int { state.withLock { $0.peak } }

  /// Largest number of bytes that were in use at once since `beginPhase`.
  var phasePeakBytes: Int { state.withLock { $0.phasePeak } }
  func beginPhase() { state.withLock { $0.phasePeak = $0.inUse } }

  static func roundedSize(_ byteCount: Int) -> Int {
    let wanted = max(byteCount, 256)
    let step = max(64, (1 << (Int.bitWidth - 1 - wanted.leadingZeroBitCount)) >> 3)
    return (wanted + step - 1) / step * step
  }

  /// Memory with undefined contents; goes back to the pool with the last reference to the storage.
  func allocate(byteCount: Int) -> HostStorage {
    let size = Self.roundedSize(byteCount)
    let reused = state.withLock { state -> Block? in
      state.inUse += size
      state.peak = max(state.peak, state.inUse)
      state.phasePeak = max(state.phasePeak, state.inUse)
      return state.free[size]?.popLast()
    }
    let pointer: UnsafeMutableRawPointer
    if let reused {
      pointer = reused.pointer
    } else {
      var fresh: UnsafeMutableRawPointer?
      guard posix_memalign(&fresh, 64, size + 128) == 0, let fresh else {
        preconditionFailure("out of memory: \(size) bytes on top of \(state.withLock { $0.allocated })")
      }
      memset(fresh + size, 0, 128)
      state.withLock { $0.allocated += size }
      pointer = fresh
    }
    return HostStorage(pointer: pointer, byteCount: byteCount) { [self] pointer in
      let block = Block(pointer: pointer)
      state.withLock {
        $0.inUse -= size
        $0.free[size, default: []].append(block)
      }
    }
  }

  deinit {
    state.withLock { state in
      for blocks in state.free.values {
        for block in blocks { free(block.pointer) }
      }
    }
  }
}
