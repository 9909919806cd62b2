/// A named weight: its values, the panels that products read, and, if it is trained, its gradient.
///
/// Trained parameters hold f32 values (f64 in gradient checks) whatever the precision of products: sampler and trainer read
/// the same panels, made from these values once per update. Frozen ones may stay bf16 as they came from a file.
public final class Parameter {
  /// The key in a checkpoint, such as `model.layers.0.self_attn.q_proj.weight`.
  public let name: String
  public private(set) var value: Tensor
  /// Sums of gradients since the last `clearGradient`; nil for a frozen parameter.
  public private(set) var gradient: Tensor?
  public let precision: Precision
  private let backend: any Backend
  private var rowPanels: PackedMatrix?
  private var columnPanels: PackedMatrix?

  public init(name: String, value: Tensor, precision: Precision, trainable: Bool, backend: any Backend) {
    self.name = name
    self.precision = precision
    self.backend = backend
    self.value = value
    if trainable { setTrainable(true) }
  }

  public var shape: [Int] { value.shape }
  public var isTrainable: Bool { gradient != nil }

  /// Makes the parameter trained (with a zero gradient) or frozen.
  public func setTrainable(_ trainable: Bool) {
    guard trainable != isTrainable else { return }
    if trainable {
      // The optimizer writes in place: the values must be f32 and nobody else's (a frozen one may be a mapped file).
      let master = backend.empty(value.shape, value.dtype == .f64 ? .f64 : .f32)
      backend.convert(master, value)
      value = master
    }
    gradient = trainable ? backend.zeros(value.shape, value.dtype) : nil
  }

  public func clearGradient() {
    if let gradient { backend.fillZero(gradient) }
  }

  /// Replaces the values; panels are made again when they are next needed.
  public func setValue(_ new: Tensor) {
    precondition(new.shape == value.shape, "\(name) has shape \(value.shape), not \(new.shape)")
    value = new
    valueChanged()
  }

  /// To be called after the values were changed in place (by an optimizer).
  public func valueChanged() {
    rowPanels = nil
    columnPanels = nil
  }

  /// Panels for y = x wᵀ.
  var forwardPanels: PackedMatrix {
    if let rowPanels { return rowPanels }
    let panels = backend.pack(value, transposed: false, for: precision)
    rowPanels = panels
    return panels
  }

  /// Panels for dx = dy w.
  var backwardPanels: PackedMatrix {
    if let columnPanels { return columnPanels }
    let panels = backend.pack(value, transposed: true, for: precision)
    columnPanels = panels
    return panels
  }
}
