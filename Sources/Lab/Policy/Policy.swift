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
  /// Nil for a text model, and for a picture model whose folder says nothing of pictures: it then reads text alone.
  public let processor: QwenPictureProcessor?
  /// Ids that end a completion; the first is appended to the targets of SFT.
  public let endIDs: [Int32]
  /// What a person should know of the folder; sentences.
  public let remarks: [String]
  let source: CheckpointSource
  private var pieceCache: [String: [Int32]] = [:]

  /// Loads a Hugging Face checkpoint folder.
  ///
  /// - Throws: `.request` naming the file and what is wrong with it.
  public init(folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain) throws {
    self.folder = folder
    (tokenizer, template, processor, endIDs, source, model) = try CheckpointFolder.explaining(folder) {
      let configuration = try ModelConfiguration.load(folder: folder)
      let tokenizer = try Tokenizer.load(folder: folder)
      let template = try ChatTemplate.load(folder: folder)
      let saysPictures = Policy.pictureFiles.contains { FileManager.default.fileExists(atPath: folder + "/" + $0) }
      let processor = configuration.vision == nil || !saysPictures ? nil : try QwenPictureProcessor(folder: folder)
      let endIDs = try Policy.endIDs(folder: folder, configuration: configuration)
      let source = try CheckpointSource(folder: folder, backend: backend, precision: precision, weights: weights)
      let model = try LanguageModel(configuration, from: source)
      try source.checkTiedHead()
      return (tokenizer, template, processor, endIDs, source, model)
    }
    remarks = source.remarks + [source.unusedRemark].compactMap { $0 }
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
    return try ids(json["eos_token_id"] ?? json["text_config"]?["eos_token_id"], folder + "/config.json")
  }

  // MARK: From messages to tokens

  /// A prompt as text and as the model's input.
  public struct Prompt {
    /// As the template rendered it, with one placeholder per picture.
    public let text: String
    public let encoded: EncodedPrompt
  }

  /// Renders messages with the chat template and encodes them with their pictures.
  public func prompt(
    messages: [JSON], pictures: [Picture], tools: JSON? = nil, addGenerationPrompt: Bool = true,
    names: [String] = []
  ) throws -> Prompt {
    guard let template else {
      throw AttuneError.request(
        "the checkpoint has no chat template, so messages cannot be rendered", at: .init(file: folder),
        hint: "give the prompt as text, or add a chat_template.jinja")
    }
    try checkSpecialTokens(of: template)
    let text = try template.render(messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt).text
    return Prompt(text: text, encoded: try encode(text: text, pictures: pictures, names: names))
  }

  /// A template names special tokens that tokenizer_config.json defines; without the file they would be rendered as nothing.
  private func checkSpecialTokens(of template: ChatTemplate) throws {
    guard template.specialTokens.isEmpty,
      let name = ["bos_token", "eos_token", "pad_token", "unk_token"].first(where: { template.source.contains($0) }),
      !FileManager.default.fileExists(atPath: folder + "/tokenizer_config.json")
    else { return }
    throw AttuneError.request(
      "the chat template names \(name), but there is no tokenizer_config.json, which defines it",
      at: .init(file: folder),
      hint: "copy or download tokenizer_config.json into the folder")
  }

  /// Encodes text; each picture placeholder in it becomes as many places as its picture needs.
  public func encode(text: String, pictures: [Picture], names: [String] = []) throws -> EncodedPrompt {
    try model.encode(
      ids: try expandPlaces(ids(of: text), pictures, names: names), pictures: try process(pictures, names: names))
  }

  /// The tokens of a text; prompts repeat, so a few are remembered.
  public func ids(of text: String) -> [Int32] {
    if let known = pieceCache[text] { return known }
    let ids = tokenizer.encode(text)
    if pieceCache.count > 256 { pieceCache.removeAll() }
    pieceCache[text] = ids
    return ids
  }

  public func process(_ pictures: [Picture], names: [String] = []) throws -> [PictureInput] {
    guard !pictures.isEmpty else { return [] }
    guard let processor else {
      if model.configuration.vision != nil {
        throw AttuneError.request(
          "\(pictures.count) pictures, but there is no preprocessor_config.json, which says how to cut them",
          at: .init(file: folder), hint: "copy the file from the model's checkpoint")
      }
      throw AttuneError.request(
        "\(pictures.count) pictures for a \(model.configuration.family.name) model, which reads text alone")
    }
    return try pictures.enumerated().map { i, picture in
      let processed = try processor.process(picture, name: names.indices.contains(i) ? names[i] : "picture \(i + 1)")
      return PictureInput(
        patches: processed.patches,
        grid: (frames: processed.grid.t, height: processed.grid.h, width: processed.grid.w))
    }
  }

  private func expandPlaces(_ ids: [Int32], _ pictures: [Picture], names: [String]) throws -> [Int32] {
    guard let imageID = model.configuration.imageTokenID, let processor else { return ids }
    let places = ids.filter { $0 == imageID }.count
    guard places == pictures.count else {
      throw AttuneError.request(
        "\(pictures.count) pictures, but \(places) placeholders in the text",
        hint: "each picture needs one \(tokenizer.token(of: imageID) ?? "image token") or an image part in a message")
    }
    var next = 0
    return try ids.flatMap { id -> [Int32] in
      guard id == imageID else { return [id] }
      defer { next += 1 }
      let name = names.indices.contains(next) ? names[next] : "picture \(next + 1)"
      let grid = try processor.grid(width: pictures[next].width, height: pictures[next].height, name: name)
      return [Int32](repeating: imageID, count: grid.tokenCount(mergeSize: processor.mergeSize))
    }
  }

  /// The target of supervised training: the text's tokens and an end-of-sequence id.
  public func target(of completion: String) -> [Int32] { ids(of: completion) + endIDs.prefix(1) }
}

extension Tokenizer: CompletionDecoder {
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    decode(AnySequence(ids), skipSpecialTokens: skipSpecialTokens)
  }
}
