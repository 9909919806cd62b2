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
  public let processor: QwenPictureProcessor?
  /// Ids that end a completion; the first is appended to the targets of SFT.
  public let endIDs: [Int32]
  private var pieceCache: [String: [Int32]] = [:]

  /// Loads a Hugging Face checkpoint folder.
  ///
  /// - Throws: `.request` naming the file and what is wrong with it.
  public init(folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain) throws {
    self.folder = folder
    let configuration = try ModelConfiguration.load(folder: folder)
    tokenizer = try Tokenizer.load(folder: folder)
    template = try ChatTemplate.load(folder: folder)
    processor = configuration.vision == nil ? nil : try QwenPictureProcessor(folder: folder)
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
    return ids(configuration.json["eos_token_id"] ?? configuration.json["text_config"]?["eos_token_id"])
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
    let text = try template.render(messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt).text
    return Prompt(text: text, encoded: try encode(text: text, pictures: pictures, names: names))
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

  // MARK: Saving

  /// Files of the folder that are not weights and travel with the model.
  private static let companions = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
  ]

  /// Writes a checkpoint in Hugging Face's layout, an adapter folded in.
  public func save(to target: String) throws {
    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
    for name in Policy.companions {
      let path = folder + "/" + name
      guard FileManager.default.fileExists(atPath: path) else { continue }
      try AtomicFile.write(target + "/" + name, bytes: MappedFile.read(path))
    }
    try SafeTensors.write(model.mergedWeights(), to: target + "/model.safetensors", from: model.backend)
  }
}

extension Tokenizer: CompletionDecoder {
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    decode(AnySequence(ids), skipSpecialTokens: skipSpecialTokens)
  }
}
