import Core

/// What a data file is: its container, its columns, what its rows can be read for and how, and the first sample.
public struct DataInspection: Sendable {
  /// What reading every row for one task gave.
  public struct Reading: Sendable {
    public let task: SampleTask
    /// Rows that can be read.
    public let rows: Int
    public let samples: Int
    /// Which column is taken for what, with the number of rows, in order of appearance.
    public let decisions: [(text: String, rows: Int)]
    /// What is wrong with the first row that cannot be read.
    public let refusal: AttuneError?
    /// Fields and the columns that hold them in the first row that can be read; those that no column holds as it is are
    /// left out.
    public let mapping: [(field: String, column: String)]
    /// Without the pixels of its pictures.
    public let first: Sample?
  }

  public struct Column: Sendable {
    public let name: String
    /// Rows that have it with a value.
    public let rows: Int
    /// The kinds of its values, in order of appearance.
    public let kinds: [String]
  }

  public let file: String
  public let container: String
  public let rows: Int
  public let columns: [Column]
  /// The most telling task first: pairs before labels before completions before prompts.
  public let readings: [Reading]

  /// - Throws: `AttuneError` with file and line for anything that is no row.
  public init(file: String, mapping: ColumnMapping = ColumnMapping()) throws {
    let (data, container) = try DataRows.contents(of: DataFile.read(file, what: "rows of data"), file: file)
    self.file = file
    self.container = container
    rows = data.count
    columns = Self.columns(of: data)
    readings = [.preference, .unpaired, .sft, .rl].map { task in
      Self.reading(
        data, RowImporter(task: task, mapping: mapping, imageFolder: DataFile.folder(of: file)))
    }
  }

  /// The first task that every row can be read for; of none, the one with the most rows.
  public var best: Reading? {
    if let whole = readings.first(where: { $0.rows == rows }) { return whole }
    return readings.max { $0.rows < $1.rows }.flatMap { $0.rows > 0 ? $0 : nil }
  }

  private static func columns(of data: [DataRow]) -> [Column] {
    var order: [String] = []
    var found: [String: (rows: Int, kinds: [String])] = [:]
    for row in data {
      for (name, value) in row.columns.entries {
        if found[name] == nil { order.append(name) }
        var seen = found[name] ?? (0, [])
        if !value.isNull { seen.rows += 1 }
        if !seen.kinds.contains(value.kind) { seen.kinds.append(value.kind) }
        found[name] = seen
      }
    }
    return order.map { Column(name: $0, rows: found[$0]?.rows ?? 0, kinds: found[$0]?.kinds ?? []) }
  }

  private static func reading(_ data: [DataRow], _ importer: RowImporter) -> Reading {
    var (rows, samples) = (0, 0)
    var order: [RowReading] = []
    var counts: [RowReading: Int] = [:]
    var refusal: AttuneError?
    var first: (row: ImportedRow, mapping: [(field: String, column: String)])?
    for row in data {
      do {
        let result = try importer.importRow(row)
        rows += 1
        samples += result.rows.count
        if counts[result.reading] == nil { order.append(result.reading) }
        counts[result.reading, default: 0] += 1
        if first == nil, let imported = result.rows.first {
          let fields = result.reading.fields.filter { row.columns[$0.column] != nil && $0.name != "system" }
          first = (imported, fields.map { ($0.name, $0.column) })
        }
      } catch {
        if refusal == nil { refusal = error as? AttuneError ?? .work("\(error)", at: row.place) }
      }
    }
    return Reading(
      task: importer.task, rows: rows, samples: samples,
      decisions: order.map { ($0.description, counts[$0] ?? 0) }, refusal: refusal, mapping: first?.mapping ?? [],
      first: first?.row.sample(id: 0, pictures: []))
  }
}

/// The samples of a data file without the pixels of their pictures, to be written on in another shape.
public enum DataConversion {
  /// - Parameter task: what the rows are read for.
  /// - Throws: `AttuneError` with file and line of the first row that cannot be read.
  public static func samples(file: String, task: SampleTask, mapping: ColumnMapping = ColumnMapping()) throws
    -> [Sample]
  {
    let importer = RowImporter(task: task, mapping: mapping, imageFolder: DataFile.folder(of: file))
    var samples: [Sample] = []
    for row in try DataRows.read(file) {
      for imported in try importer.importRow(row).rows {
        samples.append(imported.sample(id: samples.count, pictures: []))
      }
    }
    return samples
  }
}
