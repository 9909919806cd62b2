import Core
import Foundation
import TestSupport

@testable import Rewards

/// What the tests of rewards share: the program that holds workers, and compiled plugins.
enum Workshop {
  /// The folder of the build: the program, its plugins and this test bundle.
  static let buildFolder: String = {
    let arguments = CommandLine.arguments
    var candidates: [String?] = [Bundle.main.executablePath, Bundle.main.bundlePath, arguments.first]
    if let flag = arguments.firstIndex(of: "--test-bundle-path"), flag + 1 < arguments.count {
      candidates.append(arguments[flag + 1])
    }
    candidates.append(Fixtures.root + "/.build/debug/attune")
    for case let path? in candidates {
      var folder = (path as NSString).resolvingSymlinksInPath
      for _ in 0..<4 {
        folder = (folder as NSString).deletingLastPathComponent
        if FileManager.default.isExecutableFile(atPath: folder + "/attune") { return folder }
      }
    }
    preconditionFailure("no attune program beside the tests: \(candidates)")
  }()

  /// Compiled plugins go into the build folder, not into the home folder of whoever runs the tests.
  static let command: [String] = {
    setenv("ATTUNE_CACHE", buildFolder + "/test-rewards", 1)
    setenv("ATTUNE_REWARDS", buildFolder, 1)
    return [buildFolder + "/attune", "__reward-worker"]
  }()

  static func source(_ name: String) -> String { Fixtures.path("rewards/" + name) }

  static func load(
    _ source: String, name: String = "reward", parameters: JSON.Object = .init(),
    isolation: RewardSpecification.Isolation = .worker, timeout: Double = 10, limits: WorkerLimits = .init()
  ) throws -> any PluginReward {
    let command = self.command
    let isFixture = source.contains(".") && !source.contains("/") && !source.contains("(")
    let path = isFixture ? self.source(source) : source
    return try RewardLoader.load(
      RewardSpecification(
        name: name, source: path, parameters: parameters, isolation: isolation, timeoutSeconds: timeout,
        limits: limits),
      workerCommand: command)
  }

  /// A library made by the C compiler alone, for sources that the loader's own compiler would refuse.
  static func library(_ name: String) throws -> String {
    _ = command
    let folder = try scratch()
    let output = folder + "/" + name.replacingOccurrences(of: ".c", with: ".so")
    let (end, text) = try ChildProcess.run([
      "cc", "-shared", "-fPIC", "-I", Fixtures.root + "/Sources/CRewardABI/include", source(name), "-o", output,
    ])
    guard end == .exit(0) else { throw AttuneError.work(text) }
    return output
  }

  /// A fresh folder for one test.
  static func scratch() throws -> String {
    let folder = buildFolder + "/test-rewards/scratch/" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return folder
  }

  static func samples(_ completions: String...) -> [RewardSample] {
    RewardBench.grouped(completions.map { RewardSample(prompt: "p", completion: $0) })
  }

  static func noPictures(_ path: String) throws -> Picture { throw AttuneError.request("no pictures here: \(path)") }
}
