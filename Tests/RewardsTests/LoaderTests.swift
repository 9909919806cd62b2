import CRewardABI
import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

@Suite struct LoaderTests {
  private static let isolations: [RewardSpecification.Isolation] = [.worker, .inline]

  private func expectRefused(
    _ source: String, name: String = "reward", parameters: JSON.Object = .init(), _ fragments: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for isolation in Self.isolations {
      do {
        _ = try Workshop.load(source, name: name, parameters: parameters, isolation: isolation)
        Issue.record("\(source) was loaded", sourceLocation: sourceLocation)
      } catch let error as AttuneError {
        #expect(error.kind == .request, sourceLocation: sourceLocation)
        for fragment in fragments where !error.description.contains(fragment) {
          Issue.record("'\(error.description)' does not contain '\(fragment)'", sourceLocation: sourceLocation)
        }
      } catch {
        Issue.record("\(error)", sourceLocation: sourceLocation)
      }
    }
  }

  @Test func filesThatAreNoPlugins() throws {
    let folder = try Workshop.scratch()
    let library = try Workshop.library("no_entry.c")
    expectRefused(folder + "/missing.so", ["there is no file \(folder)/missing.so", "looked for missing.so in"])
    expectRefused(library.replacingOccurrences(of: "entry", with: "entrx"), ["did you mean \(library)?"])
    expectRefused(folder, ["is a folder"])
    try "hello, I am text\n".write(toFile: folder + "/text.so", atomically: true, encoding: .utf8)
    expectRefused(folder + "/text.so", ["text.so is not a shared library: it holds text", "cc -shared -fPIC"])
    try Data().write(to: URL(fileURLWithPath: folder + "/empty.so"))
    expectRefused(folder + "/empty.so", ["it is empty"])
    var other = try Data(contentsOf: URL(fileURLWithPath: library))
    other[18] = 243
    other[19] = 0
    try other.write(to: URL(fileURLWithPath: folder + "/other.so"))
    expectRefused(folder + "/other.so", ["was built for another machine: it is for RISC-V"])
    var cut = try Data(contentsOf: URL(fileURLWithPath: library))
    cut = cut.prefix(100)
    try cut.write(to: URL(fileURLWithPath: folder + "/cut.so"))
    expectRefused(folder + "/cut.so", ["cannot be loaded: "])
    expectRefused(library, ["exports no function attune_reward_entry", "ATTUNE_REWARD"])
  }

  @Test func librariesThatAreRefused() throws {
    expectRefused(
      try Workshop.library("undefined.c"), ["uses the symbol nobody_defines_this, which neither it nor a library"])
    expectRefused(try Workshop.library("other_version.c"), ["was built for version 7.2", "this program speaks 1.0"])
    expectRefused(try Workshop.library("no_magic.c"), ["magic 0x1, expected 0x52545441"])
    expectRefused(
      try Workshop.library("no_list.c"),
      ["its attune_library has 1 rewards in a list that is NULL, expected the list's"])
    expectRefused(try Workshop.library("same_names.c"), ["offers two rewards called 'twin'"])
  }

  @Test func aCrashWhileLoading() throws {
    let library = try Workshop.library("crash_on_load.c")
    expectAttuneError(containing: "stopped by signal 6 (SIGABRT) while the library", "crash_on_load.so was loaded") {
      _ = try Workshop.load(library)
    }
  }

  @Test func namesOfRewards() throws {
    let several = Workshop.source("several.c")
    expectRefused(several + ":close_enuf", ["offers no reward 'close_enuf'", "did you mean 'close_enough'?"])
    expectRefused(several, ["offers 3 rewards: say which one", ":close_enough"])
    expectRefused("digit_mach", ["there is no reward 'digit_mach'", "did you mean 'digit_match'?"])
    expectRefused("", ["a reward's source is empty"])
    #expect(try Workshop.load("digit_match").descriptor.reward == "digit_match")
  }

  @Test func parameters() throws {
    let source = Workshop.source("several.c") + ":close_enough"
    func given(_ name: String, _ value: JSON) -> JSON.Object { JSON.Object([(name, value)]) }
    expectRefused(
      source, parameters: given("tolerence", 1),
      ["the reward close_enough has no parameter 'tolerence'", "did you mean 'tolerance'?"])
    expectRefused(source, parameters: given("tolerance", "1"), ["is a string, expected a number"])
    expectRefused(source, parameters: given("tolerance", 11), ["is 11.0, expected 0.0 to 10.0"])
    expectRefused("brief.c", parameters: given("x", 1), ["the reward brief takes no parameters, found 'x'"])
    expectRefused("counter.c", ["needs the parameter 'start' (a number), which is missing", "the first score"])
    let plain = RewardParameter(name: "x", type: ATTUNE_NUMBER, defaultValue: nil, summary: "a number", bounds: nil)
    #expect {
      _ = try [plain].complete(.init(), reward: "r", file: nil)
    } throws: {
      let error = $0 as? AttuneError
      return error?.message == "the reward r needs the parameter 'x' (a number), which is missing" && error?.hint == nil
    }
    var placed = JSON.Object()
    placed["tolerence"] = JSON(.int(1), at: .init(line: 12, column: 7))
    for isolation in Self.isolations {
      expectAttuneError(containing: "recipe.yaml:12:7: the reward close_enough has no parameter") {
        _ = try RewardLoader.load(
          RewardSpecification(
            name: "r", source: source, parameters: placed, isolation: isolation, file: "recipe.yaml"),
          workerCommand: Workshop.command)
      }
    }
  }

  @Test func sourcesThatDoNotCompile() throws {
    let folder = try Workshop.scratch()
    let c = folder + "/wrong.c"
    try "#include \"attune_reward.h\"\nATTUNE_REWARD(wrong, \"x\") {\n  return sampel;\n}\n"
      .write(toFile: c, atomically: true, encoding: .utf8)
    expectRefused(c, ["\(c):3:10: the reward does not compile", "sampel"])
    let swift = folder + "/wrong.swift"
    try "import RewardKit\nlet x: Int = \"text\"\n".write(toFile: swift, atomically: true, encoding: .utf8)
    expectRefused(swift, ["\(swift):2:14: the reward does not compile"])
    expectRefused(Workshop.source("undefined.c"), ["does not compile", "nobody_defines_this"])
    expectRefused(folder + "/missing.c", ["there is no file", "looked for missing.c"])
  }

  @Test func compiledOncePerContent() throws {
    _ = Workshop.command
    let folder = try Workshop.scratch()
    let source = folder + "/constant.c"
    func write(_ value: Int) throws {
      try "#include \"attune_reward.h\"\nATTUNE_REWARD(constant, \"x\") { return \(value); }\n"
        .write(toFile: source, atomically: true, encoding: .utf8)
    }
    func time(_ path: String) throws -> Date? {
      try FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
    }
    try write(1)
    let first = try PluginCompiler.library(for: source)
    let made = try time(first)
    #expect(try PluginCompiler.library(for: source) == first)
    #expect(try time(first) == made)
    let reward = try Workshop.load(source, isolation: .inline)
    #expect(try reward.score(Workshop.samples("a"), context: RewardContext())[0].score == 1)
    try write(2)
    #expect(try PluginCompiler.library(for: source) != first)
    // The edited reward is another library: it runs beside the old one.
    let edited = try Workshop.load(source, isolation: .inline)
    #expect(try edited.score(Workshop.samples("a"), context: RewardContext())[0].score == 2)
    #expect(try reward.score(Workshop.samples("a"), context: RewardContext())[0].score == 1)
    let output = folder + "/built.so"
    #expect(try PluginCompiler.library(for: source, output: output) == output)
    #expect(try Workshop.load(output).score(Workshop.samples("a"), context: RewardContext())[0].score == 2)
  }
}
