import CRewardABI
import Core

/// A built-in reward in a worker.
final class BuiltInInstance: RewardInstance {
  let descriptor: RewardDescriptor
  private let reward: any BuiltInReward
  private let services: any PluginServices

  init(_ reward: any BuiltInReward, services: any PluginServices) {
    descriptor = type(of: reward).descriptor
    self.reward = reward
    self.services = services
  }

  func score(_ view: BatchView, variant: PluginInstance.Variant, into reply: ByteBuffer) throws {
    let limit = Double(view.batch.pointee.time_limit_ms) / 1000
    let services = self.services
    let call = BuiltInCall(
      context: view.context, timeLimit: limit, isCancelled: { limit > 0 && (services.elapsed ?? 0) >= limit })
    reply.append(Int(ATTUNE_OK))
    reply.append("")
    reply.append(view.count)
    for i in 0..<view.count {
      services.begin(i)
      OutcomeCoding.write(reward.outcome(view.sample(i), call), into: reply)
      services.end(i)
    }
  }
}

extension BuiltInReward {
  /// `score`, with an error as an outcome.
  func outcome(_ sample: RewardSample, _ call: BuiltInCall) -> RewardOutcome {
    do { return try score(sample, call) } catch {
      return .none(.failed, (error as? AttuneError)?.message ?? "\(error)")
    }
  }
}
