import Core
import Foundation

/// Where a reward's code comes from, with every name resolved.
enum RewardSource: Equatable {
  /// A plugin's library, and the reward's name if the source gives one.
  case library(path: String, reward: String?)
  /// A plugin that is linked into the program.
  case linked(name: String, reward: String?)
  /// A reward that is part of the program.
  case builtIn(name: String)
  /// An exported function of any shared library: a path or a name for the dynamic loader, and a C declaration.
  case function(library: String, signature: String)

  /// How errors name it.
  var words: String {
    switch self {
    case .library(let path, _), .function(let path, _): path
    case .linked(let name, _), .builtIn(let name): name
    }
  }

  /// The name of one reward among several, if the source gives it.
  var rewardName: String? {
    switch self {
    case .library(_, let reward), .linked(_, let reward): reward
    case .builtIn, .function: nil
    }
  }

  /// The same source with one reward named.
  func choosing(_ reward: String) -> RewardSource {
    switch self {
    case .library(let path, _): .library(path: path, reward: reward)
    case .linked(let name, _): .linked(name: name, reward: reward)
    case .builtIn, .function: self
    }
  }

  init(_ reader: inout ByteReader) throws {
    let kind = try reader.integer(atMost: 16)
    let first = try reader.string()
    let second = try reader.optionalString()
    switch kind {
    case 0: self = .library(path: first, reward: second)
    case 1: self = .linked(name: first, reward: second)
    case 2: self = .builtIn(name: first)
    default: self = .function(library: first, signature: second ?? "")
    }
  }

  func write(into out: ByteBuffer) {
    let (kind, first, second): (Int, String, String?) =
      switch self {
      case .library(let path, let reward): (0, path, reward)
      case .linked(let name, let reward): (1, name, reward)
      case .builtIn(let name): (2, name, nil)
      case .function(let library, let signature): (3, library, signature)
      }
    out.append(kind)
    out.append(first)
    out.append(optional: second)
  }

  /// Loads the library of a plugin into this process.
  func library() throws -> PluginLibrary {
    switch self {
    case .library(let path, _): try PluginLibrary(path: path)
    case .linked(let name, _): try PluginLibrary(linked: name)
    case .builtIn(let name), .function(let name, _): preconditionFailure("\(name) is no library of plugins")
    }
  }

  /// What the source offers; loads its library into this process.
  func descriptors() throws -> [RewardDescriptor] {
    switch self {
    case .library, .linked:
      let library = try library()
      return try library.rewards.map { try library.descriptor(of: $0) }
    case .builtIn(let name): return [try BuiltInRewards.named(name).descriptor]
    case .function(let library, let signature):
      return [try FunctionBinding(library: library, signature: signature).descriptor]
    }
  }
}
