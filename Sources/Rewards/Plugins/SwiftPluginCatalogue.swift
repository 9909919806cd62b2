import Core

/// What the Swift plugins of `rewards/` say about themselves, so that listing them needs neither a compiler nor a process. A
/// test holds it to the plugins.
enum SwiftPluginCatalogue {
  static let descriptors: [RewardDescriptor] = {
    guard let list = try? JSON.parse(text), let entries = list.array else { return [] }
    return entries.compactMap { try? RewardDescriptor($0) }
  }()
}
