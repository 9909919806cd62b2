import Core
import Foundation

/// Turns an entry of a recipe into a reward that scores.
public enum RewardLoader {
  /// The program's version, as rewards and records show it.
  static let programVersion = "0.1"

  /// The Swift plugins of `rewards/`: libraries beside the program, or compiled from the sources that it carries.
  static let swiftPlugins = EmbeddedKit.plugins.map { String($0.name.dropLast(".swift".count)) }

  /// Everything that comes with the program and goes by its name alone.
  public static let shipped = (BuiltInRewards.all.map { $0.name } + LinkedPlugins.names + swiftPlugins).sorted()

  /// Loads a reward.
  ///
  /// - Parameters:
  ///   - specification: paths in it are absolute or relative to the current folder.
  ///   - workerCommand: what starts a worker, such as `["/proc/self/exe", "__reward-worker"]`.
  ///   - models: makes rewards of checkpoint folders; nil refuses them.
  /// - Throws: `AttuneError` in words for whatever is wrong with the source, the library or the parameters.
  public static func load(
    _ specification: RewardSpecification, workerCommand: [String], models: (any RewardModelLoader)? = nil
  ) throws -> any PluginReward {
    guard specification.timeoutSeconds > 0, specification.timeoutSeconds.isFinite else {
      throw AttuneError.request(
        "the reward \(specification.name) has a time limit of \(specification.timeoutSeconds) s, expected more than 0",
        at: specification.file.map { .init(file: $0) })
    }
    guard specification.limits.memoryMiB > 0 else {
      throw AttuneError.request(
        "the reward \(specification.name) may take \(specification.limits.memoryMiB) MiB of memory, expected more than 0",
        at: specification.file.map { .init(file: $0) })
    }
    if let folder = modelFolder(specification.source) {
      guard let models else {
        throw AttuneError.request(
          "this is a model's folder, and no models are loaded here", at: .init(file: specification.source))
      }
      return try models.load(specification, folder: folder)
    }
    let source = try resolve(specification.source)
    let request = LoadRequest(
      source: source, columnName: specification.name, parameters: specification.parameters, file: specification.file,
      limits: specification.limits)
    if case .builtIn(let name) = source, let type = try? BuiltInRewards.named(name),
      let concurrency = type.hostConcurrency
    {
      return try HostReward(
        request, type, concurrency: concurrency, name: specification.name, timeLimit: specification.timeoutSeconds,
        program: workerCommand.first ?? "/proc/self/exe")
    }
    switch specification.isolation {
    case .inline:
      return try InlineReward(request, name: specification.name, timeLimit: specification.timeoutSeconds)
    case .worker:
      return try WorkerReward(
        request, name: specification.name, timeLimit: specification.timeoutSeconds, command: workerCommand)
    }
  }

  /// What this system does not keep the workers of these rewards from, each said once.
  public static func confinementGaps(_ rewards: [any Reward]) -> [String] {
    var gaps: [String] = []
    for reward in rewards {
      for gap in (reward as? any PluginReward)?.confinement?.gaps ?? [] where !gaps.contains(gap) { gaps.append(gap) }
    }
    return gaps
  }

  /// What a library or a source file offers, without running it in this process.
  public static func describe(_ source: String, workerCommand: [String]) throws -> [RewardDescriptor] {
    let resolved = try resolve(source)
    if case .builtIn = resolved { return try resolved.descriptors() }
    let all = try WorkerReward.describe(resolved, command: workerCommand)
    guard let reward = resolved.rewardName else { return all }
    let chosen = all.filter { $0.reward == reward }
    guard !chosen.isEmpty else {
      let near = nearestName(to: reward, among: all.map(\.reward))
      throw AttuneError.request(
        "\(resolved.words) offers no reward '\(reward)'",
        hint: near.map { "did you mean '\($0)'?" } ?? "it offers \(all.map(\.reward).joined(separator: ", "))")
    }
    return chosen
  }

  /// The folder that a source names, if it holds a checkpoint.
  public static func modelFolder(_ source: String) -> String? {
    FileManager.default.fileExists(atPath: source + "/config.json") ? source : nil
  }

  /// The folders in which plugins that come with the program are looked for.
  public static var shippedFolders: [String] {
    var folders: [String] = []
    if let extra = ProcessInfo.processInfo.environment["ATTUNE_REWARDS"], !extra.isEmpty {
      folders += extra.split(separator: ":").map(String.init)
    }
    if let own = Bundle.main.executablePath {
      let folder = ((own as NSString).resolvingSymlinksInPath as NSString).deletingLastPathComponent
      folders += [folder, (folder as NSString).deletingLastPathComponent + "/lib/attune/rewards"]
    }
    return folders
  }

  /// The library file of a plugin that comes with the program, or nil if it was not built.
  public static func shippedLibrary(_ name: String) -> String? {
    shippedFolders.map { "\($0)/lib\(name).\(libraryExtension)" }.first(where: FileManager.default.fileExists)
  }

  static var libraryExtension: String {
    #if os(Linux)
      "so"
    #else
      "dylib"
    #endif
  }

  /// What a source names.
  ///
  /// - Throws: `AttuneError` with the nearest name for one that does not come with the program.
  static func resolve(_ source: String) throws -> RewardSource {
    guard !source.isEmpty else { throw AttuneError.request("a reward's source is empty") }
    if let function = try resolve(function: source) { return function }
    var path = source
    var reward: String?
    // A colon separates the reward's name, unless the whole is the name of a file.
    if !FileManager.default.fileExists(atPath: source), let colon = source.lastIndex(of: ":") {
      let tail = source[source.index(after: colon)...]
      if !tail.isEmpty, !tail.contains("/") {
        path = String(source[..<colon])
        reward = String(tail)
      }
    }
    if !path.contains("/"), !path.contains("."), !FileManager.default.fileExists(atPath: path) {
      return try resolve(shipped: path, reward: reward)
    }
    path = absolute(path)
    let ending = (path as NSString).pathExtension
    if PluginCompiler.Language(rawValue: ending) != nil {
      try checkSourceExists(path)
      return .library(path: try PluginCompiler.library(for: path), reward: reward)
    }
    return .library(path: path, reward: reward)
  }

  private static func absolute(_ path: String) -> String {
    let full = (path as NSString).isAbsolutePath ? path : FileManager.default.currentDirectoryPath + "/" + path
    return (full as NSString).standardizingPath
  }

  /// `library: declaration`, such as `libm.so.6: double fabs(double column.x)`; nil for every other source. A library
  /// without a slash is the dynamic loader's to find.
  private static func resolve(function source: String) throws -> RewardSource? {
    let exists = FileManager.default.fileExists(atPath:)
    guard !exists(source), let (library, signature) = FunctionSignature.split(source, fileExists: exists) else {
      return nil
    }
    // Before anything is loaded or compiled.
    let checked = try FunctionSignature(signature)
    guard !library.isEmpty else {
      throw AttuneError.request(
        "\(checked.name) is declared without the library that has it",
        hint: "write it in front, such as libm.so.6: \(checked.text)")
    }
    let isSource = PluginCompiler.Language(rawValue: (library as NSString).pathExtension) != nil
    guard library.contains("/") || isSource else { return .function(library: library, signature: checked.text) }
    var path = absolute(library)
    if isSource {
      try checkSourceExists(path)
      path = try PluginCompiler.library(for: path)
    }
    return .function(library: path, signature: checked.text)
  }

  /// What is wrong with the C declaration in a source, without loading anything; nil if there is none or it is fine.
  public static func signatureFault(_ source: String) -> AttuneError? {
    let exists = FileManager.default.fileExists(atPath:)
    guard !exists(source), let (_, signature) = FunctionSignature.split(source, fileExists: exists) else { return nil }
    do { _ = try FunctionSignature(signature) } catch { return error as? AttuneError }
    return nil
  }

  /// A name for people: the function's, or the last part of a source's path without extension.
  public static func displayName(_ source: String) -> String {
    if let (_, signature) = FunctionSignature.split(source, fileExists: FileManager.default.fileExists(atPath:)),
      let function = try? FunctionSignature(signature)
    {
      return function.name
    }
    return ((source as NSString).lastPathComponent as NSString).deletingPathExtension
  }

  private static func resolve(shipped name: String, reward: String?) throws -> RewardSource {
    if BuiltInRewards.all.contains(where: { $0.name == name }) { return .builtIn(name: name) }
    if LinkedPlugins.names.contains(name) { return .linked(name: name, reward: reward) }
    if let library = shippedLibrary(name) { return .library(path: library, reward: reward) }
    if swiftPlugins.contains(name) {
      return .library(path: try PluginCompiler.library(forCarried: name), reward: reward)
    }
    let near = nearestName(to: name, among: shipped)
    throw AttuneError.request(
      "there is no reward '\(name)'",
      hint: near.map { "did you mean '\($0)'?" }
        ?? "give a library (path.so), a source file (.c or .swift), or one of \(shipped.joined(separator: ", "))")
  }

  private static func checkSourceExists(_ path: String) throws {
    guard !FileManager.default.fileExists(atPath: path) else { return }
    try LibraryDiagnosis.check(path)
  }
}
