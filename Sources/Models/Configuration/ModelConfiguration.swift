import AttuneTensor
import Core

/// A checkpoint's `config.json`, read and checked.
public struct ModelConfiguration: Sendable {
  public var family: ModelFamily
  public var text: TextConfiguration
  public var vision: VisionArchitecture?
  /// Id that stands for one place of a picture. DeepSeek-VL2's configuration has none: its tokenizer knows it.
  public var imageTokenID: Int32?
  /// Id that stands for one place of a film's frames.
  public var videoTokenID: Int32?
  public var visionStartID: Int32?
  public var visionEndID: Int32?
  public var tiedEmbeddings: Bool
  /// What the decoder's tensors are called: `model` for `model.layers.0…`.
  public var decoderPrefix: String
  /// The head's tensor where it is not the embedding.
  public var headName: String
  /// As in the file, to be written back unchanged.
  public var json: JSON
}

extension ModelConfiguration {
  /// Reads `config.json` of a checkpoint folder.
  ///
  /// - Throws: `.request` naming the file and key: missing, of a wrong kind, or a feature that no family here has.
  public static func load(folder: String) throws -> ModelConfiguration {
    let path = folder + "/config.json"
    let bytes: [UInt8]
    do { bytes = try MappedFile.read(path) } catch let error as AttuneError where error.message == "no such file" {
      throw AttuneError.request(
        "there is no config.json", at: .init(file: folder), hint: "a Hugging Face checkpoint folder was expected")
    }
    return try ModelConfiguration(json: JSON.parse(bytes, file: path), file: path)
  }

  public init(json: JSON, file: String) throws {
    let reader = ConfigurationReader(json: json, file: file, path: "")
    let type = try reader.string("model_type")
    guard let family = ModelFamily.all.first(where: { $0.name == type }) else {
      let known = ModelFamily.all.map(\.name)
      throw AttuneError.request(
        "model_type is \"\(type)\", which Attune does not run", at: reader.location("model_type"),
        hint: (nearestName(to: type, among: known).map { "the nearest it runs is \($0); " } ?? "")
          + "families: \(known.joined(separator: ", "))")
    }
    self = try family.read(family, reader)
  }

  /// A text model with the usual names.
  init(_ family: ModelFamily, _ reader: ConfigurationReader, text: TextConfiguration) throws {
    self.family = family
    self.text = text
    tiedEmbeddings = try reader.optionalBool("tie_word_embeddings") ?? false
    decoderPrefix = "model"
    headName = "lm_head.weight"
    json = reader.json
  }
}
