import Core
import Foundation

/// A small file beside the runs that spares opening each of them to list them all.
///
/// It holds nothing that the runs do not hold, but for the places of runs outside the folder; when it is missing,
/// broken or cannot be written, the runs are read instead.
enum RunIndex {
  struct Entry: Sendable {
    var folder: RunFolder
    var summary: JSON
  }

  static let name = "index.sqlite"
  /// 'Atix' in the file's header.
  private static let application = 0x4174_6978
  private static let migrations = [
    Migration(
      name: "summaries",
      sql: """
        CREATE TABLE runs (
          folder TEXT PRIMARY KEY, id TEXT NOT NULL, stamp TEXT NOT NULL, summary TEXT NOT NULL) WITHOUT ROWID;
        """)
  ]

  /// Notes a run, wherever it lies, so that its id and `latest` find it. Failing to is no reason to stop a run.
  static func note(_ folder: RunFolder, root: String) {
    try? FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    try? open(root).run(
      "INSERT OR REPLACE INTO runs VALUES (?, ?, '', '{}')", .text(folder.path), .text(folder.id), for: "note a run")
  }

  /// All runs, newest first.
  static func entries(root: String) throws -> [Entry] {
    guard FileManager.default.fileExists(atPath: root) else { return [] }
    let index = try open(root)
    let known = try index.rows("SELECT folder, id, stamp, summary FROM runs", for: "list the runs") {
      (folder: $0.text(0), id: $0.text(1), stamp: $0.text(2), summary: $0.storedJSON(3))
    }
    let inside = ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).map { root + "/" + $0 }
    var folders = Set(inside.filter(RunFolder.isRun))
    var cached: [String: (id: String, stamp: String, summary: JSON)] = [:]
    for run in known {
      guard RunFolder.isRun(run.folder) else {
        // A folder without a store is a run that is about to begin.
        if !FileManager.default.fileExists(atPath: run.folder) {
          try? index.run("DELETE FROM runs WHERE folder = ?", .text(run.folder), for: "forget a run")
        }
        continue
      }
      folders.insert(run.folder)
      cached[run.folder] = (run.id, run.stamp, run.summary)
    }
    let entries = folders.map { path in
      let stamp = self.stamp(path)
      // What a running run says of itself changes without a trace when its process dies.
      if let hit = cached[path], hit.stamp == stamp, !isRunning(hit.summary) {
        return Entry(folder: RunFolder(id: hit.id, path: path), summary: hit.summary)
      }
      let entry = read(path)
      try? index.run(
        "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", .text(path), .text(entry.folder.id), .text(stamp),
        .text(entry.summary.text()), for: "index a run")
      return entry
    }
    return entries.sorted { order($0) > order($1) }
  }

  private static func isRunning(_ summary: JSON) -> Bool {
    [RunStore.Status.running, .paused].contains { $0.rawValue == summary["status"]?.string }
  }

  private static func order(_ entry: Entry) -> (Double, String) {
    (entry.summary["started"]?.double ?? 0, entry.folder.id)
  }

  /// The run's own word; a store that cannot be read is listed with the reason.
  private static func read(_ path: String) -> Entry {
    var folder = RunFolder(id: (path as NSString).lastPathComponent, path: path)
    do {
      let shown = try RunStore.read(folder).show()
      folder = RunFolder(id: shown["id"]?.string ?? folder.id, path: path)
      var summary = JSON.Object()
      for key in ["id", "name", "folder", "recipe", "status", "started", "seconds"] { summary[key] = shown[key] }
      summary["stages"] = .array(
        (shown["stages"]?.array ?? []).map { stage in
          ["name": stage["name"] ?? .null, "objective": stage["objective"] ?? .null, "steps": stage["steps"] ?? .null]
        })
      return Entry(folder: folder, summary: JSON(.object(summary)))
    } catch {
      return Entry(
        folder: folder,
        summary: [
          "id": .string(folder.id), "folder": .string(path), "status": "unreadable", "error": .string("\(error)"),
        ])
    }
  }

  /// Changes whenever the store does.
  private static func stamp(_ path: String) -> String {
    [RunFolder.storeName, RunFolder.storeName + "-wal"].map { name in
      let facts = try? FileManager.default.attributesOfItem(atPath: path + "/" + name)
      let size = (facts?[.size] as? NSNumber)?.intValue ?? 0
      let time = (facts?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
      return size == 0 ? "-" : "\(size)@\(time)"
    }.joined(separator: " ")
  }

  /// The index of `root`, made anew if it is broken; one that vanishes if none can be made.
  private static func open(_ root: String) throws -> Database {
    let path = root + "/" + name
    if let index = try? openFile(path) { return index }
    if mayBeReplaced(path) {
      for suffix in ["", "-wal", "-shm", "-journal"] { try? FileManager.default.removeItem(atPath: path + suffix) }
      if let index = try? openFile(path) { return index }
    }
    let index = try Database(":memory:", .creating)
    try migrate(index)
    return index
  }

  private static func openFile(_ path: String) throws -> Database {
    let index = try Database(path, .creating)
    // What is lost by a power cut is read from the runs again.
    try index.execute("PRAGMA synchronous = OFF", for: "set the index up")
    try migrate(index)
    _ = try index.rows("SELECT count(*) FROM runs", for: "look at the index") { $0.int(0) }
    return index
  }

  private static func migrate(_ database: Database) throws {
    try Migration.apply(migrations, to: database, kind: "an index of runs", application: application, canWrite: true)
  }

  /// True for what is broken; false for another program's database and for the index of a newer version.
  private static func mayBeReplaced(_ path: String) -> Bool {
    guard let database = try? Database(path, .reading),
      let owner = try? database.rows("PRAGMA application_id", for: "look at the index", { $0.int(0) }).first
    else { return true }
    guard owner == application else { return false }
    let names = try? database.rows("SELECT name FROM migrations", for: "look at the index") { $0.text(0) }
    return names?.allSatisfy { name in migrations.contains { $0.name == name } } ?? true
  }
}
