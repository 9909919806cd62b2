/// Operations that can be differentiated. Each stands beside its gradient in `Operations/`.
public enum DifferentiableOperation: String, CaseIterable, Sendable {
  case linear, embedding, add, gatherRows, putRows, addRows, rmsNorm, layerNorm, swiGLU, gelu
  case attention, latentAttention, split, groupRows, head, mixRows, recomputed
  case route, expertRows, expertLinear, combineExperts, scores
}

/// Runs operations, and remembers them so that gradients can flow back.
///
/// An explicit object that its owner passes along: nothing is global, so two threads with two tapes share nothing.
/// A tape that does not record (`Tape(backend, recording: false)`) only computes and keeps nothing alive.
/// Not for use by two threads at once.
public final class Tape {
  public let backend: any Backend
  public let isRecording: Bool
  /// Set while layers with dropout are trained; nil computes without.
  public var dropout: DropoutPass?

  private struct Record {
    let operation: DifferentiableOperation
    let output: Tensor
    /// What its tensors are for, those of the way back too.
    let part: MemoryPart
    let backward: (Tape, Tensor) -> Void
  }
  private var records: [Record] = []
  /// Storages whose gradient is wanted. A tensor is known by its storage, so that a reshaped tensor is the same one.
  private var tracked: Set<ObjectIdentifier> = []
  private var gradients: [ObjectIdentifier: Tensor] = [:]
  /// Keeps inputs alive, so that no other storage takes their identity.
  private var watched: [Tensor] = []

  public init(_ backend: any Backend, recording: Bool) {
    self.backend = backend
    self.isRecording = recording
  }

  /// The operations recorded so far, in order.
  public var operations: [DifferentiableOperation] { records.map(\.operation) }

  /// Makes the tape keep the gradient of a tensor that no operation made (an input).
  public func watch(_ tensor: Tensor) {
    guard isRecording else { return }
    watched.append(tensor)
    tracked.insert(ObjectIdentifier(tensor.storage))
  }

  /// True if a gradient is to flow into `tensor`.
  func needsGradient(_ tensor: Tensor) -> Bool { tracked.contains(ObjectIdentifier(tensor.storage)) }

  /// Remembers how to continue backwards from `output`, if any input or parameter wants a gradient.
  func record(
    _ operation: DifferentiableOperation, inputs: [Tensor], parameters: [Parameter?] = [], output: Tensor,
    backward: @escaping (Tape, Tensor) -> Void
  ) {
    guard isRecording else { return }
    guard inputs.contains(where: needsGradient) || parameters.contains(where: { $0?.isTrainable ?? false }) else {
      return
    }
    tracked.insert(ObjectIdentifier(output.storage))
    records.append(Record(operation: operation, output: output, part: backend.part, backward: backward))
  }

  /// Adds a gradient to what has reached `tensor` so far; `gradient` may be kept and written to.
  func accumulate(_ gradient: Tensor, into tensor: Tensor) {
    guard needsGradient(tensor) else { return }
    let key = ObjectIdentifier(tensor.storage)
    if let sum = gradients[key] {
      let (sum, gradient) = (widened(sum), widened(gradient))
      backend.add(sum, sum, gradient)
      gradients[key] = sum
    } else {
      gradients[key] = gradient
    }
  }

  /// A gradient that stands alone may be rounded to bf16 for the product that reads it; sums are f32.
  func widened(_ gradient: Tensor) -> Tensor {
    guard gradient.dtype == .bf16 else { return gradient }
    let wide = backend.empty(gradient.shape, .f32)
    backend.convert(wide, gradient)
    return wide
  }

  /// Carries `seed`, the gradient of a loss with respect to `output`, back to every watched tensor and parameter.
  ///
  /// Several seeds may be given first by `seed(_:with:)`. The tape is empty afterwards, watched gradients stay readable.
  public func backward(from output: Tensor, seed: Tensor) {
    self.seed(output, with: seed)
    backward()
  }

  public func seed(_ output: Tensor, with gradient: Tensor) {
    precondition(output.count == gradient.count, "seed \(gradient.shape) for an output \(output.shape)")
    let own = backend.empty(gradient.shape, gradient.dtype)
    backend.copy(own, gradient)
    accumulate(own, into: output)
  }

  public func backward() {
    while let record = records.popLast() {
      let key = ObjectIdentifier(record.output.storage)
      // What no seed reaches has no gradient to pass on.
      guard let gradient = gradients.removeValue(forKey: key) else { continue }
      backend.making(record.part) { record.backward(self, gradient) }
    }
  }

  /// The gradient that reached a watched tensor; nil if none did.
  public func gradient(of tensor: Tensor) -> Tensor? {
    gradients[ObjectIdentifier(tensor.storage)]?.reshaped(tensor.shape)
  }
}
