import AttuneTensor
import Core

/// A tensor of the checkpoint that holds one matrix for each expert of a layer: what Qwen3-VL-MoE has instead of separate tensors.
///
/// Every expert's matrix `[out, in]` is a parameter of its own here, called like the tensor with the expert's number in brackets.
struct ExpertStack {
  let name: String
  let members: [Parameter]
  /// The tensor is `[experts, in, out]`, as published; files of transformers 5 have `[experts, out, in]`. Square matrices are
  /// taken as they are, as transformers 5 does.
  let isTurned: Bool
}

extension ParameterSource {
  /// The gated units of all experts of a layer: `gate_up_proj` with `[2 * inner, hidden]` and `down_proj` with `[hidden, inner]`.
  func stackedExperts(_ prefix: String, count: Int, hidden: Int, inner: Int) throws -> (
    gateUp: [Parameter], down: [Parameter]
  ) {
    (
      try stack("\(prefix).gate_up_proj", count: count, out: 2 * inner, in: hidden),
      try stack("\(prefix).down_proj", count: count, out: hidden, in: inner)
    )
  }

  private func stack(_ name: String, count: Int, out: Int, in width: Int) throws -> [Parameter] {
    let turned = isTurned(name, count: count, out: out, in: width)
    let whole = try value(name, turned ? [count, width, out] : [count, out, width], .normal)
    let members = try (0..<count).map { expert in
      let own = whole.rowRange(expert..<expert + 1).reshaped(turned ? [width, out] : [out, width])
      return try matrix("\(name)[\(expert)]", turned ? backend.turned(own) : own)
    }
    // The members that were turned are copies.
    if turned { backend.forget(whole) }
    add(ExpertStack(name: name, members: members, isTurned: turned))
    return members
  }
}

extension LanguageModel {
  /// Tensors in the checkpoint's layout: the experts of a stack in one.
  func joined(_ tensors: [(name: String, tensor: Tensor)]) -> [(name: String, tensor: Tensor)] {
    guard !stacks.isEmpty else { return tensors }
    let byName = Dictionary(tensors.map { ($0.name, $0.tensor) }, uniquingKeysWith: { a, _ in a })
    let stackOf = Dictionary(
      stacks.enumerated().flatMap { i, stack in stack.members.map { ($0.name, i) } }, uniquingKeysWith: { a, _ in a })
    var written: Set<Int> = []
    return tensors.compactMap { name, tensor in
      guard let place = stackOf[name] else { return (name, tensor) }
      guard written.insert(place).inserted else { return nil }
      let stack = stacks[place]
      let members = stack.members.map { stack.isTurned ? backend.turned(byName[$0.name]!) : byName[$0.name]! }
      let whole = backend.empty([members.count] + members[0].shape, members[0].dtype)
      for (i, member) in members.enumerated() {
        backend.copy(whole.rowRange(i..<i + 1).reshaped(member.shape), member)
      }
      return (stack.name, whole)
    }
  }
}

extension Backend {
  /// A copy of a matrix `[rows, columns]`, f32 or bf16, as `[columns, rows]`. For loading and saving, not between products.
  func turned(_ x: Tensor) -> Tensor {
    func turn<T>(_ type: T.Type, zero: T) -> Tensor {
      let (rows, columns) = (x.rows, x.width)
      var y = [T](repeating: zero, count: rows * columns)
      withHostBytes(x) { bytes in
        let from = bytes.bindMemory(to: T.self)
        // Blocks that stay in cache while they are turned.
        for block in stride(from: 0, to: columns, by: 32) {
          for row in 0..<rows {
            for column in block..<min(block + 32, columns) { y[column * rows + row] = from[row * columns + column] }
          }
        }
      }
      return y.withUnsafeBytes { upload($0, [columns, rows], x.dtype) }
    }
    return x.dtype == .bf16 ? turn(UInt16.self, zero: 0) : turn(UInt32.self, zero: 0)
  }
}
