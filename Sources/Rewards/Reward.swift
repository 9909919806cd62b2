/// A function from completions to scores, wherever it runs.
public protocol Reward: Sendable {
  /// The name of its column in logs and tables.
  var name: String { get }
  /// One outcome per sample, in order. Blocks; calls from several threads wait for each other.
  ///
  /// What goes wrong with a sample is an outcome. An error is thrown for what makes the reward as a whole unusable. A plugin
  /// that writes into memory that is not its own makes scoring inline throw, for that memory is the program's; in a worker
  /// of its own it makes failed outcomes.
  func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome]
  /// What a checkpoint has to keep, or nil.
  func saveState() throws -> [UInt8]?
  /// Continues from what `saveState` gave.
  func loadState(_ state: [UInt8]) throws
  /// Ends the reward; scoring afterwards is an error.
  func close()
}

extension Reward {
  public func saveState() throws -> [UInt8]? { nil }
  public func loadState(_ state: [UInt8]) throws {}
  public func close() {}
}

/// A reward that came out of a library.
public protocol PluginReward: Reward {
  var descriptor: RewardDescriptor { get }
  /// What the system keeps its worker from; nil if it has none.
  var confinement: WorkerConfinement? { get }
}

extension PluginReward {
  public var confinement: WorkerConfinement? { nil }
}

/// Makes rewards of checkpoint folders. Who loads rewards brings one, because this room knows no models.
public protocol RewardModelLoader: Sendable {
  /// A reward that scores with the model in `folder`.
  ///
  /// - Throws: `AttuneError` in words for whatever is wrong with the folder or the parameters.
  func load(_ specification: RewardSpecification, folder: String) throws -> any PluginReward
}
