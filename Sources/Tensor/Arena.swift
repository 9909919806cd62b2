import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The memory of all tensors: ranges of reserved address space in which blocks are cut at the lowest place that fits and
/// joined again when they are given back.
///
/// A training step allocates the same sizes in the same order as the one before, so it finds the same places and touches no
/// fresh page; what lives long (weights, moments) is allocated first and stands below what comes and goes. The system gives
/// memory to a page when it is first written: what the process holds is the highest place ever used, and `report` says how
/// far above the peak of use that is.
///
/// With `ATTUNE_MEMORY=separate` every block is an allocation of its own, so that sanitizers see its borders.
final class Arena: Sendable {
  /// What is in use, in bytes.
  struct Report: Sendable, Equatable {
    var inUse = 0
    var peak = 0
    /// Largest use since the last `beginPhase`.
    var phasePeak = 0
    /// Highest place that was ever used.
    var highWater = 0
    /// What is in use by `MemoryPart`, now and at `phasePeak`.
    var parts = [Int](repeating: 0, count: MemoryPart.count)
    var phaseParts = [Int](repeating: 0, count: MemoryPart.count)

    mutating func take(_ size: Int, for part: MemoryPart) {
      inUse += size
      parts[part.rawValue] += size
      peak = max(peak, inUse)
      if inUse > phasePeak { notePhasePeak() }
    }

    mutating func give(back size: Int, of part: MemoryPart) {
      inUse -= size
      parts[part.rawValue] -= size
    }

    mutating func notePhasePeak() {
      phasePeak = inUse
      // One by one: the two never share storage, so nothing is allocated here.
      for i in parts.indices { phaseParts[i] = parts[i] }
    }
  }

  /// Bytes behind every block that a vector may read.
  private static let spare = 128
  private static let alignment = 64
  private static let regionBytes = 1 << 36

  private struct Region: @unchecked Sendable {
    // Safety: the range is handed out in disjoint blocks, under the arena's lock.
    let base: UnsafeMutableRawPointer
    let size: Int
    /// Free ranges by ascending address; neighbours are joined.
    var free: [(offset: Int, size: Int)]
    var highWater = 0
  }
  private struct State {
    var regions: [Region] = []
    var report = Report()
    /// What is allocated now is for this.
    var part = MemoryPart.activations
  }
  private let state = Mutex(State())
  private let isSeparate: Bool
  private let isRehearsal: Bool

  /// - Parameter isRehearsal: nothing will be written, so that places alone are wanted.
  init(isRehearsal: Bool = false) {
    self.isRehearsal = isRehearsal
    isSeparate = !isRehearsal && getenv("ATTUNE_MEMORY").map { String(cString: $0) } == "separate"
  }

  var report: Report { state.withLock { $0.report } }

  func beginPhase() { state.withLock { $0.report.notePhasePeak() } }

  var part: MemoryPart {
    get { state.withLock { $0.part } }
    set { state.withLock { $0.part = newValue } }
  }

  /// Memory with undefined contents; goes back to the arena with the last reference to the storage.
  ///
  /// - Parameter part: what it is for; nil takes `part` of the arena.
  func allocate(byteCount: Int, for given: MemoryPart? = nil) -> HostStorage {
    let size = (max(byteCount, 1) + Self.spare + Self.alignment - 1) / Self.alignment * Self.alignment
    if isSeparate { return separate(byteCount, size, given) }
    let (pointer, part) = state.withLock { state -> (UnsafeMutableRawPointer, MemoryPart) in
      let part = given ?? state.part
      state.report.take(size, for: part)
      for i in state.regions.indices {
        if let offset = Self.take(size, from: &state.regions[i]) {
          state.report.highWater = state.regions.reduce(0) { $0 + $1.highWater }
          return (state.regions[i].base + offset, part)
        }
      }
      state.regions.append(reserve(atLeast: size))
      let last = state.regions.count - 1
      let offset = Self.take(size, from: &state.regions[last])!
      state.report.highWater = state.regions.reduce(0) { $0 + $1.highWater }
      return (state.regions[last].base + offset, part)
    }
    return HostStorage(pointer: pointer, byteCount: byteCount) { [self] pointer in give(back: pointer, size, part) }
  }

  private static func take(_ size: Int, from region: inout Region) -> Int? {
    guard let i = region.free.firstIndex(where: { $0.size >= size }) else { return nil }
    let offset = region.free[i].offset
    if region.free[i].size == size {
      region.free.remove(at: i)
    } else {
      region.free[i] = (offset + size, region.free[i].size - size)
    }
    region.highWater = max(region.highWater, offset + size)
    return offset
  }

  private func give(back pointer: UnsafeMutableRawPointer, _ size: Int, _ part: MemoryPart) {
    let address = UInt(bitPattern: pointer)
    state.withLock { state in
      state.report.give(back: size, of: part)
      let r = state.regions.firstIndex { region in
        let base = UInt(bitPattern: region.base)
        return address >= base && address < base + UInt(region.size)
      }!
      let offset = Int(address - UInt(bitPattern: state.regions[r].base))
      // The first free range behind the block, by bisection.
      var low = 0
      var high = state.regions[r].free.count
      while low < high {
        let middle = (low + high) / 2
        if state.regions[r].free[middle].offset < offset { low = middle + 1 } else { high = middle }
      }
      let joinsNext = low < state.regions[r].free.count && state.regions[r].free[low].offset == offset + size
      let joinsLast =
        low > 0 && state.regions[r].free[low - 1].offset + state.regions[r].free[low - 1].size == offset
      switch (joinsLast, joinsNext) {
      case (true, true):
        state.regions[r].free[low - 1].size += size + state.regions[r].free[low].size
        state.regions[r].free.remove(at: low)
      case (true, false): state.regions[r].free[low - 1].size += size
      case (false, true):
        state.regions[r].free[low] = (offset, size + state.regions[r].free[low].size)
      case (false, false): state.regions[r].free.insert((offset, size), at: low)
      }
    }
  }

  /// Address space that costs nothing until it is written to; less of it where the system allows less.
  private func reserve(atLeast size: Int) -> Region {
    var wanted = max(Self.regionBytes, size)
    while true {
      #if canImport(Glibc)
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
      #else
        let flags = MAP_PRIVATE | MAP_ANON
      #endif
      if let base = mmap(nil, wanted, PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED {
        #if canImport(Glibc)
          // What a rehearsal writes is small and far between.
          if !isRehearsal { madvise(base, wanted, MADV_HUGEPAGE) }
        #endif
        return Region(base: base, size: wanted, free: [(0, wanted)])
      }
      guard wanted > size else { preconditionFailure("the system gives no memory for \(size) bytes") }
      wanted = max(size, wanted / 2)
    }
  }

  private func separate(_ byteCount: Int, _ size: Int, _ given: MemoryPart?) -> HostStorage {
    let part = state.withLock { state in
      let part = given ?? state.part
      state.report.take(size, for: part)
      state.report.highWater = state.report.peak
      return part
    }
    var fresh: UnsafeMutableRawPointer?
    guard posix_memalign(&fresh, Self.alignment, size) == 0, let fresh else {
      preconditionFailure("the system gives no memory for \(size) bytes")
    }
    memset(fresh + byteCount, 0, size - byteCount)
    return HostStorage(pointer: fresh, byteCount: byteCount) { [self] pointer in
      state.withLock { $0.report.give(back: size, of: part) }
      free(pointer)
    }
  }

  deinit {
    state.withLock { state in
      for region in state.regions { munmap(region.base, region.size) }
    }
  }
}
