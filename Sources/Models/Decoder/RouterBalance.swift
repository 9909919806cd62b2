import AttuneTensor
import Core

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
