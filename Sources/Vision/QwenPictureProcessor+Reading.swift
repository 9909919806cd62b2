import Core
import Foundation

extension QwenPictureProcessor {
  /// The `image_processor_type` names that mean this processor.
  public static let supportedKinds = [
    "Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil", "Qwen2_5_VLImageProcessor",
    "Qwen3VLImageProcessor", "Qwen3VLImageProcessorFast",
  ]

  /// Reads the `image_processor` part of `processor_config.json` in a checkpoint's folder, else
  /// `preprocessor_config.json`, in the library's order.
  ///
  /// Limits come from `min_pixels` and `max_pixels`, else from `size` (`shortest_edge`, `longest_edge`: areas in spite
  /// of their names). What is not said has Qwen2-VL's value.
  ///
  /// - Throws: `AttuneError` (`.request`) with file and line: no such file, another kind of processor, numbers that
  ///   make no sense.
  public init(folder: String) throws {
    let whole = folder + "/processor_config.json"
    if let bytes = FileManager.default.contents(atPath: whole) {
      if let part = try JSON.parse(bytes, file: whole)["image_processor"], !part.isNull {
        try self.init(configuration: part, file: whole)
        return
      }
    }
    let path = folder + "/preprocessor_config.json"
    if let bytes = FileManager.default.contents(atPath: path) {
      try self.init(configuration: JSON.parse(bytes, file: path), file: path)
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
    let reader = try ProcessorConfiguration(configuration, file: file)
    try reader.checkKind(among: Self.supportedKinds, key: "image_processor_type", older: "feature_extractor_type")
    let patch = try reader.integer("patch_size", default: 14, in: 1...256)
    let temporal = try reader.integer("temporal_patch_size", default: 2, in: 1...64)
    let merge = try reader.integer("merge_size", default: 2, in: 1...16)
    let limits = try reader.limits()
    let normalizes = try reader.flag("do_normalize", default: true)
    let std = try reader.triple("image_std", default: [0.26862954, 0.26130258, 0.27577711])
    if std.contains(where: { Float($0) == 0 }) {
      throw reader.error("image_std", "holds 0, by which nothing can be divided")
    }
    self.init(
      patchSize: patch, temporalPatchSize: temporal, mergeSize: merge, minPixels: limits.min, maxPixels: limits.max,
      mean: try reader.triple("image_mean", default: [0.48145466, 0.4578275, 0.40821073]), std: std,
      rescaleFactor: try reader.number("rescale_factor", default: 1 / 255), filter: try reader.filter(),
      resizes: try reader.flag("do_resize", default: true), rescales: try reader.flag("do_rescale", default: true),
      normalizes: normalizes, putsOnWhite: try reader.flag("do_convert_rgb", default: true))
  }
}

extension ProcessorConfiguration {
  fileprivate func limits() throws -> (min: Int, max: Int) {
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
}
