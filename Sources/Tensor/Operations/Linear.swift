/// Matrices `[out_i, in]` that read the same input: one product serves them all.
///
/// Holds the panels that the product reads, made anew when a weight has changed. Not for use by two threads at once.
public final class WeightGroup {
  public let weights: [Parameter]
  private var packed: PackedMatrix?
  private var versions: [Int] = []
  private var packedFormat = WeightFormat.plain
  private var shown: [Int] = []
  /// Panels of values that are not shown at the moment, where an adapter brings values of its own.
  private var hidden: [[Int]: (panels: PackedMatrix, versions: [Int], format: WeightFormat)] = [:]

  public init(_ weights: [Parameter]) {
    precondition(
      !weights.isEmpty && weights.allSatisfy { $0.width == weights[0].width },
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
    let nowShown = weights.map(\.shown)
    if nowShown != shown {
      if let packed, weights.contains(where: \.hasStandIns) { hidden[shown] = (packed, versions, packedFormat) }
      shown = nowShown
      if let kept = hidden.removeValue(forKey: shown), kept.versions == now, kept.format == format {
        (packed, versions, packedFormat) = (kept.panels, now, format)
        return kept.panels
      }
    }
    if !weights.contains(where: \.hasStandIns) { hidden = [:] }
    packed = nil
    let part = weights[0].part
    let panels = backend.making(part == .weights ? .panels : part) {
      if weights.count == 1, let turned = weights[0].turnedValue {
        return backend.packTurned(turned, for: precision, as: format)
      }
      return backend.pack(weights.map(\.value), for: precision, as: format)
    }
    // What comes from a mapped file need not stay in memory beside its panels.
    for weight in weights where !weight.isTrainable { weight.forget() }
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
    let update = lowRank.map { addLowRank(y, x, $0, beside: group) }
    var from = 0
    for (i, weight) in group.weights.enumerated() {
      if biases.indices.contains(i), let bias = biases[i] {
        backend.addBias(y.columns(from..<from + weight.shape[0]), bias.value)
      }
      from += weight.shape[0]
    }
    record(.linear, inputs: [x], parameters: group.weights + biases + (lowRank?.parameters ?? []), output: y) {
      tape, dy in
      tape.linearBackward(x, dy.reshaped(y.shape), group, biases, update)
    }
    return y
  }

  /// y = x wᵀ + b for a single matrix.
  public func linear(_ x: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    linear(x, WeightGroup([weight]), biases: [bias])
  }

  private func linearBackward(
    _ x: Tensor, _ dy: Tensor, _ group: WeightGroup, _ biases: [Parameter?], _ update: LowRankUpdate?
  ) {
    var from = 0
    for (i, weight) in group.weights.enumerated() {
      let columns = from..<from + weight.shape[0]
      if biases.indices.contains(i), let gradient = biases[i]?.accumulator {
        backend.biasGradient(gradient, widened(dy).columns(columns))
      }
      from = columns.upperBound
    }
    // What reaches the product itself: with magnitudes it is scaled.
    let dy = update.map { magnitudeBackward(dy, $0) } ?? dy
    // Rounded once for all the products that read it.
    let operand = backend.operand(dy, for: group.precision)
    from = 0
    for weight in group.weights {
      let columns = from..<from + weight.shape[0]
      if let gradient = weight.accumulator {
        backend.matmulWeightGradient(gradient, operand.columns(columns), x.allColumns, group.precision)
      }
      from = columns.upperBound
    }
    let wanted = needsGradient(x)
    let dx = wanted ? backend.empty(x.shape, x.gradientDType) : nil
    if let dx { group.turned(dx, dy, operand: operand, on: backend) }
    if let update, wanted || update.group.isTrained { lowRankBackward(x, dy, operand, update, beside: group, dx) }
    if let dx { accumulate(dx, into: x) }
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
