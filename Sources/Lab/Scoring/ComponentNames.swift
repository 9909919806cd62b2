import Core
import Rewards

/// The components that rewards were seen to report, to find out early about a weight for one that does not exist.
package struct ComponentNames: Sendable, Equatable {
  /// By reward: the names so far.
  package private(set) var seen: [String: Set<String>] = [:]

  package init() {}

  package init(_ json: JSON?) {
    for (reward, names) in json?.object?.entries.map({ ($0, $1) }) ?? [] {
      seen[reward] = Set((names.array ?? []).compactMap(\.string))
    }
  }

  package var json: JSON {
    .object(seen.sorted { $0.key < $1.key }.map { ($0.key, .array($0.value.sorted().map(JSON.string))) })
  }

  /// Notes what a batch reports.
  ///
  /// - Parameter outcomes: `[reward][completion]`.
  /// - Throws: `AttuneError` (request) for a weighted component that none of a reward's scored samples ever reported, with
  ///   the nearest that one did.
  package mutating func note(_ rules: [ScoringRule], _ outcomes: [[RewardOutcome]], file: String?) throws {
    for (rule, outcomes) in zip(rules, outcomes) where !rule.components.isEmpty {
      let scored = outcomes.filter { $0.status == .ok }
      guard !scored.isEmpty else { continue }
      let known = seen[rule.name, default: []].union(scored.flatMap { $0.components.map(\.name) })
      seen[rule.name] = known
      guard let unknown = rule.components.first(where: { !known.contains($0.name) }) else { continue }
      let names = known.sorted()
      throw AttuneError.request(
        "the recipe has a weight for the component '\(unknown.name)' of reward \(rule.name), which reports none of that name",
        at: file.map { .init(file: $0) },
        hint: nearestName(to: unknown.name, among: names).map { "did you mean '\($0)'?" }
          ?? (names.isEmpty ? "it reports no components" : "it reports \(names.joined(separator: ", "))"))
    }
  }
}
