import Core
import Foundation
import Lab
import Rewards

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Ctrl-C asks the run to stop between steps; a second one stops at once.
private enum Interrupt {
  nonisolated(unsafe) private static var count: sig_atomic_t = 0
  // Safety: written by the signal handler alone, one machine word.

  static var isRequested: Bool { count > 0 }

  static func install() {
    // A parent may have started the program with these signals blocked, as one does that starts it from a worker thread.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        Interrupt.count += 1
        if Interrupt.count > 1 {
          signal(number, SIG_DFL)
          raise(number)
        }
      }
    }
  }
}

let runCommand = Command(
  words: ["run"], summary: "runs a recipe, or goes on with an interrupted run", positionals: ["[RECIPE]"],
  options: [
    .init(name: "--set", value: "key.path=value", help: "overrides one key of the recipe", repeats: true),
    .init(name: "--output", value: "DIR", help: "the run's folder (default: a new one in the recipe's `output`)"),
    .init(name: "--resume", value: "RUN", help: "go on with this run: an id, its folder, or latest"),
    .init(
      name: "--allow-changed-rewards", value: nil,
      help: "go on though a reward's library is another than before; the run's log says so"),
    .init(name: "--runs", value: "DIR", help: "where --resume looks for runs (default: runs)"),
  ],
  example: "attune run recipes/quickstart.yaml --set seed=2",
  details: "Ctrl-C stops after the current step with a checkpoint; a run killed at any moment goes on by --resume."
) { arguments in
  let run: Run
  if let name = arguments.string("--resume") {
    guard arguments.positionals.isEmpty, !arguments.has("--set"), !arguments.has("--output") else {
      throw AttuneError.request("--resume goes on with a run as it was started: no recipe, --set or --output beside it")
    }
    guard
      let interrupted = try Run.resume(
        name, root: arguments.string("--runs") ?? "runs", allowsChangedRewards: arguments.has("--allow-changed-rewards")
      )
    else {
      printNote("the run is finished")
      return 0
    }
    run = interrupted
  } else {
    guard !arguments.has("--allow-changed-rewards") else {
      throw AttuneError.request("--allow-changed-rewards is about a run that is gone on with: it needs --resume RUN")
    }
    guard let path = arguments.positionals.first else {
      throw AttuneError.request("attune run needs a recipe or --resume RUN", hint: "usage: \(arguments.command.usage)")
    }
    let recipe = try Recipe.load(path: path, overrides: arguments.list("--set"))
    run = try Run.start(recipe, output: arguments.string("--output"))
  }
  Interrupt.install()
  printNote("run \(run.folder.id) in \(run.folder.path)")
  let progress = ProgressObserver(run.recipe, isTerminal: isatty(STDERR_FILENO) == 1) {
    StandardStream.remark($0)
  }
  let ending = try run.execute(
    observers: [progress], workerCommand: rewardWorkerCommand, isCancelled: { Interrupt.isRequested }, report: printNote
  )
  guard ending == .finished else {
    printNote("interrupted; go on with: attune run --resume \(run.folder.path)")
    return 1
  }
  if run.recipe.evaluation.data != nil {
    let report = try RunReport(run.folder, title: run.recipe.report.title, pictures: run.recipe.report.pictures)
    // Before the table: it is there though standard output cannot be written.
    if run.recipe.report.enabled {
      for path in try report.write(folder: run.folder.path + "/report") { printNote("wrote \(path)") }
    }
    try printResult(report.terminalTable)
  }
  printNote("the model is in \(run.folder.path)/model")
  return 0
}

let checkCommand = Command(
  words: ["check"], summary: "everything that can be known of a recipe before weights are read",
  positionals: ["RECIPE"],
  options: [
    .init(name: "--set", value: "key.path=value", help: "overrides one key of the recipe", repeats: true),
    CommonFlags.json,
  ],
  example: "attune check recipes/quickstart.yaml",
  details: "Says what each phase of a step will hold in memory, and about how long the run will take."
) { arguments in
  let recipe = try Recipe.load(path: arguments.positionals[0], overrides: arguments.list("--set"))
  let verdict = try Run.check(recipe, workerCommand: rewardWorkerCommand)
  let steps = recipe.stages.reduce(0) { $0 + $1.steps }
  if arguments.has("--json") {
    let json: JSON = [
      "recipe": .string(arguments.positionals[0]), "stages": .int(recipe.stages.count), "steps": .int(steps),
      "rewards": .int(recipe.rewards.count), "memory": verdict.json,
    ]
    try printResult(json.text(.pretty))
  } else {
    try printResult(verdict.text)
  }
  if let refusal = verdict.refusal { throw refusal }
  guard !arguments.has("--json") else { return 0 }
  try printResult(
    "\(arguments.positionals[0]): fine (\(recipe.stages.count) stages, \(steps) steps, \(recipe.rewards.count) rewards)"
  )
  return 0
}

let initCommand = Command(
  words: ["init"], summary: "writes a small, randomly initialised checkpoint in Hugging Face's layout",
  positionals: ["[PRESET]", "[DIR]"],
  options: [
    CommonFlags.seed,
    .init(name: "--head", value: "lm|reward", help: "what it ends in: the next token (default), or one number"),
    .init(name: "--list", value: nil, help: "list the presets"),
  ],
  example: "attune init tiny checkpoints/tiny"
) { arguments in
  if arguments.has("--list") {
    let width = Preset.all.map(\.name.count).max() ?? 0
    for preset in Preset.all {
      try printResult("\(preset.name)\(String(repeating: " ", count: width - preset.name.count))  \(preset.summary)")
    }
    return 0
  }
  guard arguments.positionals.count == 2 else {
    throw AttuneError.request("attune init takes a preset and a folder", hint: "`attune init --list` shows the presets")
  }
  let folder = arguments.positionals[1]
  guard !FileManager.default.fileExists(atPath: folder + "/config.json") else {
    throw AttuneError.request(
      "the folder holds a checkpoint already", at: .init(file: folder), hint: "choose another folder")
  }
  let word = arguments.string("--head") ?? Preset.Head.languageModel.rawValue
  guard let head = Preset.Head(rawValue: word) else {
    throw AttuneError.request("--head is '\(word)', lm or reward was expected")
  }
  try Preset.named(arguments.positionals[0]).write(to: folder, seed: CommonFlags.seed(arguments), head: head)
  printNote("wrote \(folder)")
  return 0
}

// MARK: The run store

let runsFolder = Command.Option(
  name: "--runs", value: "DIR", help: "the folder that holds runs (default: runs)")

/// The run that the first word names.
func resolveRun(_ arguments: Arguments) throws -> RunFolder {
  try RunFolder.resolve(arguments.positionals[0], root: arguments.string("--runs") ?? "runs")
}

/// The index of the stage that `--stage` names; nil without the flag.
func stageIndex(_ arguments: Arguments, _ store: RunStore) throws -> Int? {
  guard let name = arguments.string("--stage") else { return nil }
  let names = try store.stageNames()
  guard let index = names.firstIndex(of: name) else {
    throw AttuneError.request("the run has no stage '\(name)'", hint: "its stages: \(names.joined(separator: ", "))")
  }
  return index
}

let runsCommands: [Command] = [
  Command(
    words: ["runs", "list"], summary: "all runs, newest first", options: [runsFolder, CommonFlags.json],
    example: "attune runs list"
  ) { arguments in
    let runs = try RunFolder.list(root: arguments.string("--runs") ?? "runs")
    if arguments.has("--json") {
      try printResult(JSON.array(runs).text(.pretty))
      return 0
    }
    try printResult(
      TerminalTable.render(
        headers: ["run", "recipe", "status", "seconds"],
        rows: runs.map {
          [
            $0["id"]?.string ?? "", $0["name"]?.string ?? "", $0["status"]?.string ?? "",
            "\(Int(($0["seconds"]?.double ?? 0).rounded()))",
          ]
        }))
    return 0
  },
  Command(
    words: ["runs", "show"], summary: "one run: status, stages and their last metrics", positionals: ["RUN"],
    options: [runsFolder, CommonFlags.json], example: "attune runs show latest --json"
  ) { arguments in
    let json = try RunStore.read(resolveRun(arguments)).show()
    if arguments.has("--json") {
      try printResult(json.text(.pretty))
      return 0
    }
    try printResult(
      "\(json["id"]?.string ?? "")  \(json["status"]?.string ?? "")  \(Int((json["seconds"]?.double ?? 0).rounded())) s"
    )
    try printResult("\(json["folder"]?.string ?? "")")
    let rewards = json["rewards"]?.array ?? []
    if !rewards.isEmpty {
      try printResult(
        "\n"
          + TerminalTable.render(
            headers: ["reward", "kind", "version", "SHA-256", "from stage, step"],
            rows: rewards.map {
              [
                $0["name"]?.string ?? "", $0["kind"]?.string ?? "", $0["version"]?.string ?? "",
                String($0["hash"]?.string?.prefix(16) ?? ""), "\($0["stage"]?.int ?? 0), \($0["step"]?.int ?? 0)",
              ]
            }))
    }
    for stage in json["stages"]?.array ?? [] {
      try printResult(
        "\nstage \(stage["name"]?.string ?? "") (\(stage["objective"]?.string ?? ""), \(stage["steps"]?.int ?? 0) steps)"
      )
      try printResult(
        TerminalTable.render(
          headers: ["metric", "last value"],
          rows: (stage["metrics"]?.object?.entries).map { $0.map { [$0, $1.text()] } } ?? []))
      if let before = stage["before"] {
        try printResult("\n" + RewardSurvey.text(before).escapingControls(), terminator: "")
      }
    }
    let alarms = json["alarms"]?.array ?? []
    if !alarms.isEmpty { try printResult("\nalarms") }
    for alarm in alarms { try printResult(RewardAlarm.text(alarm).escapingControls()) }
    return 0
  },
  Command(
    words: ["runs", "pause"], summary: "lets a running run stand still after its step", positionals: ["RUN"],
    options: [runsFolder], example: "attune runs pause latest",
    details:
      "Returns when the run stands still, which is after its step. A paused run takes no processor time and has a checkpoint. When it goes on, rewards whose sources changed are loaded anew."
  ) { arguments in
    let folder = try resolveRun(arguments)
    try RunControl.pause(folder)
    printNote("run \(folder.id) stands still; go on with: attune runs continue \(folder.path)")
    return 0
  },
  Command(
    words: ["runs", "continue"], summary: "lets a paused run go on, with rewards as their sources are now",
    positionals: ["RUN"], options: [runsFolder], example: "attune runs continue latest"
  ) { arguments in
    let folder = try resolveRun(arguments)
    try RunControl.continue(folder)
    printNote("run \(folder.id) goes on")
    return 0
  },
  Command(
    words: ["runs", "samples"], summary: "prompts, completions, and why each scored what it scored",
    positionals: ["RUN"],
    options: [
      runsFolder, .init(name: "--stage", value: "NAME", help: "only this stage"),
      .init(name: "--step", value: "N", help: "only this step of the stage, from 0"),
      .init(name: "--sort", value: "step|reward", help: "order (default step)"),
      .init(name: "--limit", value: "N", help: "at most so many (default 20)"), CommonFlags.json,
    ], example: "attune runs samples latest --sort reward --limit 5"
  ) { arguments in
    let store = try RunStore.read(resolveRun(arguments))
    let order = arguments.string("--sort") ?? "step"
    guard let sort = RunStore.SampleOrder(rawValue: order) else {
      throw AttuneError.request(
        "--sort is '\(order)', one of \(RunStore.SampleOrder.allCases.map(\.rawValue).joined(separator: ", ")) was expected"
      )
    }
    let samples = try store.samples(
      stage: stageIndex(arguments, store), step: try arguments.int("--step"), sort: sort,
      limit: try arguments.int("--limit") ?? 20,
      whole: arguments.has("--json"))
    if arguments.has("--json") {
      for sample in samples { try printResult(sample.text()) }
      return 0
    }
    for sample in samples { try printResult(sample.text(.pretty)) }
    return 0
  },
  rescoreCommand,
]
