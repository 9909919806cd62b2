import Core
import Foundation

extension QwenVideoProcessor {
  /// The `video_processor_type` names that mean this processor.
  public static let supportedKinds = ["Qwen3VLVideoProcessor"]

  /// Reads the `video_processor` part of `processor_config.json`, else `video_preprocessor_config.json`, else
  /// `preprocessor_config.json` (the limits of pictures then hold for whole films), in the library's order.
  ///
  /// - Returns: nil when none of the files is there, or when they are another family's, which has no film processor here
  ///   (Qwen2-VL treats films otherwise).
  /// - Throws: `AttuneError` (`.request`) with file and line: numbers that make no sense, another kind of processor.
  public static func load(folder: String) throws -> QwenVideoProcessor? {
    let whole = folder + "/processor_config.json"
    if let bytes = FileManager.default.contents(atPath: whole) {
      if let part = try JSON.parse(bytes, file: whole)["video_processor"], !part.isNull {
        return try QwenVideoProcessor(configuration: part, file: whole)
      }
    }
    let own = folder + "/video_preprocessor_config.json"
    if let bytes = FileManager.default.contents(atPath: own) {
      return try QwenVideoProcessor(configuration: JSON.parse(bytes, file: own), file: own)
    }
    let pictures = folder + "/preprocessor_config.json"
    guard let bytes = FileManager.default.contents(atPath: pictures) else { return nil }
    let configuration = try JSON.parse(bytes, file: pictures)
    guard configuration["processor_class"]?.string == "Qwen3VLProcessor" else { return nil }
    return try QwenVideoProcessor(configuration: configuration, file: pictures)
  }

  /// Reads the contents of a configuration file. What is not said has Qwen3-VL's value.
  ///
  /// - Throws: as `load(folder:)`.
  public init(configuration: JSON, file: String) throws {
    let reader = try ProcessorConfiguration(configuration, file: file)
    if reader.value("video_processor_type") != nil {
      try reader.checkKind(among: Self.supportedKinds, key: "video_processor_type")
    } else if let kind = reader.value("processor_class"), kind.string != "Qwen3VLProcessor" {
      throw reader.error("processor_class", "is \(kind.text()), expected \"Qwen3VLProcessor\"")
    }
    self.init()
    patchSize = try reader.integer("patch_size", default: patchSize, in: 1...256)
    temporalPatchSize = try reader.integer("temporal_patch_size", default: temporalPatchSize, in: 1...64)
    mergeSize = try reader.integer("merge_size", default: mergeSize, in: 1...16)
    (minPixels, maxPixels) = try reader.volume(default: (minPixels, maxPixels))
    capsPixelsPerFrame = try reader.flag("cap_pixels_per_frame", default: false)
    maxVideoTokens = try reader.integer("max_video_tokens", default: maxVideoTokens, in: 1...(1 << 20))
    samples = try reader.flag("do_sample_frames", default: true)
    try readSampling(reader, configuration)
    mean = try reader.triple("image_mean", default: mean)
    std = try reader.triple("image_std", default: std)
    if std.contains(where: { Float($0) == 0 }) {
      throw reader.error("image_std", "holds 0, by which nothing can be divided")
    }
    rescaleFactor = try reader.number("rescale_factor", default: rescaleFactor)
    filter = try reader.filter()
    resizes = try reader.flag("do_resize", default: true)
    rescales = try reader.flag("do_rescale", default: true)
    normalizes = try reader.flag("do_normalize", default: true)
    if rescales, rescaleFactor == 0 { throw reader.error("rescale_factor", "is 0") }
  }

  private mutating func readSampling(_ reader: ProcessorConfiguration, _ configuration: JSON) throws {
    minFrames = try reader.integer("min_frames", default: minFrames, in: 1...100_000)
    maxFrames = try reader.integer("max_frames", default: maxFrames, in: 1...100_000)
    guard minFrames <= maxFrames else {
      throw reader.error("max_frames", "is \(maxFrames), less than min_frames, \(minFrames)")
    }
    if let count = reader.value("num_frames") {
      frameCount = try reader.integer(count, "num_frames", in: 1...100_000)
    }
    // An explicit null switches the rate off; the library then goes by the two limits alone.
    if configuration["fps"]?.isNull == true {
      sampledRate = nil
    } else {
      let rate = try reader.number("fps", default: 2)
      guard rate > 0 else { throw reader.error("fps", "is \(rate), expected more than 0") }
      sampledRate = rate
    }
    if frameCount != nil, sampledRate != nil {
      throw reader.error("num_frames", "stands beside fps, of which one can be followed; set the other to null")
    }
  }
}

extension ProcessorConfiguration {
  /// `size`: pixels of all frames together, areas in spite of the names.
  fileprivate func volume(default fallback: (min: Int, max: Int)) throws -> (min: Int, max: Int) {
    guard let size = value("size") else { return fallback }
    func edge(_ key: String) throws -> Int {
      guard let edge = size[key], !edge.isNull else {
        throw error("size", "is \(size.text()), expected a mapping with shortest_edge and longest_edge")
      }
      return try integer(edge, "size.\(key)", in: 1...(1 << 34))
    }
    let volume = (min: try edge("shortest_edge"), max: try edge("longest_edge"))
    guard volume.min <= volume.max else {
      throw error("size", "allows at most \(volume.max) pixels and asks for \(volume.min)")
    }
    return volume
  }
}
