import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// What the sandbox does beside scoring: many at once, time that is up, and nothing left behind.
@Suite struct BuiltInCodeTests {
  private static func sample(_ code: String, language: String = "python", output: String = "1") -> RewardSample {
    var sample = RewardSample(prompt: "p", completion: "```\(language)\n\(code)\n```")
    sample.columns["cases"] = [.object([("input", "7"), ("output", .string(output))])]
    return sample
  }

  @Test func manySamplesAtOnce() throws {
    let reward = try Workshop.load("code", timeout: 60)
    defer { reward.close() }
    let samples = (0..<12).map { Self.sample("print(int(input()) * \($0))", output: "\(7 * $0)") }
    let outcomes = try reward.score(samples, context: RewardContext())
    #expect(outcomes.map(\.score) == Array(repeating: 1, count: 12))
  }

  @Test func timeThatIsUpIsNoScore() throws {
    let reward = try Workshop.load("code", parameters: JSON.Object([("time_limit", 30)]), timeout: 0.5)
    defer { reward.close() }
    let outcome = try reward.score([Self.sample("while True: pass")], context: RewardContext())[0]
    #expect(outcome.status == .timedOut)
    #expect(outcome.log == "the sample's time was up at case 0 of 1")
  }

  /// Neither the folder nor a thread that sleeps outlives the case.
  @Test func nothingIsLeftBehind() throws {
    let reward = try Workshop.load("code", timeout: 30)
    defer { reward.close() }
    let code = """
      import os, threading, time
      open('file', 'w').write('x')
      print(os.path.dirname(os.getcwd())[-18:], os.getpid(), os.getpgid(0) == os.getpid(), flush=True)
      threading.Thread(target=lambda: time.sleep(100)).start()
      os._exit(0)
      """
    let outcome = try reward.score([Self.sample(code, output: "")], context: RewardContext())[0]
    // The log quotes the line that the program printed; "" has no lines, so ask for one.
    let other = try reward.score([Self.sample(code, output: "x")], context: RewardContext())[0]
    #expect(outcome.log == "0 of 1 cases passed; case 0: wrong answer: the output goes on behind its 0 lines")
    let words = other.log.split(separator: "\"").dropFirst().first?.split(separator: " ").map(String.init) ?? []
    try #require(words.count == 3, "\(other.log)")
    #expect(words[0].hasPrefix("attune-code-"))
    #expect(!FileManager.default.fileExists(atPath: FileManager.default.temporaryDirectory.path + "/" + words[0]))
    #expect(kill(try #require(Int32(words[1])), 0) == -1)
    #expect(words[2] == "True")
  }

  @Test func aSandboxThatFailsIsNoScore() throws {
    let type = try BuiltInRewards.named("code")
    let reward = try type.init(try type.parameters.complete(.init(), reward: "code", file: nil))
    func outcome(_ program: String) -> RewardOutcome {
      reward.outcome(
        Self.sample("print(1)"),
        BuiltInCall(context: RewardContext(), timeLimit: 10, isCancelled: { false }, program: program))
    }
    let missing = outcome("/no/such/program")
    #expect(missing.status == .failed)
    #expect(missing.log.contains("/no/such/program cannot be started"))
    #expect(outcome(Workshop.command[0]).score == 1)
  }

  @Test func theSandboxIsNoCommandForPeople() throws {
    let (end, output) = try ChildProcess.run([Workshop.command[0], CodeSandbox.verb])
    #expect(end == .exit(2))
    #expect(output.contains("started by attune itself"))
  }

  @Test func swiftProgramsRun() throws {
    let reward = try Workshop.load("code", parameters: JSON.Object([("language", "swift")]), timeout: 120)
    defer { reward.close() }
    let outcomes = try reward.score(
      [
        Self.sample("print((Int(readLine() ?? \"\") ?? 0) - 6)", language: "swift"),
        Self.sample("print(1", language: "swift"),
      ], context: RewardContext())
    #expect(outcomes[0].score == 1, "\(outcomes[0].log)")
    #expect(outcomes[1].score == 0)
    #expect(outcomes[1].components.first { $0.name == "compile_error" }?.value == 1, "\(outcomes[1].log)")
  }
}
