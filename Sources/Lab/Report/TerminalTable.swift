/// A table for the terminal: columns aligned, numbers to the right, one row a line.
public enum TerminalTable {
  /// The table with a rule under its headers; every line ends with a line feed.
  ///
  /// Line ends and escape sequences inside cells are shown as spaces, so that no text of a model can steer the terminal.
  public static func render(headers: [String], rows: [[String]]) -> String {
    let count = max(headers.count, rows.map(\.count).max() ?? 0)
    guard count > 0 else { return "" }
    let table = ([headers] + rows).map { row in (0..<count).map { $0 < row.count ? harmless(row[$0]) : "" } }
    let widths = (0..<count).map { column in table.map { width($0[column]) }.max() ?? 0 }
    let isRight = (0..<count).map { isNumeric(rows, column: $0) }

    func line(_ row: [String]) -> String {
      var line = ""
      for column in 0..<count {
        let padding = String(repeating: " ", count: widths[column] - width(row[column]))
        if column > 0 { line += "  " }
        line += isRight[column] ? padding + row[column] : row[column] + padding
      }
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }

    var text = ""
    if !headers.isEmpty {
      text += line(table[0])
      text += widths.map { String(repeating: "─", count: $0) }.joined(separator: "  ") + "\n"
    }
    return table.dropFirst().reduce(into: text) { $0 += line($1) }
  }

  /// True if every filled cell of a column begins like a number (`0.93`, `−1.2`, `12 s`, `+3 %`) and one is filled.
  static func isNumeric(_ rows: [[String]], column: Int) -> Bool {
    let cells = rows.compactMap { column < $0.count ? $0[column] : nil }.filter { !$0.isEmpty && !isBlank($0) }
    return !cells.isEmpty
      && cells.allSatisfy { cell in
        let digits = cell.unicodeScalars.drop { "+-−±~≈".unicodeScalars.contains($0) }
        return digits.first.map { ("0"..."9").contains($0) } ?? false
      }
  }

  /// Stands for "no value" and decides nothing about a column.
  private static func isBlank(_ cell: String) -> Bool { ["-", "–", "—", "n/a", "nan"].contains(cell) }

  private static func harmless(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }

  /// Cells of a terminal that `text` takes: none for combining marks, two for East Asian wide characters and emoji.
  private static func width(_ text: String) -> Int {
    text.unicodeScalars.reduce(0) { sum, scalar in
      switch scalar.properties.generalCategory {
      case .nonspacingMark, .enclosingMark, .format: return sum
      default: return sum + (isWide(scalar.value) ? 2 : 1)
      }
    }
  }

  private static func isWide(_ value: UInt32) -> Bool {
    switch value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
      0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
      true
    default: false
    }
  }
}
