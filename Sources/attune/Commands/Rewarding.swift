import AttuneVision
import Core
import Foundation
import Lab
import Rewards

/// The hidden verb that makes this program the process of a reward plugin.
let rewardWorkerVerb = "__reward-worker"

/// Starts this very program as a worker.
let rewardWorkerCommand: [String] = [Bundle.main.executablePath ?? CommandLine.arguments[0], rewardWorkerVerb]

func runRewardWorker(_ arguments: [String]) -> Int32 { RewardWorker.main(arguments) }

/// The picture in a file, or, for `STORE#HASH`, in the store of a run.
private func loadPicture(_ path: String) throws -> Picture {
  guard let picture = try RunStore.picture(at: path) else {
    return try PictureDecoder.load(path: path, options: .display)
  }
  return try PictureDecoder.decode(picture, name: path, options: .display)
}

private let setOption = Command.Option(
  name: "--set", value: "key=value", help: "a parameter of the reward", repeats: true)
private let timeoutOption = Command.Option(
  name: "--timeout", value: "SECONDS", help: "time limit of one sample (default 5)")

private let judgeOptions: [Command.Option] = [
  .init(
    name: "--judge", value: "ENDPOINT|DIR",
    help: "the judge that rewards may ask: an OpenAI-compatible address (http://host:port/v1), or a checkpoint folder"),
  .init(name: "--judge-model", value: "NAME", help: "the model's name at the endpoint"),
  .init(name: "--judge-key-variable", value: "NAME", help: "the environment variable that holds the endpoint's key"),
]

/// What rewards may call on: the judge of `--judge`, if it is given.
private func services(_ arguments: Arguments) throws -> HostServices {
  guard let judge = arguments.string("--judge") else {
    for flag in ["--judge-model", "--judge-key-variable"] where arguments.has(flag) {
      throw AttuneError.request("\(flag) goes with --judge, which is missing")
    }
    return HostServices(tokenizer: nil, judges: try JudgeService([]))
  }
  return HostServices(
    tokenizer: nil,
    judges: try JudgeServices.one(
      judge, model: arguments.string("--judge-model"), keyVariable: arguments.string("--judge-key-variable")))
}

/// `--set key=value`: values are JSON where they parse as such, else text.
func rewardParameters(_ arguments: Arguments) throws -> JSON.Object {
  var object = JSON.Object()
  for item in arguments.list("--set") {
    guard let equals = item.firstIndex(of: "="), equals != item.startIndex else {
      throw AttuneError.request("--set \(item): key=value was expected")
    }
    let text = String(item[item.index(after: equals)...])
    object[String(item[..<equals])] = (try? JSON.parse(text)) ?? .string(text)
  }
  return object
}

private func timeout(_ arguments: Arguments) throws -> Double {
  let seconds = try arguments.number("--timeout") ?? 5
  guard seconds > 0 else { throw AttuneError.request("--timeout is \(seconds), a number above 0 was expected") }
  return seconds
}

let rewardCommands: [Command] = [
  Command(
    words: ["reward", "new"], summary: "a folder with a reward that builds and scores at once",
    positionals: ["NAME", "[DIR]"],
    options: [.init(name: "--language", value: "c|swift", help: "what to write it in")],
    example: "attune reward new my_reward --language c"
  ) { arguments in
    let text = try arguments.require("--language")
    guard let language = PluginCompiler.Language(rawValue: text) else {
      throw AttuneError.request("--language is '\(text)', c or swift was expected")
    }
    let folder = arguments.positionals.count > 1 ? arguments.positionals[1] : nil
    for path in try RewardBench.new(name: arguments.positionals[0], language: language, folder: folder) {
      printNote("wrote \(path)")
    }
    return 0
  },
  Command(
    words: ["reward", "build"], summary: "compiles a reward's source and prints the library's path",
    positionals: ["SOURCE"],
    options: [.init(name: "--output", value: "F", help: "where the library goes (default: the cache)")],
    example: "attune reward build rewards/digit_match/digit_match.c"
  ) { arguments in
    try printResult(PluginCompiler.library(for: arguments.positionals[0], output: arguments.string("--output")))
    return 0
  },
  Command(
    words: ["reward", "list"], summary: "the rewards that come with the program", options: [CommonFlags.json],
    example: "attune reward list"
  ) { arguments in
    let list = RewardBench.list()
    if arguments.has("--json") {
      try printResult(JSON.array(list.map(\.json)).text(.pretty))
      return 0
    }
    try printResult(
      TerminalTable.render(headers: ["reward", "kind", "summary"], rows: list.map { [$0.name, $0.kind, $0.summary] }))
    return 0
  },
  Command(
    words: ["reward", "check"], summary: "the validator: one line per rule that held or broke", positionals: ["REWARD"],
    options: [setOption, timeoutOption] + judgeOptions + [
      .init(name: "--cases", value: "F", help: "cases to replay (default: cases.jsonl beside the source)"),
      CommonFlags.json,
    ],
    example: "attune reward check rewards/digit_match/digit_match.c"
  ) { arguments in
    if RewardLoader.modelFolder(arguments.positionals[0]) != nil {
      throw AttuneError.request(
        "this is a reward model, which has no plugin interface that could be checked",
        at: .init(file: arguments.positionals[0]), hint: "`attune reward try` scores lines with it")
    }
    let check = try RewardBench.check(
      arguments.positionals[0], parameters: rewardParameters(arguments), timeoutSeconds: timeout(arguments),
      cases: arguments.string("--cases"), workerCommand: rewardWorkerCommand, services: services(arguments),
      pictures: loadPicture)
    try printResult(arguments.has("--json") ? check.json.text(.pretty) : check.text.escapingControls())
    return check.passed ? 0 : 1
  },
  Command(
    words: ["reward", "try"], summary: "scores lines of JSONL with a reward", positionals: ["REWARD"],
    options: JSONLines.options + judgeOptions + [
      setOption, timeoutOption, CommonFlags.threads,
      .init(name: "--isolation", value: "worker|inline", help: "in a process of its own (default), or in this one"),
    ],
    example:
      #"echo '{"completion": "<answer>407</answer>", "reference": "407"}' | attune reward try rewards/digit_match/digit_match.c"#,
    details: """
      In: {"prompt": .., "completion": "..", any other key is a data set's column, "images": [..]}, or what
      `attune runs samples RUN --json` prints.
      REWARD is a source file, a library, the name of a reward that comes with the program, a C function's signature, or
      a reward model's folder.
      Out: {"reward": 0.5 or null, "status": "ok|not_applicable|failed|timed_out|invalid", "components": {..}, "log": ".."}.
      """
  ) { arguments in
    let isolation = arguments.string("--isolation") ?? "worker"
    guard let kind = RewardSpecification.Isolation(rawValue: isolation) else {
      throw AttuneError.request("--isolation is '\(isolation)', worker or inline was expected")
    }
    let source = arguments.positionals[0]
    let services = try services(arguments)
    if source == "judge", !arguments.has("--judge") {
      throw AttuneError.request(
        "the reward judge asks a judge, and there is none",
        hint: "name one: --judge http://host:port/v1 --judge-model NAME, or --judge with a checkpoint's folder")
    }
    let threads = try CommonFlags.threadCount(arguments)
    let reward = try RewardLoader.load(
      RewardSpecification(
        name: RewardLoader.displayName(source), source: source, parameters: rewardParameters(arguments),
        isolation: kind,
        timeoutSeconds: timeout(arguments)),
      workerCommand: rewardWorkerCommand, models: CheckpointRewards(threads: threads))
    defer { reward.close() }
    return try JSONLines(arguments).map({ line in
      _ = try RewardBench.sample(line, pictures: loadPicture)
      return line
    }) { lines in
      try RewardBench.tryLines(lines, reward, services: services, pictures: loadPicture).map { .success($0) }
    }
  },
]
