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

  @Test func carriesTheRealFiles() throws {
    if ProcessInfo.processInfo.environment["RECORD_EMBEDDED"] != nil { return try record() }
    #expect(EmbeddedKit.sources.map(\.path) == Self.realFiles.map(\.path))
    for source in EmbeddedKit.sources {
      let real = try String(contentsOfFile: Fixtures.root + "/" + source.path, encoding: .utf8)
      #expect(
        source.text == real,
        "\(source.path) has changed: RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests, then build again")
    }
  }

  private func record() throws {
    var text = """
      // Made by `RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests` from the files it names: do not edit.
      // swift-format-ignore-file

      extension EmbeddedKit {

      """
    for (i, file) in Self.realFiles.enumerated() {
      let content = try String(contentsOfFile: Fixtures.root + "/" + file.path, encoding: .utf8)
      text += "  /// \(file.path)\n  static let file\(i) = ##\"\"\"\n\(content)\n\"\"\"##\n\n"
    }
    text += "  static let sources: [(name: String, path: String, text: String)] = [\n"
    for (i, file) in Self.realFiles.enumerated() { text += "    (\"\(file.name)\", \"\(file.path)\", file\(i)),\n" }
    text += "  ]\n}\n"
    try text.write(
      toFile: Fixtures.root + "/Sources/Rewards/EmbeddedKit+Files.swift", atomically: true, encoding: .utf8)
  }
}
