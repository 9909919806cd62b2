import Core
import Foundation

/// Says in words why a file could not be loaded as a library.
enum LibraryDiagnosis {
  /// What is wrong with the file before the loader is asked: missing, no library, another machine's.
  static func check(_ path: String) throws {
    var directory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &directory) else {
      let folder = (path as NSString).deletingLastPathComponent
      let name = (path as NSString).lastPathComponent
      let neighbours = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
      let near = nearestName(to: name, among: neighbours)
      throw AttuneError.request(
        "there is no file \(path)",
        hint: near.map { "did you mean \(folder)/\($0)?" } ?? "looked for \(name) in \(folder)")
    }
    guard !directory.boolValue else {
      throw AttuneError.request("\(path) is a folder, expected a shared library or a source file")
    }
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw AttuneError.request("\(path) cannot be read", hint: "check its permissions")
    }
    let head = (try? file.read(upToCount: 64)) ?? Data()
    try? file.close()
    #if os(Linux)
      try checkELF([UInt8](head), path)
    #endif
  }

  private static func checkELF(_ head: [UInt8], _ path: String) throws {
    guard head.count >= 20, Array(head[0..<4]) == [0x7F, 0x45, 0x4C, 0x46] else {
      let seen: String
      if head.isEmpty {
        seen = "is empty"
      } else if head.starts(with: [0xCF, 0xFA, 0xED, 0xFE]) {
        seen = "is a library for macOS"
      } else if head.starts(with: [0x4D, 0x5A]) {
        seen = "is a library for Windows"
      } else if head.allSatisfy({ $0 >= 0x20 && $0 < 0x7F || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }) {
        seen = "holds text"
      } else {
        seen = "does not begin like an ELF file"
      }
      throw AttuneError.request(
        "\(path) is not a shared library: it \(seen)",
        hint:
          "a plugin is built with: cc -shared -fPIC reward.c -o reward.so; a .c or .swift file may be named directly")
    }
    let kind = Int(head[16]) | Int(head[17]) << 8
    let machine = Int(head[18]) | Int(head[19]) << 8
    #if arch(x86_64)
      let own = 62
    #elseif arch(arm64)
      let own = 183
    #else
      let own = machine
    #endif
    guard machine == own, head[4] == 2 else {
      let width = head[4] == 1 ? "32-bit " : ""
      throw AttuneError.request(
        "\(path) was built for another machine: it is for \(width)\(machineName(machine)), this program runs on \(machineName(own))",
        hint: "build it again on this machine")
    }
    guard kind == 3 else {
      throw AttuneError.request(
        "\(path) is \(kind == 1 ? "an object file" : kind == 2 ? "a program" : "no shared library"), expected a shared library",
        hint: "link it with: cc -shared")
    }
  }

  private static func machineName(_ number: Int) -> String {
    switch number {
    case 3: "x86"
    case 40: "ARM"
    case 62: "x86-64"
    case 183: "arm64"
    case 243: "RISC-V"
    default: "machine number \(number)"
    }
  }

  /// The dynamic loader's message in words, and the message itself.
  static func explain(_ message: String, _ path: String) -> AttuneError {
    if let range = message.range(of: "undefined symbol: ") {
      let symbol = message[range.upperBound...].prefix { !$0.isWhitespace && $0 != "," }
      return .request(
        "\(path) uses the symbol \(symbol), which neither it nor a library that it links has (\(message))",
        hint: "define \(symbol), or link the library that has it (-l...) when building the plugin")
    }
    if let range = message.range(of: ": cannot open shared object file") {
      let missing = message[..<range.lowerBound]
      if !path.hasSuffix(missing) {
        return .request(
          "\(path) needs the library \(missing), which was not found (\(message))",
          hint: "install it, or name its folder in LD_LIBRARY_PATH")
      }
    }
    return .request("\(path) cannot be loaded: \(message)")
  }
}
