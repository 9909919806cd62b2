import Core
import Datasets

/// What `attune data inspect` and `attune data convert` do.
public enum DataBench {
  /// Writes a file's samples as JSON lines in the form that other trainers read too: `prompt` and answers as lists of
  /// messages, a pair's as `chosen` and `rejected`, a judged one's as `completion` with `label`.
  ///
  /// Judged completions become examples to imitate only if they are desirable.
  ///
  /// - Parameter task: what the rows are read and written for.
  /// - Returns: samples written, and undesirable ones that were left out.
  /// - Throws: `AttuneError` with file and line of the first row that does not hold what is wanted; nothing is written.
  public static func convert(
    _ path: String, to task: SampleTask, output: String, mapping: ColumnMapping = ColumnMapping()
  ) throws -> (written: Int, leftOut: Int) {
    var samples =
      try judgements(path, task, mapping) ?? DataConversion.samples(file: path, task: task, mapping: mapping)
    let count = samples.count
    if task == .sft {
      samples.removeAll { $0.label == false }
      guard !samples.isEmpty else {
        throw AttuneError.request("no completion of this file is desirable", at: .init(file: path))
      }
      for i in samples.indices { samples[i].label = nil }
    }
    var file = SampleFile(output, answersAreMessages: true)
    for sample in samples { file.add(sample.withUnreadColumns, images: try file.images(of: sample)) }
    try file.finish()
    return (samples.count, count - samples.count)
  }

  /// What is to be imitated of a file whose every row is a labelled completion; nil for other files and tasks.
  private static func judgements(_ path: String, _ task: SampleTask, _ mapping: ColumnMapping) throws -> [Sample]? {
    guard task == .sft else { return nil }
    let inspection = try DataInspection(file: path, mapping: mapping)
    guard let best = inspection.best, best.task == .unpaired, best.rows == inspection.rows else { return nil }
    return try DataConversion.samples(file: path, task: .unpaired, mapping: mapping)
  }
}

extension DataInspection {
  /// The recipe's words for this file, ready to be put under `data:`.
  public var recipeBlock: String {
    let columns = (best?.mapping ?? []).filter { $0.field != $0.column }
    let entries =
      [("kind", "jsonl"), ("file", JSON.string(file).text())]
      + columns.map { ($0.field, JSON.string($0.column).text()) }
    return "train: {" + entries.map { "\($0.0): \($0.1)" }.joined(separator: ", ") + "}"
  }

  public var json: JSON {
    .object([
      ("file", .string(file)), ("container", .string(container)), ("rows", .int(rows)),
      (
        "columns",
        .array(
          columns.map {
            [
              "name": .string($0.name), "rows": .int($0.rows), "kinds": .array($0.kinds.map(JSON.string)),
            ]
          })
      ),
      ("readings", .array(readings.map(\.json))), ("task", best.map { .string($0.task.rawValue) } ?? .null),
      ("recipe", .string(recipeBlock)),
      ("first", best?.first.map { JSON(.object($0.withUnreadColumns.row(images: $0.pictureFiles))) } ?? .null),
    ])
  }

  /// Tables for a person.
  public var text: String {
    var text = "\(file): \(container), \(rows) rows\n\n"
    text += TerminalTable.render(
      headers: ["column", "rows", "holds"],
      rows: columns.map { [$0.name, String($0.rows), $0.kinds.joined(separator: ", ")] })
    text +=
      "\n"
      + TerminalTable.render(
        headers: ["read for", "rows", "samples", "taken for what, or what is wrong"],
        rows: readings.flatMap { reading in
          let lines =
            reading.decisions.map { "\($0.text) (\($0.rows) rows)" }
            + [reading.refusal.map { "\($0.location.map { "\($0): " } ?? "")\($0.message)" }].compactMap { $0 }
          return lines.enumerated().map { i, line in
            i == 0 ? [reading.task.rawValue, String(reading.rows), String(reading.samples), line] : ["", "", "", line]
          }
        })
    guard let best, let first = best.first else { return text + "\nno row can be read for any task\n" }
    text += "\nthe first sample, read for \(best.task.rawValue):\n"
    text += JSON(.object(first.withUnreadColumns.row(images: first.pictureFiles))).text(.pretty) + "\n"
    return text + "\nin a recipe:\n  \(recipeBlock)\n"
  }
}

extension DataInspection.Reading {
  fileprivate var json: JSON {
    .object([
      ("task", .string(task.rawValue)), ("rows", .int(rows)), ("samples", .int(samples)),
      ("decisions", .array(decisions.map { ["reading": .string($0.text), "rows": .int($0.rows)] })),
      ("refusal", refusal.map { .string($0.description) } ?? .null),
    ])
  }
}
