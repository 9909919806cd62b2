/// A named weight: its values and, if it is trained, its gradient.
///
/// Trained parameters hold f32 values (f64 in gradient checks) whatever the precision of products: sampler and trainer read
/// the same panels (`WeightGroup`), made from these values once per update. Frozen ones may stay bf16 as they came from a file.
public final class Parameter {
  /// The key in a checkpoint, such as `model.layers.0.self_attn.q_proj.weight`.
  public let name: String
  public private(set) var value: Tensor
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
  /// Changes with the values.
  public private(set) var version = 0

  /// - Parameter format: how products hold the values while they are frozen; other than plain for bf16 products alone.
  public init(
    name: String, value: Tensor, precision: Precision, format: WeightFormat = .plain, trainable: Bool,
    backend: any Backend
  ) {
    precondition(format == .plain || precision == .bf16, "\(name): \(format) weights in products of f32")
    self.name = name
    self.precision = precision
    frozenFormat = format
    self.backend = backend
    self.value = value
    if trainable { setTrainable(true) }
  }

  public var shape: [Int] { value.shape }
  public var isTrainable: Bool { accumulator != nil }

  /// Makes the parameter trained (with a zero gradient) or frozen.
  public func setTrainable(_ trainable: Bool) {
    guard trainable != isTrainable else { return }
    if trainable {
      // The optimizer writes in place: the values must be f32 and nobody else's (a frozen one may be a mapped file).
      let master = backend.empty(value.shape, value.dtype == .f64 ? .f64 : .f32)
      backend.convert(master, value)
      value = master
    }
    accumulator = trainable ? backend.zeros(value.shape, value.dtype) : nil
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
    precondition(new.shape == value.shape, "\(name) has shape \(value.shape), not \(new.shape)")
    value = new
    valueChanged()
  }

  /// To be called after the values were changed in place (by an optimizer).
  public func valueChanged() { version += 1 }
}
