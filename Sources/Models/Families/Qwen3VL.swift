import Core

extension ModelFamily {
  /// Qwen3-VL: Qwen3 with positions on three axes, and a vision tower some of whose blocks also speak into the first decoder
  /// layers (transformers' `modeling_qwen3_vl.py`).
  public static let qwen3VL = ModelFamily("qwen3_vl") { family, reader in
    let section = try reader.section("text_config")
    return try qwen3VL(
      family, reader, text: try qwen3Text(section, headSize: 128, theta: 500_000, windows: false))
  }

  /// What Qwen3-VL has around either decoder.
  static func qwen3VL(_ family: ModelFamily, _ reader: ConfigurationReader, text: TextConfiguration) throws
    -> ModelConfiguration
  {
    let section = try reader.section("text_config")
    var text = text
    text.rope.sections = try RopeConfiguration.sections(section, headSize: text.attentionHeads(layer: 0).size)
    var configuration = try ModelConfiguration(family, reader, text: text)
    configuration.decoderPrefix = "model.language_model"
    let vision = try Qwen3VLVisionConfiguration(reader.section("vision_config"))
    guard vision.outputSize == text.hiddenSize else {
      throw AttuneError.request(
        "vision_config.out_hidden_size is \(vision.outputSize), the decoder's hidden_size is \(text.hiddenSize)",
        at: .init(file: reader.file))
    }
    guard vision.deepstackBlocks.count <= text.layers else {
      throw AttuneError.request(
        "\(vision.deepstackBlocks.count) deepstack blocks for \(text.layers) decoder layers",
        at: .init(file: reader.file))
    }
    configuration.vision = .qwen3VL(vision)
    let ids = 0...Int(Int32.max)
    configuration.imageTokenID = Int32(try reader.int("image_token_id", in: ids))
    configuration.videoTokenID = try reader.optionalInt("video_token_id", in: ids).map { Int32($0) }
    configuration.visionStartID = try reader.optionalInt("vision_start_token_id", in: ids).map { Int32($0) }
    configuration.visionEndID = try reader.optionalInt("vision_end_token_id", in: ids).map { Int32($0) }
    return configuration
  }
}
