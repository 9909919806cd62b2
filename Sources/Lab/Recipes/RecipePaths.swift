import Core
import Foundation

/// Where the paths of a recipe lead.
enum RecipePaths {
  static let presetPrefix = "preset:"
  private static let rewardExtensions = ["c", "swift", "so", "dylib"]

  /// The last component without its extension.
  static func baseName(_ path: String) -> String {
    let url = URL(fileURLWithPath: path)
    let name = url.deletingPathExtension().lastPathComponent
    return name.isEmpty || name == "/" ? "recipe" : name
  }

  /// `path` read from `folder`, without `.` and `..`.
  static func absolute(_ path: String, from folder: String) -> String {
    let expanded = (path as NSString).expandingTildeInPath
    return URL(fileURLWithPath: expanded, relativeTo: URL(fileURLWithPath: folder, isDirectory: true))
      .standardizedFileURL.path
  }

  /// The parts of a reward's source: a file that must exist, if it names one, and what follows it.
  ///
  /// `my.c`, `rewards/my.so:name`, `./lib.so: double f(double column.x)` name files; `libm.so.6: double fabs(...)`
  /// names a library for the loader to find, `exact_match` a shipped reward.
  static func rewardFile(_ source: String) -> (path: String, rest: String)? {
    let (path, rest) = splitReward(source)
    let ending = (path as NSString).pathExtension
    // A library without a slash is the dynamic loader's to find; a source is a file.
    let isSource = ["c", "swift"].contains(ending)
    if rest.contains("(") { return path.contains("/") || isSource ? (path, rest) : nil }
    let isFile = path.contains("/") || rewardExtensions.contains(ending)
    return isFile ? (path, rest) : nil
  }

  private static func splitReward(_ source: String) -> (path: String, rest: String) {
    guard let colon = source.firstIndex(of: ":") else { return (source, "") }
    return (String(source[..<colon]), String(source[colon...]))
  }

  /// A name for a reward that was given none: its source's last name, or the C function's.
  static func rewardName(_ source: String) -> String {
    let (path, rest) = splitReward(source)
    var name = baseName(path)
    if let open = rest.firstIndex(of: "(") {
      name = String(rest[..<open].split(whereSeparator: { " *:".contains($0) }).last ?? "reward")
    } else if rest.count > 1 {
      name = String(rest.dropFirst())
    }
    let word = String(name.unicodeScalars.map { isNameScalar($0) ? Character($0) : "_" })
    guard let first = word.unicodeScalars.first, first.properties.isAlphabetic else { return "reward_" + word }
    return word
  }

  /// True for a word of ASCII letters, digits, `_` and `-` that begins with a letter.
  static func isName(_ text: String) -> Bool {
    guard let first = text.unicodeScalars.first, first.isASCII, first.properties.isAlphabetic else { return false }
    return text.unicodeScalars.allSatisfy(isNameScalar)
  }

  private static func isNameScalar(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_", "-": true
    default: false
    }
  }

  static func isFile(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
  }

  static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// The entry beside `path` whose name is nearest to its own.
  static func nearestNeighbour(of path: String) -> String? {
    let url = URL(fileURLWithPath: path)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: url.deletingLastPathComponent().path)) ?? []
    return nearestName(to: url.lastPathComponent, among: names.sorted())
  }
}
