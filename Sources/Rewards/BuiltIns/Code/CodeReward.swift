import Core
import Foundation

/// Does the program that the completion holds print what it should? Runs the last fenced block of the language in a sandbox.
struct CodeReward: BuiltInReward {
  static let name = "code"
  static let summary = "the share of cases on which the completion's program prints what it should"
  static let parameters: [RewardParameter] = [
    .string("language", default: "python", "python, c or swift: the last fenced block marked with it is run"),
    .string("score", default: "share", "share of the cases, all (1 if every one passes, else 0) or subtasks"),
    .string("column", default: "", "the column of the cases; else the first there is of cases, tests and input_output"),
    .number(
      "time_limit", default: 2, in: 0.05...600, "seconds of processor time per case; the clock may show twice that"),
    .number("memory_mib", default: 1024, in: 32...1_048_576, "address space of the program in MiB"),
    .string("tool", default: "", "path or name of the interpreter or compiler: else python3, cc or swiftc"),
    .bool("unconfined", default: false, "run without Landlock and seccomp where the system has none"),
  ]
  // A machine that is busy, or slow, fails programs that another passes.
  static let isDeterministic = false
  // The other half of the processors is left to what runs meanwhile.
  static var hostConcurrency: Int? { max(1, ProcessInfo.processInfo.activeProcessorCount / 2) }

  enum Scoring: String, CaseIterable { case share, all, subtasks }

  private let language: CodeLanguage
  private let scoring: Scoring
  private let column: String
  private let timeLimit: Double
  private let memory: Int
  private let isConfined: Bool
  private static let usualColumns = ["cases", "tests", "input_output"]
  private static let mostOutput = 16 << 20

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    let kind = try reader.choice("language", CodeLanguage.Kind.self)
    scoring = try reader.choice("score", Scoring.self)
    column = reader.text("column")
    timeLimit = reader.number("time_limit")
    memory = Int(reader.number("memory_mib")) << 20
    let gap = CodeSandbox.gap
    if let gap, !reader.flag("unconfined") {
      throw AttuneError.request(
        "the reward code cannot confine the programs that it runs: this system \(gap)",
        hint: "unconfined: true runs them with limits of time and memory alone, in processes with your rights")
    }
    isConfined = gap == nil
    do { language = try CodeLanguage(kind, tool: reader.text("tool")) } catch let error as CodeLanguage.Missing {
      throw reader.wrong(reader.text("tool").isEmpty ? "language" : "tool", "cannot be served: \(error.words)")
    }
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let names = column.isEmpty ? Self.usualColumns : [column]
    guard let name = names.first(where: { sample.columns[$0].map { !$0.isNull } ?? false }),
      let value = sample.columns[name]
    else { return .none(.notApplicable, "there is no column '\(names.joined(separator: "', '"))'") }
    let cases: CodeCases
    do { cases = try CodeCases(value) } catch let error as CodeCases.Malformed {
      return .none(.invalid, "the column '\(name)': \(error.words)")
    }
    guard case .success(let source) = CompletionPart.block.text(of: sample.completion, languages: language.marks) else {
      return Tally(cases).outcome(0, "there is no closed fenced block marked with \(language.kind.rawValue)")
    }
    let base = try Self.makeFolder()
    defer { try? FileManager.default.removeItem(atPath: base) }
    let folder = base + "/work"
    guard mkdir(folder, 0o700) == 0,
      FileManager.default.createFile(atPath: folder + "/" + language.fileName, contents: Data((source + "\n").utf8))
    else { return .none(.failed, "the program cannot be written into \(folder)") }
    return run(cases, folder, call)
  }

  private func run(_ cases: CodeCases, _ folder: String, _ call: BuiltInCall) -> RewardOutcome {
    var tally = Tally(cases)
    if let command = language.compileCommand(folder: folder) {
      let run = start(command, folder, input: "", compiling: true, call)
      switch run.end {
      case .exit(0): chmod(folder + "/program", 0o700)
      case .failed(let words): return .none(.failed, words)
      case .cancelled: return .none(.timedOut, "the sample's time was up while its program was compiled")
      default:
        tally.counts[.compileError] = 1
        return tally.outcome(0, "compile error: \(Self.firstLines(run.errors))")
      }
    }
    for i in cases.cases.indices {
      let run = start(language.runCommand(folder: folder), folder, input: cases.cases[i].input, compiling: false, call)
      switch run.end {
      case .failed(let words): return .none(.failed, words)
      case .cancelled: return .none(.timedOut, "the sample's time was up at case \(i) of \(cases.cases.count)")
      case .timeLimit: tally.add(i, .timeLimit, "took more than \(timeLimit) s")
      case .exit(0):
        if let difference = CodeCases.difference(run.output, cases.cases[i].output) {
          tally.add(i, .wrongAnswer, difference)
        } else {
          tally.add(i, .passed, "")
        }
      case .signal(SIGXFSZ): tally.add(i, .runtimeError, "wrote more than \(Self.mostOutput >> 20) MiB")
      case .exit(let status):
        let last = Self.lastLine(run.errors)
        if language.kind == .python, ["SyntaxError", "IndentationError", "TabError"].contains(where: last.hasPrefix) {
          tally.counts[.compileError] = 1
          return tally.outcome(0, "compile error: \(last.quoted(200))")
        }
        tally.add(i, .runtimeError, "exit status \(status)\(last.isEmpty ? "" : ": \(last.quoted(120))")")
      case .signal(let number): tally.add(i, .runtimeError, ChildProcess.End.signal(number).words)
      }
      // A program that never ends costs its limit once; with one case lost, all is lost.
      if tally.counts[.timeLimit] != nil || (scoring == .all && !tally.passed[i]) { break }
    }
    let share = Double(tally.counts[.passed] ?? 0) / Double(cases.cases.count)
    switch scoring {
    case .share: return tally.outcome(share, nil)
    case .all: return tally.outcome(share == 1 ? 1 : 0, nil)
    case .subtasks: return tally.outcome(cases.subtaskScore(tally.passed), nil)
    }
  }

  private func start(
    _ command: [String], _ folder: String, input: String, compiling: Bool, _ call: BuiltInCall
  ) -> SandboxedRun {
    // A compiler starts processes, and takes its own time and memory.
    let seconds = compiling ? max(60, timeLimit) : timeLimit
    let limits = CodeSandbox.Limits(
      cpuSeconds: max(1, Int(seconds.rounded(.up))), memory: compiling ? max(8 << 30, memory) : memory,
      fileSize: compiling ? 256 << 20 : Self.mostOutput, isSingleProcess: !compiling, isConfined: isConfined)
    return SandboxedRun.run(
      command, program: call.program, folder: folder, input: [UInt8](input), seconds: seconds, limits: limits,
      isCancelled: call.isCancelled)
  }

  /// A folder that nobody else may enter: the program's own is in it, beside its input and outputs.
  private static func makeFolder() throws -> String {
    var name = [CChar]((FileManager.default.temporaryDirectory.path + "/attune-code-XXXXXX").utf8CString)
    guard mkdtemp(&name) != nil else {
      throw AttuneError.work("no temporary folder can be made: \(String(cString: strerror(errno)))")
    }
    return String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func firstLines(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix(2000), as: UTF8.self).trimmedSpace.quoted(300)
  }

  private static func lastLine(_ bytes: [UInt8]) -> String {
    let text = String(decoding: bytes.suffix(4000), as: UTF8.self).trimmedSpace
    return text.split(separator: "\n").last.map(String.init) ?? ""
  }
}

/// What became of the cases of one program.
private struct Tally {
  enum Verdict: String, CaseIterable {
    case passed
    case wrongAnswer = "wrong_answer"
    case runtimeError = "runtime_error"
    case timeLimit = "time_limit"
    case compileError = "compile_error"
  }

  var counts: [Verdict: Int] = [:]
  var passed: [Bool]
  private var firstFault: String?

  init(_ cases: CodeCases) { passed = Array(repeating: false, count: cases.cases.count) }

  mutating func add(_ index: Int, _ verdict: Verdict, _ words: String) {
    counts[verdict, default: 0] += 1
    passed[index] = verdict == .passed
    if verdict != .passed, firstFault == nil {
      firstFault = "case \(index): \(verdict.rawValue.replacing("_", with: " ")): \(words)"
    }
  }

  /// Components are numbers of cases; `not_run` are those behind the one that decided.
  func outcome(_ score: Double, _ log: String?) -> RewardOutcome {
    var components = Verdict.allCases.map { (name: $0.rawValue, value: Double(counts[$0] ?? 0)) }
    let run = Verdict.allCases.filter { $0 != .compileError }.reduce(0) { $0 + (counts[$1] ?? 0) }
    components.append(("not_run", Double(passed.count - run)))
    let summary = "\(counts[.passed] ?? 0) of \(passed.count) cases passed"
    return RewardOutcome(
      score: score, status: .ok, components: components,
      log: log ?? summary + (firstFault.map { "; \($0)" } ?? ""))
  }
}
