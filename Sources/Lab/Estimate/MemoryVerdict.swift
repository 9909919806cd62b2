import AttuneTensor
import Core
import Rewards

/// Whether a run fits the machine, and what to change if it does not.
public struct MemoryVerdict: Sendable {
  public let estimate: MemoryEstimate
  public let machine: MachineMemory
  /// Bytes that the run may need; nil for no limit.
  public let limit: Int?
  /// Keys with which it would fit; nil if it fits, or nothing that was tried is enough.
  public let advice: Advice?
  /// The smallest of what was tried, where nothing is enough.
  public let nearest: Advice?

  /// Keys as `--set` takes them, and what the run would need then.
  public struct Advice: Sendable, Equatable {
    public var overrides: [String]
    public var bytes: Int

    fileprivate var words: String {
      "\(overrides.map { "--set \($0)" }.joined(separator: " ")) (about \(MemoryEstimate.size(bytes)))"
    }
  }

  /// Rehearses a recipe, and if it does not fit, variants of it.
  ///
  /// - Throws: what `Rehearsal.estimate` throws.
  public static func judge(
    _ recipe: Recipe, rewards: [RewardDescriptor] = [], rates: MachineRates = .unmeasured,
    machine: MachineMemory = .here
  ) throws -> MemoryVerdict {
    let estimate = try Rehearsal.estimate(recipe, rewards: rewards, rates: rates)
    let limit: Int? =
      switch recipe.memoryLimit {
      case nil: machine.total
      case 0: nil
      case let gib?: Int(gib * 1_073_741_824)
      }
    guard let limit, estimate.residentBytes > limit else {
      return MemoryVerdict(estimate: estimate, machine: machine, limit: limit, advice: nil, nearest: nil)
    }
    let (advice, nearest) = search(recipe, rewards, estimate, limit)
    return MemoryVerdict(estimate: estimate, machine: machine, limit: limit, advice: advice, nearest: nearest)
  }

  public var fits: Bool { limit.map { estimate.residentBytes <= $0 } ?? true }

  /// Why the run does not begin, and the nearest thing that would; nil if it fits.
  public var refusal: AttuneError? {
    guard let limit, !fits else { return nil }
    let place = estimate.largest.map { ", most of it in \($0.name) of stage \($0.stage)" } ?? ""
    let hint: String
    if let advice {
      hint = "this would fit: \(advice.words); memory.limit_gib moves the limit"
    } else if let nearest {
      hint =
        "none of the usual ways is enough; the nearest is \(nearest.words). A smaller model, shorter sequences or a larger memory.limit_gib are left"
    } else {
      hint = "a smaller model, shorter sequences or a larger memory.limit_gib are left"
    }
    return .request(
      "the run needs about \(MemoryEstimate.size(estimate.residentBytes)) of memory\(place); there are \(MemoryEstimate.size(limit))",
      hint: hint)
  }

  /// What a person should know though the run may begin.
  public var warning: String? {
    guard fits, estimate.residentBytes > machine.memory else { return nil }
    return
      "the run needs about \(MemoryEstimate.size(estimate.residentBytes)), more than the \(MemoryEstimate.size(machine.memory)) of memory without swap: it may be very slow"
  }

  // MARK: What would work

  /// Changes that save memory, the least felt first. Those that a recipe's other keys exclude are passed over.
  private static func changes(_ recipe: Recipe, _ estimate: MemoryEstimate) -> [[String]] {
    func each(_ key: String) -> [String] { recipe.stages.indices.map { "stages.\($0).\(key)" } }
    var changes: [[String]] = []
    if recipe.stages.contains(where: { $0.microBatch != 1 }) { changes.append(each("micro_batch=1")) }
    let cache = estimate.phases.map { $0.parts[.cache] ?? 0 }.max() ?? 0
    if cache > 0 {
      changes.append([
        "rollout.cache_mib=\(max(16, cache >> 22))", "rollout.sequences=\(max(1, recipe.rollout.sequences / 4))",
      ])
    }
    changes.append(each("recompute=true"))
    if recipe.model.train == .full { changes.append(["optimizer.kind=adamw_8bit"]) }
    if recipe.dtype == .f32 { changes.append(["dtype=bf16"]) }
    if recipe.model.train == .full { changes.append(["model.train=lora"]) }
    if recipe.model.weights != .int8, recipe.model.weights != .int4 { changes.append(["model.weights=int8"]) }
    if recipe.model.weights != .int4 { changes.append(["model.weights=int4"]) }
    return changes
  }

  /// The first single change that is enough, else the shortest run of changes one after the other.
  private static func search(
    _ recipe: Recipe, _ rewards: [RewardDescriptor], _ estimate: MemoryEstimate, _ limit: Int
  ) -> (advice: Advice?, nearest: Advice?) {
    func bytes(_ overrides: [String]) -> Int? {
      // A change that the recipe's other keys exclude is none.
      guard let changed = try? recipe.setting(overrides) else { return nil }
      return try? Rehearsal.estimate(changed, rewards: rewards).residentBytes
    }
    var nearest: Advice?
    let changes = changes(recipe, estimate)
    for change in changes {
      guard let needed = bytes(change) else { continue }
      if needed <= limit { return (Advice(overrides: change, bytes: needed), nil) }
    }
    var together: [String] = []
    for change in changes {
      let overrides = together + change
      guard let needed = bytes(overrides), needed < nearest?.bytes ?? estimate.residentBytes else { continue }
      together = overrides
      nearest = Advice(overrides: overrides, bytes: needed)
      if needed <= limit { return (nearest, nil) }
    }
    return (nil, nearest)
  }
}
