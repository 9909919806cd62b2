import Core
import Foundation

/// Reads a picture's file, refusing what is no ordinary file.
enum PictureFile {
  static func read(_ path: String, limit: Int) throws -> [UInt8] {
    let place = AttuneError.Location(file: path)
    // stat first: opening a pipe would wait for a writer.
    var status = stat()
    guard stat(path, &status) == 0 else {
      let reason = errno
      let folder = (path as NSString).deletingLastPathComponent
      let neighbours = try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)
      let near = neighbours.flatMap { nearestName(to: (path as NSString).lastPathComponent, among: $0.sorted()) }
      let what = reason == ENOENT ? "there is no such picture" : "the picture cannot be read: \(text(of: reason))"
      throw AttuneError.request(
        what, at: place, hint: near.map { "did you mean '\((folder as NSString).appendingPathComponent($0))'?" })
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let found = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "something that is not an ordinary file"
      throw AttuneError.request("found \(found), expected a PNG, JPEG or WebP picture", at: place)
    }
    let size = Int(status.st_size)
    guard size <= limit else { throw tooLarge(size, limit: limit, name: path) }
    guard let file = fopen(path, "rb") else {
      throw AttuneError.request("the picture cannot be read: \(text(of: errno))", at: place)
    }
    defer { fclose(file) }
    return try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      count = size > 0 ? fread(buffer.baseAddress, 1, size, file) : 0
      guard ferror(file) == 0 else {
        throw AttuneError.work("reading the picture failed: \(text(of: errno))", at: place)
      }
    }
  }

  static func tooLarge(_ bytes: Int, limit: Int, name: String) -> AttuneError {
    .request(
      "the file has \(bytes) bytes; a picture may have at most \(limit)", at: .init(file: name),
      hint: "scale the picture down before it is used")
  }

  private static func text(of code: Int32) -> String { String(cString: strerror(code)) }
}
