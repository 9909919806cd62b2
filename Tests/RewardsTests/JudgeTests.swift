import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Rewards

/// A clock that a test reads and that sleeping alone moves.
final class TurnedClock: JudgeClock {
  private let state = Mutex((now: 1000.0, sleeps: [Double]()))
  var now: Double { state.withLock { $0.now } }
  var sleeps: [Double] { state.withLock { $0.sleeps } }
  func sleep(_ seconds: Double) {
    state.withLock {
      $0.now += seconds
      $0.sleeps.append(seconds)
    }
  }
}

/// Judges behind an endpoint, asked over a real connection to a server of this test.
@Suite struct JudgeTests {
  private func configuration(_ server: ScriptedServer) -> JudgeConfiguration {
    JudgeConfiguration(name: "strict", endpoint: server.address + "/v1", model: "m-1")
  }

  private func request(_ text: String = "hello") -> JudgeRequest {
    JudgeRequest(messages: [["role": "user", "content": .string(text)]])
  }

  @Test func aQuestionAndItsAnswer() throws {
    let server = try ScriptedServer { request, _ in
      .says("saw \(request.json["messages"]?[1]?["content"]?.string ?? "")")
    }
    var configuration = configuration(server)
    configuration.system = "be brief"
    configuration.temperature = 0.25
    configuration.maxTokens = 77
    configuration.apiKeyVariable = "THE_KEY"
    let judge = try EndpointJudge(configuration, environment: ["THE_KEY": "sk-secret"])
    let reply = judge.answer(request("größer \u{0}\"quoted\""))
    #expect(reply.status == .ok && reply.text == "saw größer \u{0}\"quoted\"")
    #expect(reply.promptTokens == 11 && reply.completionTokens == 5 && reply.logprob == nil)
    let seen = try #require(server.requests.first)
    #expect(seen.method == "POST" && seen.path == "/v1/chat/completions")
    #expect(seen.headers["authorization"] == "Bearer sk-secret" && seen.headers["content-type"] == "application/json")
    #expect(seen.json["model"] == "m-1" && seen.json["temperature"] == 0.25 && seen.json["max_tokens"] == 77)
    #expect(seen.json["messages"]?[0] == ["role": "system", "content": "be brief"])
    // The request's own settings come first.
    var own = request()
    own.messages = [["role": "system", "content": "be long"], ["role": "user", "content": "x"]]
    own.temperature = 1
    own.maxTokens = 3
    _ = judge.answer(own)
    let second = server.requests[1].json
    #expect(second["messages"]?.array?.count == 2 && second["temperature"] == 1 && second["max_tokens"] == 3)
  }

  @Test func noKeyUnlessOneIsNamed() throws {
    let server = try ScriptedServer { _, _ in .says("x") }
    let judge = try EndpointJudge(configuration(server), environment: ["OPENAI_API_KEY": "sk-secret"])
    _ = judge.answer(request())
    #expect(server.requests[0].headers["authorization"] == nil)
    var configuration = configuration(server)
    configuration.apiKeyVariable = "NOT_SET"
    expectAttuneError(containing: "the key of judge strict is not set: NOT_SET") {
      _ = try EndpointJudge(configuration, environment: [:])
    }
    expectAttuneError(containing: "NOT_SET holds something that cannot be a key") {
      _ = try EndpointJudge(configuration, environment: ["NOT_SET": "sk\nX-Header: 1"])
    }
  }

  @Test func addresses() throws {
    func address(_ endpoint: String) throws -> String {
      try JudgeConfiguration(name: "j", endpoint: endpoint, model: "m").address()
    }
    #expect(try address("http://h:1/v1") == "http://h:1/v1/chat/completions")
    #expect(try address("https://h/v1//") == "https://h/v1/chat/completions")
    #expect(try address("http://h/v1/chat/completions") == "http://h/v1/chat/completions")
    for wrong in ["h:1/v1", "ftp://h/v1", "", "http://", "file:///etc/passwd", "http://h/v1?x=1"] {
      expectAttuneError(containing: "the endpoint of judge j", "http://HOST:PORT/v1") { _ = try address(wrong) }
    }
    do {
      _ = try address("http://me:pass@h/v1")
      Issue.record("a password was taken")
    } catch { #expect(!"\(error)".contains("pass@") && "\(error)".contains("api_key_variable")) }
    #expect(JudgeConfiguration.isVariableName("OPENAI_API_KEY") && JudgeConfiguration.isVariableName("_k2"))
    for wrong in ["sk-abc", "", "2x", "a b", "é"] { #expect(!JudgeConfiguration.isVariableName(wrong)) }
  }

  @Test func serversThatAreBusyAreAskedAgain() throws {
    let server = try ScriptedServer { _, number in
      switch number {
      case 0: .close
      case 1: .reply(status: 429, headers: [("Retry-After", "7")], #"{"error": {"message": "slow down"}}"#)
      case 2: .reply(status: 503, "down")
      default: .says("fine")
      }
    }
    let clock = TurnedClock()
    let reply = try EndpointJudge(configuration(server), clock: clock).answer(request())
    #expect(reply.status == .ok && reply.text == "fine" && server.requests.count == 4)
    // What the server asked for, then doubled waits of our own.
    #expect(clock.sleeps == [0.5, 7, 2])
  }

  @Test func retriesEnd() throws {
    let server = try ScriptedServer { _, _ in .reply(status: 500, #"{"error": {"message": "out of\nmemory"}}"#) }
    let clock = TurnedClock()
    var configuration = configuration(server)
    configuration.retries = 2
    let reply = try EndpointJudge(configuration, clock: clock).answer(request())
    #expect(reply.status == .failed && reply.text == nil && server.requests.count == 3 && clock.sleeps == [0.5, 1])
    #expect(
      reply.message
        == "judge strict at \(server.address)/v1/chat/completions answered with status 500: out of memory, and so 3 times"
    )
  }

  @Test func whatDoesNotHelpIsNotAskedAgain() throws {
    for (status, body) in [
      (401, #"{"error": {"message": "Incorrect API key provided: sk-secret"}}"#), (404, ""), (400, "no"),
    ] {
      let server = try ScriptedServer { _, _ in .reply(status: status, body) }
      var configuration = configuration(server)
      configuration.apiKeyVariable = "K"
      let clock = TurnedClock()
      let reply = try EndpointJudge(configuration, environment: ["K": "sk-secret"], clock: clock).answer(request())
      #expect(reply.status == .failed && server.requests.count == 1 && clock.sleeps.isEmpty)
      #expect(reply.message.contains("status \(status)") && !reply.message.contains("sk-secret"))
    }
    // Nor where the wait would be too long.
    let server = try ScriptedServer { _, _ in .reply(status: 429, headers: [("Retry-After", "4000")], "{}") }
    let reply = try EndpointJudge(configuration(server), clock: TurnedClock()).answer(request())
    #expect(server.requests.count == 1 && reply.message.contains("it asks to wait 4000 s"))
  }

  @Test func retryAfter() {
    let now = Date(timeIntervalSince1970: 784_111_777)  // Sun, 06 Nov 1994 08:49:37 GMT
    func seconds(_ text: String) -> Double? { RetryAfter.seconds(["retry-after": text], now: now) }
    #expect(seconds("120") == 120 && seconds("0") == 0 && seconds("1.5") == 1.5)
    #expect(seconds("Sun, 06 Nov 1994 08:50:07 GMT") == 30 && seconds("Sun, 06 Nov 1994 08:00:00 GMT") == 0)
    #expect(seconds("-1") == nil && seconds("nan") == nil && seconds("inf") == nil && seconds("soon") == nil)
    #expect(RetryAfter.seconds([:], now: now) == nil)
    #expect(RetryAfter.seconds(["retry-after-ms": "250"], now: now) == 0.25)
  }

  @Test func answersThatAreNone() throws {
    let cases: [(String, String)] = [
      ("<html>not json", "no JSON mapping: \"<html>not json\""), ("[1, 2]", "no JSON mapping"), ("", "no JSON mapping"),
      (#"{"choices": []}"#, "without \"choices\""), (#"{"error": {"message": "quota"}}"#, "quota"),
      (
        #"{"choices": [{"finish_reason": "length", "message": {"content": null}}]}"#,
        "without a text (finish_reason length)"
      ),
      (#"{"choices": [{"message": {"content": null, "refusal": "I will not"}}]}"#, "I will not"),
      (#"{"choices": [{"message": {"content": 7}}]}"#, "without a text"),
      (String(repeating: "[", count: 100_000), "no JSON"),
    ]
    for (body, words) in cases {
      let server = try ScriptedServer { _, _ in .reply(body) }
      let reply = try EndpointJudge(configuration(server), clock: TurnedClock()).answer(request())
      #expect(reply.status == .failed && reply.message.contains(words), "\(reply.message)")
      #expect(reply.message.count < 800)
    }
    // Parts, as some servers answer, and a reply without usage.
    let server = try ScriptedServer { _, _ in
      .reply(
        #"{"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]}"#)
    }
    let reply = try EndpointJudge(configuration(server)).answer(request())
    #expect(reply.text == "ab" && reply.promptTokens == 0)
  }

  @Test func serversThatHang() throws {
    for answer in [ScriptedServer.Answer.silence, .trickle(pause: 0.02)] {
      let server = try ScriptedServer { _, _ in answer }
      var configuration = configuration(server)
      configuration.timeout = 0.2
      configuration.retries = 1
      let reply = try EndpointJudge(configuration, clock: TurnedClock()).answer(request())
      #expect(reply.status == .timedOut && server.requests.count == 2)
      #expect(reply.message.contains("gave no answer within 0.2 s, and so 2 times"))
    }
  }

  @Test func nobodyListens() throws {
    let server = try ScriptedServer { _, _ in .close }
    let gone = configuration(server)
    server.stop()
    let clock = TurnedClock()
    let reply = try EndpointJudge(gone, clock: clock).answer(request())
    #expect(reply.status == .failed && reply.message.contains("could not be reached") && clock.sleeps.count == 3)
  }

  @Test func largeBodiesBothWays() throws {
    let server = try ScriptedServer { request, _ in
      .says(String(request.body.count) + String(repeating: "x", count: 3_000_000))
    }
    let reply = try EndpointJudge(configuration(server)).answer(request(String(repeating: "y", count: 2_000_000)))
    #expect(reply.status == .ok && (reply.text?.count ?? 0) > 3_000_000 && reply.text?.hasPrefix("2000") == true)
  }

  @Test func continuationsNeedAModelOfOurOwn() throws {
    let server = try ScriptedServer { _, _ in .says("x") }
    var request = request()
    request.continuation = "x"
    let reply = try EndpointJudge(configuration(server)).answer(request)
    #expect(reply.status == .notApplicable && server.requests.isEmpty && reply.message.contains("model_path"))
  }

  // MARK: Limits

  @Test func noMoreAtOnceThanAllowed() throws {
    let server = try ScriptedServer { _, _ in
      Thread.sleep(forTimeInterval: 0.01)
      return .says("x")
    }
    var configuration = configuration(server)
    configuration.concurrency = 3
    let judge = try EndpointJudge(configuration)
    let counter = Counter()
    ThreadTeam.perform(24, threads: 24) { _ in
      let reply = judge.answer(JudgeRequest(messages: [["role": "user", "content": "x"]]))
      if reply.status == .ok { counter.add() }
    }
    #expect(counter.value == 24 && server.requests.count == 24)
    #expect(server.mostAtOnce == 3)
  }

  private final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func add() { count.wrappingAdd(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
  }

  @Test func requestsPerMinute() {
    let clock = TurnedClock()
    let limit = MinuteLimit(requests: 3, tokens: 0, clock: clock)
    var times: [Double] = []
    for i in 0..<10 {
      _ = limit.admit(tokens: 1_000_000)
      times.append(clock.now - 1000)
      if i == 1 { clock.sleep(20) }
    }
    // By hand: two at 0, one at 20; as they leave the window, two at 60, one at 80, and so on.
    #expect(times == [0, 0, 20, 60, 60, 80, 120, 120, 140, 180])
  }

  @Test func tokensPerMinute() {
    let clock = TurnedClock()
    let limit = MinuteLimit(requests: 0, tokens: 100, clock: clock)
    func admit(_ tokens: Int) -> (number: Int, time: Double) {
      let number = limit.admit(tokens: tokens)
      return (number, clock.now - 1000)
    }
    let first = admit(60)
    #expect(first.time == 0)
    limit.settle(first.number, tokens: 30)
    // 30 + 60 fit, 30 + 60 + 20 do not.
    #expect(admit(60).time == 0)
    #expect(admit(20).time == 60)
    // More than a minute holds: alone in its minute.
    #expect(admit(1000).time == 120)
    #expect(admit(1).time == 180)
  }

  @Test func limitsHoldAcrossThreads() throws {
    let server = try ScriptedServer { _, _ in .says("x", promptTokens: 1, completionTokens: 1) }
    var configuration = configuration(server)
    configuration.requestsPerMinute = 4
    let clock = TurnedClock()
    let judge = try EndpointJudge(configuration, clock: clock)
    ThreadTeam.perform(12, threads: 6) { _ in
      _ = judge.answer(JudgeRequest(messages: [["role": "user", "content": "x"]]))
    }
    #expect(server.requests.count == 12)
    // Twelve at four a minute begin at 0, 60 and 120 s at the earliest; threads that wait together may turn the clock further.
    #expect(clock.now - 1000 >= 120)
  }

  // MARK: Several judges

  private struct Fixed: Judge {
    var name: String
    var concurrency = 2
    func answer(_ request: JudgeRequest) -> JudgeReply { JudgeReply(status: .ok, text: name) }
  }

  @Test func judgesByName() throws {
    let service = try JudgeService([Fixed(name: "strict"), Fixed(name: "kind", concurrency: 5)])
    var request = request()
    request.judge = "kind"
    #expect(service.answer(request).text == "kind" && service.concurrency(of: "kind") == 5)
    request.judge = "kin"
    #expect(service.answer(request).message.contains("there is no judge 'kin'; did you mean 'kind'?"))
    request.judge = nil
    #expect(
      service.answer(request).status == .notApplicable && service.answer(request).message.contains("strict, kind"))
    #expect(try JudgeService([Fixed(name: "only")]).answer(request).text == "only")
    #expect(try JudgeService([]).answer(request).message.contains("there are no judges"))
    expectAttuneError(containing: "two judges are called 'a'") {
      _ = try JudgeService([Fixed(name: "a"), Fixed(name: "a")])
    }
    for wrong: JSON in ["text", [], [["role": "user"]], [["content": "x"]], ["x"]] {
      request.messages = wrong
      #expect(try JudgeService([Fixed(name: "only")]).answer(request).status == .invalid)
    }
  }
}
