import AttuneTensor
import Core

/// How adapters become one (PEFT's `add_weighted_adapter`).
public enum AdapterCombination: String, Sendable, CaseIterable {
  /// Factors side by side: exactly the weighted sum of what the adapters add; ranks add up.
  case cat
  /// Weighted sums of the factors themselves, each by the root of its weight: a rough approximation at the same rank.
  case linear
}

extension LanguageModel {
  /// Makes a new adapter of others and activates it.
  ///
  /// - Throws: `.request` for adapters with more than low-rank factors, or for `linear` with different ranks.
  public func combineAdapters(
    _ parts: [(name: String, weight: Double)], by combination: AdapterCombination, as name: String
  ) throws {
    let members = try parts.map { (adapter: try named($0.name), weight: $0.weight) }
    guard let first = members.first else { throw AttuneError.request("there are no adapters to combine") }
    for (adapter, weight) in members {
      guard weight.isFinite else { throw AttuneError.request("the weight of '\(adapter.name)' is \(weight)") }
      let c = adapter.configuration
      for (isThere, what) in [
        (c.dora, "magnitudes (use_dora)"), (c.factorBias, "biases of factors (lora_bias)"),
        (!adapter.standIns.isEmpty || adapter.head != nil, "values of whole modules or biases"),
      ] where isThere {
        throw AttuneError.request("adapter '\(adapter.name)' has \(what), which cannot be combined by weights")
      }
    }
    func largest(_ adapter: LoRAAdapter) -> Int { adapter.layers.map { $0.a.shape[0] }.max() ?? 0 }
    let ranks = members.map { largest($0.adapter) }
    let rank = combination == .cat ? ranks.reduce(0, +) : ranks[0]
    if combination == .linear,
      let odd = members.first(where: { m in m.adapter.layers.contains { $0.a.shape[0] != rank } })
    {
      throw AttuneError.request(
        "linear needs one rank for all; '\(first.adapter.name)' has \(rank), '\(odd.adapter.name)' has others",
        hint: "cat takes any ranks")
    }
    let modules = adaptable.map(\.name).filter { name in
      members.contains { $0.adapter.layers.contains { $0.module == name } }
    }
    let configuration = LoRAConfiguration(rank: rank, alpha: Double(rank), targets: .names(modules))
    let combined = try newAdapter(configuration, name: name)
    for linear in adaptable where modules.contains(linear.name) {
      let (out, width) = (linear.weight.shape[0], linear.weight.shape[1])
      var a = [Float](repeating: 0, count: rank * width)
      var b = [Float](repeating: 0, count: out * rank)
      var at = 0
      for (adapter, weight) in members {
        guard let layer = adapter.layers.first(where: { $0.module == linear.name }) else { continue }
        let (own, r) = (backend.floats(layer.b.value), layer.a.shape[0])
        let share = weight * layer.scaling
        let root = abs(share).squareRoot()
        let (left, right) = combination == .cat ? (share, 1) : (share < 0 ? -root : root, root)
        for (i, x) in backend.floats(layer.a.value).enumerated() { a[at * width + i] += Float(left) * x }
        for row in 0..<out {
          for j in 0..<r { b[row * rank + at + j] += Float(right) * own[row * r + j] }
        }
        if combination == .cat { at += r }
      }
      func parameter(_ rest: String, _ values: [Float], _ shape: [Int]) -> Parameter {
        Parameter(
          name: LoRALayer.key(linear.name, rest), value: backend.upload(values, shape), precision: precision,
          trainable: false, backend: backend)
      }
      combined.layers.append(
        LoRALayer(
          module: linear.name,
          factors: LowRankFactors(
            parameter("lora_A.weight", a, [rank, width]), parameter("lora_B.weight", b, [out, rank]), 1),
          adapter: combined))
    }
    finish(combined, trainable: false)
  }
}
