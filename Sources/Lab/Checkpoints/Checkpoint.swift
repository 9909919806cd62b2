import AttuneTensor
import Core
import Foundation
import Models

/// Where a run stands between two steps.
struct RunPosition: Equatable, Sendable {
  /// Index of the stage that comes next.
  var stage = 0
  /// Steps of that stage that are done.
  var step = 0
  /// Steps of all stages that are done: the counter that randomness and data positions use.
  var globalStep = 0
  /// Data positions used so far, by the name of the source.
  var cursors: [String: Int] = [:]
  /// What the stage's objective keeps from step to step.
  var memory: [String: Double] = [:]
}

/// The saved states of a run: `checkpoints/step-000123`, each a folder that appears whole or not at all.
///
/// A folder is written under a temporary name, its files are synced, a manifest with their hashes comes last, then the
/// folder is renamed and its parent synced. Nothing of time or machine goes into tensor files.
struct CheckpointStore {
  let folder: String

  private static let manifest = "manifest.json"
  private static let referenceWeights = "reference.safetensors"
  private static let criticWeights = "critic.safetensors"
  private static let criticOptimizer = "critic-optimizer.safetensors"

  /// What is trained beside the policy.
  struct Part {
    var parameters: [Parameter]
    var optimizer: Optimizer
  }

  init(runFolder: String) { folder = runFolder + "/checkpoints" }

  /// All whole checkpoints, oldest first.
  func all() -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasPrefix("step-") && !$0.hasSuffix(".tmp") }.sorted()
      .map { folder + "/" + $0 }.filter { FileManager.default.fileExists(atPath: $0 + "/" + Self.manifest) }
  }

  /// Saves the state; older checkpoints beyond `keep` are removed afterwards.
  ///
  /// - Parameters:
  ///   - critic: the stage's critic, if it has one.
  ///   - reference: frozen weights that moved during the stage; none where they stand.
  ///   - rewardStates: what rewards keep between calls, by their names.
  ///   - components: the components that rewards were seen to report.
  /// - Returns: the new folder.
  @discardableResult
  func save(
    _ position: RunPosition, parameters: [Parameter], optimizer: Optimizer?, critic: Part? = nil,
    reference: [(name: String, tensor: Tensor)] = [], rewardStates: [String: [UInt8]] = [:],
    components: JSON = [:], on backend: any Backend, keep: Int
  ) throws -> String {
    let name =
      "step-" + String(repeating: "0", count: max(0, 8 - "\(position.globalStep)".count)) + "\(position.globalStep)"
      + "-\(position.stage)-\(position.step)"
    let final = folder + "/" + name
    let temporary = final + ".tmp"
    let files = FileManager.default
    try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
    removeLeftovers()
    try? files.removeItem(atPath: temporary)
    try files.createDirectory(atPath: temporary, withIntermediateDirectories: false)
    try SafeTensors.write(
      parameters.map { ($0.name, $0.value) }, metadata: [:], to: temporary + "/weights.safetensors", from: backend)
    try SafeTensors.write(
      optimizer?.state ?? [], metadata: optimizer?.metadata ?? [:], to: temporary + "/optimizer.safetensors",
      from: backend)
    if let critic {
      try SafeTensors.write(
        critic.parameters.map { ($0.name, $0.value) }, metadata: [:], to: temporary + "/" + Self.criticWeights,
        from: backend)
      try SafeTensors.write(
        critic.optimizer.state, metadata: critic.optimizer.metadata, to: temporary + "/" + Self.criticOptimizer,
        from: backend)
    }
    if !reference.isEmpty {
      try SafeTensors.write(
        reference.map { ($0.name, $0.tensor) }, metadata: [:], to: temporary + "/" + Self.referenceWeights,
        from: backend)
    }
    let state: JSON = [
      "version": 1, "stage": .int(position.stage), "step": .int(position.step),
      "global_step": .int(position.globalStep),
      "optimizer_step": .int(optimizer?.step ?? 0),
      "critic_optimizer_step": critic.map { .int($0.optimizer.step) } ?? .null,
      "memory": .object(
        position.memory.sorted { $0.key < $1.key }.map { ($0.key, .int(Int64(bitPattern: $0.value.bitPattern))) }),
      "cursors": .object(position.cursors.sorted { $0.key < $1.key }.map { ($0.key, .int($0.value)) }),
      "reward_states": .array(rewardStates.keys.sorted().map(JSON.string)), "components": components,
    ]
    try AtomicFile.write(temporary + "/state.json", text: state.text(.pretty) + "\n")
    for (name, state) in rewardStates { try AtomicFile.write(temporary + "/" + Self.stateFile(name), bytes: state) }
    var hashes = JSON.Object()
    let states = rewardStates.keys.sorted().map(Self.stateFile)
    let criticFiles = critic == nil ? [] : [Self.criticWeights, Self.criticOptimizer]
    let referenceFiles = reference.isEmpty ? [] : [Self.referenceWeights]
    for file in ["weights.safetensors", "optimizer.safetensors"] + criticFiles + referenceFiles + ["state.json"]
      + states
    {
      hashes[file] = .string(try Self.hash(temporary + "/" + file))
    }
    try AtomicFile.write(temporary + "/" + Self.manifest, text: JSON(.object(hashes)).text(.pretty) + "\n")
    try? files.removeItem(atPath: final)
    try files.moveItem(atPath: temporary, toPath: final)
    try AtomicFile.syncFolder(of: final)
    for old in all().filter({ $0 != final }).dropLast(max(0, keep - 1)) { try? files.removeItem(atPath: old) }
    return final
  }

  /// Folders that an interrupted save left behind.
  private func removeLeftovers() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where name.hasSuffix(".tmp") {
      try? FileManager.default.removeItem(atPath: folder + "/" + name)
    }
  }

  private static func stateFile(_ reward: String) -> String { "reward-\(reward).state" }

  private static func hash(_ path: String) throws -> String {
    try MappedFile.hash(path)
  }

  /// The newest checkpoint whose files are what its manifest says; damaged ones are reported and passed over.
  func newest(report: (String) -> Void) throws -> Saved? {
    removeLeftovers()
    for path in all().reversed() {
      do { return try Saved(path) } catch let error as AttuneError {
        report("passing over a damaged checkpoint: \(error.description)")
      }
    }
    return nil
  }

  /// A checkpoint that was found whole.
  struct Saved {
    let path: String
    let position: RunPosition
    let optimizerStep: Int
    private let criticStep: Int?
    /// The components that rewards were seen to report.
    let components: JSON
    /// Names of rewards with a saved state.
    private let rewardNames: [String]

    init(_ path: String) throws {
      self.path = path
      let manifestPath = path + "/" + CheckpointStore.manifest
      let manifest = try JSON.parse(MappedFile.read(manifestPath), file: manifestPath)
      guard let hashes = manifest.object, !hashes.isEmpty else {
        throw AttuneError.work("the manifest lists no files", at: .init(file: manifestPath))
      }
      for (name, expected) in hashes.entries {
        let found = try CheckpointStore.hash(path + "/" + name)
        guard found == expected.string else {
          throw AttuneError.work(
            "its hash is \(found), the manifest says \(expected.text())", at: .init(file: path + "/" + name))
        }
      }
      let statePath = path + "/state.json"
      let state = try JSON.parse(MappedFile.read(statePath), file: statePath)
      func number(_ key: String) throws -> Int {
        guard let value = state[key]?.int else {
          throw AttuneError.work("\(key) is missing", at: .init(file: statePath))
        }
        return value
      }
      guard try number("version") == 1 else {
        throw AttuneError.request(
          "the checkpoint has version \(try number("version")), this program reads version 1",
          at: .init(file: statePath))
      }
      var cursors: [String: Int] = [:]
      for (name, value) in state["cursors"]?.object?.entries ?? JSON.Object().entries { cursors[name] = value.int ?? 0 }
      var memory: [String: Double] = [:]
      for (name, value) in state["memory"]?.object?.entries ?? JSON.Object().entries {
        memory[name] = value.int.map { Double(bitPattern: UInt64(bitPattern: Int64($0))) }
      }
      position = RunPosition(
        stage: try number("stage"), step: try number("step"), globalStep: try number("global_step"), cursors: cursors,
        memory: memory)
      optimizerStep = try number("optimizer_step")
      criticStep = state["critic_optimizer_step"]?.int
      components = state["components"] ?? [:]
      rewardNames = (state["reward_states"]?.array ?? []).compactMap(\.string)
      for name in rewardNames where hashes[CheckpointStore.stateFile(name)] == nil {
        throw AttuneError.work("the manifest does not list the state of reward \(name)", at: .init(file: manifestPath))
      }
    }

    /// Puts the saved values into the parameters.
    func restore(_ parameters: [Parameter], on backend: any Backend) throws {
      try restore(parameters, from: "weights.safetensors", on: backend)
    }

    /// Puts the saved values into a critic's parameters and its optimizer.
    func restoreCritic(_ critic: Part, on backend: any Backend) throws {
      guard let criticStep else {
        throw AttuneError.work("the checkpoint has no critic, which its stage needs", at: .init(file: path))
      }
      try restore(critic.parameters, from: CheckpointStore.criticWeights, on: backend)
      try critic.optimizer.restore(SafeTensors(path + "/" + CheckpointStore.criticOptimizer), step: criticStep)
    }

    private func restore(_ parameters: [Parameter], from file: String, on backend: any Backend) throws {
      let tensors = try SafeTensors(path + "/" + file)
      for parameter in parameters {
        let entry = try tensors.require(parameter.name)
        guard entry.shape == parameter.shape else {
          throw AttuneError.request(
            "tensor \(parameter.name) has shape \(entry.shape), the model's is \(parameter.shape)",
            at: .init(file: tensors.path))
        }
        parameter.setValue(try tensors.tensor(parameter.name, on: backend))
      }
    }

    /// What rewards keep between calls, by their names.
    func rewardStates() throws -> [String: [UInt8]] {
      try Dictionary(
        uniqueKeysWithValues: Set(rewardNames).map {
          ($0, try MappedFile.read(path + "/" + CheckpointStore.stateFile($0)))
        })
    }

    /// The frozen weights that moved during the stage; nil where they stand.
    func reference() throws -> SafeTensors? {
      let file = path + "/" + CheckpointStore.referenceWeights
      return FileManager.default.fileExists(atPath: file) ? try SafeTensors(file) : nil
    }

    func optimizerState() throws -> SafeTensors { try SafeTensors(path + "/optimizer.safetensors") }
  }
}
