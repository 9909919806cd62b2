import Core
import Rewards

extension Run {
  /// Notes what rewards are made of, or compares it with what the run was scored with so far.
  ///
  /// - Parameter position: where the run goes on; nil at its start.
  /// - Throws: `.request` with both hashes if a reward has changed and the request does not allow it.
  func recordRewards(_ identities: [RewardIdentity], at position: RunPosition?) throws {
    var known: [String: RewardIdentity] = [:]
    for version in try store.rewardVersions() { known[version.name] = version.identity }
    let (stage, step) = (position?.stage ?? 0, position?.step ?? 0)
    let changes = identities.compactMap { new in
      known[new.name].flatMap { new.differs(from: $0) ? (old: $0, new: new) : nil }
    }
    if let change = changes.first, !allowsChangedRewards {
      let words = changes.map { $0.old.difference(from: $0.new) }.joined(separator: "; ")
      throw AttuneError.request(
        "the run was scored with other rewards than there are now: \(words)", at: .init(file: change.new.source),
        hint:
          "put the old one back, or accept scores of another kind by 'attune run --resume \(folder.path) --allow-changed-rewards'"
      )
    }
    for (old, new) in changes {
      try store.log(
        .warning,
        "going on at step \(step) of stage \(stage) with a changed reward, as was asked for: \(old.difference(from: new))"
      )
    }
    let fresh = identities.filter { known[$0.name] == nil || $0.differs(from: known[$0.name]!) }
    try store.record(fresh.map { RunStore.RewardVersion($0, stage: stage, step: step) })
  }
}

extension RewardIdentity {
  fileprivate func difference(from new: RewardIdentity) -> String {
    if fingerprint != new.fingerprint { return "reward \(name) was \(fingerprint) and is \(new.fingerprint)" }
    if reward != new.reward { return "reward \(name) was '\(reward)' of its library and is '\(new.reward)'" }
    if kind != new.kind { return "reward \(name) was a \(kind.rawValue) and is a \(new.kind.rawValue)" }
    return "the parameters of reward \(name) were \(parameters.text()) and are \(new.parameters.text())"
  }
}
