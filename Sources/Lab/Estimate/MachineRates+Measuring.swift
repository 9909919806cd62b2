import AttuneTensor

extension MachineRates {
  /// This machine's, from a few hundredths of a second of the very operations that training consists of. A moment says
  /// little of a machine that others use too: good for "about".
  public static func measured(threads: Int) throws -> MachineRates {
    let backend = try CPUBackend(threads: threads)
    let side = 512
    let x = backend.zeros([side, side], .f32)
    let y = backend.empty([side, side], .f32)
    func products(_ precision: Precision) -> Double {
      let panels = backend.pack([x], for: precision)
      let input = backend.operand(x, for: precision)
      let seconds = shortest(of: 4, on: backend) {
        backend.matmul(y.allColumns, input.allColumns, panels, accumulate: false)
      }
      return 2 * Double(side * side * side) / seconds
    }
    // Larger than the caches of most cores.
    let large = backend.zeros([16 << 20], .bf16)
    let copy = backend.empty(large.shape, .bf16)
    let small = backend.zeros([16], .f32)
    return MachineRates(
      full: products(.full), bf16: products(.bf16),
      bytes: Double(4 * large.count) / shortest(of: 2, on: backend) { backend.copy(copy, large) },
      call: shortest(of: 8, on: backend) { backend.add(small, small, small) })
  }

  private static func shortest(of count: Int, on backend: CPUBackend, _ body: () -> Void) -> Double {
    (0...count).map { _ in
      let start = backend.seconds
      body()
      return max(backend.seconds - start, 1e-9)
    }.dropFirst().min() ?? 1
  }
}
