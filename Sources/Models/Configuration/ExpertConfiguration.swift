import AttuneTensor
import Core

/// Sizes of a mixture of experts, and how tokens find theirs.
public struct ExpertConfiguration: Sendable {
  /// Experts of a layer.
  public var count: Int
  public var rule: RoutingRule
  /// The checkpoint holds a bias that experts compete with (`e_score_correction_bias`).
  public var hasBias = false
  public var intermediateSize: Int
  /// Width of the gated unit that every token passes besides its experts; 0 where there is none.
  public var sharedSize = 0
  /// Layers that have experts; the others are dense.
  public var layers: Set<Int>
  /// The experts of a layer stand in one tensor for `gate_up_proj` and one for `down_proj`, instead of one by one.
  public var isStacked = false
}

extension ExpertConfiguration {
  /// Qwen3's keys.
  init(qwen reader: ConfigurationReader, normalized: Bool?) throws {
    count = try reader.int("num_experts", in: 1...(1 << 16))
    let choices = try reader.int("num_experts_per_tok", in: 1...(1 << 16))
    guard choices <= count else {
      throw reader.error("num_experts_per_tok", "is \(choices), more than num_experts \(count)")
    }
    rule = RoutingRule(
      choices: choices, normalized: try normalized ?? reader.optionalBool("norm_topk_prob") ?? false)
    intermediateSize = try reader.int("moe_intermediate_size", in: 1...(1 << 19))
    let layerCount = try reader.layerCount()
    let step = try reader.optionalInt("decoder_sparse_step", in: 1...(1 << 16)) ?? 1
    let dense = try reader.ints("mlp_only_layers", "numbers of the \(layerCount) layers") {
      (0..<layerCount).contains($0)
    }
    layers = Set((0..<layerCount).filter { !dense.contains($0) && ($0 + 1) % step == 0 })
  }

  /// DeepSeek's keys; nil where the model is dense.
  init?(deepSeek reader: ConfigurationReader) throws {
    guard let count = try reader.optionalInt("n_routed_experts", in: 1...(1 << 16)) else { return nil }
    self.count = count
    let choices = try reader.int("num_experts_per_tok", in: 1...(1 << 16))
    intermediateSize = try reader.int("moe_intermediate_size", in: 1...(1 << 19))
    sharedSize = intermediateSize * (try reader.optionalInt("n_shared_experts", in: 0...1024) ?? 0)
    let layerCount = try reader.layerCount()
    let first = try reader.optionalInt("first_k_dense_replace", in: 0...1024) ?? 0
    let step = try reader.optionalInt("moe_layer_freq", in: 1...1024) ?? 1
    layers = Set((0..<layerCount).filter { $0 >= first && $0 % step == 0 })

    let scale = try reader.optionalNumber("routed_scaling_factor", in: 1e-6...1e6) ?? 1
    let method = try reader.optionalString("topk_method") ?? "greedy"
    let gate = try reader.optionalString("scoring_func") ?? "softmax"
    let groups = try reader.optionalInt("n_group", in: 1...(1 << 16)) ?? 1
    let kept = try reader.optionalInt("topk_group", in: 1...(1 << 16)) ?? 1
    switch (method, gate) {
    // The published configuration class has the first spelling as its default.
    case ("gready", "softmax"), ("greedy", "softmax"):
      // Softmax weights are used as they are: transformers ignores norm_topk_prob here, and published models have it off.
      rule = RoutingRule(choices: choices, normalized: false, scale: scale)
    case ("group_limited_greedy", "softmax"):
      rule = RoutingRule(choices: choices, normalized: false, scale: scale, groups: groups, keptGroups: kept)
    case ("noaux_tc", "sigmoid"):
      rule = RoutingRule(
        choices: choices, gate: .sigmoid, normalized: try reader.optionalBool("norm_topk_prob") ?? true, scale: scale,
        groups: groups, keptGroups: kept, groupBest: 2)
      hasBias = true
    default:
      throw reader.unsupported(
        "topk_method",
        "is \"\(method)\" with scoring_func \"\(gate)\"; greedy and group_limited_greedy with softmax, and noaux_tc with sigmoid are available"
      )
    }
    guard count % rule.groups == 0 else {
      throw reader.error("n_group", "is \(groups), which does not divide n_routed_experts \(count)")
    }
    guard rule.keptGroups <= rule.groups else {
      throw reader.error("topk_group", "is \(kept), more than n_group \(groups)")
    }
    guard choices <= count / rule.groups * rule.keptGroups else {
      throw reader.error(
        "num_experts_per_tok",
        "is \(choices), more than the \(count / rule.groups * rule.keptGroups) experts to choose from")
    }
    guard rule.groups == 1 || rule.groupBest <= count / rule.groups else {
      throw reader.error("n_group", "is \(groups): groups of two experts or more were expected")
    }
  }
}
