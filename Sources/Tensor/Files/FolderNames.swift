import Core

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// What stands in a folder, by name.
enum FolderNames {
  /// Sorted; empty if the folder cannot be read.
  static func list(_ folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  static func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
  }

  /// Removes a file or a link.
  static func remove(_ path: String) throws {
    guard unlink(path) == 0 || errno == ENOENT else { throw AtomicFile.failure("cannot remove", path) }
  }
}
