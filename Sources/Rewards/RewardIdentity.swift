import Core
import Foundation

/// What a reward's scores came from, for the run's record: enough to notice that a run would go on with something else.
public struct RewardIdentity: Sendable, Equatable {
  public enum Kind: String, Sendable {
    /// Comes with the program, and is known by the program's version.
    case builtIn = "built-in"
    case plugin
    /// An exported C function, bound by its signature.
    case function
    /// A checkpoint.
    case model
  }

  /// The reward's name in the recipe.
  public var name: String
  public var kind: Kind
  /// As the recipe gives it.
  public var source: String
  /// SHA-256 of the library's file, or of the model's folder; nil for what comes with the program.
  public var hash: String?
  /// Major and minor number of the interface that the library was built for.
  public var abi: String
  /// As the library reports it.
  public var version: String
  /// Its name in the library.
  public var reward: String
  public var parameters: JSON

  public init(
    name: String, kind: Kind, source: String, hash: String?, abi: String, version: String, reward: String,
    parameters: JSON
  ) {
    self.name = name
    self.kind = kind
    self.source = source
    self.hash = hash
    self.abi = abi
    self.version = version
    self.reward = reward
    self.parameters = parameters
  }

  /// The identity of a loaded reward.
  ///
  /// - Parameter hash: of its library, if that is known better than from `descriptor.path`.
  public init(_ specification: RewardSpecification, source: String, _ descriptor: RewardDescriptor, hash: String? = nil)
    throws
  {
    let kind = RewardIdentity.kind(of: source, descriptor)
    self.init(
      name: specification.name, kind: kind, source: source,
      hash: kind == .builtIn ? nil : try hash ?? RewardIdentity.contentHash(of: descriptor.path),
      abi: "\(descriptor.abiMajor).\(descriptor.abiMinor)", version: descriptor.libraryVersion,
      reward: descriptor.reward, parameters: JSON(.object(specification.parameters)))
  }

  private static func kind(of source: String, _ descriptor: RewardDescriptor) -> Kind {
    if source.contains("(") { return .function }
    if RewardLoader.isShipped(source) { return .builtIn }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: descriptor.path, isDirectory: &isFolder) else { return .builtIn }
    return isFolder.boolValue ? .model : .plugin
  }

  /// True if scores may differ from those of `other`: another library, another version, other parameters.
  public func differs(from other: RewardIdentity) -> Bool {
    kind != other.kind || hash != other.hash || reward != other.reward || parameters != other.parameters
      || (hash == nil && version != other.version)
  }

  /// What tells it from another version of itself, in words.
  public var fingerprint: String { hash.map { "SHA-256 \($0)" } ?? "\(kind.rawValue), version \(version)" }

  /// SHA-256 of a file; of a folder, over the names, sizes and contents of its files, of large ones the first and last MiB.
  /// nil if there is nothing at the path.
  public static func contentHash(of path: String) throws -> String? {
    let files = FileManager.default
    var isFolder: ObjCBool = false
    guard files.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
    guard isFolder.boolValue else {
      guard let file = files.contents(atPath: path) else {
        throw AttuneError.request("the file cannot be read", at: .init(file: path))
      }
      return SHA256.hex([UInt8](file))
    }
    var bytes: [UInt8] = []
    for name in try files.contentsOfDirectory(atPath: path).sorted() where !name.hasPrefix(".") {
      guard let handle = FileHandle(forReadingAtPath: path + "/" + name) else { continue }
      defer { try? handle.close() }
      let size = try handle.seekToEnd()
      let piece = 1 << 20
      bytes += Array("\(name)\0\(size)\0".utf8)
      try handle.seek(toOffset: 0)
      bytes += try handle.read(upToCount: piece) ?? Data()
      if size > UInt64(piece) {
        try handle.seek(toOffset: max(UInt64(piece), size - UInt64(piece)))
        bytes += try handle.read(upToCount: piece) ?? Data()
      }
    }
    return SHA256.hex(bytes)
  }
}

extension RewardLoader {
  /// True for a name of what comes with the program, with or without the name of one of its rewards.
  public static func isShipped(_ source: String) -> Bool {
    shipped.contains(String(source.split(separator: ":", omittingEmptySubsequences: false).first ?? ""))
  }

  /// A file of code that a source names.
  public struct CodeFile: Sendable, Equatable {
    public var path: String
    /// The reward's name in it, if the source gives one.
    public var reward: String?
    /// The library stands in the compiler's cache, where nothing changes.
    public var isCompiled: Bool
  }

  /// The library that a source names, compiled first if it is a source file; nil for what comes with the program and for
  /// anything that is no plugin.
  public static func codeFile(of source: String) throws -> CodeFile? {
    guard !isShipped(source), !source.contains("("), modelFolder(source) == nil,
      case .library(let path, let reward) = try resolve(source)
    else {
      return nil
    }
    return CodeFile(path: path, reward: reward, isCompiled: path.hasPrefix(PluginCompiler.cacheFolder + "/"))
  }
}
