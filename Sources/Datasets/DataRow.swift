import Core

/// A row of a data file, and where it stood there.
struct DataRow: Sendable {
  var columns: JSON.Object
  /// File and line of the row.
  var place: AttuneError.Location
  /// True if a value's own line counts from the file's first line (a JSON array), false if from the row's (JSON lines).
  var positionsAreInFile: Bool

  /// Where `value`, a part of this row, stands in the file.
  func place(of value: JSON) -> AttuneError.Location {
    guard value.position != .none else { return place }
    let line = positionsAreInFile ? Int(value.position.line) : place.line
    return AttuneError.Location(file: place.file, line: line, column: Int(value.position.column))
  }
}

/// Splits a data file into rows: JSON lines, a JSON array, comma- or tab-separated values.
enum DataRows {
  /// The container is told by content; the extension decides only between text tables and JSON.
  ///
  /// - Throws: `AttuneError` with file and line for anything that is not a row.
  static func read(_ file: String) throws -> [DataRow] {
    try rows(of: DataFile.read(file, what: "rows of data"), file: file)
  }

  static func rows(of bytes: [UInt8], file: String) throws -> [DataRow] { try contents(of: bytes, file: file).rows }

  /// The rows, and what they stood in, in words.
  static func contents(of bytes: [UInt8], file: String) throws -> (rows: [DataRow], container: String) {
    let name = file.lowercased()
    let (rows, container): ([DataRow], String)
    if name.hasSuffix(".csv") {
      (rows, container) = (try CSV.rows(of: bytes, separator: UInt8(ascii: ","), file: file), "CSV")
    } else if name.hasSuffix(".tsv") {
      (rows, container) = (try CSV.rows(of: bytes, separator: UInt8(ascii: "\t"), file: file), "TSV")
    } else if firstByte(of: bytes) == UInt8(ascii: "[") {
      (rows, container) = (try array(JSON.parse(bytes, file: file), file: file), "a JSON list")
    } else if name.hasSuffix(".json"), let whole = try? JSON.parse(bytes, file: file) {
      // A mapping around one list of rows is a habit of exporters.
      let lists = whole.object?.values.filter { $0.array != nil } ?? []
      if lists.count == 1, lists[0].array?.first?.object?.isEmpty == false {
        (rows, container) = (try array(lists[0], file: file), "a JSON mapping around a list")
      } else {
        (rows, container) = (try array(.array([whole]), file: file), "one JSON mapping")
      }
    } else {
      (rows, container) = (try lines(bytes, file: file), "JSON lines")
    }
    guard !rows.isEmpty else {
      throw AttuneError.request("the file has no rows, expected at least one", at: .init(file: file))
    }
    return (rows, container)
  }

  private static func firstByte(of bytes: [UInt8]) -> UInt8? {
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    return bytes[start...].first { !isSpace($0) }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }

  private static func array(_ list: JSON, file: String) throws -> [DataRow] {
    try (list.array ?? []).map { element in
      guard let columns = element.object else {
        throw AttuneError.request(
          "this row is \(element.kind), expected a mapping of columns", at: element.location(in: file))
      }
      let line = element.position == .none ? 1 : Int(element.position.line)
      return DataRow(columns: columns, place: .init(file: file, line: line), positionsAreInFile: true)
    }
  }

  private static func lines(_ bytes: [UInt8], file: String) throws -> [DataRow] {
    var rows: [DataRow] = []
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      if line.allSatisfy(isSpace) { continue }
      let value: JSON
      do {
        value = try JSON.parse(line, file: file)
      } catch var error as AttuneError {
        // The parser saw a text of one line; its place in the file is this line.
        error.location = .init(file: file, line: number, column: error.location?.column)
        throw error
      }
      guard let columns = value.object else {
        throw AttuneError.request(
          "this line is \(value.kind), expected one JSON mapping a line", at: .init(file: file, line: number))
      }
      rows.append(DataRow(columns: columns, place: .init(file: file, line: number), positionsAreInFile: false))
    }
    return rows
  }
}
