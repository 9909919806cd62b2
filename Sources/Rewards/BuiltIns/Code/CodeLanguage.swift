import Core
import Foundation

/// A language that completions are written in, and the program on this machine that runs or compiles it.
struct CodeLanguage: Sendable {
  enum Kind: String, CaseIterable { case python, c, swift }

  let kind: Kind
  /// The interpreter or compiler.
  let tool: String

  /// What a fenced block of the language is marked with.
  var marks: Set<String> { kind == .python ? ["python", "python3", "py"] : [kind.rawValue] }

  var fileName: String {
    switch kind {
    case .python: "main.py"
    case .c: "main.c"
    case .swift: "main.swift"
    }
  }

  /// nil for a language that is not compiled. Paths are relative to the program's folder.
  func compileCommand(folder: String) -> [String]? {
    switch kind {
    case .python: nil
    case .c: [tool, "-O1", "-w", "-o", "program", fileName, "-lm"]
    case .swift: [tool, "-O", "-module-cache-path", "cache", "-o", "program", fileName]
    }
  }

  func runCommand(folder: String) -> [String] {
    kind == .python ? [tool, "-B", "-s", fileName] : [folder + "/program"]
  }

  /// Finds the program on this machine.
  ///
  /// - Parameter path: its path or name; empty: `python3`, `cc` or `swiftc`.
  /// - Throws: `Missing`.
  init(_ kind: Kind, tool path: String) throws {
    self.kind = kind
    let name = path.isEmpty ? (kind == .python ? "python3" : kind == .c ? "cc" : "swiftc") : path
    guard let found = Self.find(name) else {
      throw Missing(
        words: name.contains("/")
          ? "there is no program \(name)"
          : "there is no program '\(name)' in the folders of PATH, which is what runs \(kind.rawValue)")
    }
    guard kind == .python else {
      tool = found
      return
    }
    // Version managers put a script in front of the interpreter, which would start processes in the sandbox.
    let (end, output) = try ChildProcess.run([found, "-I", "-c", "import sys; print(sys.executable)"])
    let executable = output.trimmedSpace
    guard end == .exit(0), FileManager.default.isExecutableFile(atPath: executable) else {
      throw Missing(words: "\(found) runs no Python: it ended with \(end.words) and said \(output.quoted(200))")
    }
    tool = executable
  }

  struct Missing: Error {
    var words: String
  }

  private static func find(_ name: String) -> String? {
    if name.contains("/") { return FileManager.default.isExecutableFile(atPath: name) ? name : nil }
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
    return folders.lazy.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }
}
