import CRewardABI
import CShippedRewards

/// The C plugins of `rewards/`, which are linked into the program.
enum LinkedPlugins {
  private static let entries: [(name: String, entry: attune_reward_entry_function)] = {
    var found: [(String, attune_reward_entry_function)] = []
    while let shipped = attune_shipped_rewards(found.count)?.pointee, let entry = shipped.entry {
      found.append((String(cString: shipped.name), entry))
    }
    return found
  }()

  static let names: [String] = entries.map(\.name)

  static func library(_ name: String) -> UnsafePointer<attune_library>? {
    entries.first { $0.name == name }?.entry()
  }
}
