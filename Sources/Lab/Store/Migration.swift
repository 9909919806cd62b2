import Core

/// One step of a schema's history: named, and never changed once it has shipped. What changes later is a new migration.
struct Migration: Sendable {
  var name: String
  var sql: String

  /// Brings `database` up to the last of `migrations`, each in a transaction of its own.
  ///
  /// - Parameters:
  ///   - kind: what the file is, for errors: "a run store".
  ///   - application: the number in the file's header that says whose it is.
  /// - Returns: true if it was or could be brought up to date; false if something is missing and `canWrite` is false.
  /// - Throws: `AttuneError` (request) if the file is another program's, or was written by a newer version of this one.
  @discardableResult
  static func apply(
    _ migrations: [Migration], to database: Database, kind: String, application: Int, canWrite: Bool
  ) throws -> Bool {
    let location = AttuneError.Location(file: database.path)
    let purpose = "read its version"
    let owner = try database.rows("PRAGMA application_id", for: purpose) { $0.int(0) }.first ?? 0
    let hasTables = try !database.rows("SELECT 1 FROM sqlite_master LIMIT 1", for: purpose) { _ in 1 }.isEmpty
    guard owner == application || !hasTables else {
      throw AttuneError.request("this is a SQLite database, but not \(kind)", at: location)
    }
    let applied =
      hasTables ? try database.rows("SELECT name FROM migrations ORDER BY place", for: purpose) { $0.text(0) } : []
    let known = migrations.map(\.name)
    if let newer = applied.first(where: { !known.contains($0) }) {
      throw AttuneError.request(
        "this is \(kind) of a newer version of attune: it has '\(newer)', and this version knows up to '\(known.last ?? "")'",
        at: location, hint: "use the newer version to look at it")
    }
    let missing = migrations.enumerated().filter { !applied.contains($1.name) }
    guard !missing.isEmpty else { return true }
    guard canWrite else { return false }
    for (place, migration) in missing {
      let purpose = "apply the migration '\(migration.name)'"
      try database.transaction(for: purpose) {
        // Another process may have been quicker since the look above.
        try database.execute(
          "PRAGMA application_id = \(application); CREATE TABLE IF NOT EXISTS migrations (place INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
          for: purpose)
        let done = try database.rows("SELECT 1 FROM migrations WHERE name = ?", .text(migration.name), for: purpose) {
          _ in 1
        }
        guard done.isEmpty else { return }
        try database.execute(migration.sql, for: purpose)
        try database.run("INSERT INTO migrations VALUES (?, ?)", .int(place), .text(migration.name), for: purpose)
      }
    }
    return true
  }
}
