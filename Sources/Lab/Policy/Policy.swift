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
  /// What is wrong with the folder's files for pictures, where it has none, is told when the first picture comes.
  private let processor: Result<PictureProcessor, any Error>
  /// Ids that end a completion; the first is appended to the targets of SFT.
  public let endIDs: [Int32]
  /// Ids that end a completion that is sampled: in a rehearsal none, so that every one takes its longest.
  var stopIDs: [Int32] { model.backend.computes ? endIDs : [] }
  /// What a person should know of the folder; sentences.
  public let remarks: [String]
  let source: CheckpointSource
  private var pieceCache: [String: [Int32]] = [:]

  /// Loads a Hugging Face checkpoint folder.
  ///
  /// - Parameter hasHead: false for a classifier's checkpoint, whose model gives hidden states alone.
  /// - Throws: `.request` naming the file and what is wrong with it.
  public init(
    folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain, hasHead: Bool = true
  ) throws {
    self.folder = folder
    (tokenizer, template, processor, endIDs, source, model) = try CheckpointFolder.explaining(folder) {
      var configuration = try ModelConfiguration.load(folder: folder)
      let tokenizer = try Tokenizer.load(folder: folder)
      let template = try ChatTemplate.load(folder: folder)
      let processor = Result { try PictureProcessor(folder: folder) }
      let saysPictures = Policy.pictureFiles.contains { FileManager.default.fileExists(atPath: folder + "/" + $0) }
      if configuration.vision != nil, saysPictures {
        if case .tiles(let tiles) = try processor.get(), configuration.imageTokenID == nil {
          guard let id = tokenizer.id(of: tiles.imageToken) else {
            throw AttuneError.request(
              "there is no token \(tiles.imageToken), which processor_config.json says stands for pictures",
              at: .init(file: folder + "/tokenizer.json"))
          }
          configuration.imageTokenID = id
        }
      }
      let endIDs = try Policy.endIDs(folder: folder, configuration: configuration)
      let source = try CheckpointSource(folder: folder, backend: backend, precision: precision, weights: weights)
      let model = try LanguageModel(configuration, from: source, hasHead: hasHead)
      if hasHead { try source.checkTiedHead() }
      return (tokenizer, template, processor, endIDs, source, model)
    }
    // A classifier's head is read by whoever asked for a model without one.
    remarks = source.remarks + (hasHead ? [source.unusedRemark].compactMap { $0 } : [])
  }

  private static let pictureFiles = ["preprocessor_config.json", "processor_config.json"]

  /// `eos_token_id` of generation_config.json, else of config.json.
  private static func endIDs(folder: String, configuration: ModelConfiguration) throws -> [Int32] {
    func ids(_ json: JSON?, _ file: String) throws -> [Int32] {
      guard let json, !json.isNull else { return [] }
      return try (json.array ?? [json]).map { id in
        guard let id = id.int, (0..<configuration.text.vocabularySize).contains(id) else {
          throw AttuneError.request(
            "eos_token_id is \(json.text()), ids below vocab_size \(configuration.text.vocabularySize) were expected",
            at: json.location(in: file))
        }
        return Int32(id)
      }
    }
    let path = folder + "/generation_config.json"
    if FileManager.default.fileExists(atPath: path) {
      let found = try ids(JSON.parse(MappedFile.read(path), file: path)["eos_token_id"], path)
      if !found.isEmpty { return found }
    }
    let json = configuration.json
    return try ids(
      json["eos_token_id"] ?? json["text_config"]?["eos_token_id"] ?? json["language_config"]?["eos_token_id"],
      folder + "/config.json")
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
    if let undefinedToken {
      throw AttuneError.request(
        "the chat template names \(undefinedToken), but there is no tokenizer_config.json, which defines it",
        at: .init(file: folder), hint: "copy or download tokenizer_config.json into the folder")
    }
    let text = try template.render(messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt).text
    guard !text.isEmpty else {
      throw AttuneError.request(
        "the chat template makes no text of \(messages.count) messages", at: .init(file: template.file),
        hint: "copy or download the file again, or give the prompt as text")
    }
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

  /// A special token that the template names and that only tokenizer_config.json, which is not there, would define: it would be
  /// rendered as nothing.
  private lazy var undefinedToken: String? = {
    guard let template, template.specialTokens.isEmpty,
      !FileManager.default.fileExists(atPath: folder + "/tokenizer_config.json")
    else { return nil }
    return ["bos_token", "eos_token", "pad_token", "unk_token"].first { template.source.contains($0) }
  }()

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
}

extension Tokenizer: CompletionDecoder {
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    decode(AnySequence(ids), skipSpecialTokens: skipSpecialTokens)
  }
}
