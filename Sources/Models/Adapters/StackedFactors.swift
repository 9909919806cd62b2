import AttuneTensor
import Core

/// Factors of all experts of a layer in one tensor each, as PEFT 0.21 has them beside a parameter `[experts, out, in]`.
///
/// With E experts and rank r: `lora_A` `[E · r, in]`, row e · r + j is row j of expert e; `lora_B` `[out, r · E]`, column
/// j · E + e is column j of expert e. PEFT wraps the list of experts once for each of its parameters: `down_proj` outside with the
/// keys `….experts.lora_A`, `gate_up_proj` inside with `….experts.base_layer.lora_A`, or without `base_layer` where it is alone.
struct StackedFactors {
  let experts: Int
  let rank: Int

  /// `[rank, in]` of one expert.
  func a(_ stacked: [Float], expert: Int, width: Int) -> [Float] {
    Array(stacked[expert * rank * width..<(expert + 1) * rank * width])
  }

  /// `[rows, rank]` of one expert, of some of the outputs.
  func b(_ stacked: [Float], expert: Int, rows: Range<Int>) -> [Float] {
    rows.flatMap { row in (0..<rank).map { stacked[(row * rank + $0) * experts + expert] } }
  }

  /// `lora_B` of all experts, from that of each `[out, rank]`.
  func stackedB(_ members: [[Float]], out: Int) -> [Float] {
    var stacked = [Float](repeating: 0, count: out * rank * experts)
    for (expert, values) in members.enumerated() {
      for (i, value) in values.enumerated() { stacked[i * experts + expert] = value }
    }
    return stacked
  }
}

extension LanguageModel {
  /// The linear layers that each parameter of all experts stands for: of each expert those side by side, in order.
  private var expertParameters: [String: [[Linear]]] {
    let experts = adaptable.filter { ModuleMatching.isRoutedExpert($0.name) }
    return Dictionary(grouping: experts) { ModuleMatching.parameterName(of: $0.name) }.mapValues { linears in
      // Gate and up of an expert follow each other.
      let size = linears[0].name.hasSuffix(".gate_proj") ? 2 : 1
      return stride(from: 0, to: linears.count, by: size).map { Array(linears[$0..<$0 + size]) }
    }
  }

  /// The layers of a file whose factors are those of all experts together.
  func readExperts(
    _ reading: AdapterReading, _ matching: ModuleMatching, _ adapter: LoRAAdapter, trainable: Bool
  ) throws -> [LoRALayer] {
    guard !reading.expertLists.isEmpty else { return [] }
    let parameters = expertParameters
    return try reading.expertLists.flatMap { list in
      try [list + ".base_layer", list].flatMap { module -> [LoRALayer] in
        let keys = (a: LoRALayer.key(module, "lora_A.weight"), b: LoRALayer.key(module, "lora_B.weight"))
        guard reading.has(keys.a) || reading.has(keys.b) else { return [] }
        let (a, b) = (try reading.shape(of: keys.a), try reading.shape(of: keys.b))
        // The sizes tell the parameters apart: twice the inner size and that of the stream cannot both be swapped.
        let candidates = ["gate_up_proj", "down_proj"].map { parameters[list + "." + $0] ?? [] }
        let fitting = candidates.first { experts in
          guard let first = experts.first, a.count == 2, b.count == 2 else { return false }
          return a[1] == first[0].weight.shape[1] && b[0] == first.reduce(0) { $0 + $1.weight.shape[0] }
        }
        guard let experts = fitting else {
          throw AttuneError.request(
            "tensors \(keys.a) \(a) and \(keys.b) \(b) fit no experts of the model", at: .init(file: reading.path),
            hint: candidates.allSatisfy(\.isEmpty) ? "the model has none at \(list)" : nil)
        }
        let linear = experts[0][0]
        let rank = try matching.rank(of: linear.name)
        let scaling = try matching.scaling(of: linear.name)
        let stack = StackedFactors(experts: experts.count, rank: rank)
        let stackedA = backend.floats(try reading.take(keys.a, or: nil, [experts.count * rank, a[1]], on: backend))
        let stackedB = backend.floats(try reading.take(keys.b, or: nil, [b[0], rank * experts.count], on: backend))
        return experts.enumerated().flatMap { expert, linears -> [LoRALayer] in
          var from = 0
          return linears.map { linear in
            func parameter(_ rest: String, _ values: [Float], _ shape: [Int]) -> Parameter {
              Parameter(
                name: LoRALayer.key(linear.name, rest), value: backend.upload(values, shape), precision: precision,
                trainable: trainable, backend: backend)
            }
            let rows = from..<from + linear.weight.shape[0]
            from = rows.upperBound
            return LoRALayer(
              module: linear.name,
              factors: LowRankFactors(
                parameter("lora_A.weight", stack.a(stackedA, expert: expert, width: a[1]), [rank, a[1]]),
                parameter("lora_B.weight", stack.b(stackedB, expert: expert, rows: rows), [rows.count, rank]), scaling),
              adapter: adapter)
          }
        }
      }
    }
  }

  func missingExperts(_ module: String, _ reading: AdapterReading) -> AttuneError {
    let name = ModuleMatching.parameterName(of: module)
    return .request(
      "target_parameters means \(name), for whose experts there are no factors", at: .init(file: reading.path))
  }

  /// PEFT's tensors of the adapter's layers beside stacked experts.
  func writtenExperts(_ adapter: LoRAAdapter) -> [(String, Tensor)] {
    let layers = Dictionary(adapter.layers.map { ($0.module, $0) }, uniquingKeysWith: { first, _ in first })
    let adapted = stacks.filter { layers[$0.members[0].name] != nil }
    return adapted.flatMap { stack -> [(String, Tensor)] in
      let members = stack.members.compactMap { layers[$0.name] }
      let (rank, width, out) = (members[0].a.shape[0], members[0].a.shape[1], members[0].b.shape[0])
      let list = stack.name.split(separator: ".").dropLast().joined(separator: ".")
      // What PEFT wraps last is outside.
      let isInside =
        ModuleMatching.ends(stack.name, in: "gate_up_proj")
        && adapted.contains { $0.name == list + ".down_proj" }
      let module = list + (isInside ? ".base_layer" : "")
      let factors = StackedFactors(experts: members.count, rank: rank)
      let b = factors.stackedB(members.map { backend.floats($0.b.value) }, out: out)
      return [
        (
          LoRALayer.key(module, "lora_A.weight"),
          backend.upload(members.flatMap { backend.floats($0.a.value) }, [members.count * rank, width])
        ), (LoRALayer.key(module, "lora_B.weight"), backend.upload(b, [out, rank * members.count])),
      ]
    }
  }
}
