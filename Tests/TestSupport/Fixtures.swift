import Core
import Foundation

/// Files that tests read, each folder with the script that made it.
public enum Fixtures {
  /// `Tests/Fixtures` of this checkout.
  public static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Fixtures").path

  /// The root of this checkout.
  public static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  public static func path(_ name: String) -> String { folder + "/" + name }

  public static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
  }

  public static func json(_ name: String) throws -> JSON { try JSON.parse(bytes(name), file: name) }
}
