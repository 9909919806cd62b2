import Core
import Foundation
import Rewards

/// One verb of the command line: what it takes, what it does, how its help reads.
struct Command: Sendable {
  /// A flag such as `--model DIR`.
  struct Option: Sendable {
    let name: String
    /// What stands for the value in help; nil for a switch.
    let value: String?
    let help: String
    var repeats = false
  }

  /// Words that name it: `["runs", "show"]`.
  let words: [String]
  let summary: String
  /// Names of the arguments without a flag; `…` behind the last lets it repeat, brackets make it optional.
  var positionals: [String] = []
  var options: [Option] = []
  let example: String
  var details: String = ""
  let run: @Sendable (Arguments) throws -> Int32

  var name: String { words.joined(separator: " ") }

  var usage: String {
    var text = "attune \(name)"
    for positional in positionals { text += " \(positional)" }
    for option in options {
      let word = option.value.map { "\(option.name) \($0)" } ?? option.name
      text += " [\(word)]\(option.repeats ? "…" : "")"
    }
    return text
  }

  var help: String {
    var text = "\(summary)\n\nUsage: \(usage)\n"
    if !details.isEmpty { text += "\n\(details)\n" }
    if !options.isEmpty {
      text += "\nOptions:\n"
      let width = options.map { $0.name.count + ($0.value.map { $0.count + 1 } ?? 0) }.max() ?? 0
      for option in options {
        let word = option.value.map { "\(option.name) \($0)" } ?? option.name
        text += "  \(word)\(String(repeating: " ", count: width - word.count))  \(option.help)\n"
      }
    }
    return text + "\nExample:\n  \(example)\n"
  }
}

/// The parsed words behind a verb.
struct Arguments {
  let command: Command
  private(set) var positionals: [String] = []
  private var values: [String: [String]] = [:]

  /// - Throws: `.request` for an unknown flag (with the nearest), a missing value, or too many or too few words.
  init(_ command: Command, _ words: [String]) throws {
    self.command = command
    var left = words[...]
    while let word = left.popFirst() {
      guard word.hasPrefix("--"), word.count > 2 else {
        positionals.append(word)
        continue
      }
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard let option = command.options.first(where: { $0.name == name }) else {
        throw AttuneError.request(
          "attune \(command.name) has no flag \(name)",
          hint: nearestName(to: name, among: command.options.map(\.name)).map { "did you mean \($0)?" }
            ?? "see `attune \(command.name) --help`")
      }
      if option.value == nil {
        guard parts.count == 1 else { throw AttuneError.request("\(name) takes no value, '\(parts[1])' was found") }
        values[name] = [""]
        continue
      }
      let value: String
      if parts.count == 2 {
        value = String(parts[1])
      } else {
        guard let next = left.popFirst() else { throw AttuneError.request("\(name) needs a value: \(option.value!)") }
        value = next
      }
      if values[name] != nil, !option.repeats { throw AttuneError.request("\(name) was given twice") }
      values[name, default: []].append(value)
    }
    let needed = command.positionals.filter { !$0.hasPrefix("[") }.count
    let repeats = command.positionals.last.map { $0.contains("…") } ?? false
    guard positionals.count >= needed, repeats || positionals.count <= command.positionals.count else {
      throw AttuneError.request(
        "attune \(command.name) takes \(command.positionals.isEmpty ? "no words without a flag" : command.positionals.joined(separator: " ")), \(positionals.count) were found",
        hint: "usage: \(command.usage)")
    }
  }

  func has(_ name: String) -> Bool { values[name] != nil }
  func list(_ name: String) -> [String] { values[name] ?? [] }
  func string(_ name: String) -> String? { values[name]?.last }

  func require(_ name: String) throws -> String {
    guard let value = string(name) else {
      throw AttuneError.request("attune \(command.name) needs \(name)", hint: "usage: \(command.usage)")
    }
    return value
  }

  func int(_ name: String) throws -> Int? {
    guard let text = string(name) else { return nil }
    guard let value = Int(text) else { throw AttuneError.request("\(name) is '\(text)', a whole number was expected") }
    return value
  }

  func number(_ name: String) throws -> Double? {
    guard let text = string(name) else { return nil }
    guard let value = Double(text), value.isFinite else {
      throw AttuneError.request("\(name) is '\(text)', a number was expected")
    }
    return value
  }
}

/// The whole command line.
enum CommandLineInterface {
  static let version = "0.1.0"

  static let commands: [Command] =
    [runCommand, checkCommand, initCommand]
    + [scoreCommand, generateCommand, tokenizeCommand, renderCommand, preprocessCommand]
    + [objectiveEvalCommand]
    + rewardCommands
    + [dataInspectCommand, dataConvertCommand, dataPairsCommand]
    + runsCommands
    + [
      adapterMergeCommand, adapterExportCommand, adapterCombineCommand, benchKernelsCommand, benchRolloutCommand,
      benchTrainCommand, benchCostCommand, benchRewardCommand, doctorCommand,
    ]

  /// Runs one command; never throws.
  /// - Returns: the exit status: 0 done, 2 the request was wrong, 1 it failed at work.
  static func run(_ words: [String]) -> Int32 {
    do {
      return try dispatch(words)
    } catch let error as AttuneError {
      printError(error.description)
      return error.exitStatus
    } catch is StandardStream.ReaderIsGone {
      return 1
    } catch is CancellationError {
      printError("interrupted")
      return 1
    } catch {
      printError("\(error)")
      return 1
    }
  }

  private static func dispatch(_ words: [String]) throws -> Int32 {
    if words.first == "--version" {
      try printResult("attune \(version)")
      return 0
    }
    if words.isEmpty || words == ["--help"] || words == ["help"] {
      try printResult(overview)
      return words.isEmpty ? 2 : 0
    }
    // Hidden: the process that a reward plugin runs in.
    if words.first == rewardWorkerVerb { return runRewardWorker(Array(words.dropFirst())) }
    // Hidden: what confines itself and then becomes a program that a policy wrote.
    if words.first == CodeSandbox.verb { return CodeSandbox.main(Array(words.dropFirst())) }
    let plain = words.prefix { !$0.hasPrefix("-") }
    guard let command = commands.filter({ plain.starts(with: $0.words) }).max(by: { $0.words.count < $1.words.count })
    else {
      let group = commands.filter { $0.words.first == plain.first }
      if !group.isEmpty {
        if words.contains("--help") {
          for command in group { try printResult("  \(command.usage)\n      \(command.summary)") }
          return 0
        }
        let found = plain.dropFirst().first
        throw AttuneError.request(
          "attune \(plain[0]) \(found.map { "has no verb '\($0)'" } ?? "needs a verb")",
          hint: "one of: \(group.map { $0.words[1] }.joined(separator: ", "))")
      }
      let names = commands.map { $0.words[0] }
      throw AttuneError.request(
        "there is no command '\(words[0])'",
        hint: nearestName(to: words[0], among: names).map { "did you mean 'attune \($0)'?" } ?? "see `attune --help`")
    }
    let rest = Array(words.dropFirst(command.words.count))
    if rest.contains("--help") || rest.contains("-h") {
      try printResult(command.help)
      return 0
    }
    return try command.run(Arguments(command, rest))
  }

  private static var overview: String {
    var text = """
      Attune: reinforcement-learning alignment for multimodal models, in one program.

      Usage: attune COMMAND [words and flags]; `attune COMMAND --help` explains one.

      """
    let width = commands.map(\.name.count).max() ?? 0
    for command in commands {
      text += "\n  \(command.name)\(String(repeating: " ", count: width - command.name.count))  \(command.summary)"
    }
    return text + "\n\nRUN is a run's id, its folder, or `latest`. A single `-` is standard input or output."
  }
}

func printError(_ text: String) {
  StandardStream.remark("attune: " + text.escapingControls() + "\n")
}

/// Progress and remarks: standard error, so that results on standard output stay clean.
func printNote(_ text: String) { StandardStream.remark(text.escapingControls() + "\n") }

/// A result, on standard output.
///
/// - Throws: what `StandardStream.write` throws.
func printResult(_ text: String, terminator: String = "\n") throws { try StandardStream.write(text + terminator) }
