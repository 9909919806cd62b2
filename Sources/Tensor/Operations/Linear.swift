/// Matrices `[out_i, in]` that read the same input: one product serves them all.
///
/// Holds the panels that the product reads, made anew when a weight has changed. Not for use by two threads at once.
public final class WeightGroup {
  public let weights: [Parameter]
  private var packed: PackedMatrix?
  private var versions: [Int] = []
  private var packedFormat = WeightFormat.plain

  public init(_ weights: [Parameter]) {
    precondition(
      !weights.isEmpty && weights.allSatisfy { $0.value.width == weights[0].value.width },
      "weights of one group read the same input")
    self.weights = weights
  }

  public var precision: Precision { weights[0].precision }
  /// How the panels hold the weights: as all members are held, or plain if they differ.
  public var format: WeightFormat {
    weights.allSatisfy { $0.format == weights[0].format } ? weights[0].format : .plain
  }
  /// Columns of the output.
  public var out: Int { weights.reduce(0) { $0 + $1.shape[0] } }

  /// The panels for y = x wᵀ, which dx = dy w reads too.
  public func panels(on backend: any Backend) -> PackedMatrix {
    let now = weights.map(\.version)
    let format = format
    if let packed, versions == now, packedFormat == format { return packed }
    packed = nil
    let panels = backend.pack(weights.map(\.value), for: precision, as: format)
    // What comes from a mapped file need not stay in memory beside its panels.
    for weight in weights where !weight.isTrainable { backend.forget(weight.value) }
    packed = panels
    versions = now
    packedFormat = format
    return panels
  }

  /// dx = dy w; `operand` is dy as plain products read it. Codes take dy as it is: their scales come before the rounding.
  func turned(_ dx: Tensor, _ dy: Tensor, operand: Tensor, on backend: any Backend) {
    let panels = panels(on: backend)
    backend.matmulTurned(dx, (panels.format == .plain ? operand : dy).allColumns, panels, accumulate: false)
  }
}

/// Low-rank updates beside some weights of a group (LoRA, 2106.09685): y_i += scale_i (x a_iᵀ) b_iᵀ.
///
/// The factors `a` read the same input, so they are one group of their own.
public final class LowRankGroup {
  struct Member {
    /// Columns of the output that it adds to.
    let columns: Range<Int>
    /// Its columns of x aᵀ.
    let ranks: Range<Int>
    let b: WeightGroup
    let scale: Double
  }
  let a: WeightGroup
  let members: [Member]

  /// - Parameters:
  ///   - factors: per weight of the group `a` `[rank, in]`, `b` `[out, rank]` and the scale, or nil.
  ///   - columns: per weight its columns of the output.
  public init(factors: [(a: Parameter, b: Parameter, scale: Double)?], columns: [Range<Int>]) {
    var members: [Member] = []
    var weights: [Parameter] = []
    var at = 0
    for (factor, columns) in zip(factors, columns) {
      guard let factor else { continue }
      let rank = factor.a.shape[0]
      members.append(
        Member(columns: columns, ranks: at..<at + rank, b: WeightGroup([factor.b]), scale: factor.scale))
      weights.append(factor.a)
      at += rank
    }
    self.members = members
    a = WeightGroup(weights)
  }
}

extension Tape {
  /// y = x wᵀ + b, for one or several matrices side by side, with low-rank updates where given.
  ///
  /// - Parameters:
  ///   - x: `[tokens, in]`.
  ///   - biases: one `[out_i]` or nil for each weight; empty for none.
  /// - Returns: `[tokens, Σ out_i]`. Gradients: dx = dy w, dw += dyᵀ x, db += column sums of dy; those of the factors alike.
  public func linear(
    _ x: Tensor, _ group: WeightGroup, biases: [Parameter?] = [], lowRank: LowRankGroup? = nil
  ) -> Tensor {
    let backend = backend
    let panels = group.panels(on: backend)
    let y = backend.empty([x.rows, panels.n], x.gradientDType)
    backend.matmul(y.allColumns, x.allColumns, panels, accumulate: false)
    var from = 0
    for (i, weight) in group.weights.enumerated() {
      if biases.indices.contains(i), let bias = biases[i] {
        backend.addBias(y.columns(from..<from + weight.shape[0]), bias.value)
      }
      from += weight.shape[0]
    }
    var inner: Tensor?
    if let lowRank { inner = self.addLowRank(y, x, lowRank) }
    let factors = lowRank.map { $0.a.weights + $0.members.flatMap { $0.b.weights } } ?? []
    record(.linear, inputs: [x], parameters: group.weights + biases + factors, output: y) { tape, dy in
      tape.linearBackward(x, dy.reshaped(y.shape), group, biases, lowRank, inner)
    }
    return y
  }

  /// y = x wᵀ + b for a single matrix.
  public func linear(_ x: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    linear(x, WeightGroup([weight]), biases: [bias])
  }

  /// Adds the low-rank products to y; returns scale · x aᵀ as the second product reads it.
  func addLowRank(_ y: Tensor, _ x: Tensor, _ lowRank: LowRankGroup) -> Tensor {
    let panels = lowRank.a.panels(on: backend)
    let plain = backend.empty([x.rows, panels.n], x.gradientDType)
    backend.matmul(plain.allColumns, x.allColumns, panels, accumulate: false)
    let scaled = backend.empty(plain.shape, operandDType(lowRank.a, x))
    for member in lowRank.members {
      backend.scaleColumns(scaled, plain, member.ranks, member.scale)
    }
    for member in lowRank.members {
      backend.matmul(
        y.columns(member.columns), scaled.columns(member.ranks), member.b.panels(on: backend), accumulate: true)
    }
    return scaled
  }

  /// What a product with the group's weights wants its left operand in.
  private func operandDType(_ group: WeightGroup, _ x: Tensor) -> DType {
    group.precision == .bf16 && x.dtype != .f64 ? .bf16 : x.gradientDType
  }

  private func linearBackward(
    _ x: Tensor, _ dy: Tensor, _ group: WeightGroup, _ biases: [Parameter?], _ lowRank: LowRankGroup?,
    _ inner: Tensor?
  ) {
    // Rounded once for all the products that read it.
    let operand = backend.operand(dy, for: group.precision)
    var from = 0
    for (i, weight) in group.weights.enumerated() {
      let columns = from..<from + weight.shape[0]
      if let gradient = weight.accumulator {
        backend.matmulWeightGradient(gradient, operand.columns(columns), x.allColumns, group.precision)
      }
      if biases.indices.contains(i), let gradient = biases[i]?.accumulator {
        if dy.dtype == .bf16 {
          let wide = backend.empty(dy.shape, .f32)
          backend.convert(wide, dy)
          backend.biasGradient(gradient, wide.columns(columns))
        } else {
          backend.biasGradient(gradient, dy.columns(columns))
        }
      }
      from = columns.upperBound
    }
    let wanted = needsGradient(x)
    let dx = wanted ? backend.empty(x.shape, x.gradientDType) : nil
    if let dx { group.turned(dx, dy, operand: operand, on: backend) }
    if let lowRank, let inner, wanted || lowRank.a.weights.contains(where: \.isTrainable) {
      lowRankBackward(x, operand, lowRank, inner, dx)
    }
    if let dx { accumulate(dx, into: x) }
  }

  /// Gradients of what `addLowRank` added to y, dy given as `operand`; dx is added to.
  func lowRankBackward(_ x: Tensor, _ operand: Tensor, _ lowRank: LowRankGroup, _ inner: Tensor, _ dx: Tensor?) {
    let dInner = backend.empty(inner.shape, x.gradientDType)
    for member in lowRank.members {
      let part = backend.empty([x.rows, member.ranks.count], x.gradientDType)
      let own = operand.columns(member.columns)
      backend.matmulTurned(part, own, member.b.panels(on: backend), accumulate: false)
      backend.scale(part, part, member.scale)
      backend.copyColumns(dInner.columns(member.ranks), part.allColumns)
      if let gradient = member.b.weights[0].accumulator {
        backend.matmulWeightGradient(gradient, own, inner.columns(member.ranks), lowRank.a.precision)
      }
    }
    let dOperand = backend.operand(dInner, for: lowRank.a.precision)
    for (member, a) in zip(lowRank.members, lowRank.a.weights) {
      if let gradient = a.accumulator {
        backend.matmulWeightGradient(gradient, dOperand.columns(member.ranks), x.allColumns, lowRank.a.precision)
      }
    }
    if let dx { backend.matmulTurned(dx, dOperand.allColumns, lowRank.a.panels(on: backend), accumulate: true) }
  }

  /// Rows of a table: y[t] = table[ids[t]].
  ///
  /// - Returns: `[tokens, width]`. Gradient: table[id] += dy[t], tokens ascending.
  ///
  /// - Parameter width: of a row, where that is not all of the table's axes but the first.
  public func embedding(_ table: Parameter, _ ids: [Int32], width: Int? = nil) -> Tensor {
    let width = width ?? table.value.width
    let y = backend.empty([ids.count, width], table.value.dtype == .f64 ? .f64 : .f32)
    backend.gather(y, table.value.reshaped([table.value.count / width, width]), ids)
    record(.embedding, inputs: [], parameters: [table], output: y) { tape, dy in
      if table.isTrainable { table.addRows(dy.reshaped(y.shape), at: ids) }
    }
    return y
  }
}
