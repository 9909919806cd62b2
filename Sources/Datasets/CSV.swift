import Core

/// Text tables (RFC 4180): a header line of column names, then rows; every cell is a string.
enum CSV {
  static func rows(of bytes: [UInt8], separator: UInt8, file: String) throws -> [DataRow] {
    var reader = Reader(bytes: bytes, separator: separator, file: file)
    guard let header = try reader.record() else { return [] }
    var names = Set<String>()
    for name in header.cells where !names.insert(name).inserted {
      throw AttuneError.request("the header names '\(name)' twice, expected different names", at: header.place)
    }
    var rows: [DataRow] = []
    while let record = try reader.record() {
      if record.cells == [""] { continue }
      guard record.cells.count == header.cells.count else {
        throw AttuneError.request(
          "this row has \(record.cells.count) cells, expected \(header.cells.count) as in the header", at: record.place)
      }
      let columns = JSON.Object(zip(header.cells, record.cells.map { JSON.string($0) }))
      rows.append(DataRow(columns: columns, place: record.place, positionsAreInFile: true))
    }
    return rows
  }

  private struct Record {
    var cells: [String]
    /// The line on which the record begins.
    var place: AttuneError.Location
  }

  private struct Reader {
    let bytes: [UInt8]
    let separator: UInt8
    let file: String
    var at: Int
    var line = 1

    init(bytes: [UInt8], separator: UInt8, file: String) {
      self.bytes = bytes
      self.separator = separator
      self.file = file
      at = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    }

    mutating func record() throws -> Record? {
      guard at < bytes.count else { return nil }
      var record = Record(cells: [], place: .init(file: file, line: line))
      while true {
        try record.cells.append(cell(at: record.place))
        guard at < bytes.count else { return record }
        let end = bytes[at]
        at += 1
        if end == separator { continue }
        if end == UInt8(ascii: "\r"), at < bytes.count, bytes[at] == UInt8(ascii: "\n") { at += 1 }
        line += 1
        return record
      }
    }

    /// One cell; `at` is left on the separator, the line's end or the file's.
    private mutating func cell(at place: AttuneError.Location) throws -> String {
      var text: [UInt8] = []
      if at < bytes.count, bytes[at] == UInt8(ascii: "\"") {
        at += 1
        while true {
          guard at < bytes.count else {
            throw AttuneError.request("a quoted cell of this row is never closed, expected '\"'", at: place)
          }
          let byte = bytes[at]
          at += 1
          if byte == UInt8(ascii: "\"") {
            if at < bytes.count, bytes[at] == UInt8(ascii: "\"") { at += 1 } else { break }
          } else if byte == UInt8(ascii: "\n") {
            line += 1
          }
          text.append(byte)
        }
        guard at == bytes.count || endsCell(bytes[at]) else {
          throw AttuneError.request(
            "text follows a quoted cell, expected a separator or the line's end", at: .init(file: file, line: line))
        }
      } else {
        let start = at
        while at < bytes.count, !endsCell(bytes[at]) { at += 1 }
        text = Array(bytes[start..<at])
      }
      guard let cell = String(validating: text, as: UTF8.self) else {
        throw AttuneError.request("a cell is not UTF-8", at: .init(file: file, line: line))
      }
      return cell
    }

    private func endsCell(_ byte: UInt8) -> Bool {
      byte == separator || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
    }
  }
}
