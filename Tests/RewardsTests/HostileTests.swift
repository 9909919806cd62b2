import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Rewards

/// Plugins that do harm: what it costs, and what is said about it.
@Suite struct HostileTests {
  /// Scores the wish between two innocents, in one call and then again; returns the outcome of the wish.
  private func outcome(
    _ wish: String, timeout: Double = 10, limits: WorkerLimits = .init()
  ) throws -> RewardOutcome {
    let reward = try Workshop.load("hostile.c", timeout: timeout, limits: limits)
    defer { reward.close() }
    let outcomes = try reward.score(Workshop.samples("before", wish, "after"), context: RewardContext())
    #expect(outcomes[0].score == 0.25, "\(outcomes[0].log)")
    #expect(outcomes[2].score == 0.25, "\(outcomes[2].log)")
    #expect(try reward.score(Workshop.samples("a", "b"), context: RewardContext()).map(\.score) == [0.25, 0.25])
    return outcomes[1]
  }

  @Test(arguments: ["input", "struct"])
  func inputsAreReadOnly(_ wish: String) throws {
    let outcome = try outcome(wish)
    #expect(outcome.status == .failed)
    #expect(
      outcome.log
        == "the plugin was stopped by signal 11 (SIGSEGV) while scoring sample 1: it wrote into its inputs, which are read-only"
    )
  }

  @Test func endlessRecursion() throws {
    let outcome = try outcome("stack")
    #expect(outcome.status == .failed)
    #expect(outcome.log.contains("SIGSEGV) while scoring sample 1: its stack was used up"), "\(outcome.log)")
  }

  @Test(.enabled(if: isLinux))
  func aLeakEndsAtItsLimit() throws {
    let outcome = try outcome("leak", timeout: 60, limits: WorkerLimits(memoryMiB: 128))
    #expect(outcome.status == .failed)
    #expect(outcome.log.contains("SIGABRT) while scoring sample 1: it had taken 1"), "\(outcome.log)")
    #expect(outcome.log.contains("of the 128 MiB that it may"))
  }

  @Test(.enabled(if: isLinux), arguments: ["children", "grandchild"])
  func whatAPluginStartsEndsWithTheCall(_ wish: String) throws {
    final class Log: RewardServices {
      let lines = Mutex<[String]>([])
      func log(reward: String, level: Int, text: String) { lines.withLock { $0.append(text) } }
    }
    let reward = try Workshop.load("hostile.c")
    defer { reward.close() }
    let log = Log()
    var context = RewardContext()
    context.services = log
    for _ in 0..<2 {
      let outcome = try reward.score(Workshop.samples(wish), context: context)[0]
      #expect(outcome.score == 0.25)
      #expect(!isAlive(Int(try #require(outcome.components.first?.value))))
    }
    let words =
      wish == "children"
      ? "8 processes that the plugin had started and left behind were stopped when the call had ended"
      : "1 process that the plugin had started and left behind was stopped when the call had ended"
    #expect(log.lines.withLock { $0 } == [words, words])
    // The worker itself went on.
    #expect((reward as? WorkerReward)?.deaths == 0)
    // Nothing is left to be said.
    _ = try reward.score(Workshop.samples("a"), context: context)
    #expect(log.lines.withLock { $0.count } == 2)
  }

  @Test func anOrphanThatHoldsTheSocketHidesNoCrash() throws {
    let start = MonotonicClock.now
    let outcome = try outcome("orphan and crash", timeout: 600)
    #expect(outcome.log == "the plugin was stopped by signal 11 (SIGSEGV) while scoring sample 1")
    // The time limit was not waited for.
    #expect(MonotonicClock.now - start < 300_000_000_000)
  }

  @Test(
    .enabled(if: isConfined),
    arguments: ["socket", "kill the host", "leave the group", "raise a limit", "trace", "namespace"])
  func whatIsNotAllowedIsRefused(_ wish: String) throws {
    let outcome = try outcome(wish)
    #expect(outcome.score == 0.5)
    #expect(outcome.log == "Operation not permitted")
  }

  @Test(.enabled(if: isConfined))
  func callsThatAreNotKnownDoNotExist() throws {
    #expect(try outcome("a call of tomorrow").log == "Function not implemented")
  }

  @Test(.enabled(if: isConfined))
  func filesAreReadAndNotWritten() throws {
    let folder = try Workshop.scratch()
    let file = folder + "/file"
    try "text".write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try outcome("read " + file).score == 1)
    for wish in ["write \(file)", "write \(folder)/new", "remove \(file)"] {
      #expect(try outcome(wish).log == "Permission denied", "\(wish)")
    }
    #expect(try outcome("mode " + file).log == "Operation not permitted")
    #expect(try outcome("write /dev/null").score == 1)
    #expect(try String(contentsOfFile: file, encoding: .utf8) == "text")
    #expect(!FileManager.default.fileExists(atPath: folder + "/new"))
  }

  @Test(.enabled(if: isConfined))
  func whatTheLimitsAllow() throws {
    let folder = try Workshop.scratch()
    let limits = WorkerLimits(memoryMiB: 512, allowsNetwork: true, writableFolders: [folder])
    #expect(try outcome("write \(folder)/new", limits: limits).score == 1)
    #expect(try Data(contentsOf: URL(fileURLWithPath: folder + "/new")) == Data("x".utf8))
    #expect(try outcome("write \(folder)-beside", limits: limits).log == "Permission denied")
    #expect(try outcome("socket", limits: limits).score == 1)
    expectAttuneError(containing: "/no/such/folder, which a reward may write to, cannot be opened: No such file") {
      _ = try Workshop.load("hostile.c", limits: WorkerLimits(writableFolders: ["/no/such/folder"]))
    }
    expectAttuneError(containing: "may take 0 MiB of memory, expected more than 0") {
      _ = try Workshop.load("hostile.c", limits: WorkerLimits(memoryMiB: 0))
    }
  }

  @Test(.enabled(if: isConfined))
  func confinementHoldsWhileTheLibraryIsLoaded() throws {
    let reward = try Workshop.load("constructor.c")
    defer { reward.close() }
    let outcome = try reward.score(Workshop.samples("a"), context: RewardContext())[0]
    #expect(outcome.components.map(\.value) == [Double(EPERM), Double(EACCES)])
    #expect(reward.confinement == WorkerConfinement.ofThisSystem)
    #expect(try Workshop.load("brief.c", isolation: .inline).confinement == nil)
  }

  @Test func whatIsMissingIsSaid() {
    #expect(WorkerConfinement(landlock: 7, filtersSystemCalls: true).gaps.isEmpty)
    #expect(WorkerConfinement(landlock: 0, filtersSystemCalls: false).gaps[0].contains("neither Landlock nor seccomp"))
    #expect(WorkerConfinement(landlock: 0, filtersSystemCalls: true).gaps[0].contains("plugins may write files"))
    #expect(WorkerConfinement(landlock: 1, filtersSystemCalls: true).gaps[0].contains("plugins may empty files"))
    #expect(
      WorkerConfinement(landlock: 6, filtersSystemCalls: false).gaps == [
        "this system filters no system calls: plugins may use the network beside TCP"
      ])
    let one = WorkerConfinement(landlock: 3, filtersSystemCalls: true)
    #expect(WorkerConfinement(one.json) == one)
  }

  @Test func swiftPluginsWorkInConfinement() throws {
    let reward = try Workshop.load("confined.swift")
    defer { reward.close() }
    let path = try Workshop.scratch() + "/written"
    let outcomes = try reward.score(Workshop.samples("", isConfined ? path : ""), context: RewardContext())
    #expect(outcomes.map(\.score) == [10, 10], "\(outcomes.map(\.log))")
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func threadsWork() throws { #expect(try outcome("thread").score == 7) }

  @Test func closingEverything() throws {
    let outcome = try outcome("close everything", timeout: 5)
    #expect(outcome.status == .failed)
    #expect(outcome.log.contains("it closed its worker's descriptors, which are not its own"), "\(outcome.log)")
  }

  @Test(.enabled(if: isLinux))
  func scribblingOverTheReply() throws {
    let outcome = try outcome("scribble")
    #expect(outcome.status == .failed || outcome.score == 0.25)
    if outcome.status == .failed { #expect(outcome.log.contains("while scoring sample 1"), "\(outcome.log)") }
  }

  @Test func aMessageInTheWorkersName() throws {
    let outcome = try outcome("error frame")
    #expect(outcome.status == .failed)
    #expect(outcome.log.contains("while scoring sample 1"), "\(outcome.log)")
  }

  @Test func megabytesOnStandardError() throws { #expect(try outcome("noise").score == 0.25) }

  @Test func lastWordsAreKept() throws {
    let outcome = try outcome("last words")
    #expect(
      outcome.log
        == "the plugin was stopped by signal 6 (SIGABRT) while scoring sample 1: the last that it printed: the horse does not eat cucumber salad"
    )
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func absurdCounts(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("hostile.c", isolation: isolation)
    defer { reward.close() }
    let outcomes = try reward.score(
      Workshop.samples("before", "counts", "counts at NULL", "after"), context: RewardContext())
    #expect(outcomes.map(\.status) == [.ok, .invalid, .invalid, .ok])
    #expect(outcomes[1].log == "the reward returned 18446744073709551615 components, more than 4096")
    #expect(outcomes[2].log == "the reward returned 3 token rewards at NULL")
  }

  private func isAlive(_ process: Int) -> Bool {
    guard kill(pid_t(process), 0) == 0 else { return false }
    // One that nobody has asked about its end is still counted.
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return !isLinux }
    return text.split(separator: ")").last?.trimmingCharacters(in: .whitespaces).hasPrefix("Z") != true
  }
}

private let isConfined = WorkerConfinement.ofThisSystem.gaps.isEmpty
#if os(Linux)
  private let isLinux = true
#else
  private let isLinux = false
#endif
