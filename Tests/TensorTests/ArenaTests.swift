import Core
import Testing

@testable import AttuneTensor

@Suite struct ArenaTests {
  /// Blocks never overlap, borders hold, and what is given back is joined: after everything is gone, one block fits again.
  @Test func blocksAreDisjointAndJoined() {
    let arena = Arena()
    var random = Randomness(seed: 4, for: .testing).stream()
    var held: [(storage: HostStorage, mark: UInt8)] = []
    for round in 0..<4000 {
      if held.count > 40 || (!held.isEmpty && random.integer(below: 3) == 0) {
        let (storage, mark) = held.remove(at: random.integer(below: held.count))
        let bytes = UnsafeRawBufferPointer(start: storage.pointer, count: storage.byteCount)
        #expect(bytes.allSatisfy { $0 == mark })
      } else {
        let storage = arena.allocate(byteCount: 1 + random.integer(below: 5000))
        let mark = UInt8(round % 251)
        UnsafeMutableRawBufferPointer(start: storage.pointer, count: storage.byteCount).initializeMemory(
          as: UInt8.self, repeating: mark)
        #expect(UInt(bitPattern: storage.pointer) % 64 == 0)
        held.append((storage, mark))
      }
    }
    held = []
    let report = arena.report
    #expect(report.inUse == 0 && report.peak > 0 && report.highWater >= report.peak)
    let whole = arena.allocate(byteCount: report.highWater - 256)
    #expect(arena.report.highWater == report.highWater, "free blocks were not joined")
    withExtendedLifetime(whole) {}
  }

  /// A step that repeats finds the places of the one before.
  @Test func repeatedStepsTouchNothingNew() throws {
    let backend = try CPUBackend(threads: 1)
    func step() {
      let weight = Parameter(
        name: "w", value: backend.zeros([64, 64], .f32), precision: .bf16, trainable: true, backend: backend)
      for rows in [100, 30, 250] {
        let tape = Tape(backend, recording: true)
        let x = backend.zeros([rows, 64], .f32)
        tape.watch(x)
        let y = tape.linear(tape.gelu(tape.linear(x, weight), .tanh), weight)
        tape.backward(from: y, seed: y)
      }
    }
    step()
    let after = backend.highWaterBytes
    for _ in 0..<20 { step() }
    #expect(backend.highWaterBytes == after)
    #expect(Double(after) < 1.3 * Double(backend.peakBytes))
  }

  @Test func phasesHavePeaksOfTheirOwn() throws {
    let backend = try CPUBackend(threads: 1)
    let kept = backend.zeros([1000], .f32)
    do { _ = backend.zeros([100_000], .f32) }
    backend.beginPhase()
    let before = backend.phasePeakBytes
    do { _ = backend.zeros([10_000], .f32) }
    #expect(backend.phasePeakBytes >= before + 40_000 && backend.phasePeakBytes < 400_000)
    withExtendedLifetime(kept) {}
  }
}
