import CRewardABI
import Core

/// Reads a reply of `PluginInstance` and judges it: only here does a plugin's answer become an outcome.
enum OutcomeCoding {
  /// The outcomes of a call, in order.
  ///
  /// - Parameter columns: those without which the reward scores nothing.
  static func read(
    _ bytes: UnsafeRawBufferPointer, for samples: [RewardSample], requiring columns: [String]
  ) throws -> [RewardOutcome] {
    var reader = ByteReader(bytes)
    let status = Int32(clamping: try reader.signed())
    let message = try reader.string()
    let count = try reader.integer(atMost: samples.count)
    guard count == samples.count else {
      throw AttuneError.work("a reward's worker answered about \(count) of \(samples.count) samples")
    }
    let outcomes = try samples.map { sample in
      let found = try outcome(&reader, sample)
      guard found.status == .ok, let missing = columns.first(where: { sample.columns[$0]?.isNull ?? true }) else {
        return found
      }
      return .none(.invalid, "the sample has no column '\(missing)', which the reward requires")
    }
    guard status != ATTUNE_OK else { return outcomes }
    let log = message.isEmpty ? "the reward gave up on the whole call without a reason (status \(status))" : message
    return samples.map { _ in .none(self.status(status) ?? .failed, log) }
  }

  /// An outcome of a built-in reward, as `PluginInstance` writes those of plugins.
  static func write(_ outcome: RewardOutcome, into reply: ByteBuffer) {
    let status: Int32 =
      switch outcome.status {
      case .ok: ATTUNE_OK
      case .notApplicable: ATTUNE_NOT_APPLICABLE
      case .failed: ATTUNE_FAILED
      case .timedOut: ATTUNE_TIMED_OUT
      case .invalid: ATTUNE_INVALID
      }
    reply.append(Int(status))
    reply.append(outcome.score ?? .nan)
    reply.append(outcome.log)
    reply.append(outcome.components.count)
    for component in outcome.components {
      reply.append(component.name)
      reply.append(component.value)
    }
    reply.append(outcome.notes.count)
    for note in outcome.notes {
      reply.append(note.name)
      reply.append(note.text)
    }
    reply.append(array: outcome.tokenRewards)
    reply.append(outcome.stepRewards.count)
    for step in outcome.stepRewards {
      reply.append(step.tokens.lowerBound)
      reply.append(step.tokens.upperBound)
      reply.append(step.value)
      reply.append(step.label)
    }
  }

  private static func status(_ raw: Int32) -> RewardStatus? {
    switch raw {
    case ATTUNE_OK: .ok
    case ATTUNE_NOT_APPLICABLE: .notApplicable
    case ATTUNE_FAILED: .failed
    case ATTUNE_TIMED_OUT: .timedOut
    case ATTUNE_INVALID: .invalid
    default: nil
    }
  }

  private static func outcome(_ reader: inout ByteReader, _ sample: RewardSample) throws -> RewardOutcome {
    let rawStatus = Int32(clamping: try reader.signed())
    let score = try reader.double()
    var out = RewardOutcome(score: nil, status: status(rawStatus) ?? .invalid)
    out.log = try reader.string()
    for _ in 0..<(try reader.integer(atMost: 4096)) {
      let name = try reader.string()
      out.components.append((name: name, value: try reader.double()))
    }
    for _ in 0..<(try reader.integer(atMost: 4096)) {
      let name = try reader.string()
      out.notes.append((name: name, text: try reader.string()))
    }
    let tokenRewards = try reader.array(of: Float.self).map { Array($0) }
    var problem = status(rawStatus) == nil ? "the status \(rawStatus), which does not exist" : nil
    for _ in 0..<(try reader.integer(atMost: 1 << 20)) {
      let first = try reader.integer()
      let end = try reader.integer()
      let value = try reader.double()
      let label = try reader.string()
      if first > end || end > sample.tokenIDs.count || !value.isFinite {
        problem = problem ?? "a step reward of \(value) for tokens \(first) ..< \(end) of \(sample.tokenIDs.count)"
      } else {
        out.stepRewards.append(RewardStep(tokens: first..<end, value: value, label: label))
      }
    }
    if let tokenRewards { problem = problem ?? self.problem(of: tokenRewards, sample) }
    if out.status == .ok {
      if score.isNaN {
        out.status = .notApplicable
      } else if score.isInfinite {
        problem = problem ?? "the score \(score)"
      } else {
        out.score = score
        out.tokenRewards = tokenRewards
      }
    }
    if let problem {
      out.score = nil
      out.tokenRewards = nil
      out.stepRewards = []
      out.status = .invalid
      out.log = "the reward returned \(problem)" + (out.log.isEmpty ? "" : "; its log: \(out.log)")
    }
    return out
  }

  private static func problem(of rewards: [Float], _ sample: RewardSample) -> String? {
    guard rewards.count == sample.tokenIDs.count else {
      return "\(rewards.count) token rewards for \(sample.tokenIDs.count) tokens"
    }
    if let i = rewards.firstIndex(where: { !$0.isFinite }) { return "a token reward of \(rewards[i]) at token \(i)" }
    if let mask = sample.policyMask, mask.count == rewards.count,
      let i = rewards.indices.first(where: { rewards[$0] != 0 && !mask[$0] })
    {
      return "a token reward at token \(i), which the policy did not write"
    }
    return nil
  }
}
