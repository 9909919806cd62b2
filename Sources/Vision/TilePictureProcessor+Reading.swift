import Core
import Foundation

extension TilePictureProcessor {
  /// The `processor_class` that means this processor.
  public static let supportedKinds = ["DeepseekVLV2Processor"]

  /// Reads `processor_config.json` in a checkpoint's folder.
  ///
  /// - Throws: `AttuneError` (`.request`) with file and line: no such file, another kind of processor, numbers that
  ///   make no sense.
  public init(folder: String) throws {
    let path = folder + "/processor_config.json"
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw AttuneError.request(
        "the checkpoint says nothing of pictures: there is no readable processor_config.json", at: .init(file: folder),
        hint: "copy the file from the checkpoint that the model was made from")
    }
    try self.init(configuration: JSON.parse(bytes, file: path), file: path)
  }

  /// Reads the contents of a `processor_config.json`. What is not said has the published processor's value.
  ///
  /// - Throws: as `init(folder:)`.
  public init(configuration: JSON, file: String) throws {
    let reader = try ProcessorConfiguration(configuration, file: file)
    try reader.checkKind(among: Self.supportedKinds, key: "processor_class")
    let candidates = try reader.candidates()
    let patch = try reader.integer("patch_size", default: 16, in: 1...256)
    guard patch <= candidates[0].width else {
      throw reader.error("patch_size", "is \(patch), more than a view's side of \(candidates[0].width)")
    }
    let std = try reader.triple("image_std", default: [0.5, 0.5, 0.5])
    if std.contains(where: { Float($0) == 0 }) {
      throw reader.error("image_std", "holds 0, by which nothing can be divided")
    }
    let token = reader.value("image_token") ?? "<image>"
    guard let text = token.string, !text.isEmpty else {
      throw reader.error("image_token", "is \(token.text()), expected a text")
    }
    self.init(
      candidates: candidates, mean: try reader.triple("image_mean", default: [0.5, 0.5, 0.5]), std: std,
      normalizes: try reader.flag("normalize", default: true), patchSize: patch,
      downsampleRatio: try reader.integer("downsample_ratio", default: 2, in: 1...16), imageToken: text)
  }
}

extension ProcessorConfiguration {
  /// `candidate_resolutions`: pairs of width and height, all multiples of the first one's width.
  fileprivate func candidates() throws -> [TilePictureProcessor.Resolution] {
    let key = "candidate_resolutions"
    guard let list = value(key)?.array, !list.isEmpty else {
      throw error(key, "is missing or empty, expected a list of [width, height]")
    }
    var found: [TilePictureProcessor.Resolution] = []
    for (i, entry) in list.enumerated() {
      let name = "\(key)[\(i)]"
      guard let pair = entry.array, pair.count == 2 else {
        throw AttuneError.request(
          "\"\(name)\" is \(entry.text()), expected [width, height]", at: entry.location(in: file))
      }
      let width = try integer(pair[0], name, in: 1...16_384)
      let height = try integer(pair[1], name, in: 1...16_384)
      let base = found.first?.width ?? width
      guard width % base == 0, height % base == 0, width * height <= 1 << 26 else {
        throw AttuneError.request(
          "\"\(name)\" is \(entry.text()); both sides must be multiples of \(base), the first candidate's width, and the area at most \(1 << 26)",
          at: entry.location(in: file))
      }
      found.append(.init(width: width, height: height))
    }
    return found
  }
}
