import CRewardABI
import Core
import Foundation

/// A loaded library. It stays loaded for the life of the process: code from it may be in use in ways nobody sees.
///
/// Safety: everything behind the pointers is static memory of the library.
struct PluginLibrary: @unchecked Sendable {
  let path: String
  let library: UnsafePointer<attune_library>
  let rewards: [UnsafePointer<attune_reward>]

  /// Loads a library and checks everything that it says about itself.
  ///
  /// - Throws: `AttuneError` in words: missing, no library, another machine's, an undefined symbol, no entry, another
  ///   version, sizes that cannot be.
  init(path: String) throws {
    let absolute =
      (path as NSString).isAbsolutePath
      ? path : FileManager.default.currentDirectoryPath + "/" + path
    self.path = absolute
    try LibraryDiagnosis.check(absolute)
    var flags = RTLD_NOW | RTLD_LOCAL
    #if os(Linux)
      flags |= Int32(RTLD_NODELETE)
    #endif
    guard let handle = dlopen(absolute, flags) else {
      throw LibraryDiagnosis.explain(dlerror().map { String(cString: $0) } ?? "unknown reason", absolute)
    }
    guard let symbol = dlsym(handle, ATTUNE_ENTRY_SYMBOL) else {
      throw AttuneError.request(
        "\(absolute) is no reward plugin: it exports no function \(ATTUNE_ENTRY_SYMBOL)",
        hint: "in C use ATTUNE_REWARD or ATTUNE_LIBRARY; in Swift: "
          + "@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(MyReward.self) }")
    }
    let entry = unsafeBitCast(symbol, to: (@convention(c) () -> UnsafePointer<attune_library>?).self)
    guard let library = entry() else {
      throw AttuneError.request("\(absolute): \(ATTUNE_ENTRY_SYMBOL) returned NULL")
    }
    self.library = library
    rewards = try Self.check(library, absolute)
  }

  /// A plugin that is linked into the program.
  init(linked name: String) throws {
    guard let library = LinkedPlugins.library(name) else {
      throw AttuneError.request("no plugin '\(name)' is linked into the program")
    }
    path = name
    self.library = library
    rewards = try Self.check(library, name)
  }

  private static func check(
    _ library: UnsafePointer<attune_library>, _ path: String
  ) throws -> [UnsafePointer<attune_reward>] {
    // Size and magic come first in every version, so they are safe to read before anything is known.
    guard library.pointee.magic == ATTUNE_MAGIC else {
      throw AttuneError.request(
        "\(path): \(ATTUNE_ENTRY_SYMBOL) returned something that is no attune_library: magic "
          + "0x\(String(library.pointee.magic, radix: 16)), expected 0x\(String(ATTUNE_MAGIC, radix: 16))")
    }
    guard library.pointee.abi_major == ATTUNE_ABI_MAJOR else {
      throw AttuneError.request(
        "\(path) was built for version \(library.pointee.abi_major).\(library.pointee.abi_minor) of attune_reward.h, "
          + "this program speaks \(ATTUNE_ABI_MAJOR).\(ATTUNE_ABI_MINOR)",
        hint: "build the plugin again with this program: attune reward build SOURCE")
    }
    guard Int(library.pointee.struct_size) >= MemoryLayout<attune_library>.size else {
      throw AttuneError.request(
        "\(path): its attune_library has \(library.pointee.struct_size) bytes, expected at least "
          + "\(MemoryLayout<attune_library>.size)", hint: "set struct_size to sizeof(attune_library)")
    }
    guard library.pointee.name != nil, library.pointee.version != nil else {
      throw AttuneError.request("\(path): its attune_library has no name or no version")
    }
    let count = library.pointee.reward_count
    guard library.pointee.rewards != nil || count == 0 else {
      throw AttuneError.request(
        "\(path): its attune_library has \(count) rewards in a list that is NULL, expected the list's address")
    }
    guard count > 0, count <= 4096, let list = library.pointee.rewards else {
      throw AttuneError.request("\(path) offers \(count) rewards, expected 1 to 4096")
    }
    var rewards: [UnsafePointer<attune_reward>] = []
    var names: Set<String> = []
    for i in 0..<count {
      guard let reward = list[i] else { throw AttuneError.request("\(path): reward \(i) is NULL") }
      let least = MemoryLayout<attune_reward>.offset(of: \.destroy)! + MemoryLayout<UnsafeRawPointer>.size
      guard Int(reward.pointee.struct_size) >= least else {
        throw AttuneError.request(
          "\(path): attune_reward number \(i) has \(reward.pointee.struct_size) bytes, expected at least \(least)",
          hint: "set struct_size to sizeof(attune_reward)")
      }
      guard let text = reward.pointee.name, case let name = String(cString: text), !name.isEmpty else {
        throw AttuneError.request("\(path): reward \(i) has no name")
      }
      guard names.insert(name).inserted else {
        throw AttuneError.request("\(path) offers two rewards called '\(name)'")
      }
      guard reward.pointee.score != nil else {
        throw AttuneError.request("\(path): the reward '\(name)' has no score function")
      }
      rewards.append(reward)
    }
    return rewards
  }

  private func name(_ reward: UnsafePointer<attune_reward>) -> String { String(cString: reward.pointee.name) }

  /// The reward called `name`; without a name, the one called `preferred` or the only one.
  func reward(named name: String?, preferring preferred: String) throws -> UnsafePointer<attune_reward> {
    let names = rewards.map(self.name)
    if let name {
      if let place = names.firstIndex(of: name) { return rewards[place] }
      let near = nearestName(to: name, among: names)
      throw AttuneError.request(
        "\(path) offers no reward '\(name)'",
        hint: near.map { "did you mean '\($0)'?" } ?? "it offers \(names.joined(separator: ", "))")
    }
    if let place = names.firstIndex(of: preferred) { return rewards[place] }
    guard names.count == 1 else {
      throw AttuneError.request(
        "\(path) offers \(names.count) rewards: say which one",
        hint: "write \(path):\(names[0]); it offers \(names.joined(separator: ", "))")
    }
    return rewards[0]
  }

  func descriptor(of reward: UnsafePointer<attune_reward>) throws -> RewardDescriptor {
    let raw = reward.pointee
    func list(_ start: UnsafePointer<UnsafePointer<CChar>?>?) -> [String] {
      var out: [String] = []
      while let start, out.count < 4096, let next = start[out.count] { out.append(String(cString: next)) }
      return out
    }
    var json: JSON.Object = .init([
      ("path", .string(path)), ("library", .string(String(cString: library.pointee.name))),
      ("version", .string(String(cString: library.pointee.version))),
      ("abi", JSON.array([.int(library.pointee.abi_major), .int(library.pointee.abi_minor)])),
      ("reward", .string(name(reward))),
      ("summary", .string(raw.summary.map { String(cString: $0) } ?? "")),
      ("deterministic", .bool(raw.flags & ATTUNE_DETERMINISTIC != 0)), ("needs", .int(raw.needs)),
      ("columns", .array(list(raw.columns).map(JSON.string))),
    ])
    if raw.minimum != 0 || raw.maximum != 0 {
      json["range"] = JSON.array([.double(raw.minimum), .double(raw.maximum)])
    }
    if let start = raw.parameters {
      var parameters: [JSON] = []
      while parameters.count < 4096, let parameter = start[parameters.count]?.pointee {
        parameters.append(try self.parameter(parameter, of: name(reward)).json)
      }
      json["parameters"] = .array(parameters)
    }
    return try RewardDescriptor(JSON(.object(json)))
  }

  private func parameter(_ raw: attune_parameter, of reward: String) throws -> RewardParameter {
    guard Int(raw.struct_size) >= MemoryLayout<attune_parameter>.size, let text = raw.name else {
      throw AttuneError.request(
        "\(path): a parameter of '\(reward)' has no name or only \(raw.struct_size) bytes, expected at least "
          + "\(MemoryLayout<attune_parameter>.size)", hint: "use ATTUNE_PARAMETER_NUMBER and its siblings")
    }
    let name = String(cString: text)
    var value: JSON?
    if let json = raw.default_json {
      do { value = try JSON.parse(String(cString: json)) } catch {
        throw AttuneError.request(
          "\(path): the default of the parameter '\(name)' of '\(reward)' is no JSON: \(String(cString: json))",
          hint: "a string's default is written with quotes: \"\\\"text\\\"\"")
      }
    }
    let bounded = (raw.minimum != 0 || raw.maximum != 0) && raw.minimum <= raw.maximum
    return RewardParameter(
      name: name, type: raw.type, defaultValue: value, summary: raw.summary.map { String(cString: $0) } ?? "",
      bounds: bounded ? raw.minimum...raw.maximum : nil)
  }
}
