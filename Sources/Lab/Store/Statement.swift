import CSQLite
import Core

/// A prepared statement. It belongs to one `Database` and is used only while that is.
final class Statement {
  private let handle: OpaquePointer
  private let database: OpaquePointer
  private let path: String

  init(_ sql: String, database: OpaquePointer, path: String, purpose: String) throws {
    var prepared: OpaquePointer?
    let code = sqlite3_prepare_v3(database, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
    guard code == SQLITE_OK, let prepared else {
      throw Database.error(code, database, path: path, purpose: purpose)
    }
    handle = prepared
    self.database = database
    self.path = path
  }

  deinit { sqlite3_finalize(handle) }

  /// Runs the statement to its end; `row` sees every row.
  func run(_ values: [SQLValue], purpose: String, row: (Statement) throws -> Void = { _ in }) throws {
    defer {
      sqlite3_reset(handle)
      sqlite3_clear_bindings(handle)
    }
    for (index, value) in values.enumerated() { try bind(value, at: Int32(index + 1), purpose: purpose) }
    while true {
      let code = sqlite3_step(handle)
      switch code {
      case SQLITE_ROW: try row(self)
      case SQLITE_DONE: return
      default: throw Database.error(code, database, path: path, purpose: purpose)
      }
    }
  }

  private func bind(_ value: SQLValue, at place: Int32, purpose: String) throws {
    let code: Int32
    switch value {
    case .null: code = sqlite3_bind_null(handle, place)
    case .int(let x): code = sqlite3_bind_int64(handle, place, Int64(x))
    case .double(let x): code = sqlite3_bind_double(handle, place, x)
    case .text(let x):
      var copy = x
      code = copy.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { text in
          // An empty Swift string may have no address; NULL would bind NULL.
          text.baseAddress.map { attune_sqlite_bind_text(handle, place, $0, Int32(clamping: text.count)) }
            ?? attune_sqlite_bind_text(handle, place, "", 0)
        }
      }
    case .blob(let x):
      code = x.withUnsafeBytes {
        attune_sqlite_bind_blob(handle, place, $0.baseAddress, Int32(clamping: $0.count))
      }
    }
    guard code == SQLITE_OK else { throw Database.error(code, database, path: path, purpose: purpose) }
  }

  // MARK: Columns of the current row, counted from 0

  func isNull(_ column: Int) -> Bool { sqlite3_column_type(handle, Int32(column)) == SQLITE_NULL }
  func int(_ column: Int) -> Int { Int(sqlite3_column_int64(handle, Int32(column))) }
  func double(_ column: Int) -> Double { sqlite3_column_double(handle, Int32(column)) }
  func text(_ column: Int) -> String {
    guard let bytes = sqlite3_column_text(handle, Int32(column)) else { return "" }
    let count = Int(sqlite3_column_bytes(handle, Int32(column)))
    return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }
  func blob(_ column: Int) -> [UInt8] {
    guard let bytes = sqlite3_column_blob(handle, Int32(column)) else { return [] }
    return [UInt8](UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(handle, Int32(column)))))
  }
  func optionalDouble(_ column: Int) -> Double? { isNull(column) ? nil : double(column) }
  func optionalText(_ column: Int) -> String? { isNull(column) ? nil : text(column) }

  /// The column as JSON: null, a number or a string.
  func json(_ column: Int) -> JSON {
    switch sqlite3_column_type(handle, Int32(column)) {
    case SQLITE_INTEGER: .int(int(column))
    case SQLITE_FLOAT: .double(double(column))
    case SQLITE_TEXT: .string(text(column))
    default: .null
    }
  }

  /// JSON that was stored as text; null if it cannot be read.
  func storedJSON(_ column: Int) -> JSON { (try? JSON.parse(text(column))) ?? .null }
}
