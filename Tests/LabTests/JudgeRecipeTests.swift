import AttuneTensor
import Core
import Foundation
import Models
import Objectives
import Rewards
import Rollout
import TestSupport
import Testing

@testable import Lab

@Suite struct JudgeRecipeTests {
  private static let base = """
    model: {path: "preset:tiny"}
    data:
      train: {kind: digits, file: digits.csv}
    stages:
      - {objective: grpo, steps: 5}

    """

  private func parse(_ rest: String) throws -> Recipe {
    try Recipe.parse(Self.base + rest, file: "/lab/r.yaml", checkFiles: false)
  }

  @Test func judgesAreRead() throws {
    let recipe = try parse(
      """
      judges:
        - {name: strict, endpoint: "http://host:8000/v1", model: m, api_key_variable: MY_KEY, concurrency: 3,
           requests_per_minute: 60, tokens_per_minute: 9000, timeout: 5.5, retries: 1, temperature: 0.5, max_tokens: 99,
           system: be brief}
        - {name: plain, endpoint: "https://host/v1", model: m2}
        - {name: own, model_path: models/judge}
      rewards:
        - {source: judge, parameters: {judge: plain}}
      """)
    var strict = JudgeConfiguration(name: "strict", endpoint: "http://host:8000/v1", model: "m")
    strict.apiKeyVariable = "MY_KEY"
    (strict.concurrency, strict.requestsPerMinute, strict.tokensPerMinute) = (3, 60, 9000)
    (strict.timeout, strict.retries, strict.temperature, strict.maxTokens) = (5.5, 1, 0.5, 99)
    strict.system = "be brief"
    #expect(recipe.judges[0].source == .endpoint(strict))
    // What is not written is what `JudgeConfiguration` says.
    #expect(
      recipe.judges[1].source == .endpoint(JudgeConfiguration(name: "plain", endpoint: "https://host/v1", model: "m2")))
    #expect(recipe.judges[2].source == .local(path: "/lab/models/judge", dtype: .f32))
    let again = try Recipe(effective: recipe.effective, text: recipe.text, file: recipe.file)
    #expect(again == recipe)
  }

  @Test func mistakesAreRefused() throws {
    let one = "  - {name: a, endpoint: \"http://h/v1\", model: m}\n"
    let cases: [(String, [String])] = [
      ("rewards: [{source: judge}]", ["r.yaml:6", "the reward judge needs a judge, and the recipe has none"]),
      ("judges:\n" + one + one + "rewards: [{source: exact_match}]", ["'a' is also the name of judges.0"]),
      (
        "judges:\n" + one + "  - {name: b, endpoint: \"http://h/v1\", model: m}\nrewards: [{source: judge}]",
        ["there are 2 judges, so parameters.judge has to name one", "known: a, b"]
      ),
      (
        "judges:\n" + one + "rewards: [{source: judge, parameters: {judge: aa}}]",
        ["there is no judge 'aa'", "did you mean 'a'?"]
      ),
      ("judges: [{name: a, endpoint: \"http://h/v1\"}]\nrewards: [{source: x}]", ["judges.0.model is missing"]),
      (
        "judges: [{name: a, endpoint: \"h\", model: m}]\nrewards: [{source: x}]",
        ["judges.0.endpoint", "no http or https address"]
      ),
      (
        "judges: [{name: a, model_path: m, endpoint: \"http://h/v1\"}]\nrewards: [{source: x}]",
        ["'endpoint' goes with kind: endpoint"]
      ),
      (
        "judges: [{name: a, kind: local}]\nrewards: [{source: x}]",
        ["judges.0.model_path is missing, which kind: local needs"]
      ),
      (
        "judges: [{name: a, kind: endpoint, model_path: m, endpoint: \"http://h\", model: m}]\nrewards: [{source: x}]",
        ["model_path goes with kind: local"]
      ),
      (
        "judges: [{name: a, model_path: \"preset:tiny\"}]\nrewards: [{source: x}]",
        ["a preset knows nothing to judge by"]
      ),
      (
        "judges: [{name: a, endpoint: \"http://h/v1\", model: m, concurency: 2}]\nrewards: [{source: x}]",
        ["did you mean 'concurrency'?"]
      ),
    ]
    for (text, fragments) in cases {
      expectAttuneError(containing: fragments[0], fragments[fragments.count - 1]) { _ = try parse(text) }
    }
    // A key that stands where its variable's name should is not shown again.
    do {
      _ = try parse(
        "judges: [{name: a, endpoint: \"http://h/v1\", model: m, api_key_variable: sk-secret}]\nrewards: [{source: x}]")
      Issue.record("a key was taken for a name")
    } catch {
      #expect("\(error)".contains("the name of an environment variable") && !"\(error)".contains("sk-secret"))
    }
  }

  @Test func keysMustBeSetBeforeARun() throws {
    let recipe = try parse(
      """
      judges: [{name: a, endpoint: "http://h/v1", model: m, api_key_variable: ATTUNE_TEST_NEVER_SET}]
      rewards: [{source: judge}]
      """)
    expectAttuneError(containing: "/lab/r.yaml", "ATTUNE_TEST_NEVER_SET") { try recipe.checkJudges() }
    expectAttuneError(containing: "/lab/r.yaml", "ATTUNE_TEST_NEVER_SET") { _ = try recipe.judgeService() }
  }

  // MARK: A checkpoint as a judge

  private func localJudge() throws -> (judge: LocalJudge, policy: Policy) {
    let folder = try Program.temporaryFolder()
    try Preset.named("tiny").write(to: folder, seed: 5)
    let policy = try Policy(folder: folder, backend: CPUBackend(threads: 1), precision: .full)
    return (
      LocalJudge(
        .init(name: "own", temperature: 0, maxTokens: 12, system: "You are a helpful assistant."), policy: policy),
      policy
    )
  }

  private func ask(_ text: String) -> JudgeRequest {
    JudgeRequest(messages: [["role": "user", "content": .string(text)]])
  }

  @Test func repliesAreTheEnginesOwn() throws {
    let (judge, policy) = try localJudge()
    let reply = judge.answer(ask("What is the answer?"))
    let prompt = try policy.prompt(
      messages: [
        ["role": "system", "content": "You are a helpful assistant."],
        ["role": "user", "content": "What is the answer?"],
      ]
    ).encoded
    let engine = LocalEngine(policy.model, decoder: policy.tokenizer, seed: 0)
    let expected = try engine.generate(
      [RolloutRequest(prompt: prompt, completions: 1, promptNumber: 0)],
      SamplingParameters(temperature: 0, maxNewTokens: 12, stopIDs: Set(policy.endIDs)))[0][0]
    #expect(reply.status == .ok && reply.text == expected.text && reply.completionTokens == expected.ids.count)
    #expect(reply.promptTokens == prompt.ids.count)
  }

  @Test func repliesDependOnTheQuestionAlone() throws {
    let (judge, _) = try localJudge()
    let sampled = (0..<6).map { i in
      var request = ask("Which number is written here? \(i)")
      request.temperature = 1
      return request
    }
    let alone = sampled.map { judge.answer($0).text ?? "" }
    #expect(Set(alone).count > 1)
    // From several threads at once, in another order.
    let together = Answers(count: 6)
    ThreadRunner.run(6) { i in together.put(judge.answer(sampled[5 - i]).text ?? "", at: 5 - i) }
    #expect(together.all == alone)
  }

  @Test func logProbabilitiesOfAGivenText() throws {
    let (judge, policy) = try localJudge()
    var request = ask("What is the answer?")
    request.continuation = "The answer is 407."
    let reply = judge.answer(request)
    let prompt = try policy.prompt(
      messages: [
        ["role": "system", "content": "You are a helpful assistant."],
        ["role": "user", "content": "What is the answer?"],
      ]
    ).encoded
    // One token after the other, from the distribution behind what came before.
    var sum = 0.0
    var ids = prompt.ids
    for id in policy.tokenizer.encode("The answer is 407.") {
      let pass = TrainingPass(model: policy.model, temperature: 1, wanted: [.logprob])
      let tree = PromptTree(prompt: try policy.model.encode(ids: ids), completions: [[id]])
      sum += Double(pass.forward([tree], recording: false).stream(.logprob)[0])
      ids.append(id)
    }
    #expect(reply.status == .ok && reply.logprob == sum && sum < 0)
    request.continuation = ""
    #expect(judge.answer(request).logprob == 0)
  }

  @Test func servicesKeepARecord() throws {
    let (judge, policy) = try localJudge()
    let services = HostServices(tokenizer: policy.tokenizer, judges: try JudgeService([judge]))
    #expect(services.decode(services.encode("The answer is 407.") ?? []) == "The answer is 407.")
    #expect(services.judge(ask("hm"), reward: "r").status == .ok)
    services.log(reward: "r", level: 2, text: "careful")
    services.metric(reward: "r", name: "share", value: 1)
    services.metric(reward: "r", name: "share", value: 0)
    services.metric(reward: "r", name: "share", value: .nan)
    for i in 0..<300 { services.log(reward: "r", level: 0, text: "\(i)") }
    let record = services.takeRecord()
    #expect(record.lines.first == .init(reward: "r", level: 2, text: "careful") && record.lines.count == 200)
    #expect(record.droppedLines == 101 && record.metrics.map(\.name) == ["r/share"] && record.metrics[0].value == 0.5)
    #expect(services.takeRecord().lines.isEmpty)
    #expect(HostServices(tokenizer: nil, judges: try JudgeService([])).encode("x") == nil)
  }
}

/// Filled in by several threads.
private final class Answers: @unchecked Sendable {
  // Safety: behind the lock.
  private var list: [String]
  private let lock = NSLock()
  init(count: Int) { list = Array(repeating: "", count: count) }
  func put(_ text: String, at i: Int) { lock.withLock { list[i] = text } }
  var all: [String] { lock.withLock { list } }
}

private enum ThreadRunner {
  static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let done = DispatchSemaphore(value: 0)
    for i in 0..<count {
      let thread = Thread {
        body(i)
        done.signal()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    for _ in 0..<count { done.wait() }
  }
}
