import Foundation

/// The program itself, run as people run it.
public enum Program {
  /// `ATTUNE_BINARY`, or the one that was built beside the tests.
  public static let path: String = {
    if let given = ProcessInfo.processInfo.environment["ATTUNE_BINARY"], !given.isEmpty { return given }
    let beside =
      Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }?.bundleURL.deletingLastPathComponent()
      ?? Bundle.main.bundleURL
    return beside.appendingPathComponent("attune").path
  }()

  public struct Result: Sendable {
    public let status: Int32
    public let output: String
    public let errors: String
  }

  /// A started process; its output goes to files, so that nothing blocks.
  public final class Running: @unchecked Sendable {
    // Safety: used by the one test that started it.
    public let process = Process()
    private let folder: String

    init(_ arguments: [String], input: String, in directory: String?, environment: [String: String]) throws {
      folder = try temporaryFolder()
      process.executableURL = URL(fileURLWithPath: Program.path)
      process.arguments = arguments
      if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      try input.write(toFile: folder + "/in", atomically: false, encoding: .utf8)
      _ = FileManager.default.createFile(atPath: folder + "/out", contents: nil)
      _ = FileManager.default.createFile(atPath: folder + "/err", contents: nil)
      process.standardInput = FileHandle(forReadingAtPath: folder + "/in")
      process.standardOutput = FileHandle(forWritingAtPath: folder + "/out")
      process.standardError = FileHandle(forWritingAtPath: folder + "/err")
      try process.run()
    }

    public func finish() -> Result {
      process.waitUntilExit()
      func text(_ name: String) -> String { (try? String(contentsOfFile: folder + "/" + name, encoding: .utf8)) ?? "" }
      defer { try? FileManager.default.removeItem(atPath: folder) }
      return Result(status: process.terminationStatus, output: text("out"), errors: text("err"))
    }
  }

  public static func start(
    _ arguments: [String], input: String = "", in directory: String? = nil, environment: [String: String] = [:]
  ) throws -> Running {
    try Running(arguments, input: input, in: directory, environment: environment)
  }

  public static func run(
    _ arguments: [String], input: String = "", in directory: String? = nil, environment: [String: String] = [:]
  ) throws -> Result {
    try start(arguments, input: input, in: directory, environment: environment).finish()
  }

  /// A fresh folder.
  public static func temporaryFolder() throws -> String {
    let path = NSTemporaryDirectory() + "attune-test-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }
}
