import AttuneTensor

/// Muon (Keller Jordan, 2024): the momentum of a matrix `[rows, columns]`, made nearly orthogonal, is its step.
///
/// As torch.optim.Muon orders it, with the products in f32 instead of bf16:
///
///     m ← μ m + (1 − μ) g,   u = μ m + (1 − μ) g (Nesterov) or m
///     p ← p (1 − η wd) − η s NewtonSchulz(u)
struct MuonRule: UpdateRule {
  let settings: OptimizerMethod.Muon

  func slots(for shape: [Int], _ dtype: DType) -> [StateSlot] { [StateSlot("momentum", shape, dtype)] }

  func update(_ parameter: Parameter, _ state: [Tensor], _ step: AdamWStep, on backend: any Backend) {
    let (value, gradient, momentum) = (parameter.value, parameter.gradient!, state[0])
    let fresh = (1 - settings.momentum) * step.gradientScale
    backend.scale(momentum, momentum, settings.momentum)
    backend.addScaled(momentum, gradient, fresh)
    let direction = backend.empty(value.shape, value.dtype)
    if settings.nesterov {
      backend.scale(direction, momentum, settings.momentum)
      backend.addScaled(direction, gradient, fresh)
    } else {
      backend.copy(direction, momentum)
    }
    let orthogonal = NewtonSchulz.orthogonalized(direction, steps: settings.steps, on: backend)
    backend.scale(value, value, 1 - step.learningRate * step.weightDecay)
    backend.addScaled(value, orthogonal, -step.learningRate * scale(rows: value.rows, columns: value.width))
  }

  private func scale(rows: Int, columns: Int) -> Double {
    switch settings.scale {
    case .matchRMSAdamW: 0.2 * Double(max(rows, columns)).squareRoot()
    case .original: max(1, Double(rows) / Double(columns)).squareRoot()
    }
  }
}

/// Brings the singular values of a matrix near 1 by products alone.
enum NewtonSchulz {
  /// X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X with Keller Jordan's coefficients, which end between about 0.7 and 1.2.
  private static let (a, b, c) = (3.4445, -4.7750, 2.0315)
  /// Smaller norms count as this.
  private static let smallestNorm = 1e-7

  /// x over its norm after so many steps. Products are taken over the longer side, so that the square ones are of the shorter.
  ///
  /// - Parameter x: overwritten.
  static func orthogonalized(_ x: Tensor, steps: Int, on backend: any Backend) -> Tensor {
    let isTall = x.rows > x.width
    let side = min(x.rows, x.width)
    let gram = backend.empty([side, side], x.dtype)
    let polynomial = backend.empty([side, side], x.dtype)
    var current = x
    var next = backend.empty(x.shape, x.dtype)
    backend.scale(x, x, 1 / max(backend.sumOfSquares(x).squareRoot(), smallestNorm))
    for _ in 0..<steps {
      var panels: PackedMatrix?
      if isTall {
        backend.fillZero(gram)
        backend.matmulWeightGradient(gram, current.allColumns, current.allColumns, .full)
      } else {
        panels = backend.pack([current], for: .full)
        backend.matmul(gram.allColumns, current.allColumns, panels!, accumulate: false)
      }
      // Both square matrices are symmetric to the bit: a product does not depend on the order of its factors.
      backend.matmul(
        polynomial.allColumns, gram.allColumns, backend.pack([gram], for: .full), accumulate: false)
      backend.scale(polynomial, polynomial, c)
      backend.addScaled(polynomial, gram, b)
      backend.scale(next, current, a)
      if let panels {
        backend.matmulTurned(next, polynomial.allColumns, panels, accumulate: true)
      } else {
        backend.matmul(
          next.allColumns, current.allColumns, backend.pack([polynomial], for: .full), accumulate: true)
      }
      swap(&current, &next)
    }
    return current
  }
}
