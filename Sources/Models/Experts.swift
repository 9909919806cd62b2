import AttuneTensor
import Core

/// Sizes of a mixture of experts.
public struct ExpertConfiguration: Sendable {
  /// Experts of a layer.
  public var count: Int
  /// Experts of a token.
  public var choices: Int
  public var intermediateSize: Int
  /// Weights are normalised over the chosen experts (`norm_topk_prob`).
  public var isNormalized: Bool
  /// Layers that have experts; the others are dense.
  public var layers: Set<Int>
}

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

  init(_ prefix: String, hidden: Int, intermediate: Int, from source: ParameterSource) throws {
    func linear(_ name: String, _ width: Int, _ out: Int) throws -> Linear {
      try Linear("\(prefix).\(name)", in: width, out: out, bias: false, from: source)
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

/// A router that sends every token to a few of many gated units, and sums their results by weight.
///
/// Ports the behaviour of transformers' `modeling_qwen3_moe.py` (`Qwen3MoeSparseMoeBlock`), with the checkpoint's names: the
/// router `gate`, and `experts.<id>.gate_proj`, `.up_proj`, `.down_proj`. The router takes no adapter: to transformers 5 it
/// is not a linear layer, so PEFT could not read one.
struct SparseFeedForward: FeedForward {
  private let configuration: ExpertConfiguration
  private let router: Parameter
  private let routerGroup: WeightGroup
  private let gateUp: [Projection]
  private let down: [Projection]
  private let gateUpGroups: [WeightGroup]
  private let downGroups: [WeightGroup]

  init(_ prefix: String, hidden: Int, _ configuration: ExpertConfiguration, from source: ParameterSource) throws {
    self.configuration = configuration
    router = try source.parameter("\(prefix).gate.weight", [configuration.count, hidden], .normal)
    routerGroup = WeightGroup([router])
    var gateUp: [Projection] = []
    var down: [Projection] = []
    for expert in 0..<configuration.count {
      func linear(_ name: String, _ width: Int, _ out: Int) throws -> Linear {
        try Linear("\(prefix).experts.\(expert).\(name)", in: width, out: out, bias: false, from: source)
      }
      gateUp.append(
        Projection([
          try linear("gate_proj", hidden, configuration.intermediateSize),
          try linear("up_proj", hidden, configuration.intermediateSize),
        ]))
      down.append(Projection([try linear("down_proj", configuration.intermediateSize, hidden)]))
    }
    self.gateUp = gateUp
    self.down = down
    gateUpGroups = gateUp.map(\.weights)
    downGroups = down.map(\.weights)
  }

  var precision: Precision { routerGroup.precision }
  var linears: [Linear] { zip(gateUp, down).flatMap { $0.linears + $1.linears } }
  var otherParameters: [Parameter] { [router] }

  func callAsFunction(_ tape: Tape, _ x: Tensor, trees: @autoclosure () -> [Int], observe: RouterObserver?) -> Tensor {
    let scores = tape.linear(x, routerGroup)
    let (weights, chosen) = tape.route(
      scores, choices: configuration.choices, normalized: configuration.isNormalized)
    observe?(scores, weights, chosen)
    // Only gradients of bf16 products add rows in pairs.
    let plan = ExpertPlan(
      chosen: chosen, choices: configuration.choices, experts: configuration.count,
      evenWithin: tape.isRecording && precision == .bf16 ? trees() : nil)
    let inner = tape.swiGLU(
      tape.expertLinear(tape.expertRows(x, plan), gateUpGroups, plan, lowRank: adapters(gateUp, plan)), for: precision)
    return tape.combineExperts(
      tape.expertLinear(inner, downGroups, plan, lowRank: adapters(down, plan)), weights, plan)
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

/// How evenly the routers of a model spread its tokens, gathered over any number of batches.
///
/// Pass `observe` to `PassOptions`. Not for use by two threads at once.
public final class RouterBalance {
  private var chosen: [Double] = []
  private var probabilities: [Double] = []
  private var rows = 0

  public init() {}

  /// Takes the scores and choices of every router, and nothing else.
  public func observe(_ backend: any Backend) -> LayerObserver {
    { name, tensor in
      guard name.hasPrefix("router.") else { return }
      if name.hasSuffix(".logits") { self.add(scores: backend.doubles(tensor), experts: tensor.width) }
      if name.hasSuffix(".chosen") { self.add(chosen: backend.floats(tensor)) }
    }
  }

  private func add(scores: [Double], experts: Int) {
    if probabilities.isEmpty {
      probabilities = [Double](repeating: 0, count: experts)
      chosen = probabilities
    }
    for row in stride(from: 0, to: scores.count, by: experts) {
      let own = scores[row..<row + experts]
      let largest = own.max()!
      let exponentials = own.map { PortableMath.exp($0 - largest) }
      let sum = exponentials.reduce(0, +)
      for e in 0..<experts { probabilities[e] += exponentials[e] / sum }
      rows += 1
    }
  }

  private func add(chosen ids: [Float]) { for id in ids { chosen[Int(id)] += 1 } }

  /// experts · Σ (share of rows that chose e) · (mean probability of e) over the rows of all layers: the load-balancing loss of
  /// Switch Transformers (2101.03961, eq. 4) as transformers' `load_balancing_loss_func` takes it over all layers at once,
  /// without its coefficient. Equal to the choices per token if all experts are used alike; nil before any row was seen.
  public var loss: Double? {
    guard rows > 0 else { return nil }
    let total = Double(rows)
    return Double(chosen.count) * zip(chosen, probabilities).reduce(0) { $0 + ($1.0 / total) * ($1.1 / total) }
  }

  /// The share of choices that fell on each expert.
  public var shares: [Double] {
    let all = chosen.reduce(0, +)
    return chosen.map { all > 0 ? $0 / all : 0 }
  }
}
