import Core

/// Rows of a `.jsonl`, `.json`, `.csv` or `.tsv` file as samples.
///
/// A row is `{messages: […]}`, `{prompt, completion}` or `{query | question | …, response | answer | …}`; prompts and
/// completions are texts or lists of messages (`role` and `content`, or `from` and `value`), contents texts or typed
/// parts. A pair is `{prompt, chosen, rejected}`, two whole dialogues `{chosen, rejected}`, `{messages,
/// rejected_response}` or `{question, response_j, response_k}`; a judged completion has a `label` or `kto_tag`. Pictures come from an `images` column, in the order of `<image>` placeholders in texts of prompts and of typed
/// parts without a source of their own, or from the parts themselves.
///
/// Everything but the pictures' pixels is checked when the source is made, so a bad row stops a run before it starts.
public struct JSONLSource: SampleSource {
  /// How the columns were understood, one line for each reading that occurs, with the number of rows.
  public let decisions: [String]

  private let rows: [ImportedRow]
  private let loadPicture: PictureLoader

  public var count: Int? { rows.count }
  public var labelCounts: LabelCounts? { LabelCounts(rows.compactMap(\.label)) }

  /// - Parameters:
  ///   - task: what a row must hold, and whether an answer column is the completion (`sft`, `unpaired`) or the reference.
  ///     Pairs that are read for `unpaired` give two samples a row, the chosen completion and then the rejected one;
  ///     those that are read for `sft` give the chosen one.
  ///   - mapping: columns named by the user; the rest is found by the names in common use.
  ///   - imageFolder: where relative picture paths begin; nil is the file's own folder.
  ///   - loadPicture: decodes one picture file.
  /// - Throws: `AttuneError` with file, line and column of the first bad row: what was found and what was expected.
  public init(
    file: String, task: SampleTask, mapping: ColumnMapping = ColumnMapping(), imageFolder: String? = nil,
    loadPicture: @escaping PictureLoader
  ) throws {
    let importer = RowImporter(
      task: task, mapping: mapping, imageFolder: imageFolder ?? DataFile.folder(of: file))
    let data = try DataRows.read(file)
    var imported: [ImportedRow] = []
    imported.reserveCapacity(data.count)
    var readings: [RowReading] = []
    var counts: [RowReading: Int] = [:]
    for row in data {
      let result = try importer.importRow(row)
      if counts[result.reading] == nil { readings.append(result.reading) }
      counts[result.reading, default: 0] += 1
      imported += result.rows
    }
    rows = imported
    decisions = readings.map { "\($0) (\(counts[$0] ?? 0) rows)" }
    self.loadPicture = loadPicture
  }

  public func sample(at index: Int) throws -> Sample {
    precondition(rows.indices.contains(index), "sample \(index) of \(rows.count)")
    let row = rows[index]
    let pictures = try row.pictures.map { path in
      do {
        return try loadPicture(path)
      } catch var error as AttuneError {
        // The picture's own error stays the message; the row that wants it is the hint's business.
        let wanted = "the picture belongs to \(row.place)"
        error.hint = error.hint.map { "\($0); \(wanted)" } ?? wanted
        throw error.located(in: path)
      }
    }
    return row.sample(id: index, pictures: pictures)
  }
}
