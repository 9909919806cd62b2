import Core
import Foundation

extension Tokenizer {
  /// Reads the tokenizer of a Hugging Face folder. Only `tokenizer.json` counts: `tokenizer_class` of
  /// `tokenizer_config.json` is not reliable in published checkpoints.
  ///
  /// - Throws: `AttuneError` if the file is missing, broken, or has a step in its pipeline that is not supported; it
  ///   names the file, the line, and the path in the JSON (`model.merges[17]`).
  public static func load(folder: String) throws -> Tokenizer {
    let file = folder.hasSuffix("/") ? folder + "tokenizer.json" : folder + "/tokenizer.json"
    guard let data = FileManager.default.contents(atPath: file) else {
      throw AttuneError.request(
        "no tokenizer: the file cannot be read", at: .init(file: file),
        hint:
          "download tokenizer.json into the folder; only it is read, vocab.json, merges.txt or tokenizer.model do not do: "
          + "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) in Python writes it from those")
    }
    return try Tokenizer(json: JSON.parse(data, file: file, refuseDuplicateKeys: true), file: file)
  }

  /// The tokenizer that a parsed `tokenizer.json` describes; `file` is the name that errors carry.
  public convenience init(json: JSON, file: String) throws {
    self.init(try TokenizerReader(file: file).read(json))
  }
}

/// Reads the parts of `tokenizer.json`. Whatever it does not know it refuses, with its path.
struct TokenizerReader {
  let file: String

  private static let keys = [
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
    "model",
  ]

  func read(_ json: JSON) throws -> TokenizerParts {
    let root = DescriptionNode(json: json, path: "", file: file)
    guard let object = json.object else { throw root.unexpected("a mapping") }
    for (key, value) in object.entries where !Self.keys.contains(key) {
      throw DescriptionNode(json: value, path: key, file: file).refusal(
        "unknown key",
        hint: nearestName(to: key, among: Self.keys).map { "did you mean \"\($0)\"?" }
          ?? "keys: \(Self.keys.joined(separator: ", "))")
    }
    if json["version"] != nil {
      let version = try root.required("version")
      guard version.json.string == "1.0" else { throw version.unexpected("\"1.0\"") }
    }

    for key in ["truncation", "padding"] {
      if let node = root[key], node.json.object == nil { throw node.unexpected("null or a mapping") }
    }
    let normalizers = try root["normalizer"].map(self.normalizers) ?? []
    var preTokenizers = try root["pre_tokenizer"].map(self.preTokenizers) ?? []
    let model = try self.model(root.required("model"), takesBytes: takesBytes(normalizers, preTokenizers))
    if !model.takesBytes { preTokenizers = preTokenizers.flatMap(Self.spelledOut) }
    var parts = TokenizerParts(model: model.model)
    parts.tokens = model.tokens
    parts.ids = model.ids
    parts.normalizers = normalizers
    parts.preTokenizers = preTokenizers
    parts.needsOrigins = preTokenizers.indices.contains { index in
      guard case .metaspace(_, .first, _) = preTokenizers[index] else { return false }
      return index > 0 || !normalizers.isEmpty
    }
    try readAddedTokens(json["added_tokens"].map { _ in try root.required("added_tokens") }, into: &parts)
    parts.decoder = try root["decoder"].map(decoder) ?? .steps([.join])
    if case .byteLevel = parts.decoder { prepareByteDecoding(&parts) }
    if let step = root["post_processor"] { try readPostProcessor(step, into: &parts) }
    return parts
  }

  /// Whether the pipeline ends with bytes written in the byte alphabet, and nothing else looks at those.
  private func takesBytes(_ normalizers: [Normalizer], _ steps: [PreTokenizer]) -> Bool {
    let places = steps.indices.filter { if case .byteLevel = steps[$0] { true } else { false } }
    let isRewritten = normalizers.contains { if case .byteCharacters = $0 { true } else { false } }
    return places == [steps.count - 1] && !isRewritten
  }

  /// A byte-level step with its change of characters, for models that take characters.
  private static func spelledOut(_ step: PreTokenizer) -> [PreTokenizer] {
    if case .byteLevel = step { [step, .byteCharacters] } else { [step] }
  }

  private func prepareByteDecoding(_ parts: inout TokenizerParts) {
    parts.decodedStarts.reserveCapacity(parts.tokens.count + 1)
    parts.decodedBytes.reserveCapacity(parts.tokens.count * 8)
    for token in parts.tokens {
      if let token, !ByteAlphabet.append(token, to: &parts.decodedBytes) { parts.decodedBytes += token.utf8 }
      parts.decodedStarts.append(parts.decodedBytes.count)
    }
  }
}
