import Core
import Foundation

/// A run's folder: its store, its lock, its checkpoints, and what it produced.
public struct RunFolder: Sendable, Equatable {
  /// The run's id, such as `2026-11-23T10-15-02-quickstart-1a2b`: in order of time, and a valid file name.
  public let id: String
  /// Absolute.
  public let path: String

  static let storeName = "run.sqlite"

  public var storePath: String { path + "/" + Self.storeName }
  public var checkpointsPath: String { path + "/checkpoints" }
  var lockPath: String { path + "/run.lock" }

  /// Makes the folder of a new run and notes it in the index of `root`.
  ///
  /// - Parameters:
  ///   - root: the folder that holds runs.
  ///   - name: the recipe's name.
  ///   - folder: takes this folder instead of one in `root`; it may exist, but hold no run.
  ///   - time: the start, seconds since 1970.
  ///   - suffix: tells apart runs of one second.
  /// - Throws: `AttuneError` (request) if `folder` holds a run, (work) if it cannot be made.
  public static func create(
    root: String, name: String, at folder: String? = nil, time: Double = Date().timeIntervalSince1970,
    suffix: UInt16 = .random(in: .min ... .max)
  ) throws -> RunFolder {
    let root = absolute(root)
    for attempt in 0..<64 {
      let id = makeID(name: name, time: time, suffix: suffix &+ UInt16(attempt))
      let run = RunFolder(id: id, path: folder.map(absolute) ?? root + "/" + id)
      if folder != nil {
        guard !FileManager.default.fileExists(atPath: run.storePath) else {
          throw AttuneError.request(
            "this folder holds a run already", at: .init(file: run.path),
            hint: "go on with it by 'attune run --resume \(run.path)', or choose another folder")
        }
        try makeFolder(run.path)
        RunIndex.note(run, root: root)
        return run
      }
      try makeFolder(root)
      // Two runs that start at once must not share a folder: whoever makes it has it.
      if mkdir(run.path, 0o755) == 0 { return run }
      guard errno == EEXIST else { throw failure(run.path) }
    }
    throw AttuneError.work("no free name for the run's folder was found", at: .init(file: root))
  }

  /// The run that a person means: `latest`, a run's folder, or its id.
  ///
  /// - Throws: `AttuneError` (request) with the nearest id.
  public static func resolve(_ run: String, root: String = "runs") throws -> RunFolder {
    let root = absolute(root)
    if run == "latest" {
      guard let newest = try RunIndex.entries(root: root).first else {
        throw AttuneError.request(
          "there is no run yet", at: .init(file: root), hint: "start one with 'attune run RECIPE'")
      }
      return newest.folder
    }
    if !run.isEmpty {
      for path in [absolute(run), root + "/" + run] where isRun(path) { return try open(path) }
    }
    let entries = try RunIndex.entries(root: root)
    if let entry = entries.first(where: { $0.folder.id == run }) { return entry.folder }
    var isFolder: ObjCBool = false
    if run.contains("/"), FileManager.default.fileExists(atPath: absolute(run), isDirectory: &isFolder) {
      throw AttuneError.request("this folder holds no run: '\(storeName)' is missing", at: .init(file: run))
    }
    let hint =
      nearestName(to: run, among: entries.map(\.folder.id)).map { "did you mean '\($0)'?" }
      ?? entries.first.map { "the latest run is '\($0.folder.id)'" } ?? "there is no run in \(root) yet"
    throw AttuneError.request("there is no run '\(run)'; expected an id, a run's folder, or 'latest'", hint: hint)
  }

  /// All runs of `root`, newest first: `{"id", "name", "folder", "recipe", "status", "started", "seconds", "stages"}`.
  public static func list(root: String = "runs") throws -> [JSON] {
    try RunIndex.entries(root: absolute(root)).map(\.summary)
  }

  /// A folder that holds a store; its id is the one recorded there.
  static func open(_ path: String) throws -> RunFolder {
    let folder = RunFolder(id: (path as NSString).lastPathComponent, path: path)
    return RunFolder(id: try RunStore.read(folder).start().id, path: path)
  }

  static func isRun(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path + "/" + storeName) }

  /// `path` from the working directory, without `.` and `..`.
  static func absolute(_ path: String) -> String {
    URL(fileURLWithPath: (path as NSString).expandingTildeInPath).standardizedFileURL.path
  }

  /// Time in UTC to the second, the name's letters and digits, four hexadecimal digits.
  static func makeID(name: String, time: Double, suffix: UInt16) -> String {
    var seconds = time_t(exactly: time.rounded(.down)) ?? 0
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let fields = [parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec]
    let digits = fields.map { $0 < 10 ? "0\($0)" : "\($0)" }
    let date = digits[..<3].joined(separator: "-") + "T" + digits[3...].joined(separator: "-")
    let word = String(name.unicodeScalars.prefix(40).map { isPlain($0) ? Character($0) : "-" })
    let hex = String(suffix, radix: 16)
    let tail = String(repeating: "0", count: 4 - hex.count) + hex
    return "\(date)-\(word.isEmpty ? "run" : word)-\(tail)"
  }

  private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_", "-": true
    default: false
    }
  }

  private static func makeFolder(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw failure(path)
    }
  }

  private static func failure(_ path: String) -> AttuneError {
    .work("the run's folder cannot be made: \(String(cString: strerror(errno)))", at: .init(file: path))
  }
}
