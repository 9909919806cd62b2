import AttuneTensor
import Core

/// GaLore (2403.03507): AdamW on the gradient of a matrix projected to a subspace of its shorter side.
///
/// With `basis` `[rank, shorter]` of orthonormal rows, R = basis · G (or basis · Gᵀ where G is taller than wide) `[rank, longer]`,
/// and N what AdamW makes of R with its moments of that shape:
///
///     p ← p (1 − η wd) − η · scale · basisᵀ N   (or its transpose)
///
/// Every `gap` steps the basis is chosen anew near the leading singular vectors of the gradient. The paper takes them from a
/// singular value decomposition; here they are `rounds` rounds of subspace iteration from random rows. What a gradient of lower
/// rank leaves empty stays zero, where the paper's decomposition would give directions of rounding. Moments stay as they are.
struct GaLoreRule: UpdateRule {
  let settings: OptimizerMethod.GaLore
  let seed: UInt64

  /// Each multiplies by the gradient and its transpose, with orthonormal rows behind both.
  private static let rounds = 3

  func slots(for shape: [Int], _ dtype: DType) -> [StateSlot] {
    let moment = [settings.rank, shape.max()!]
    return [
      StateSlot("first", moment, dtype), StateSlot("second", moment, dtype),
      StateSlot("basis", [settings.rank, shape.min()!], dtype),
    ]
  }

  func update(_ parameter: Parameter, _ state: [Tensor], _ step: AdamWStep, on backend: any Backend) {
    let (value, first, second, basis) = (parameter.value, state[0], state[1], state[2])
    let gradient = Gradient(parameter.gradient!, on: backend)
    if (step.step - 1) % settings.gap == 0 {
      choose(basis, gradient, parameter.name, (step.step - 1) / settings.gap, on: backend)
    }
    let projected = backend.empty(first.shape, first.dtype)
    gradient.toLonger(projected, basis)
    // From zeros with no decay, AdamW leaves the step itself.
    let move = backend.zeros(first.shape, first.dtype)
    var inside = step
    inside.learningRate *= settings.scale
    inside.weightDecay = 0
    backend.adamW(move, first, second, projected, inside)
    if step.weightDecay != 0 { backend.scale(value, value, 1 - step.learningRate * step.weightDecay) }
    let (left, right) = gradient.isTall ? (move, basis) : (basis, move)
    backend.matmulWeightGradient(value, left.allColumns, right.allColumns, .full)
  }

  private func choose(_ basis: Tensor, _ gradient: Gradient, _ name: String, _ number: Int, on backend: any Backend) {
    var random = Randomness(seed: seed, for: .projection).stream(named: name, number)
    backend.copy(basis, backend.upload((0..<basis.count).map { _ in random.normal() }, basis.shape, as: basis.dtype))
    let other = backend.empty([settings.rank, gradient.longer], basis.dtype)
    for _ in 0..<Self.rounds {
      gradient.toLonger(other, basis)
      backend.orthonormalizeRows(other)
      gradient.toShorter(basis, other)
      backend.orthonormalizeRows(basis)
    }
  }
}

/// A gradient as products with either side read it.
private struct Gradient {
  let isTall: Bool
  let longer: Int
  private let panels: PackedMatrix
  private let backend: any Backend

  init(_ gradient: Tensor, on backend: any Backend) {
    isTall = gradient.rows > gradient.width
    longer = max(gradient.rows, gradient.width)
    panels = backend.pack([gradient], for: .full)
    self.backend = backend
  }

  /// y `[n, longer]` = x `[n, shorter]` times the gradient or its transpose.
  func toLonger(_ y: Tensor, _ x: Tensor) { multiply(y, x, byTranspose: isTall) }

  /// y `[n, shorter]` = x `[n, longer]` times the gradient or its transpose.
  func toShorter(_ y: Tensor, _ x: Tensor) { multiply(y, x, byTranspose: !isTall) }

  private func multiply(_ y: Tensor, _ x: Tensor, byTranspose: Bool) {
    if byTranspose {
      backend.matmul(y.allColumns, x.allColumns, panels, accumulate: false)
    } else {
      backend.matmulTurned(y, x.allColumns, panels, accumulate: false)
    }
  }
}
