import AttuneTensor
import Foundation
import Testing

@Suite struct AtomicFileTests {
  private static func folder() throws -> String {
    let path = NSTemporaryDirectory() + "/attune-atomic-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  @Test func aLinkStaysAndLeadsToTheNewText() throws {
    let folder = try Self.folder()
    try AtomicFile.write(folder + "/real", text: "old")
    try FileManager.default.createSymbolicLink(atPath: folder + "/link", withDestinationPath: "real")
    try FileManager.default.createSymbolicLink(atPath: folder + "/far", withDestinationPath: folder + "/link")
    try AtomicFile.write(folder + "/far", text: "new")
    #expect(try String(contentsOfFile: folder + "/real", encoding: .utf8) == "new")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder + "/link") == "real")
    // A link to nothing makes what it names.
    try FileManager.default.createSymbolicLink(atPath: folder + "/hope", withDestinationPath: "made")
    try AtomicFile.write(folder + "/hope", text: "x")
    #expect(try String(contentsOfFile: folder + "/made", encoding: .utf8) == "x")
  }

  @Test func aPipeIsWrittenInto() throws {
    let path = try Self.folder() + "/pipe"
    try #require(mkfifo(path, 0o600) == 0)
    // Opened for both, so that nobody waits.
    let reader = open(path, O_RDWR | O_NONBLOCK)
    try #require(reader >= 0)
    defer { close(reader) }
    try AtomicFile.write(path, text: "through")
    var bytes = [UInt8](repeating: 0, count: 16)
    #expect(read(reader, &bytes, 16) == 7 && String(decoding: bytes[..<7], as: UTF8.self) == "through")
    var kind = stat()
    #expect(stat(path, &kind) == 0 && kind.st_mode & S_IFMT == S_IFIFO)
  }
}
