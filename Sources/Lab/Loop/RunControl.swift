import AttuneTensor
import Core
import Foundation

/// How people outside the process steer a run: files in the run's folder that the loop looks at between steps.
public struct RunControl: Sendable {
  private let path: String

  public init(_ folder: RunFolder) { path = folder.path + "/pause" }

  /// True while the run is to stand still.
  public var isPauseRequested: Bool { FileManager.default.fileExists(atPath: path) }

  /// Asks a running run to stand still after its step.
  ///
  /// - Throws: `AttuneError` (request) if nobody is running it.
  public static func pause(_ folder: RunFolder) throws {
    let status = try RunStore.read(folder).status()
    guard status == .running || status == .paused else {
      throw AttuneError.request("run \(folder.id) is \(status.rawValue): only a run that is running can be paused")
    }
    try RunControl(folder).request()
    try waitUntilPaused(folder)
  }

  /// Waits until a run that was asked to stands still: what is rebuilt before would not be seen when it goes on.
  ///
  /// - Throws: `AttuneError` (work) if it came to its end instead.
  private static func waitUntilPaused(_ folder: RunFolder) throws {
    while true {
      let status = try RunStore.read(folder).status()
      if status == .paused { return }
      guard status == .running else {
        try RunControl(folder).clear()
        throw AttuneError.work("run \(folder.id) is \(status.rawValue): it came to its end before it could stand still")
      }
      Thread.sleep(forTimeInterval: 0.05)
    }
  }

  /// Lets a paused run go on; one that was asked to pause and still finishes its step is waited for.
  ///
  /// - Throws: `AttuneError` (request) if it is not paused.
  public static func `continue`(_ folder: RunFolder) throws {
    let control = RunControl(folder)
    let status = try RunStore.read(folder).status()
    guard control.isPauseRequested, status == .running || status == .paused else {
      throw AttuneError.request(
        "run \(folder.id) is not paused, it is \(status.rawValue)",
        hint: status == .interrupted ? "go on with it by 'attune run --resume \(folder.path)'" : nil)
    }
    try waitUntilPaused(folder)
    try control.clear()
  }

  func request() throws { try AtomicFile.write(path, text: "") }

  func clear() throws {
    guard isPauseRequested else { return }
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw AttuneError.work("the file cannot be removed: \(error.localizedDescription)", at: .init(file: path))
    }
  }
}
