import Core

extension ModelFamily {
  /// DeepSeek-VL2: a SigLIP tower sees a picture whole and in tiles, a projector joins its patches, and their rows with line
  /// ends between stand in the tokens of a DeepSeek-V2 decoder (repository deepseek-ai/DeepSeek-VL2,
  /// `modeling_deepseek_vl_v2.py`).
  public static let deepSeekVL2 = ModelFamily("deepseek_vl_v2") { family, reader in
    let section = try reader.section("language_config")
    let text = try deepSeekText(section)
    var configuration = try ModelConfiguration(family, reader, text: text)
    configuration.tiedEmbeddings = false
    configuration.decoderPrefix = "language.model"
    configuration.headName = "language.lm_head.weight"
    if let tag = try reader.optionalString("tile_tag"), tag != "2D" {
      throw reader.unsupported("tile_tag", "is \"\(tag)\", \"2D\" was expected")
    }
    let place = try reader.optionalString("global_view_pos") ?? "head"
    guard place == "head" || place == "tail" else {
      throw reader.error("global_view_pos", "is \"\(place)\", \"head\" or \"tail\" was expected")
    }
    let vision = try DeepSeekVL2VisionConfiguration(
      vision: reader.section("vision_config"), projector: reader.section("projector_config"),
      wholeViewFirst: place == "head")
    guard vision.outputSize == text.hiddenSize else {
      throw AttuneError.request(
        "projector_config.n_embed is \(vision.outputSize), the decoder's hidden_size is \(text.hiddenSize)",
        at: .init(file: reader.file))
    }
    configuration.vision = .deepSeekVL2(vision)
    // Published files leave it to the tokenizer.
    configuration.imageTokenID = try reader.optionalInt("image_token_id", in: 0...Int(Int32.max)).map { Int32($0) }
    return configuration
  }
}
