import CRewardABI
import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The header by itself: every compiler takes it without a word, sanitizers find nothing, and what was released stays.
@Suite struct HeaderTests {
  private static let header = Fixtures.root + "/Sources/CRewardABI/include"
  private static let abi = Fixtures.path("rewards/abi")

  private func compile(_ command: [String], _ what: String) throws -> Bool {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":").map(String.init)
    guard let path = folders.map({ $0 + "/" + command[0] }).first(where: { access($0, X_OK) == 0 }) else {
      return false
    }
    let (end, text) = try ChildProcess.run([path] + command.dropFirst())
    #expect(end == .exit(0), "\(command.joined(separator: " ")):\n\(text)")
    #expect(text.isEmpty, "\(what): \(text)")
    return true
  }

  @Test func everyCompilerTakesIt() throws {
    let output = try Workshop.scratch() + "/every_helper.o"
    let rest = [
      "-Wall", "-Wextra", "-pedantic", "-Werror", "-c", "-I", Self.header, Self.abi + "/every_helper.c", "-o", output,
    ]
    var count = 0
    for start in [
      ["gcc", "-std=c11"], ["gcc", "-std=c17"], ["clang", "-std=c11"], ["clang", "-std=c17"],
      ["g++", "-x", "c++", "-std=c++17"], ["clang++", "-x", "c++", "-std=c++17"],
      ["clang++", "-x", "c++", "-std=c++20"],
    ] where try compile(start + rest, start.joined(separator: " ")) { count += 1 }
    #expect(count >= 2, "no C compiler was found")
  }

  /// Includes nothing but the three headers it names, and no function in it is left undeclared.
  @Test func standsAlone() throws {
    let text = try String(contentsOfFile: Self.header + "/attune_reward.h", encoding: .utf8)
    let includes = text.split(separator: "\n").filter { $0.hasPrefix("#include") }
    #expect(includes == ["#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>"])
    #expect(text.split(separator: "\n", omittingEmptySubsequences: false).allSatisfy { $0.count <= 120 })
  }

  /// Sources of C plugins: the header's own test, those that come with the program, and two of the tests'.
  private static var sources: [String] {
    LinkedPlugins.names.map { "\(Fixtures.root)/rewards/\($0)/\($0).c" } + [
      abi + "/every_helper.c", Fixtures.path("rewards/brief.c"), Fixtures.path("rewards/several.c"),
    ]
  }

  @Test(arguments: sources)
  func sanitizersFindNothing(_ source: String) throws {
    let program = try Workshop.scratch() + "/sanitized"
    let (end, text) = try ChildProcess.run([
      "gcc", "-std=gnu11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-Wall",
      "-Wextra",
      "-I", Self.header, Self.abi + "/sanitized_host.c", source, "-o", program, "-lm",
    ])
    try #require(end == .exit(0), "\(text)")
    let (ran, report) = try ChildProcess.run([program])
    #expect(ran == .exit(0), "\(source):\n\(report)")
    #expect(report.hasSuffix(" 0 bad\n"), "\(source): \(report)")
  }

  // MARK: Released versions

  private static let released =
    (try? FileManager.default.contentsOfDirectory(atPath: abi))?.filter {
      $0.first?.isNumber == true
    }.sorted() ?? []

  /// A released header never changes: the current one is the last released, or has another version number.
  @Test func theCurrentVersionIsTheReleasedOne() throws {
    let current = try String(contentsOfFile: Self.header + "/attune_reward.h", encoding: .utf8)
    let version = "\(ATTUNE_ABI_MAJOR).\(ATTUNE_ABI_MINOR)"
    try #require(Self.released.contains(version), "there is no frozen copy of version \(version) in \(Self.abi)")
    let frozen = try String(contentsOfFile: "\(Self.abi)/\(version)/attune_reward.h", encoding: .utf8)
    #expect(
      current == frozen, "attune_reward.h was changed after its version \(version) was released: give it a new minor")
  }

  @Test(arguments: released)
  func pluginsOfReleasedVersionsLoad(_ version: String) throws {
    _ = Workshop.command
    let library = try Workshop.scratch() + "/released.so"
    let (end, text) = try ChildProcess.run([
      "cc", "-shared", "-fPIC", "-I", "\(Self.abi)/\(version)", "\(Self.abi)/\(version)/plugin.c", "-o", library,
    ])
    try #require(end == .exit(0), "\(text)")
    for isolation in [RewardSpecification.Isolation.worker, .inline] {
      let texts = try Workshop.load(library + ":texts", isolation: isolation)
      defer { texts.close() }
      var samples = Workshop.samples("abc", "none", "fail", "x")
      for i in 0..<3 { samples[i].references = ["ref", "other"] }
      samples[0].columns = JSON.Object([("value", 4.5), ("flag", true), ("a", .array([7])), ("text", "four")])
      let outcomes = try texts.score(samples, context: RewardContext())
      #expect(outcomes.map(\.status) == [.ok, .notApplicable, .failed, .invalid])
      #expect(outcomes[0].score == 10)
      #expect(outcomes[0].components.map(\.value) == [3, 4.5, 1, 7])
      #expect(outcomes[0].notes.first?.text == "abc")
      #expect(outcomes[0].log == "loud answerthis host has no judges")
      #expect(outcomes[2].log.hasSuffix("asked to fail"))

      let tokens = try Workshop.load(library + ":tokens", isolation: isolation)
      defer { tokens.close() }
      samples[0].tokenIDs = [1, 2, 3]
      samples[0].policyMask = [true, true, false]
      #expect(try tokens.score([samples[0]], context: RewardContext())[0].tokenRewards == [1, 0, 0])

      let pictures = try Workshop.load(library + ":pictures", isolation: isolation)
      defer { pictures.close() }
      samples[0].images = [RewardImage(Picture(width: 2, height: 1, pixels: [1, 2, 3, 4, 5, 6]))]
      samples[0].messages = [Message(role: "user", text: "four")]
      #expect(try pictures.score([samples[0]], context: RewardContext())[0].score == 21 + 4 + 3 + 5)

      let counter = try Workshop.load(library + ":counter", isolation: isolation)
      defer { counter.close() }
      #expect(try counter.score(samples, context: RewardContext()).map(\.score) == [1, 2, 3, 4])
      let state = try counter.saveState()
      _ = try counter.score(samples, context: RewardContext())
      if let state { try counter.loadState(state) }
      #expect(try counter.score([samples[0]], context: RewardContext())[0].score == 5)
    }
  }
}
