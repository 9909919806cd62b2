import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Rewards

/// C functions and the program around them: functions of the host, trouble, libraries of the system, the bench.
@Suite struct FunctionHostTests {
  private final class Notes: RewardServices {
    let lines = Mutex<[String]>([])
    func log(reward: String, level: Int, text: String) { lines.withLock { $0.append("\(level) \(text)") } }
    func metric(reward: String, name: String, value: Double) { lines.withLock { $0.append("\(name) \(value)") } }
    func judge(_ request: JudgeRequest, reward: String) -> JudgeReply {
      guard request.messages[0]?["content"]?.string != "nobody knows" else {
        return JudgeReply(status: .timedOut, message: "it took too long")
      }
      return JudgeReply(status: .ok, text: "0.\(request.messages[0]?["content"]?.string?.utf8.count ?? 0)")
    }
  }

  private static func row(_ sample: inout RewardSample) {
    sample.columns = JSON.Object([("x", 2.5), ("list", JSON.array([1, 2])), ("word", "ü")])
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func functionsOfTheHost(_ isolation: RewardSpecification.Isolation) throws {
    let signature = """
      double call_back(void (*log)(const char *), void (*metric)(const char *name, double value),
        uint64_t (*random)(uint64_t), int (*cancelled)(void), double (*column)(const char *),
        const char *(*column_text)(const char *))
      """
    let reward = try FunctionTests.load(signature, isolation: isolation)
    let other = try FunctionTests.load(signature, isolation: isolation)
    defer {
      reward.close()
      other.close()
    }
    var samples = Workshop.samples("a", "b")
    for i in samples.indices { Self.row(&samples[i]) }
    let notes = Notes()
    var context = RewardContext()
    context.seed = 3
    context.services = notes
    let outcomes = try reward.score(samples, context: context)
    #expect(outcomes.allSatisfy { $0.status == .ok && ($0.score ?? -1) >= 0 }, "\(outcomes.map { $0.score ?? .nan })")
    #expect(outcomes[0].score != outcomes[1].score, "every sample has random numbers of its own")
    #expect(try other.score(samples, context: context).map(\.score) == outcomes.map(\.score))
    #expect(notes.lines.withLock { $0.prefix(2) } == ["1 called back", "column 2.5"])
  }

  @Test func aPointerOfTheCallersOwnIsPassedOver() throws {
    for signature in [
      "double with_context(double (*column)(void *, const char *), bool (*cancelled)(void *), void *context)",
      "double context_last(double (*column)(const char *, void *), void *context)",
    ] { #expect(try FunctionTests.outcome(signature, Self.row).score == 2.5) }
  }

  @Test func judges() throws {
    let ask = "double ask(const char *completion, const char *(*judge)(const char *))"
    let notes = Notes()
    #expect(try FunctionTests.outcome(ask, services: notes) { $0.completion = "abc" }.score == 0.3)
    #expect(try FunctionTests.outcome(ask, services: notes) { $0.completion = "nobody knows" }.status == .notApplicable)
    #expect(notes.lines.withLock { $0 } == ["2 the judge did not answer: it took too long"])
  }

  @Test func theTimeLimitReachesTheFunction() throws {
    let reward = try FunctionTests.load("double waits_until_cancelled(int (*cancelled)(void))", timeout: 0.02)
    #expect(try reward.score(Workshop.samples("a"), context: RewardContext())[0].score == 1)
  }

  @Test func aCrashCostsOneSample() throws {
    let reward = try FunctionTests.load(
      "double crash_on(const char *completion, const char *parameter.wish)",
      parameters: JSON.Object([("wish", "crash")]), isolation: .worker)
    defer { reward.close() }
    let outcomes = try reward.score(Workshop.samples("a", "crash", "b"), context: RewardContext())
    #expect(outcomes.map(\.score) == [0.5, nil, 0.5])
    #expect(outcomes[1].status == .failed)
    #expect(outcomes[1].log == "the plugin was stopped by signal 11 (SIGSEGV) while scoring sample 1")
  }

  @Test func aHangCostsOneSample() throws {
    // One sample asks for an hour.
    let reward = try Workshop.load(
      "libc.so.6: unsigned sleep(unsigned column.seconds)", isolation: .worker, timeout: 1)
    defer { reward.close() }
    var samples = Workshop.samples("a", "b", "c")
    for (i, seconds) in [0, 3600, 0].enumerated() { samples[i].columns = JSON.Object([("seconds", .int(seconds))]) }
    let outcomes = try reward.score(samples, context: RewardContext())
    #expect(outcomes.map(\.score) == [0, nil, 0])
    #expect(outcomes[1].status == .timedOut)
  }

  // MARK: Libraries of the system

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func librariesThatNobodyWroteForThis(_ isolation: RewardSpecification.Isolation) throws {
    func score(_ source: String, _ change: (inout RewardSample) -> Void = { _ in }) throws -> Double? {
      let reward = try RewardLoader.load(
        RewardSpecification(name: "f", source: source, isolation: isolation), workerCommand: Workshop.command)
      defer { reward.close() }
      var sample = RewardSample(prompt: "p", completion: "hello")
      change(&sample)
      return try reward.score([sample], context: RewardContext())[0].score
    }
    #expect(try score("libm.so.6: double fabs(double column.delta)", FunctionTests.row(("delta", -2.5))) == 2.5)
    #expect(
      try score(" libm.so.6:float powf( float column.delta , float 2 ) ; ", FunctionTests.row(("delta", -3))) == 9)
    #expect(try score("libc.so.6: size_t strlen(const char *completion)") == 5)
    #expect(
      try score("libc.so.6: int strcmp(const char *completion, const char *reference)") { $0.reference = "hello" } == 0)
    if dlopen("libz.so.1", RTLD_NOW) != nil {
      // The CRC-32 of "hello".
      let crc =
        "libz.so.1: unsigned long crc32(unsigned long 0, const unsigned char *completion, unsigned completion.size)"
      #expect(try score(crc) == Double(0x3610_A686))
    }
  }

  @Test func aSourceIsCompiled() throws {
    let folder = try Workshop.scratch()
    let path = folder + "/half.c"
    let code =
      "#include \"attune_reward.h\"\nATTUNE_EXPORT double half(double x) { return x / 2; }\ndouble hidden(void) { return 1; }\n"
    try code.write(toFile: path, atomically: true, encoding: .utf8)
    let reward = try Workshop.load("\(path): double half(double column.x)", isolation: .worker)
    defer { reward.close() }
    var samples = Workshop.samples("a")
    samples[0].columns = JSON.Object([("x", 3)])
    #expect(try reward.score(samples, context: RewardContext())[0].score == 1.5)
    let error = #expect(throws: AttuneError.self) { try Workshop.load("\(path): double hidden(void)") }
    #expect(error?.message.contains("exports no function 'hidden'") == true)
  }

  // MARK: The bench

  @Test(arguments: [
    "double weigh_tokens(const int32_t *token_ids, const float *logprobs, const uint8_t *policy_mask, const uint32_t *token_offsets, const float *entropies, size_t token_count)",
    "double pixel(const uint8_t *pixels[1], int pixels[1].width, int pixels.height, int pixels.stride, int 1, int 1)",
    "double sum_doubles(const double *column.weights, size_t column.weights.count)",
    "int parse(const char *completion, float *score, char *log)",
  ]) func theValidatorKnowsFunctions(_ signature: String) throws {
    let source = try FunctionTests.library.get() + ": " + signature
    let check = RewardBench.check(source, workerCommand: Workshop.command, pictures: Workshop.noPictures)
    #expect(check.passed, "\(check.text)")
    #expect(check.text.contains("ok      signature: \(signature) of /"))
    #expect(!check.text.contains("ordinary samples: 0 of"))
    let found = try RewardLoader.describe(source, workerCommand: Workshop.command)
    #expect(found.count == 1 && found[0].summary == signature)
  }

  @Test func theValidatorTellsOfTrouble() throws {
    func text(_ signature: String, _ parameters: JSON.Object = .init()) throws -> String {
      let check = RewardBench.check(
        try FunctionTests.library.get() + ": " + signature, parameters: parameters, workerCommand: Workshop.command,
        pictures: Workshop.noPictures)
      #expect(!check.passed)
      return check.text
    }
    #expect(try text("double nonexistent(void)").contains("BROKEN  loads"))
    #expect(try text("double give_double(double parameter.x)").contains("BROKEN  starts"))
    let crashed = try text(
      "double crash_on(const char *completion, const char *parameter.wish)", JSON.Object([("wish", "42")]))
    #expect(crashed.contains("BROKEN  ordinary samples: the plugin was stopped by signal 11"))
  }

  @Test func namesForPeople() {
    #expect(RewardLoader.displayName("libm.so.6: double fabs(double column.x)") == "fabs")
    #expect(RewardLoader.displayName("rewards/a/b.c") == "b")
  }
}
