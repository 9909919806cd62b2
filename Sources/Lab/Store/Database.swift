import CSQLite
import Core

/// One connection to a SQLite file. Not for use by two threads at once; its owner sees to that.
///
/// Errors say what was being done and what SQLite answers, never a bound value: prompts and completions stay out of logs.
final class Database {
  enum Mode { case reading, writing, creating }

  let path: String
  private let handle: OpaquePointer
  private var statements: [String: Statement] = [:]

  /// Opens `path`; `:memory:` is a database that vanishes with the connection.
  init(_ path: String, _ mode: Mode) throws {
    let flags =
      switch mode {
      case .reading: SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
      case .writing: SQLITE_OPEN_READWRITE
      case .creating: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
      }
    var opened: OpaquePointer?
    let code = sqlite3_open_v2(path, &opened, flags | SQLITE_OPEN_NOMUTEX, nil)
    guard code == SQLITE_OK, let opened else {
      let error = Database.error(code, opened, path: path, purpose: "open it")
      sqlite3_close(opened)
      throw error
    }
    handle = opened
    self.path = path
    sqlite3_extended_result_codes(handle, 1)
    sqlite3_busy_timeout(handle, 10_000)
  }

  deinit {
    statements.removeAll()
    sqlite3_close_v2(handle)
  }

  /// Write-ahead log, which lets others read while one writes. A commit survives the process's death at once, and
  /// the machine's after `synchronous` was FULL.
  func useWriteAheadLog() throws {
    try execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF", for: "set it up")
  }

  /// Runs statements that have no values and whose rows are of no interest.
  func execute(_ sql: String, for purpose: String) throws {
    let code = sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw Database.error(code, handle, path: path, purpose: purpose) }
  }

  /// Runs one statement, which is prepared once per connection.
  func run(_ sql: String, _ values: SQLValue..., for purpose: String) throws {
    try statement(sql, purpose).run(values, purpose: purpose)
  }

  /// The rows of a query.
  func rows<T>(_ sql: String, _ values: SQLValue..., for purpose: String, _ make: (Statement) throws -> T) throws -> [T]
  {
    var rows: [T] = []
    try statement(sql, purpose).run(values, purpose: purpose) { rows.append(try make($0)) }
    return rows
  }

  private func statement(_ sql: String, _ purpose: String) throws -> Statement {
    if let known = statements[sql] { return known }
    let new = try Statement(sql, database: handle, path: path, purpose: purpose)
    statements[sql] = new
    return new
  }

  /// All that `body` writes, or nothing of it.
  func transaction<T>(for purpose: String, _ body: () throws -> T) throws -> T {
    try execute("BEGIN IMMEDIATE", for: purpose)
    do {
      let result = try body()
      try execute("COMMIT", for: purpose)
      return result
    } catch {
      // After some failures SQLite has rolled back by itself, and this one fails; the first error is the one to tell.
      try? execute("ROLLBACK", for: purpose)
      throw error
    }
  }

  static func error(_ code: Int32, _ handle: OpaquePointer?, path: String, purpose: String) -> AttuneError {
    let answer = handle.flatMap { sqlite3_errmsg($0) } ?? sqlite3_errstr(code)
    let message = answer.map { String(cString: $0) } ?? "error \(code)"
    let location = AttuneError.Location(file: path)
    switch code & 0xFF {
    case SQLITE_NOTADB:
      return .request("this is not a SQLite database; expected a file that attune wrote", at: location)
    case SQLITE_CORRUPT: return .work("the database is damaged; could not \(purpose): \(message)", at: location)
    case SQLITE_FULL: return .work("the disk is full; could not \(purpose)", at: location)
    case SQLITE_BUSY:
      return .work("could not \(purpose): another process has been writing for ten seconds", at: location)
    default: return .work("could not \(purpose): \(message)", at: location)
    }
  }
}
