import AttuneTensor
import AttuneVision
import Core
import Foundation
import Models
import Rollout
import Text

/// A model with everything that stands around it in its folder: tokenizer, chat template, picture processor.
///
/// Not for use by two threads at once.
public final class Policy {
  public let folder: String
  public let model: LanguageModel
  public let tokenizer: Tokenizer
  public let template: ChatTemplate?
  /// What is wrong with the files for pictures is told when the first picture comes.
  private let processor: Result<PictureProcessor, any Error>
  /// Ids that end a completion; the first is appended to the targets of SFT.
  public let endIDs: [Int32]
  private var pieceCache: [String: [Int32]] = [:]

  /// Loads a Hugging Face checkpoint folder.
  ///
  /// - Throws: `.request` naming the file and what is wrong with it.
  public init(folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain) throws {
    self.folder = folder
    var configuration = try ModelConfiguration.load(folder: folder)
    tokenizer = try Tokenizer.load(folder: folder)
    template = try ChatTemplate.load(folder: folder)
    processor = Result { try PictureProcessor(folder: folder) }
    if case .success(.tiles(let tiles)) = processor, configuration.imageTokenID == nil {
      guard let id = tokenizer.id(of: tiles.imageToken) else {
        throw AttuneError.request(
          "the tokenizer has no token \(tiles.imageToken), which stands for pictures",
          at: .init(file: folder + "/tokenizer.json"))
      }
      configuration.imageTokenID = Int32(id)
    }
    endIDs = try Policy.endIDs(folder: folder, configuration: configuration)
    model = try LanguageModel(
      configuration,
      from: CheckpointSource(folder: folder, backend: backend, precision: precision, weights: weights))
  }

  private static func endIDs(folder: String, configuration: ModelConfiguration) throws -> [Int32] {
    func ids(_ json: JSON?) -> [Int32] {
      if let id = json?.int { return [Int32(truncatingIfNeeded: id)] }
      return (json?.array ?? []).compactMap { $0.int.map { Int32(truncatingIfNeeded: $0) } }
    }
    let path = folder + "/generation_config.json"
    if FileManager.default.fileExists(atPath: path) {
      let found = ids(try JSON.parse(MappedFile.read(path), file: path)["eos_token_id"])
      if !found.isEmpty { return found }
    }
    let json = configuration.json
    return ids(
      json["eos_token_id"] ?? json["text_config"]?["eos_token_id"] ?? json["language_config"]?["eos_token_id"])
  }

  // MARK: From messages to tokens

  /// A prompt as text and as the model's input.
  public struct Prompt {
    /// As the template rendered it, with one placeholder per picture.
    public let text: String
    public let encoded: EncodedPrompt
  }

  /// Renders messages with the chat template and encodes them with their pictures and films.
  public func prompt(
    messages: [JSON], media: PromptMedia = PromptMedia(), tools: JSON? = nil, addGenerationPrompt: Bool = true
  ) throws -> Prompt {
    guard let template else {
      throw AttuneError.request(
        "the checkpoint has no chat template, so messages cannot be rendered", at: .init(file: folder),
        hint: "give the prompt as text, or add a chat_template.jinja")
    }
    let text = try template.render(messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt).text
    return Prompt(text: text, encoded: try encode(text: text, media: media))
  }

  /// Encodes text; each placeholder in it becomes as many places as its picture or film needs.
  ///
  /// - Parameter isRaw: a person's text and no template's: it gets the tokenizer's begin token.
  public func encode(text: String, media: PromptMedia = PromptMedia(), isRaw: Bool = false) throws -> EncodedPrompt {
    let inputs = try encoder.inputs(of: media)
    // Prompts without pictures repeat, so a few are remembered.
    if inputs.pictures.isEmpty, inputs.films.isEmpty, model.configuration.vision == nil, !isRaw {
      return try model.encode(ids: ids(of: text))
    }
    return try model.encode(
      ids: try encoder.ids(of: text, inputs, isRaw: isRaw), pictures: inputs.pictures, films: inputs.films)
  }

  /// Checks ids whose places are expanded already against pictures and films.
  public func encode(ids: [Int32], media: PromptMedia) throws -> EncodedPrompt {
    let inputs = try encoder.inputs(of: media)
    return try model.encode(ids: ids, pictures: inputs.pictures, films: inputs.films)
  }

  /// The model sees, and its folder has what makes its inputs.
  public var takesPictures: Bool {
    guard model.configuration.vision != nil, case .success = processor else { return false }
    return true
  }

  private var encoder: PromptEncoder {
    PromptEncoder(configuration: model.configuration, tokenizer: tokenizer) { [processor] in try processor.get() }
  }

  /// The tokens of a text; prompts repeat, so a few are remembered.
  public func ids(of text: String) -> [Int32] {
    if let known = pieceCache[text] { return known }
    let ids = tokenizer.encode(text)
    if pieceCache.count > 256 { pieceCache.removeAll() }
    pieceCache[text] = ids
    return ids
  }

  /// The target of supervised training: the text's tokens and an end-of-sequence id.
  public func target(of completion: String) -> [Int32] { ids(of: completion) + endIDs.prefix(1) }

  // MARK: Saving

  /// Files of the folder that are not weights and travel with the model.
  private static let companions = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
  ]

  /// Writes a checkpoint in Hugging Face's layout, the active adapter folded in.
  ///
  /// - Parameter dtype: f32 or bf16; nil takes f32, or bf16 when products are bf16.
  public func save(to target: String, as dtype: DType? = nil) throws {
    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
    for name in Policy.companions {
      let path = folder + "/" + name
      guard FileManager.default.fileExists(atPath: path) else { continue }
      if name == "config.json", model.adapterUntiesHead {
        try AtomicFile.write(target + "/" + name, text: untied(JSON.parse(MappedFile.read(path), file: path)))
      } else {
        try AtomicFile.write(target + "/" + name, bytes: MappedFile.read(path))
      }
    }
    try SafeTensors.write(model.mergedWeights(as: dtype), to: target + "/model.safetensors", from: model.backend)
  }
}

extension Policy {
  /// The configuration of a model whose head an adapter has told apart from its embedding.
  private func untied(_ config: JSON) -> String {
    var object = config.object ?? JSON.Object()
    object["tie_word_embeddings"] = false
    for (key, value) in object.entries {
      guard var inner = value.object, inner["tie_word_embeddings"] != nil else { continue }
      inner["tie_word_embeddings"] = false
      object[key] = JSON(.object(inner))
    }
    return JSON(.object(object)).text(.pretty) + "\n"
  }
}

extension Tokenizer: CompletionDecoder {
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    decode(AnySequence(ids), skipSpecialTokens: skipSpecialTokens)
  }
}
