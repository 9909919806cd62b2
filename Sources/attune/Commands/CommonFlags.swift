import AttuneTensor
import Core
import Foundation
import Lab
import Models

/// Flags that several commands share.
enum CommonFlags {
  static let model = Command.Option(
    name: "--model", value: "DIR",
    help: "a Hugging Face checkpoint folder, the name of a model in Hugging Face's cache, or preset:NAME")
  static let adapter = Command.Option(
    name: "--adapter", value: "[NAME=]DIR", help: "a PEFT adapter folder to put on the model", repeats: true)
  static let dtype = Command.Option(
    name: "--dtype", value: "f32|bf16", help: "what products are computed in (default f32)")
  static let weights = Command.Option(
    name: "--weights", value: "bf16|int8|int4",
    help: "how frozen weights are held (default bf16: as the checkpoint has them)")
  static let threads = Command.Option(name: "--threads", value: "N", help: "threads (default: all cores)")
  static let seed = Command.Option(name: "--seed", value: "S", help: "seed of everything random (default 1)")
  static let json = Command.Option(name: "--json", value: nil, help: "print JSON instead of a table")

  static let engine = [model, adapter, dtype, weights, threads]

  static func backend(_ arguments: Arguments) throws -> CPUBackend {
    try CPUBackend(threads: try threadCount(arguments))
  }

  /// 0 for all cores.
  static func threadCount(_ arguments: Arguments) throws -> Int {
    let threads = try arguments.int("--threads") ?? 0
    guard threads >= 0, threads <= 1024 else {
      throw AttuneError.request("--threads is \(threads), 0 to 1024 was expected")
    }
    return threads
  }

  static func precision(_ arguments: Arguments) throws -> Precision {
    let format = try weights(arguments)
    switch arguments.string("--dtype") ?? (format == .plain ? "f32" : "bf16") {
    case "f32":
      guard format == .plain else {
        throw AttuneError.request(
          "--weights \(format.rawValue) is for products of bf16, but --dtype is f32",
          hint: "leave --dtype out, or give --dtype bf16")
      }
      return .full
    case "bf16": return .bf16
    case let other: throw AttuneError.request("--dtype is '\(other)', f32 or bf16 was expected")
    }
  }

  static func weights(_ arguments: Arguments) throws -> WeightFormat {
    switch arguments.string("--weights") ?? "bf16" {
    case "bf16": return .plain
    case "int8": return .int8
    case "int4": return .int4
    case let other: throw AttuneError.request("--weights is '\(other)', bf16, int8 or int4 was expected")
    }
  }

  /// A size as huggingface_hub writes it: a number and KB, MB, GB, TB (powers of 1,000) or KiB, MiB, GiB, TiB (of 1,024).
  static func byteCount(_ text: String, of flag: String) throws -> Int {
    let number = text.prefix { $0.isNumber || $0 == "." }
    let unit = text.dropFirst(number.count).trimmingCharacters(in: .whitespaces).uppercased()
    let units: [(String, Double)] = [
      ("", 1), ("B", 1), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("KIB", 1024), ("MIB", 1_048_576),
      ("GIB", 1_073_741_824), ("TIB", 1_099_511_627_776),
    ]
    guard let value = Double(number), let factor = units.first(where: { $0.0 == unit })?.1,
      let bytes = Int(exactly: (value * factor).rounded()), bytes > 0
    else { throw AttuneError.request("\(flag) is '\(text)', a size such as 5GB or 500MiB was expected") }
    return bytes
  }

  static func seed(_ arguments: Arguments) throws -> UInt64 {
    let seed = try arguments.int("--seed") ?? 1
    guard seed >= 0 else { throw AttuneError.request("--seed is \(seed), 0 or more was expected") }
    return UInt64(seed)
  }

  /// The model that `--model` and `--adapter` name.
  static func policy(_ arguments: Arguments) throws -> Policy {
    try policy(
      arguments, folder: modelFolder(arguments), precision: precision(arguments), weights: weights(arguments),
      adapters: adapters(arguments))
  }

  /// A model with adapters; what a person should know of it is told.
  static func policy(
    _ arguments: Arguments, folder: String, precision: Precision, weights: WeightFormat,
    adapters: [(name: String, path: String)]
  ) throws -> Policy {
    let policy = try Policy(
      folder: folder, backend: try backend(arguments), precision: precision, weights: weights)
    for remark in policy.remarks { printNote("note: \(remark)") }
    for (name, path) in adapters {
      try policy.model.loadAdapter(folder: path, name: name, trainable: false)
    }
    // Where there are several, the first is the one that computes unless a line says otherwise.
    try policy.model.activateAdapter(policy.model.adapterNames.first)
    return policy
  }

  /// Names and folders of `--adapter`: `NAME=DIR`, or a folder alone, which is called `default`.
  static func adapters(_ arguments: Arguments) -> [(name: String, path: String)] {
    arguments.list("--adapter").map { text in
      let sides = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let isNamed =
        sides.count == 2 && !sides[0].isEmpty
        && sides[0].allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" || $0 == "." }
      return isNamed && !FileManager.default.fileExists(atPath: text)
        ? (String(sides[0]), String(sides[1])) : (LanguageModel.defaultAdapterName, text)
    }
  }

  /// The folder of `--model`; a preset is written to a temporary folder first.
  ///
  /// - Parameter files: a folder that holds one of these is enough, without `config.json` and weights.
  static func modelFolder(_ arguments: Arguments, holding files: [String] = []) throws -> String {
    let path = try arguments.require("--model")
    if files.contains(where: { FileManager.default.fileExists(atPath: path + "/" + $0) }) { return path }
    return try checkpointFolder(path, seed: seed(arguments))
  }

  /// A checkpoint's folder by its path or its name; a preset is written to a temporary folder.
  static func checkpointFolder(_ path: String, seed: UInt64) throws -> String {
    guard path.hasPrefix("preset:") else {
      return try CheckpointFolder.resolve(path)
    }
    let preset = try Preset.named(String(path.dropFirst("preset:".count)))
    let folder = NSTemporaryDirectory() + "attune-\(preset.name)-\(getpid())"
    try preset.write(to: folder, seed: seed)
    TemporaryFolders.add(folder)
    return folder
  }
}

/// Folders that are removed when the program ends in the ordinary way.
private enum TemporaryFolders {
  nonisolated(unsafe) private static var folders: [String] = []
  // Safety: commands run on the main thread alone, and the exit handler after them.

  static func add(_ folder: String) {
    if folders.isEmpty { atexit { TemporaryFolders.removeAll() } }
    folders.append(folder)
  }

  static func removeAll() {
    for folder in folders { try? FileManager.default.removeItem(atPath: folder) }
  }
}
