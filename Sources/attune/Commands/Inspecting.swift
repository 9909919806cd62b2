import Core
import Datasets
import Lab

private let columnOption = Command.Option(
  name: "--column", value: "FIELD=NAME", help: "the column that holds a field, such as prompt=question", repeats: true)

private func mapping(_ arguments: Arguments) throws -> ColumnMapping {
  try ColumnMapping(
    arguments.list("--column").map { item in
      guard let equals = item.firstIndex(of: "="), equals != item.startIndex, item.index(after: equals) != item.endIndex
      else { throw AttuneError.request("--column \(item): FIELD=NAME was expected, such as prompt=question") }
      return (String(item[..<equals]), String(item[item.index(after: equals)...]))
    })
}

let dataInspectCommand = Command(
  words: ["data", "inspect"], summary: "what a data file is, and how each task would read it", positionals: ["FILE"],
  options: [columnOption, CommonFlags.json], example: "attune data inspect recipes/data/sums/sums.jsonl",
  details: """
    Every row is read for every task: preference (pairs), unpaired (completions with a label), sft (completions) and rl
    (prompts). The recipe line at the end writes the mapping down, so that it no longer follows from names.
    """
) { arguments in
  let inspection = try DataInspection(file: arguments.positionals[0], mapping: mapping(arguments))
  try printResult(
    arguments.has("--json") ? inspection.json.text(.pretty) : inspection.text.escapingControls(),
    terminator: arguments.has("--json") ? "\n" : "")
  return 0
}

let dataConvertCommand = Command(
  words: ["data", "convert"], summary: "writes a data file's samples as JSON lines for one kind of training",
  positionals: ["FILE"],
  options: [
    .init(name: "--to", value: "preference|unpaired|sft", help: "pairs, completions with a label, or completions"),
    .init(name: "--output", value: "FILE.jsonl", help: "where the rows go"), columnOption,
  ], example: "attune data convert pairs.jsonl --to unpaired --output labels.jsonl",
  details: """
    Prompts and answers become lists of messages; other columns are kept. Of pairs, unpaired makes a desirable and an
    undesirable completion each (chosen is not always good: it is only better), and sft keeps the chosen ones; of labelled
    completions sft keeps the desirable ones.
    """
) { arguments in
  let word = try arguments.require("--to")
  let tasks: [SampleTask] = [.preference, .unpaired, .sft]
  guard let task = tasks.first(where: { $0.rawValue == word }) else {
    throw AttuneError.request("--to is '\(word)', preference, unpaired or sft was expected")
  }
  let output = try arguments.require("--output")
  let result = try DataBench.convert(
    arguments.positionals[0], to: task, output: output, mapping: mapping(arguments))
  let leftOut = result.leftOut > 0 ? ", \(result.leftOut) undesirable ones left out" : ""
  printNote("wrote \(output): \(result.written) samples\(leftOut)")
  return 0
}
