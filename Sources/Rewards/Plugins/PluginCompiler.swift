import Core
import Foundation
import Synchronization

/// Makes a library out of a reward's source file, once per content and compiler.
///
/// The header and the Swift kit travel inside the program, so that plugins build on any machine with a compiler.
public enum PluginCompiler {
  /// The languages that are compiled.
  public enum Language: String, Sendable, CaseIterable {
    case c
    case swift
  }

  /// `ATTUNE_CACHE`, else `XDG_CACHE_HOME/attune`, else `~/.cache/attune`.
  public static var cacheFolder: String {
    let environment = ProcessInfo.processInfo.environment
    if let folder = environment["ATTUNE_CACHE"], !folder.isEmpty { return folder }
    if let folder = environment["XDG_CACHE_HOME"], !folder.isEmpty { return folder + "/attune" }
    return NSHomeDirectory() + "/.cache/attune"
  }

  /// The library of a `.c` or `.swift` file, compiled unless the cache has it.
  ///
  /// - Parameters:
  ///   - force: compiles even if the cache has it.
  ///   - output: where to put the library; nil means the cache.
  /// - Throws: `AttuneError` at the compiler's first complaint, with everything it said; or if there is no compiler.
  public static func library(for source: String, force: Bool = false, output: String? = nil) throws -> String {
    guard let language = Language(rawValue: (source as NSString).pathExtension) else {
      throw AttuneError.request("\(source) is no .c and no .swift file")
    }
    guard let text = FileManager.default.contents(atPath: source) else {
      try LibraryDiagnosis.check(source)
      throw AttuneError.request("\(source) cannot be read")
    }
    let compiler = try Compiler.find(language)
    let stem = identifier(((source as NSString).lastPathComponent as NSString).deletingPathExtension)
    let key = SHA256.hex(
      Array("\(compiler.version)\0\(compiler.options.joined(separator: " "))\0\(EmbeddedKit.hash)\0".utf8)
        + [UInt8](text) + headers(beside: source))
    let folder = cacheFolder + "/rewards/" + key.prefix(32)
    let library = folder + "/" + stem + ".so"
    if force || !FileManager.default.fileExists(atPath: library) {
      try compile(source, to: library, stem: stem, compiler)
    }
    guard let output else { return library }
    try publish(copyOf: library, at: output)
    return output
  }

  /// The library of a Swift plugin whose source the program carries.
  static func library(forCarried name: String) throws -> String {
    guard let carried = EmbeddedKit.plugins.first(where: { $0.name == name + ".swift" }) else {
      throw AttuneError.request("the program does not carry the source of '\(name)'")
    }
    let folder = cacheFolder + "/carried/" + SHA256.hex(Array(carried.text.utf8)).prefix(32)
    let source = "\(folder)/\(carried.name)"
    if !FileManager.default.fileExists(atPath: source) {
      try makeFolder(folder)
      let temporary = "\(source).\(getpid()).tmp"
      guard FileManager.default.createFile(atPath: temporary, contents: Data(carried.text.utf8)),
        rename(temporary, source) == 0
      else { throw AttuneError.work("\(source) cannot be written: \(String(cString: strerror(errno)))") }
    }
    return try library(for: source)
  }

  /// Headers in the source's own folder may be included, so they count as its content.
  private static func headers(beside source: String) -> [UInt8] {
    let folder = (source as NSString).deletingLastPathComponent
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)) ?? []
    return names.filter { $0.hasSuffix(".h") }.sorted().flatMap { name in
      Array(name.utf8) + [0]
        + [UInt8](FileManager.default.contents(atPath: folder.isEmpty ? name : folder + "/" + name) ?? Data())
    }
  }

  private static func identifier(_ name: String) -> String {
    let mapped = String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    return mapped.isEmpty ? "reward" : mapped
  }

  private static func compile(_ source: String, to library: String, stem: String, _ compiler: Compiler) throws {
    let kit = try kitFolder(compiler)
    try makeFolder((library as NSString).deletingLastPathComponent)
    let temporary = library + ".\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
    defer { unlink(temporary) }
    var command = [compiler.path] + compiler.options
    switch compiler.language {
    case .c: command += ["-I", kit, source, "-o", temporary, "-lm"]
    case .swift:
      command += [
        "-emit-library", "-module-name", "Plugin_" + stem, "-I", kit, "-L", kit, "-lRewardKit", source, "-o", temporary,
      ]
    }
    let (end, output) = try ChildProcess.run(command)
    guard end == .exit(0) else { throw complaint(output, end, source, compiler) }
    guard rename(temporary, library) == 0 else {
      throw AttuneError.work("\(library) cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  /// The compiler's own words, at the place of its first error.
  private static func complaint(
    _ output: String, _ end: ChildProcess.End, _ source: String, _ compiler: Compiler
  ) -> AttuneError {
    var location = AttuneError.Location(file: source)
    let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
    if let line = lines.first(where: { $0.contains(": error: ") }) {
      let fields = line.split(separator: ":", maxSplits: 4, omittingEmptySubsequences: false)
      if fields.count > 3, fields[0].hasSuffix((source as NSString).lastPathComponent), let number = Int(fields[1]) {
        location.line = number
        location.column = Int(fields[2])
      }
    }
    let shown = lines.prefix(40).joined(separator: "\n").trimmingCharacters(in: .whitespacesAndNewlines)
    return .request("the reward does not compile (\(compiler.path), \(end.words)):\n\(shown)", at: location)
  }

  static func makeFolder(_ folder: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw AttuneError.work(
        "the folder \(folder) cannot be made: \(error.localizedDescription)",
        hint: "ATTUNE_CACHE names another place for compiled rewards")
    }
  }

  private static func publish(copyOf library: String, at output: String) throws {
    let temporary = output + ".\(getpid()).tmp"
    guard let data = FileManager.default.contents(atPath: library),
      FileManager.default.createFile(atPath: temporary, contents: data, attributes: [.posixPermissions: 0o755]),
      rename(temporary, output) == 0
    else { throw AttuneError.work("\(output) cannot be written: \(String(cString: strerror(errno)))") }
  }

  /// The folder with the header and, for Swift, the compiled kit. Complete when it exists: it is made under another
  /// name and renamed.
  private static func kitFolder(_ compiler: Compiler) throws -> String {
    let version = compiler.language == .c ? "c" : compiler.version
    let key = SHA256.hex(Array("\(version)\0\(EmbeddedKit.hash)".utf8)).prefix(32)
    let folder = cacheFolder + "/kit/" + key
    if FileManager.default.fileExists(atPath: folder) { return folder }
    let temporary = folder + ".\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
    try makeFolder(temporary)
    defer { try? FileManager.default.removeItem(atPath: temporary) }
    for (name, text) in EmbeddedKit.files {
      guard FileManager.default.createFile(atPath: temporary + "/" + name, contents: Data(text.utf8)) else {
        throw AttuneError.work("\(temporary)/\(name) cannot be written")
      }
    }
    if compiler.language == .swift {
      let sources = EmbeddedKit.files.map(\.name).filter { $0.hasSuffix(".swift") }.map { temporary + "/" + $0 }
      let (end, output) = try ChildProcess.run(
        [compiler.path] + compiler.options + [
          "-wmo", "-emit-module", "-emit-library", "-static", "-module-name", "RewardKit", "-I", temporary, "-o",
          temporary + "/libRewardKit.a", "-emit-module-path", temporary + "/RewardKit.swiftmodule",
        ] + sources)
      guard end == .exit(0) else {
        throw AttuneError.work(
          "the Swift kit for rewards does not compile with \(compiler.path) (\(end.words)):\n\(output)",
          hint: "Swift 6.3 or later is needed for Swift rewards")
      }
    }
    if rename(temporary, folder) != 0, !FileManager.default.fileExists(atPath: folder) {
      throw AttuneError.work("\(folder) cannot be made: \(String(cString: strerror(errno)))")
    }
    return folder
  }
}

/// A compiler that was found, and what it calls itself.
struct Compiler {
  let language: PluginCompiler.Language
  let path: String
  let version: String

  var options: [String] {
    switch language {
    case .c:
      var options = ["-shared", "-fPIC", "-O2", "-g", "-std=gnu11", "-Wall", "-fvisibility=hidden"]
      #if os(Linux)
        // A function that nobody defines is the compiler's complaint, with a line, and not the loader's.
        options += ["-Wl,-z,defs"]
      #endif
      return options
    case .swift: return ["-swift-version", "6", "-O", "-parse-as-library"]
    }
  }

  private static let versions = Mutex<[String: String]>([:])

  /// `CC` or `cc`; `SWIFTC` or `swiftc`.
  static func find(_ language: PluginCompiler.Language) throws -> Compiler {
    let environment = ProcessInfo.processInfo.environment
    let variable = language == .c ? "CC" : "SWIFTC"
    let name = environment[variable].flatMap { $0.isEmpty ? nil : $0 } ?? (language == .c ? "cc" : "swiftc")
    var folders = (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map(String.init)
    if language == .swift { folders += ["/opt/swift/usr/bin", "/usr/local/swift/usr/bin"] }
    let candidates = name.contains("/") ? [name] : folders.map { $0 + "/" + name }
    guard let path = candidates.first(where: { access($0, X_OK) == 0 }) else {
      throw AttuneError.request(
        "no \(language == .c ? "C" : "Swift") compiler was found: looked for \(name) in \(folders.joined(separator: ", "))",
        hint: "install \(language == .c ? "a C compiler (apt install gcc)" : "Swift (swift.org/install)"), "
          + "or name it in \(variable), or give a compiled .so")
    }
    if let version = versions.withLock({ $0[path] }) {
      return Compiler(language: language, path: path, version: version)
    }
    let (end, output) = try ChildProcess.run([path, "--version"])
    guard end == .exit(0) else { throw AttuneError.work("\(path) --version ended with \(end.words): \(output)") }
    versions.withLock { $0[path] = output }
    return Compiler(language: language, path: path, version: output)
  }
}
