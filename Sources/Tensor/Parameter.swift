/// A named weight: its values and, if it is trained, its gradient.
///
/// Trained parameters hold f32 values (f64 in gradient checks) whatever the precision of products: sampler and trainer read
/// the same panels (`WeightGroup`), made from these values once per update. Frozen ones may stay bf16 as they came from a file.
public final class Parameter {
  /// The key in a checkpoint, such as `model.layers.0.self_attn.q_proj.weight`.
  public let name: String
  /// Made anew at every call where the values are held turned.
  public private(set) var value: Tensor {
    get { isTurned ? backend.turned(stored) : stored }
    set {
      stored = newValue
      isTurned = false
    }
  }
  /// The values, or the same matrix as `[in, out]`.
  private var stored: Tensor
  private var isTurned: Bool
  /// Sums of gradients since the last `clearGradient`; nil for a frozen parameter.
  public var gradient: Tensor? {
    settleRows()
    return accumulator
  }
  /// Where products add their share; rows of lookups wait beside it.
  private(set) var accumulator: Tensor?
  private var waitingRows: [(rows: Tensor, index: [Int32])] = []
  public let precision: Precision
  /// How products hold the values: a trained parameter is always plain.
  public var format: WeightFormat { isTrainable ? .plain : frozenFormat }
  private let frozenFormat: WeightFormat
  private let backend: any Backend
  /// What its memory is for: that of the model or adapter that it belongs to.
  let part: MemoryPart
  /// Changes with the values, and with which of them are shown.
  public private(set) var version = 0
  /// Which values are shown: 0 are the parameter's own, others stand in for them.
  public private(set) var shown = 0
  /// Values that are not shown at the moment.
  private var hidden: [Int: Content] = [:]
  private var newest = 0

  /// One set of values with its gradient.
  private struct Content {
    var stored: Tensor
    var isTurned: Bool
    var accumulator: Tensor?
    var waitingRows: [(rows: Tensor, index: [Int32])]
    var version: Int
  }

  /// - Parameters:
  ///   - format: how products hold the values while they are frozen; other than plain for bf16 products alone.
  ///   - isTurned: `value` is the matrix as `[in, out]`, as a file has it; products read it from there.
  public init(
    name: String, value: Tensor, precision: Precision, format: WeightFormat = .plain, trainable: Bool,
    isTurned: Bool = false, backend: any Backend
  ) {
    precondition(format == .plain || precision == .bf16, "\(name): \(format) weights in products of f32")
    self.name = name
    self.precision = precision
    frozenFormat = format
    self.backend = backend
    part = backend.modelPart
    stored = value
    self.isTurned = isTurned
    if trainable { setTrainable(true) }
  }

  public var shape: [Int] { isTurned ? stored.shape.reversed() : stored.shape }
  /// Elements of one row.
  var width: Int { shape.dropFirst().reduce(1, *) }
  /// The values as `[in, out]`, where they are held so.
  public var turnedValue: Tensor? { isTurned ? stored : nil }

  /// What is mapped from a file need not stay in memory.
  public func forget() { backend.forget(stored) }
  public var isTrainable: Bool { accumulator != nil }

  /// Makes the parameter trained (with a zero gradient) or frozen.
  public func setTrainable(_ trainable: Bool) {
    guard trainable != isTrainable else { return }
    if trainable {
      // The optimizer writes in place: the values must be f32 and nobody else's (a frozen one may be a mapped file).
      let own = value
      let master = backend.making(part) { backend.empty(own.shape, own.dtype == .f64 ? .f64 : .f32) }
      backend.convert(master, own)
      forget()
      value = master
    }
    accumulator = trainable ? backend.making(.gradients) { backend.zeros(value.shape, value.dtype) } : nil
    waitingRows = []
  }

  public func clearGradient() {
    waitingRows = []
    if let accumulator { backend.fillZero(accumulator) }
  }

  /// Adds rows to the gradient of a table, once all batches of an update are in.
  ///
  /// A tied table also gets the head's gradient. Were each batch's rows added behind its head's share, the order of the sum
  /// would depend on how the update is cut into batches.
  func addRows(_ rows: Tensor, at index: [Int32]) { waitingRows.append((rows, index)) }

  private func settleRows() {
    guard let accumulator else { return }
    for (rows, index) in waitingRows {
      backend.scatterAdd(accumulator.reshaped([accumulator.count / rows.width, rows.width]), rows, index)
    }
    waitingRows = []
  }

  /// Replaces the values.
  public func setValue(_ new: Tensor) {
    precondition(new.shape == shape, "\(name) has shape \(shape), not \(new.shape)")
    value = new
    valueChanged()
  }

  /// To be called after the values were changed in place (by an optimizer).
  public func valueChanged() { version += 1 }

  // MARK: Stand-ins

  /// True if values stand by besides those that are shown.
  var hasStandIns: Bool { !hidden.isEmpty }

  /// Adds values that can stand in for the parameter's own, such as an adapter's full copy of a module; they are frozen and
  /// not shown yet.
  ///
  /// - Returns: what `show` and `removeStandIn` know them by.
  public func addStandIn(_ value: Tensor) -> Int {
    precondition(value.shape == shape, "\(name) has shape \(shape), not \(value.shape)")
    newest += 1
    // Versions of different contents are never equal: caches tell contents apart by them.
    hidden[newest] = Content(
      stored: value, isTurned: false, accumulator: nil, waitingRows: [], version: newest << 40)
    return newest
  }

  /// Shows the values of a stand-in, or the parameter's own for 0, with the gradient that belongs to them.
  public func show(_ standIn: Int) {
    guard standIn != shown else { return }
    guard let next = hidden.removeValue(forKey: standIn) else {
      preconditionFailure("\(name) has no stand-in \(standIn)")
    }
    hidden[shown] = Content(
      stored: stored, isTurned: isTurned, accumulator: accumulator, waitingRows: waitingRows, version: version)
    (stored, isTurned, accumulator, waitingRows, version) = (
      next.stored, next.isTurned, next.accumulator, next.waitingRows, next.version
    )
    shown = standIn
  }

  /// Forgets a stand-in; its values are hidden first.
  public func removeStandIn(_ standIn: Int) {
    precondition(standIn != 0, "\(name): a parameter's own values stay")
    if shown == standIn { show(0) }
    hidden.removeValue(forKey: standIn)
  }

  /// The values of a stand-in, or the parameter's own for 0, shown or not.
  public func value(of standIn: Int) -> Tensor {
    if standIn == shown { return value }
    guard let content = hidden[standIn] else { preconditionFailure("\(name) has no stand-in \(standIn)") }
    return content.isTurned ? backend.turned(content.stored) : content.stored
  }
}
