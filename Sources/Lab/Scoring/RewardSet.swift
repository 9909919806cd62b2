import AttuneTensor
import Core
import Foundation
import Rewards

/// The rewards of a run: loaded, known by their hashes, with their state, and exchangeable while the run is paused.
///
/// The run scores with copies of libraries in its own folder: what is rebuilt while it runs is not picked up by chance, not
/// even by a worker that is started again.
final class RewardSet {
  /// A reward of the recipe, ready to score.
  struct Entry {
    let settings: Recipe.Reward
    let rule: ScoringRule
    let reward: any PluginReward
    let identity: RewardIdentity
  }

  /// A reward that was loaded anew.
  struct Change {
    let old: RewardIdentity
    let new: RewardIdentity
  }

  private(set) var entries: [Entry] = []
  /// By name, what rewards keep between calls, as of the last `saveStates`.
  private(set) var states: [String: [UInt8]] = [:]
  private let recipe: Recipe
  private let workerCommand: [String]
  /// Where copies of libraries are kept; nil loads them where they are.
  private let copies: String?

  /// Loads all rewards of a recipe.
  init(_ recipe: Recipe, workerCommand: [String], copies: String?) throws {
    self.recipe = recipe
    self.workerCommand = workerCommand
    self.copies = copies
    do {
      for settings in recipe.rewards { entries.append(try load(settings)) }
    } catch {
      close()
      throw error
    }
  }

  /// Stand-ins for a recipe's rewards that score without looking: what a rehearsal needs, which asks no plugin and no judge.
  ///
  /// - Parameter descriptors: of the rewards themselves, in the recipe's order, where they are loaded.
  init(rehearsing recipe: Recipe, _ descriptors: [RewardDescriptor]) throws {
    self.recipe = recipe
    workerCommand = []
    copies = nil
    entries = try recipe.rewards.enumerated().map { i, settings in
      var rule = ScoringRule(settings)
      // Every completion is as long as it may be, and groups must differ for anything to be learnt.
      rule.truncation = .score
      let reward = RehearsedReward(settings.name, descriptors.indices.contains(i) ? descriptors[i] : nil)
      return Entry(
        settings: settings, rule: rule, reward: reward,
        identity: try RewardIdentity(
          RewardSpecification(settings, file: recipe.file), source: settings.source, reward.descriptor, hash: nil))
    }
  }

  var rules: [ScoringRule] { entries.map(\.rule) }
  var identities: [RewardIdentity] { entries.map(\.identity) }

  /// A line for each reward that failed on samples: on how many, and what the first failure says.
  ///
  /// - Parameter outcomes: `[reward][sample]`.
  func failures(_ outcomes: [[RewardOutcome]]) -> [String] {
    zip(entries, outcomes).compactMap { entry, outcomes in
      let failed = outcomes.filter(\.isFailure)
      return failed.first.map {
        "\(entry.settings.name): \(failed.count) of \(outcomes.count) samples \($0.status.rawValue): \($0.log)"
      }
    }
  }

  func close() { for entry in entries { entry.reward.close() } }

  // MARK: Loading

  private func load(_ settings: Recipe.Reward) throws -> Entry {
    var specification = RewardSpecification(settings, file: recipe.file)
    let models = CheckpointRewards(threads: recipe.threads)
    var hash: String?
    if let code = try RewardLoader.codeFile(of: settings.source) {
      let path = code.isCompiled ? code.path : copy(code.path) ?? code.path
      hash = try RewardIdentity.contentHash(of: path)
      specification.source = path + (code.reward.map { ":" + $0 } ?? "")
    }
    let reward: any PluginReward
    do { reward = try RewardLoader.load(specification, workerCommand: workerCommand, models: models) } catch {
      // A library may look for others beside itself; and errors name the file that a person knows.
      specification.source = settings.source
      reward = try RewardLoader.load(specification, workerCommand: workerCommand, models: models)
    }
    return Entry(
      settings: settings, rule: ScoringRule(settings), reward: reward,
      identity: try RewardIdentity(specification, source: settings.source, reward.descriptor, hash: hash))
  }

  /// The library's copy, in a folder that its content names; nil if none can be made.
  private func copy(_ library: String) -> String? {
    guard let copies, let bytes = try? MappedFile.read(library) else { return nil }
    let folder = copies + "/" + SHA256.hex(bytes).prefix(16)
    let path = folder + "/" + (library as NSString).lastPathComponent
    if FileManager.default.fileExists(atPath: path) { return path }
    guard
      (try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)) != nil,
      (try? AtomicFile.write(path, bytes: bytes)) != nil
    else { return nil }
    return path
  }

  // MARK: State

  /// Asks rewards for what they keep between calls.
  ///
  /// - Parameter all: false asks only those that had something before.
  func saveStates(all: Bool) throws {
    for entry in entries where all || states[entry.settings.name] != nil {
      states[entry.settings.name] = try entry.reward.saveState()
    }
  }

  /// Rewards go on from saved states.
  func restore(_ saved: [String: [UInt8]]) throws {
    states = saved
    for entry in entries {
      if let state = saved[entry.settings.name] { try entry.reward.loadState(state) }
    }
  }

  // MARK: Changes

  /// Loads rewards anew whose libraries, sources or models have changed, and hands their state on.
  ///
  /// - Throws: what is wrong with a changed one; then all stay as they are.
  func reloadChanged() throws -> [Change] {
    var fresh: [(index: Int, entry: Entry)] = []
    do {
      for (i, entry) in entries.enumerated() where try hasChanged(entry) {
        let new = try load(entry.settings)
        fresh.append((i, new))
        if let state = try entry.reward.saveState() { try new.reward.loadState(state) }
      }
    } catch {
      for (_, entry) in fresh { entry.reward.close() }
      throw error
    }
    return fresh.map { i, new in
      let old = entries[i]
      entries[i] = new
      old.reward.close()
      return Change(old: old.identity, new: new.identity)
    }
  }

  private func hasChanged(_ entry: Entry) throws -> Bool {
    guard entry.identity.kind != .builtIn else { return false }
    let path = try RewardLoader.codeFile(of: entry.settings.source)?.path ?? entry.reward.descriptor.path
    return try RewardIdentity.contentHash(of: path) != entry.identity.hash
  }
}
