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
      return try matrix("\(name)[\(expert)]", own, isTurned: turned)
    }
    add(ExpertStack(name: name, members: members, isTurned: turned))
    return members
  }
}
