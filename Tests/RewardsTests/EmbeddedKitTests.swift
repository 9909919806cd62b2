import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The program carries the header and the Swift kit: byte for byte the files of this checkout.
@Suite struct EmbeddedKitTests {
  private static var realFiles: [(name: String, path: String)] {
    let kit = (try? FileManager.default.contentsOfDirectory(atPath: Fixtures.root + "/Sources/RewardKit")) ?? []
    return [("attune_reward.h", "Sources/CRewardABI/include/attune_reward.h")]
      + kit.filter { $0.hasSuffix(".swift") }.sorted().map { ($0, "Sources/RewardKit/" + $0) }
  }

  /// The Swift plugins that come with the program, each a file of its folder's name.
  private static var plugins: [(name: String, path: String)] {
    let folders = (try? FileManager.default.contentsOfDirectory(atPath: Fixtures.root + "/rewards")) ?? []
    return folders.sorted().map { ("\($0).swift", "rewards/\($0)/\($0).swift") }.filter {
      FileManager.default.fileExists(atPath: Fixtures.root + "/" + $0.path)
    }
  }

  @Test func carriesTheRealFiles() throws {
    if ProcessInfo.processInfo.environment["RECORD_EMBEDDED"] != nil { return try record() }
    #expect(EmbeddedKit.sources.map(\.path) == Self.realFiles.map(\.path))
    #expect(EmbeddedKit.plugins.map(\.path) == Self.plugins.map(\.path))
    #expect(RewardLoader.swiftPlugins.map { $0 + ".swift" } == Self.plugins.map(\.name))
    for source in EmbeddedKit.sources + EmbeddedKit.plugins {
      let real = try String(contentsOfFile: Fixtures.root + "/" + source.path, encoding: .utf8)
      #expect(
        source.text == real,
        "\(source.path) has changed: RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests, then build again")
    }
  }

  /// What `attune reward list` says of a Swift plugin is what the plugin says.
  @Test func theCatalogueHoldsTheirDescriptions() throws {
    let command = Workshop.command
    let real = try Self.plugins.map { plugin in
      let library =
        Workshop.buildFolder + "/lib"
        + plugin.name.replacingOccurrences(of: ".swift", with: "." + RewardLoader.libraryExtension)
      let found = try RewardLoader.describe(library, workerCommand: command)
      var descriptor = try #require(found.count == 1 ? found[0] : nil)
      descriptor.path = ""
      return descriptor.json
    }
    if ProcessInfo.processInfo.environment["RECORD_EMBEDDED"] != nil {
      let text = """
        // Made by `RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests` from the plugins of rewards/: do not edit.
        // swift-format-ignore-file

        extension SwiftPluginCatalogue {
          static let text = ##\"""
        \(JSON.array(real).text(.pretty))
        \"""##
        }

        """
      return try text.write(
        toFile: Fixtures.root + "/Sources/Rewards/Plugins/SwiftPluginCatalogue+Text.swift", atomically: true,
        encoding: .utf8)
    }
    #expect(
      JSON.array(SwiftPluginCatalogue.descriptors.map(\.json)) == .array(real),
      "a plugin has changed: RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests, then build again")
  }

  private func record() throws {
    var text = """
      // Made by `RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests` from the files it names: do not edit.
      // swift-format-ignore-file

      extension EmbeddedKit {

      """
    let lists = [("sources", Self.realFiles), ("plugins", Self.plugins)]
    for (i, file) in lists.flatMap(\.1).enumerated() {
      let content = try String(contentsOfFile: Fixtures.root + "/" + file.path, encoding: .utf8)
      text += "  /// \(file.path)\n  static let file\(i) = ##\"\"\"\n\(content)\n\"\"\"##\n\n"
    }
    var number = 0
    for (name, files) in lists {
      text += "  static let \(name): [(name: String, path: String, text: String)] = [\n"
      for file in files {
        text += "    (\"\(file.name)\", \"\(file.path)\", file\(number)),\n"
        number += 1
      }
      text += "  ]\n"
    }
    text += "}\n"
    try text.write(
      toFile: Fixtures.root + "/Sources/Rewards/Plugins/EmbeddedKit+Files.swift", atomically: true, encoding: .utf8)
  }
}
