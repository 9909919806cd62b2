import Core
import Foundation

extension Tokenizer {
  /// Reads the tokenizer of a Hugging Face folder. Only `tokenizer.json` counts: `tokenizer_class` of
  /// `tokenizer_config.json` is not reliable in published checkpoints.
  ///
  /// - Throws: `AttuneError` if the file is missing, broken, or has a step in its pipeline that is not supported.
  public static func load(folder: String) throws -> Tokenizer {
    let file = folder.hasSuffix("/") ? folder + "tokenizer.json" : folder + "/tokenizer.json"
    guard let data = FileManager.default.contents(atPath: file) else {
      throw AttuneError.request(
        "no tokenizer: the file cannot be read", at: .init(file: file),
        hint:
          "download tokenizer.json into the folder; only it is read, vocab.json, merges.txt or tokenizer.model do not do: "
          + "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) in Python writes it from those")
    }
    return try Tokenizer(json: JSON.parse(data, file: file), file: file)
  }

  /// The tokenizer that a parsed `tokenizer.json` describes; `file` is the name that errors carry.
  public convenience init(json: JSON, file: String) throws {
    self.init(try TokenizerReader(file: file).read(json))
  }
}

/// Reads the parts of `tokenizer.json`. Whatever it does not know it refuses.
private struct TokenizerReader {
  let file: String

  private func refusal(_ message: String, at place: JSON?, hint: String? = nil) -> AttuneError {
    .request(message, at: place?.location(in: file) ?? .init(file: file), hint: hint)
  }

  private func unsupported(_ what: String, _ found: String, at place: JSON, _ supported: [String]) -> AttuneError {
    refusal("\(what) \"\(found)\" is not supported", at: place, hint: "supported: \(supported.joined(separator: ", "))")
  }

  private func type(of step: JSON, _ what: String) throws -> String {
    guard let type = step["type"]?.string else {
      throw refusal("\(what) without a type: found \(step.kind), expected a mapping with \"type\"", at: step)
    }
    return type
  }

  private func flag(_ step: JSON, _ key: String, default value: Bool = false) throws -> Bool {
    guard let found = step[key], !found.isNull else { return value }
    guard let bool = found.bool else { throw refusal("\"\(key)\" is \(found.kind), expected a boolean", at: found) }
    return bool
  }

  private func text(_ step: JSON, _ key: String) throws -> String {
    guard let text = step[key]?.string else {
      throw refusal("\"\(key)\" is \(step[key]?.kind ?? "missing"), expected a string", at: step[key] ?? step)
    }
    return text
  }

  func read(_ json: JSON) throws -> TokenizerParts {
    guard json.object != nil else { throw refusal("found \(json.kind), expected a mapping", at: json) }
    let normalizers = try self.normalizers(json["normalizer"])
    let preTokenizers = try self.preTokenizers(json["pre_tokenizer"])
    let isByteLevel = preTokenizers.contains { if case .byteLevel = $0 { true } else { false } }
    var parts = try model(json["model"], isByteLevel: isByteLevel)
    parts.normalizers = normalizers
    parts.preTokenizers = preTokenizers
    try readAddedTokens(json["added_tokens"], into: &parts)
    parts.decoder = try decoder(json["decoder"])
    if case .byteLevel = parts.decoder { prepareByteDecoding(&parts) }
    if let step = json["post_processor"], !step.isNull { try readPostProcessor(step, into: &parts) }
    return parts
  }

  // MARK: Normalizer and pre-tokenizer

  private func normalizers(_ step: JSON?) throws -> [Normalizer] {
    guard let step, !step.isNull else { return [] }
    switch try type(of: step, "a normalizer") {
    case "Sequence": return try (step["normalizers"]?.array ?? []).flatMap(normalizers)
    case "NFC": return [.nfc]
    case "Prepend": return [.prepend(Array(try text(step, "prepend").utf8))]
    case "Replace":
      guard let old = step["pattern"]?["String"]?.string, !old.isEmpty else {
        throw refusal("a Replace normalizer needs a pattern of the form {\"String\": \"...\"}", at: step)
      }
      return [.replace(Array(old.utf8), with: Array(try text(step, "content").utf8))]
    case let other: throw unsupported("the normalizer", other, at: step, Normalizer.supported)
    }
  }

  private static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private func preTokenizers(_ step: JSON?) throws -> [PreTokenizer] {
    guard let step, !step.isNull else { return [] }
    switch try type(of: step, "a pre-tokenizer") {
    case "Sequence": return try (step["pretokenizers"]?.array ?? []).flatMap(preTokenizers)
    case "ByteLevel":
      return [
        .byteLevel(
          addsPrefixSpace: try flag(step, "add_prefix_space", default: true),
          pattern: try flag(step, "use_regex", default: true) ? try pattern(Self.gpt2Pattern, step) : nil)
      ]
    case "Digits": return [.digits(try pattern(#"\p{N}"#, step), individual: try flag(step, "individual_digits"))]
    case "Metaspace":
      let schemes: [String: PreTokenizer.Prepending] = ["always": .always, "first": .first, "never": .never]
      let legacy = try flag(step, "add_prefix_space", default: true) ? "always" : "never"
      let scheme = step["prepend_scheme"]?.string ?? legacy
      guard let prepends = schemes[scheme] else {
        throw unsupported("the prepend_scheme", scheme, at: step, schemes.keys.sorted())
      }
      return [
        .metaspace(
          replacement: Array(try text(step, "replacement").utf8), prepends: prepends,
          splits: try flag(step, "split", default: true))
      ]
    case "Split":
      let name = try text(step, "behavior")
      guard let behavior = PreTokenizer.Behavior(rawValue: name) else {
        throw unsupported(
          "the behavior of a Split", name, at: step, PreTokenizer.Behavior.allCases.map(\.rawValue))
      }
      let inverted = try flag(step, "invert")
      if let literal = step["pattern"]?["String"]?.string {
        return [.split(.literal(Array(literal.utf8)), behavior, inverted: inverted)]
      }
      guard let regex = step["pattern"]?["Regex"] ?? step["pattern"], let source = regex.string else {
        throw refusal("a Split needs a pattern: {\"Regex\": \"...\"} or {\"String\": \"...\"}", at: step)
      }
      return [.split(.pattern(try pattern(source, regex)), behavior, inverted: inverted)]
    case let other: throw unsupported("the pre-tokenizer", other, at: step, PreTokenizer.supported)
    }
  }

  private func pattern(_ source: String, _ place: JSON) throws -> SplitPattern {
    do {
      return try SplitPattern(source)
    } catch var error as AttuneError {
      error.location = place.location(in: file)
      throw error
    }
  }

  // MARK: Model

  private func model(_ model: JSON?, isByteLevel: Bool) throws -> TokenizerParts {
    guard let model, model.object != nil else { throw refusal("no \"model\"", at: model) }
    // Old files leave the type out; only the byte-pair encoding has merges.
    let type = model["type"]?.string ?? (model["merges"] != nil ? "BPE" : "unknown")
    guard type == "BPE" else { throw unsupported("the model", type, at: model, ["BPE"]) }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let value = model[key], !value.isNull, value.string != "" {
        throw refusal("\"\(key)\" of the model is not supported unless it is empty", at: value)
      }
    }
    if let dropout = model["dropout"], !dropout.isNull, dropout.double != 0 {
      throw refusal("\"dropout\" of the model is not supported unless it is null: ids would be random", at: dropout)
    }
    guard let vocabulary = model["vocab"]?.object else {
      throw refusal("\"vocab\" of the model is missing or no mapping", at: model["vocab"] ?? model)
    }

    var ids = ByteStringTable(capacity: vocabulary.count)
    var tokens: [String?] = Array(repeating: nil, count: vocabulary.count)
    for (token, value) in vocabulary.entries {
      ids.insert(token, try put(token, at: value, into: &tokens))
    }
    let merges = try self.merges(model["merges"], ids)
    let symbols: BytePairEncoding.Symbols
    var vocabularyOfPieces = ByteStringTable()
    if isByteLevel {
      vocabularyOfPieces = ByteStringTable(capacity: vocabulary.count)
      for (id, token) in tokens.enumerated() {
        if let token, let bytes = ByteAlphabet.bytes(of: token) { vocabularyOfPieces.insert(bytes, Int32(id)) }
      }
      symbols = .bytes((0...255).map { vocabularyOfPieces.value(of: [UInt8($0)]) ?? -1 })
    } else {
      vocabularyOfPieces = ids
      symbols = try characterSymbols(model, ids)
    }
    return TokenizerParts(
      tokens: tokens, ids: ids, isSpecial: Array(repeating: false, count: tokens.count),
      model: BytePairEncoding(
        vocabulary: vocabularyOfPieces, merges: merges, symbols: symbols,
        ignoresMerges: try flag(model, "ignore_merges")))
  }

  private func characterSymbols(_ model: JSON, _ ids: ByteStringTable) throws -> BytePairEncoding.Symbols {
    var byteTokens: [Int32]?
    if try flag(model, "byte_fallback") {
      let found = (0...255).compactMap { byte -> Int32? in
        let hex = String(byte, radix: 16, uppercase: true)
        return ids.value(of: "<0x\(hex.count < 2 ? "0" : "")\(hex)>")
      }
      guard found.count == 256 else {
        throw refusal("\"byte_fallback\" needs the 256 tokens <0x00> to <0xFF>, found \(found.count)", at: model)
      }
      byteTokens = found
    }
    var unknown: Int32?
    if let name = model["unk_token"]?.string {
      guard let id = ids.value(of: name) else {
        throw refusal("the unk_token \"\(name)\" is not in the vocabulary", at: model["unk_token"])
      }
      unknown = id
    }
    return .characters(byteTokens: byteTokens, unknown: unknown, fusesUnknown: try flag(model, "fuse_unk"))
  }

  /// Largest id taken from a file: enough for any vocabulary, and arrays by id stay small.
  private static let largestID = 1 << 24

  private func put(_ token: String, at value: JSON, into tokens: inout [String?]) throws -> Int32 {
    guard let id = value.int, id >= 0, id < Self.largestID else {
      throw refusal("the id of \"\(token)\" is \(value.text()), expected 0...\(Self.largestID - 1)", at: value)
    }
    if id >= tokens.count { tokens += Array(repeating: nil, count: id + 1 - tokens.count) }
    tokens[id] = token
    return Int32(id)
  }

  private func merges(_ list: JSON?, _ ids: ByteStringTable) throws -> PairTable {
    guard let list = list?.array else { throw refusal("\"merges\" of the model is missing or no list", at: list) }
    var merges: [(left: Int32, right: Int32, merged: Int32)] = []
    merges.reserveCapacity(list.count)
    // Both sides of a merge, one behind the other: what they merge into.
    var joined: [UInt8] = []
    for entry in list {
      var border: Int?
      joined.removeAll(keepingCapacity: true)
      switch entry.value {
      case .string(var text):
        text.withUTF8 { text in
          for byte in text {
            if byte != 0x20 {
              joined.append(byte)
            } else {
              border = border == nil ? joined.count : 0
            }
          }
        }
      case .array(let pair) where pair.count == 2:
        guard let left = pair[0].string, let right = pair[1].string else { break }
        joined += left.utf8
        border = joined.count
        joined += right.utf8
      default: break
      }
      guard let border, border > 0, border < joined.count else {
        throw refusal("a merge is \(entry.text()), expected \"left right\" or [\"left\", \"right\"]", at: entry)
      }
      let found = joined.withUnsafeBufferPointer { joined -> (left: Int32, right: Int32, merged: Int32)? in
        guard let left = ids.value(of: UnsafeBufferPointer(rebasing: joined[..<border])),
          let right = ids.value(of: UnsafeBufferPointer(rebasing: joined[border...])),
          let merged = ids.value(of: joined)
        else { return nil }
        return (left, right, merged)
      }
      guard let found else {
        throw refusal("the merge \(entry.text()) has or makes a token that is not in the vocabulary", at: entry)
      }
      merges.append(found)
    }
    return PairTable(merges)
  }

  // MARK: Added tokens

  private func readAddedTokens(_ list: JSON?, into parts: inout TokenizerParts) throws {
    for entry in list?.array ?? [] {
      let content = try text(entry, "content")
      guard let value = entry["id"] else { throw refusal("an added token without an id", at: entry) }
      if content.isEmpty { continue }
      let id = try put(content, at: value, into: &parts.tokens)
      parts.ids.insert(content, id)
      parts.added.append(
        AddedToken(
          id: id, content: content, isSpecial: try flag(entry, "special"),
          isNormalized: try flag(entry, "normalized"), stripsLeft: try flag(entry, "lstrip"),
          stripsRight: try flag(entry, "rstrip"), singleWord: try flag(entry, "single_word")))
    }
    parts.isSpecial += Array(repeating: false, count: parts.tokens.count - parts.isSpecial.count)
    for token in parts.added where token.isSpecial { parts.isSpecial[Int(token.id)] = true }
    var plain: [([UInt8], Int)] = []
    var normalized: [([UInt8], Int)] = []
    for (index, token) in parts.added.enumerated() {
      if token.isNormalized {
        var content = WorkingText(bytes: Array(token.content.utf8), origins: nil, isFirst: true)
        for normalizer in parts.normalizers { normalizer.apply(to: &content) }
        normalized.append((content.bytes, index))
      } else {
        plain.append((Array(token.content.utf8), index))
      }
    }
    parts.plainMatcher = AddedTokenMatcher(plain, of: parts.added)
    parts.normalizedMatcher = AddedTokenMatcher(normalized, of: parts.added)
  }

  // MARK: Decoder and post-processor

  private func decoder(_ step: JSON?) throws -> Decoder {
    guard let step, !step.isNull else {
      throw refusal("no \"decoder\": without one, tokens do not become text", at: step)
    }
    let steps = try decoderSteps(step)
    if steps.count == 1, case .byteLevel = steps[0] { return .byteLevel }
    return .steps(steps)
  }

  private func decoderSteps(_ step: JSON) throws -> [Decoder.Step] {
    switch try type(of: step, "a decoder") {
    case "Sequence": return try (step["decoders"]?.array ?? []).flatMap(decoderSteps)
    case "ByteLevel": return [.byteLevel]
    case "ByteFallback": return [.byteFallback]
    case "Fuse": return [.fuse]
    case "Metaspace":
      let drops = step["prepend_scheme"]?.string.map { $0 != "never" }
      return [
        .metaspace(
          Array(try text(step, "replacement").utf8),
          dropsFirst: try drops ?? flag(step, "add_prefix_space", default: true))
      ]
    case "Replace":
      guard let old = step["pattern"]?["String"]?.string, !old.isEmpty else {
        throw refusal("a Replace decoder needs a pattern of the form {\"String\": \"...\"}", at: step)
      }
      return [.replace(Array(old.utf8), with: Array(try text(step, "content").utf8))]
    case "Strip":
      let content = Array(try text(step, "content").utf8)
      guard content.count == 1, let start = step["start"]?.int, let stop = step["stop"]?.int, start >= 0, stop >= 0
      else { throw refusal("a Strip decoder needs one ASCII character, \"start\" and \"stop\"", at: step) }
      return [.strip(content[0], start: start, stop: stop)]
    case let other: throw unsupported("the decoder", other, at: step, Decoder.supported)
    }
  }

  private func prepareByteDecoding(_ parts: inout TokenizerParts) {
    parts.decodedStarts.reserveCapacity(parts.tokens.count + 1)
    for token in parts.tokens {
      if let token { parts.decodedBytes += ByteAlphabet.bytes(of: token) ?? Array(token.utf8) }
      parts.decodedStarts.append(parts.decodedBytes.count)
    }
  }

  private func readPostProcessor(_ step: JSON, into parts: inout TokenizerParts) throws {
    switch try type(of: step, "a post-processor") {
    case "Sequence":
      for inner in step["processors"]?.array ?? [] { try readPostProcessor(inner, into: &parts) }
    case "ByteLevel":
      if try flag(step, "trim_offsets", default: true) {
        parts.postProcessor.trimsOffsets = true
        parts.postProcessor.keepsPrefixSpace = try flag(step, "add_prefix_space", default: true)
      }
    case "TemplateProcessing":
      guard let single = step["single"]?.array else {
        throw refusal("a TemplateProcessing without its list \"single\"", at: step)
      }
      var before: [Int32] = []
      var after: [Int32] = []
      var seen = false
      for item in single {
        if let name = item["SpecialToken"]?["id"]?.string {
          guard let ids = step["special_tokens"]?[name]?["ids"]?.array?.compactMap(\.int), !ids.isEmpty,
            ids.allSatisfy({ (0..<Self.largestID).contains($0) })
          else { throw refusal("the special token \"\(name)\" of the template has no ids", at: item) }
          if seen { after += ids.map(Int32.init) } else { before += ids.map(Int32.init) }
        } else if item["Sequence"]?["id"]?.string == "A", !seen {
          seen = true
        } else {
          throw refusal("a template item \(item.text()), expected a SpecialToken or the Sequence A once", at: item)
        }
      }
      parts.postProcessor.before = before + parts.postProcessor.before
      parts.postProcessor.after += after
    case let other: throw unsupported("the post-processor", other, at: step, PostProcessor.supported)
    }
  }
}
