import Core
import Foundation

/// Everything that a run recorded: one SQLite file in the run's folder, with one writer, and readers at any time.
///
/// Rows are keyed by (stage, step, prompt, index): writing a step again replaces it. Each call is one transaction; a
/// process killed at any instant leaves a store that holds whole calls. Safe to use from several threads.
///
/// Safety: `connection` is the only member that is not `Sendable`; it is used in `withDatabase` alone, under `mutex`.
public final class RunStore: @unchecked Sendable {
  public let folder: RunFolder
  private let connection: Database
  private let mutex = NSLock()
  /// Held by the writer, nil in readers.
  private let lock: RunLock?

  private init(_ folder: RunFolder, _ database: Database, lock: RunLock?) {
    self.folder = folder
    connection = database
    self.lock = lock
  }

  /// Starts the record of a new run in `folder`; what a killed attempt left there before its first step is replaced.
  ///
  /// - Parameter started: seconds since 1970.
  /// - Throws: `AttuneError` (work) if another process is writing the run.
  public static func create(
    in folder: RunFolder, _ start: Start, stages: [Stage], started: Double = Date().timeIntervalSince1970
  ) throws -> RunStore {
    let store = try openForWriting(folder, mode: .creating)
    try store.withDatabase { database in
      try database.transaction(for: "record the run's start") {
        for table in [
          "run", "stages", "metrics", "prompts", "rollouts", "rewards", "components", "pictures", "prompt_pictures",
          "evaluations", "evaluation_pictures", "outcomes", "events", "surveys", "alarms", "reward_versions",
        ] { try database.execute("DELETE FROM \(table)", for: "clear the run") }
        try database.run(
          "INSERT INTO run VALUES (0, ?, ?, ?, ?, ?, ?, ?, 0, ?, NULL)", .text(folder.id), .text(start.name),
          .text(start.file), .text(start.recipe), .text(start.effective.text()), .text(Status.running.rawValue),
          .double(started), .text(start.host.text()), for: "record the run's start")
        for (index, stage) in stages.enumerated() {
          try database.run(
            "INSERT INTO stages VALUES (?, ?, ?, 0, ?, 0)", .int(index), .text(stage.name), .text(stage.objective),
            .int(stage.steps), for: "record the run's stages")
        }
      }
    }
    return store
  }

  /// Opens a run to go on with it, and marks it running.
  public static func open(_ folder: RunFolder) throws -> RunStore {
    try requireFile(folder)
    let store = try openForWriting(folder, mode: .writing)
    try store.withDatabase { database in
      let purpose = "mark the run as running"
      try database.run("UPDATE run SET status = ?", .text(Status.running.rawValue), for: purpose)
    }
    return store
  }

  /// Opens a run to look at it, also while it is being written.
  public static func read(_ folder: RunFolder) throws -> RunStore {
    try requireFile(folder)
    let database = try openForReading(folder.storePath)
    if try !migrate(database, canWrite: false) {
      // The run of an older version, or one killed in its first instant: bring it up to date through a writer.
      try migrate(try Database(folder.storePath, .writing), canWrite: true)
    }
    return RunStore(folder, database, lock: nil)
  }

  private static func openForWriting(_ folder: RunFolder, mode: Database.Mode) throws -> RunStore {
    let lock = try RunLock(folder.lockPath)
    let database = try Database(folder.storePath, mode)
    try migrate(database, canWrite: true)
    try database.useWriteAheadLog()
    return RunStore(folder, database, lock: lock)
  }

  private static func openForReading(_ path: String) throws -> Database {
    do {
      let database = try Database(path, .reading)
      _ = try database.rows("SELECT 1 FROM sqlite_master LIMIT 1", for: "open it") { _ in 1 }
      return database
    } catch let error as AttuneError where error.kind == .work {
      // A reader shares the write-ahead log through a file beside the store. Where that cannot be made (a folder
      // without write permission), a store that nobody writes can be read as it is.
      guard !FileManager.default.isWritableFile(atPath: (path as NSString).deletingLastPathComponent),
        !FileManager.default.fileExists(atPath: path + "-wal"),
        let escaped = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed)
      else { throw error }
      return try Database("file:\(escaped)?immutable=1", .reading)
    }
  }

  @discardableResult
  private static func migrate(_ database: Database, canWrite: Bool) throws -> Bool {
    try Migration.apply(
      RunSchema.migrations, to: database, kind: "a run store", application: RunSchema.application, canWrite: canWrite)
  }

  private static func requireFile(_ folder: RunFolder) throws {
    guard FileManager.default.fileExists(atPath: folder.storePath) else {
      throw AttuneError.request(
        "this folder holds no run: '\(RunFolder.storeName)' is missing", at: .init(file: folder.path))
    }
  }

  /// True in the process and object that writes the run.
  public var isWriter: Bool { lock != nil }

  /// The connection, for one call at a time.
  func withDatabase<T>(_ body: (Database) throws -> T) rethrows -> T {
    mutex.lock()
    defer { mutex.unlock() }
    return try body(connection)
  }
}
