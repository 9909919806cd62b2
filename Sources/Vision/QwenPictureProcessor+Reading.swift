import Core
import Foundation

extension QwenPictureProcessor {
  /// The `image_processor_type` names that mean this processor.
  public static let supportedKinds = [
    "Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil", "Qwen2_5_VLImageProcessor",
    "Qwen3VLImageProcessor", "Qwen3VLImageProcessorFast",
  ]

  /// Reads `preprocessor_config.json` in a checkpoint's folder, or the `image_processor` part of
  /// `processor_config.json` where there is only that.
  ///
  /// Limits come from `min_pixels` and `max_pixels`, else from `size` (`shortest_edge`, `longest_edge`: areas in spite
  /// of their names). What is not said has Qwen2-VL's value.
  ///
  /// - Throws: `AttuneError` (`.request`) with file and line: no such file, another kind of processor, numbers that
  ///   make no sense.
  public init(folder: String) throws {
    let path = folder + "/preprocessor_config.json"
    if let bytes = FileManager.default.contents(atPath: path) {
      try self.init(configuration: JSON.parse(bytes, file: path), file: path)
      return
    }
    let other = folder + "/processor_config.json"
    if let bytes = FileManager.default.contents(atPath: other) {
      let whole = try JSON.parse(bytes, file: other)
      guard let part = whole["image_processor"] else {
        throw AttuneError.request(
          "\"image_processor\" is missing, and there is no preprocessor_config.json", at: whole.location(in: other))
      }
      try self.init(configuration: part, file: other)
      return
    }
    throw AttuneError.request(
      "the checkpoint says nothing of pictures: there is no readable preprocessor_config.json",
      at: .init(file: folder), hint: "a text model has none; for a picture model copy the file from its checkpoint")
  }

  /// Reads the contents of a `preprocessor_config.json`.
  ///
  /// - Throws: as `init(folder:)`.
  public init(configuration: JSON, file: String) throws {
    let reader = try ConfigurationReader(configuration, file: file)
    try reader.checkKind(among: Self.supportedKinds)
    let patch = try reader.integer("patch_size", default: 14, in: 1...256)
    let temporal = try reader.integer("temporal_patch_size", default: 2, in: 1...64)
    let merge = try reader.integer("merge_size", default: 2, in: 1...16)
    let limits = try reader.limits()
    let normalizes = try reader.flag("do_normalize")
    let std = try reader.triple("image_std", default: [0.26862954, 0.26130258, 0.27577711])
    if std.contains(where: { Float($0) == 0 }) {
      throw reader.error("image_std", "holds 0, by which nothing can be divided")
    }
    self.init(
      patchSize: patch, temporalPatchSize: temporal, mergeSize: merge, minPixels: limits.min, maxPixels: limits.max,
      mean: try reader.triple("image_mean", default: [0.48145466, 0.4578275, 0.40821073]), std: std,
      rescaleFactor: try reader.number("rescale_factor", default: 1 / 255), filter: try reader.filter(),
      resizes: try reader.flag("do_resize"), rescales: try reader.flag("do_rescale"), normalizes: normalizes)
  }
}

/// Values of a `preprocessor_config.json`, each checked where it is read. A null counts as not said, as in the library.
private struct ConfigurationReader {
  private let root: JSON
  private let file: String

  init(_ root: JSON, file: String) throws {
    guard root.object != nil else {
      throw AttuneError.request(
        "found \(root.kind), expected a mapping with the processor's settings", at: root.location(in: file))
    }
    self.root = root
    self.file = file
  }

  func checkKind(among supported: [String]) throws {
    let key = root["image_processor_type"] == nil ? "feature_extractor_type" : "image_processor_type"
    guard let entry = root[key], let kind = entry.string else {
      throw AttuneError.request(
        "\"image_processor_type\" is missing or no string", at: (root[key] ?? root).location(in: file),
        hint: "supported are \(supported.joined(separator: ", "))")
    }
    guard supported.contains(kind) else {
      throw AttuneError.request(
        "the picture processor '\(kind)' is not supported", at: entry.location(in: file),
        hint: "supported are \(supported.joined(separator: ", "))")
    }
  }

  func error(_ key: String, _ message: String) -> AttuneError {
    .request("\"\(key)\" \(message)", at: (value(key) ?? root).location(in: file))
  }

  func integer(_ key: String, default fallback: Int, in range: ClosedRange<Int>) throws -> Int {
    guard let value = value(key) else { return fallback }
    return try integer(value, key, in: range)
  }

  func number(_ key: String, default fallback: Double) throws -> Double {
    guard let value = value(key) else { return fallback }
    guard let number = value.double, number.isFinite else {
      throw error(key, "is \(value.text()), expected a number")
    }
    return number
  }

  func flag(_ key: String) throws -> Bool {
    guard let value = value(key) else { return true }
    guard let flag = value.bool else { throw error(key, "is \(value.text()), expected true or false") }
    return flag
  }

  func triple(_ key: String, default fallback: [Double]) throws -> [Double] {
    guard let value = value(key) else { return fallback }
    let numbers = value.array?.compactMap(\.double) ?? []
    guard numbers.count == 3, value.array?.count == 3, numbers.allSatisfy(\.isFinite) else {
      throw error(key, "is \(value.text()), expected three numbers: red, green, blue")
    }
    return numbers
  }

  func filter() throws -> Resampling {
    let code = try integer("resample", default: 3, in: 0...5)
    guard let filter = Resampling(pillowCode: code) else {
      throw error("resample", "is 0 (nearest), expected 1 lanczos, 2 bilinear, 3 bicubic, 4 box or 5 hamming")
    }
    return filter
  }

  func limits() throws -> (min: Int, max: Int) {
    let low = try limit(["min_pixels", "shortest_edge"], default: 3136)
    let high = try limit(["max_pixels", "longest_edge"], default: 1_003_520)
    guard low <= high else {
      throw error(value("size") == nil ? "max_pixels" : "size", "allows at most \(high) pixels and asks for \(low)")
    }
    return (low, high)
  }

  /// The first that is said: the key beside `size`, then any of the keys inside it.
  private func limit(_ keys: [String], default fallback: Int) throws -> Int {
    let range = 1...(1 << 28)
    if let value = value(keys[0]) { return try integer(value, keys[0], in: range) }
    guard let size = value("size") else { return fallback }
    guard size.object != nil else {
      throw error("size", "is \(size.text()), expected a mapping with shortest_edge and longest_edge")
    }
    for key in keys {
      if let value = size[key], !value.isNull { return try integer(value, "size.\(key)", in: range) }
    }
    return fallback
  }

  private func integer(_ value: JSON, _ name: String, in range: ClosedRange<Int>) throws -> Int {
    guard let number = value.int, range.contains(number) else {
      throw AttuneError.request(
        "\"\(name)\" is \(value.text()), expected a whole number from \(range.lowerBound) to \(range.upperBound)",
        at: value.location(in: file))
    }
    return number
  }

  private func value(_ key: String) -> JSON? {
    guard let value = root[key], !value.isNull else { return nil }
    return value
  }
}
