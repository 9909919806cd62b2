import AttuneTensor

/// The part of a decoder layer behind its second norm.
protocol FeedForward {
  /// Of the products that read the input.
  var precision: Precision { get }
  /// Linear layers that an adapter can stand beside.
  var linears: [Linear] { get }
  /// Parameters besides those of the linear layers.
  var otherParameters: [Parameter] { get }

  /// - Parameters:
  ///   - x: `[tokens, hidden]`, normed.
  ///   - trees: first token of each tree of the batch.
  ///   - observe: sees what a router computes.
  /// - Returns: `[tokens, hidden]`.
  func callAsFunction(_ tape: Tape, _ x: Tensor, trees: @autoclosure () -> [Int], observe: RouterObserver?) -> Tensor
}

/// Sees what a layer's router computes: scores `[tokens, experts]`, weights `[tokens, choices]`, ids `[tokens, choices]`.
typealias RouterObserver = (_ scores: Tensor, _ weights: Tensor, _ chosen: [Int32]) -> Void

/// One gated unit for all tokens (SwiGLU, 2002.05202).
struct DenseFeedForward: FeedForward {
  private let gateUp: Projection
  private let down: Projection

  init(_ prefix: String, hidden: Int, intermediate: Int, bias: Bool = false, from source: ParameterSource) throws {
    func linear(_ name: String, _ width: Int, _ out: Int) throws -> Linear {
      try Linear("\(prefix).\(name)", in: width, out: out, bias: bias, from: source)
    }
    gateUp = Projection([
      try linear("gate_proj", hidden, intermediate), try linear("up_proj", hidden, intermediate),
    ])
    down = Projection([try linear("down_proj", intermediate, hidden)])
  }

  var precision: Precision { gateUp.precision }
  var linears: [Linear] { gateUp.linears + down.linears }
  var otherParameters: [Parameter] { [] }

  func callAsFunction(_ tape: Tape, _ x: Tensor, trees: @autoclosure () -> [Int], observe: RouterObserver?) -> Tensor {
    down(tape, tape.swiGLU(gateUp(tape, x), for: down.precision))
  }
}

/// A router that sends every token to a few of many gated units and sums their results by weight, and a gated unit that all
/// tokens pass where the model has one.
///
/// Names are the checkpoint's: the router `gate`, and `experts.<id>.gate_proj`, `.up_proj`, `.down_proj`, or `experts.gate_up_proj` and
/// `experts.down_proj` for all experts in one tensor each, whose adapters stand beside each expert's part of it.
struct SparseFeedForward: FeedForward {
  private let configuration: ExpertConfiguration
  private let router: Projection
  private let bias: Parameter?
  /// Of each expert.
  private let gateUp: [Projection]
  private let down: [Projection]
  private let gateUpGroups: [WeightGroup]
  private let downGroups: [WeightGroup]
  private let shared: DenseFeedForward?

  /// - Parameter hasBias: in the unit that all tokens pass.
  init(
    _ prefix: String, hidden: Int, _ configuration: ExpertConfiguration, bias hasBias: Bool,
    from source: ParameterSource
  ) throws {
    self.configuration = configuration
    router = Projection([
      Linear(
        "\(prefix).gate",
        weight: try source.parameter("\(prefix).gate.weight", [configuration.count, hidden], .normal))
    ])
    bias =
      configuration.hasBias
      ? try source.parameter("\(prefix).gate.e_score_correction_bias", [configuration.count], .zeros) : nil
    let inner = configuration.intermediateSize
    var gateUp: [Projection] = []
    var down: [Projection] = []
    if configuration.isStacked {
      let stacks = try source.stackedExperts(
        "\(prefix).experts", count: configuration.count, hidden: hidden, inner: inner)
      gateUp = stacks.gateUp.map { Projection([Linear($0.name, weight: $0)]) }
      down = stacks.down.map { Projection([Linear($0.name, weight: $0)]) }
    } else {
      for expert in 0..<configuration.count {
        func linear(_ name: String, _ width: Int, _ out: Int) throws -> Linear {
          try Linear("\(prefix).experts.\(expert).\(name)", in: width, out: out, bias: false, from: source)
        }
        gateUp.append(Projection([try linear("gate_proj", hidden, inner), try linear("up_proj", hidden, inner)]))
        down.append(Projection([try linear("down_proj", inner, hidden)]))
      }
    }
    (self.gateUp, self.down) = (gateUp, down)
    gateUpGroups = gateUp.map(\.weights)
    downGroups = down.map(\.weights)
    shared =
      configuration.sharedSize > 0
      ? try DenseFeedForward(
        "\(prefix).shared_experts", hidden: hidden, intermediate: configuration.sharedSize, bias: hasBias,
        from: source) : nil
  }

  var precision: Precision { router.precision }

  var linears: [Linear] {
    router.linears + zip(gateUp, down).flatMap { $0.linears + $1.linears } + (shared?.linears ?? [])
  }

  var otherParameters: [Parameter] { [bias].compactMap { $0 } }

  func callAsFunction(_ tape: Tape, _ x: Tensor, trees: @autoclosure () -> [Int], observe: RouterObserver?) -> Tensor {
    let scores = router(tape, x)
    let (weights, chosen) = tape.route(scores, bias: bias?.value, configuration.rule)
    observe?(scores, weights, chosen)
    // Only gradients of bf16 products add rows in pairs.
    let plan = ExpertPlan(
      chosen: chosen, choices: configuration.rule.choices, experts: configuration.count,
      evenWithin: tape.isRecording && precision == .bf16 ? trees() : nil)
    let inner = tape.swiGLU(
      tape.expertLinear(tape.expertRows(x, plan), gateUpGroups, plan, lowRank: adapters(gateUp, plan)), for: precision)
    let routed = tape.combineExperts(
      tape.expertLinear(inner, downGroups, plan, lowRank: adapters(down, plan)), weights, plan)
    guard let shared else { return routed }
    return tape.add(routed, shared(tape, x, trees: [], observe: nil))
  }

  /// The adapters of the experts that have rows; empty where there are none at all.
  private func adapters(_ projections: [Projection], _ plan: ExpertPlan) -> [LowRankGroup?] {
    var groups: [LowRankGroup?] = []
    for expert in plan.active {
      guard let own = projections[expert].adapters() else { continue }
      if groups.isEmpty { groups = [LowRankGroup?](repeating: nil, count: projections.count) }
      groups[expert] = own
    }
    return groups
  }
}
