import Core

extension RewardBench {
  /// A reward that comes with the program.
  public struct Listing: Sendable {
    public var name: String
    public var summary: String
    /// `built-in`, `C plugin` or `Swift plugin`.
    public var kind: String
    /// nil: the reward takes anything.
    public var parameters: [RewardParameter]?

    public var json: JSON {
      [
        "name": .string(name), "summary": .string(summary), "kind": .string(kind),
        "parameters": parameters.map { .array($0.map(\.json)) } ?? .null,
      ]
    }
  }

  /// The rewards that come with the program, by name. Starts no process and no compiler: what a Swift plugin says about
  /// itself stands in a catalogue.
  public static func list() -> [Listing] {
    func listing(_ kind: String) -> (RewardDescriptor) -> Listing {
      { Listing(name: $0.reward, summary: $0.summary, kind: kind, parameters: $0.parameters) }
    }
    let linked = LinkedPlugins.names.flatMap { name in
      (try? RewardSource.linked(name: name, reward: nil).descriptors()) ?? []
    }
    return
      (BuiltInRewards.all.map { $0.descriptor }.map(listing("built-in")) + linked.map(listing("C plugin"))
      + SwiftPluginCatalogue.descriptors.map(listing("Swift plugin"))).sorted { $0.name < $1.name }
  }
}
