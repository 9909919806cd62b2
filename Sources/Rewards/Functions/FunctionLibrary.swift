import CFFI
import Core
import Foundation

/// A shared library with functions that are called by their names. It stays loaded for the life of the process.
struct FunctionLibrary {
  /// As it was written: a path, or a name for the dynamic loader.
  let name: String
  /// The file that was loaded.
  let path: String
  private let handle: UnsafeMutableRawPointer

  /// Loads a library.
  ///
  /// - Throws: `AttuneError` in words: missing (with the nearest name and where was looked), no library, another
  ///   machine's, an undefined symbol.
  init(_ name: String) throws {
    self.name = name
    let isPath = name.contains("/")
    if isPath { try LibraryDiagnosis.check(name) }
    var flags = RTLD_NOW | RTLD_LOCAL
    #if os(Linux)
      flags |= Int32(RTLD_NODELETE)
    #endif
    guard let handle = dlopen(name, flags) else {
      let message = dlerror().map { String(cString: $0) } ?? "unknown reason"
      throw isPath ? LibraryDiagnosis.explain(message, name) : Self.notFound(name, message)
    }
    self.handle = handle
    path = attune_library_file(handle).map { String(cString: $0) } ?? name
  }

  /// The address of an exported function.
  ///
  /// - Throws: `AttuneError`: no such symbol (with the nearest), one that only C++ or Swift can name, one that is no
  ///   function.
  func function(_ symbol: String) throws -> UnsafeMutableRawPointer {
    let exported = path.hasPrefix("/") ? SymbolTable.exported(by: path) : []
    guard let address = dlsym(handle, symbol) else { throw missing(symbol, exported) }
    if let found = exported.first(where: { $0.name == symbol }), !found.isFunction {
      throw AttuneError.request("'\(symbol)' of \(path) is a variable, expected a function")
    }
    return address
  }

  private func missing(_ symbol: String, _ exported: [SymbolTable.Symbol]) -> AttuneError {
    let functions = exported.filter(\.isFunction).map(\.name)
    let message = "\(path) exports no function '\(symbol)'"
    // Both languages write a name as its length and itself.
    let counted = "\(symbol.utf8.count)\(symbol)"
    if let mangled = functions.first(where: { $0.hasPrefix("_Z") && $0.contains(counted) }) {
      return .request(
        message + "; it has \(mangled), the name that C++ makes of one",
        hint: "declare the function extern \"C\" and build the library again")
    }
    if let mangled = functions.first(where: { $0.hasPrefix("$s") && $0.contains(counted) }) {
      return .request(
        message + "; it has \(mangled), the name that Swift makes of one",
        hint: "write @c(\(symbol)) before the function and build the library again")
    }
    let plain = functions.filter { !$0.hasPrefix("_") && !$0.hasPrefix("$") }
    if let near = nearestName(to: symbol, among: plain.sorted()) {
      return .request(message, hint: "did you mean '\(near)'?")
    }
    guard !plain.isEmpty else {
      return .request(
        message + ", nor any other",
        hint: "a function is exported that is not static and, in a source that attune compiles, says ATTUNE_EXPORT")
    }
    let some = plain.sorted().prefix(8).joined(separator: ", ")
    return .request(message, hint: plain.count > 8 ? "it has \(plain.count), such as \(some)" : "it has \(some)")
  }

  // MARK: Libraries by name

  private static func notFound(_ name: String, _ message: String) -> AttuneError {
    let folders = searchedFolders
    var candidates: Set<String> = []
    for folder in folders {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      candidates.formUnion(names.filter { $0.hasPrefix("lib") && $0.contains(".so.") || $0.hasSuffix(".dylib") })
    }
    let near = near(name, candidates.sorted())
    var hint = near.map { "did you mean '\($0)'?" }
    if FileManager.default.fileExists(atPath: name) {
      hint = "write ./\(name) for the file of this folder: names without a slash are the dynamic loader's"
    }
    guard message.hasPrefix("\(name): cannot open shared object file") else {
      // Such as the text for the linker that stands where a library's name without a number is.
      return .request("the dynamic loader cannot load '\(name)': \(message)", hint: hint)
    }
    return .request(
      "the dynamic loader found no library '\(name)' (\(message))",
      hint: hint ?? "it looks in \(folders.joined(separator: ", ")) and its own cache; LD_LIBRARY_PATH adds folders, "
        + "and a path with a slash names a file")
  }

  /// `m`, `libm` and `libm.so` mean libm.so.6.
  private static func near(_ name: String, _ candidates: [String]) -> String? {
    let bare = name.hasPrefix("lib") ? name : "lib\(name)"
    let stem = bare.contains(".so") ? bare : bare + ".so"
    let versions = candidates.filter { $0.hasPrefix(stem + ".") }
    // The shortest is the name that programs link with.
    if let best = versions.min(by: { ($0.count, $0) < ($1.count, $1) }) { return best }
    return nearestName(to: name, among: candidates)
  }

  private static var searchedFolders: [String] {
    let extra = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"] ?? ""
    #if arch(x86_64)
      let machine = "x86_64-linux-gnu"
    #else
      let machine = "aarch64-linux-gnu"
    #endif
    let usual = [
      "/lib/\(machine)", "/usr/lib/\(machine)", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib",
    ]
    return (extra.split(separator: ":").map(String.init) + usual).filter {
      FileManager.default.fileExists(atPath: $0)
    }
  }
}
