import Synchronization

/// How fast a machine is, for estimates of time.
public struct MachineRates: Sendable, Equatable {
  /// Floating-point operations a second of products in f32 and in bf16.
  public var full: Double
  public var bf16: Double
  /// Bytes a second that are read and written outside the caches.
  public var bytes: Double
  /// Seconds that the smallest operation takes.
  public var call: Double

  public init(full: Double, bf16: Double, bytes: Double, call: Double) {
    self.full = full
    self.bf16 = bf16
    self.bytes = bytes
    self.call = call
  }

  /// For who asks about memory alone.
  public static let unmeasured = MachineRates(full: 1e11, bf16: 2e11, bytes: 1e10, call: 1e-6)
}

/// Adds up the seconds that the operations of a rehearsal would take: each as long as its arithmetic or its traffic with
/// memory, whichever is longer, and a moment besides.
final class RehearsalLedger: Sendable {
  private let rates: MachineRates
  private let total = Mutex(0.0)

  init(_ rates: MachineRates) { self.rates = rates }

  var seconds: Double { total.withLock { $0 } }

  func call() { total.withLock { $0 += rates.call } }

  func work(_ operations: Double, _ precision: Precision, bytes: Int) {
    let rate = precision == .full ? rates.full : rates.bf16
    total.withLock { $0 += max(operations / rate, Double(bytes) / rates.bytes) }
  }
}

extension CPUBackend {
  /// Notes an operation that moves whole tensors.
  func charge(_ tensors: Tensor...) {
    guard let ledger else { return }
    ledger.work(0, .full, bytes: tensors.reduce(0) { $0 + $1.count * $1.dtype.size })
  }

  func charge(bytes: Int) { ledger?.work(0, .full, bytes: bytes) }

  /// Notes a product of so many rows with panels, read once from each of so many matrices.
  func charge(product rows: Int, _ packed: PackedMatrix, matrices: Int = 1) {
    ledger?.work(
      2 * Double(rows) * Double(packed.k) * Double(packed.n), packed.precision,
      bytes: matrices * packed.storage.byteCount)
  }

  /// Notes attention over a plan, so many products for every query and key.
  func charge(_ plan: AttentionPlan, _ heads: AttentionHeads, products: Double) {
    guard let ledger else { return }
    let pairs = plan.pairCount(window: heads.window)
    ledger.work(
      products * pairs * Double(heads.heads * (heads.size + heads.valueSize)), .full,
      bytes: Int(pairs) / max(1, plan.rowsTogether) * heads.kvHeads * (heads.size + heads.valueSize) * 4)
  }
}
