/// A low-rank update beside one weight w `[out, in]` (LoRA, 2106.09685), and with a magnitude m `[out]` its
/// weight-decomposed form (DoRA, 2402.09353).
///
/// With w' = w + scale · b a, the layer computes x w'ᵀ, or with a magnitude x w'ᵀ with output i times mᵢ / ‖w'ᵢ‖.
public struct LowRankFactors {
  /// `[rank, in]`.
  public let a: Parameter
  /// `[out, rank]`.
  public let b: Parameter
  public let scale: Double
  /// `[out]`: scale · bias is added behind b.
  public let bias: Parameter?
  /// `[out]`.
  public let magnitude: Parameter?

  public init(_ a: Parameter, _ b: Parameter, _ scale: Double, bias: Parameter? = nil, magnitude: Parameter? = nil) {
    precondition(a.shape[0] == b.shape[1], "factors \(a.shape) and \(b.shape)")
    precondition(bias == nil || magnitude == nil, "a magnitude and a bias beside the same factors")
    self.a = a
    self.b = b
    self.scale = scale
    self.bias = bias
    self.magnitude = magnitude
  }

  public var parameters: [Parameter] { [a, b, bias, magnitude].compactMap { $0 } }
}

/// Low-rank updates beside some weights of a group.
///
/// The factors `a` read the same input, so they are one group of their own; a dropout mask is theirs together.
public final class LowRankGroup {
  struct Member {
    let factors: LowRankFactors
    /// Its weight's place in the group.
    let index: Int
    /// Columns of the output that it adds to.
    let columns: Range<Int>
    /// Its columns of x aᵀ.
    let ranks: Range<Int>
    let b: WeightGroup
  }

  /// What the outputs are multiplied by.
  struct Magnitudes {
    /// m / ‖w'‖ for each column of the output, 1 where there is no magnitude.
    let ratios: Tensor
    /// The same less 1.
    let excess: Tensor
    /// ‖w'‖ of each member.
    let norms: [Tensor]
  }

  let a: WeightGroup
  let members: [Member]
  /// Probability of an input of the factors to be dropped while training.
  let dropout: Double
  /// Tells this group's dropout masks from those of other layers.
  let layer: UInt32
  let parameters: [Parameter]
  private let out: Int
  private var magnitudes: Magnitudes?
  private var versions: [Int] = []

  /// - Parameters:
  ///   - factors: those of each weight of the group, or nil.
  ///   - columns: per weight its columns of the output.
  ///   - layer: a number that no other group of the model has.
  public init(factors: [LowRankFactors?], columns: [Range<Int>], dropout: Double = 0, layer: UInt32 = 0) {
    var members: [Member] = []
    var at = 0
    for (index, (factors, columns)) in zip(factors, columns).enumerated() {
      guard let factors else { continue }
      let rank = factors.a.shape[0]
      members.append(
        Member(
          factors: factors, index: index, columns: columns, ranks: at..<at + rank, b: WeightGroup([factors.b])))
      at += rank
    }
    self.members = members
    self.dropout = dropout
    self.layer = layer
    a = WeightGroup(members.map(\.factors.a))
    parameters = members.flatMap(\.factors.parameters)
    out = columns.last?.upperBound ?? 0
  }

  var isTrained: Bool { parameters.contains(where: \.isTrainable) }
  var trainsMagnitudes: Bool { members.contains { $0.factors.magnitude?.isTrainable ?? false } }

  /// The magnitudes, made anew when a parameter has changed; nil if there are none.
  func magnitudes(beside weights: WeightGroup, on backend: any Backend) -> Magnitudes? {
    guard members.contains(where: { $0.factors.magnitude != nil }) else { return nil }
    let now = parameters.map(\.version) + members.map { weights.weights[$0.index].version }
    if let magnitudes, versions == now { return magnitudes }
    let dtype = members[0].factors.a.value.gradientDType
    let ones = backend.upload([Double](repeating: 1, count: out), [1, out], as: dtype)
    let ratios = backend.empty([1, out], dtype)
    backend.copy(ratios, ones)
    let norms = weights.adaptedRowNorms(self, on: backend)
    for (member, norms) in zip(members, norms) {
      guard let magnitude = member.factors.magnitude else { continue }
      let ratio = backend.empty([1, norms.count], dtype)
      backend.divide(ratio, magnitude.value, norms)
      backend.copyColumns(ratios.columns(member.columns), ratio.allColumns)
    }
    let excess = backend.empty([1, out], dtype)
    backend.copy(excess, ratios)
    backend.addScaled(excess, ones, -1)
    let made = Magnitudes(ratios: ratios, excess: excess, norms: norms)
    magnitudes = made
    versions = now
    return made
  }
}

extension WeightGroup {
  /// Rows of norms that are computed at once: bounds the memory that they take.
  private static let rowsAtOnce = 256

  /// ‖w + scale · b a‖ of each row for the members of a low-rank group, of the values that products see.
  func adaptedRowNorms(_ lowRank: LowRankGroup, on backend: any Backend) -> [Tensor] {
    var codes: Tensor?
    if format != .plain {
      let panels = panels(on: backend)
      codes = backend.empty([panels.n, panels.k], .f32)
      backend.unpack(codes!, panels)
    }
    return lowRank.members.map { member in
      let weight = weights[member.index].value
      let factors = member.factors
      let norms = backend.empty([weight.rows], factors.a.value.gradientDType)
      let panels = backend.pack([factors.a.value], for: factors.a.precision)
      for from in stride(from: 0, to: weight.rows, by: Self.rowsAtOnce) {
        let range = from..<min(from + Self.rowsAtOnce, weight.rows)
        let rows = backend.empty([range.count, weight.width], norms.dtype)
        if let codes {
          let first = member.columns.lowerBound
          backend.copy(rows, codes.rowRange(first + range.lowerBound..<first + range.upperBound))
        } else {
          backend.convert(rows, backend.operand(weight.rowRange(range), seenBy: precision))
        }
        let update = backend.empty(rows.shape, rows.dtype)
        backend.matmulTurned(update, factors.b.value.rowRange(range).allColumns, panels, accumulate: false)
        backend.addScaled(rows, update, factors.scale)
        backend.rowNorms(norms.rowRange(range), rows)
      }
      return norms
    }
  }
}

extension Backend {
  /// The values that products of a precision see of `x`, bf16 or as they are.
  fileprivate func operand(_ x: Tensor, seenBy precision: Precision) -> Tensor {
    guard precision == .bf16, x.dtype == .f32 else { return x }
    let narrow = empty(x.shape, .bf16)
    convert(narrow, x)
    return narrow
  }

  /// ‖w‖ of each row as products see it: where a fresh magnitude starts beside factors whose product is zero.
  public func rowNorms(of weight: Parameter, _ a: Parameter, _ b: Parameter, scale: Double) -> Tensor {
    let group = LowRankGroup(factors: [LowRankFactors(a, b, scale)], columns: [0..<weight.shape[0]])
    return WeightGroup([weight]).adaptedRowNorms(group, on: self)[0]
  }
}
