import Core
import Foundation

/// Reads whole data files; a missing one is answered with its nearest neighbour.
enum DataFile {
  /// - Parameter what: what the file should hold, for the error.
  static func read(_ path: String, what: String) throws -> [UInt8] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw AttuneError.request(
        "there is no such file, expected \(what)", at: .init(file: path), hint: nearestFile(to: path))
    }
    if isFolder.boolValue {
      throw AttuneError.request("this is a folder, expected a file with \(what)", at: .init(file: path))
    }
    do {
      return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe))
    } catch {
      throw AttuneError.work("\(what) cannot be read: \(error.localizedDescription)", at: .init(file: path))
    }
  }

  /// The folder that a relative path in a file begins at.
  static func folder(of file: String) -> String {
    guard let slash = file.lastIndex(of: "/") else { return "." }
    return slash == file.startIndex ? "/" : String(file[..<slash])
  }

  /// The hint for a file that is not there: the most similar name in its folder.
  static func nearestFile(to path: String) -> String? {
    let url = URL(fileURLWithPath: path)
    let folder = url.deletingLastPathComponent()
    guard let neighbours = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else {
      return "there is no folder '\(folder.path)' either"
    }
    return nearestName(to: url.lastPathComponent, among: neighbours.sorted()).map { "did you mean '\($0)'?" }
  }
}
