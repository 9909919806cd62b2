import Core

extension TokenizerReader {
  // MARK: Added tokens

  func readAddedTokens(_ list: DescriptionNode?, into parts: inout TokenizerParts) throws {
    let vocabularySize = parts.ids.count
    var largest: Int32?
    var seen = ByteStringTable()
    let entries = try list?.items() ?? []
    var places: [Int] = []
    for (place, entry) in entries.enumerated() {
      guard entry.json.object != nil else { throw entry.unexpected("an added token: a mapping") }
      let content = try entry.required("content").text()
      let id = try entry.required("id").id()
      let token = AddedToken(
        id: id, content: content, isSpecial: try entry.required("special").bool(),
        isNormalized: try entry.required("normalized").bool(), stripsLeft: try entry.required("lstrip").bool(),
        stripsRight: try entry.required("rstrip").bool(), singleWord: try entry.required("single_word").bool())
      if content.isEmpty { continue }
      // A token of the vocabulary keeps its id; others follow the vocabulary one by one. Elsewhere ids of the file that
      // do not say so are silently replaced.
      let next = largest.map { Int($0) >= vocabularySize ? Int($0) + 1 : vocabularySize } ?? vocabularySize
      let expected = parts.ids.value(of: content) ?? Int32(next)
      guard id == expected else {
        throw try entry.required("id").refusal(
          "found \(id) for \(JSON.string(content).text()), expected \(expected)",
          hint: parts.ids.value(of: content) != nil
            ? "the vocabulary has that token already" : "added tokens follow the vocabulary without a gap")
      }
      guard seen.value(of: content) == nil else {
        throw entry.refusal("the added token \(JSON.string(content).text()) appears twice")
      }
      seen.insert(content, id)
      if Int(id) >= parts.tokens.count {
        parts.tokens += Array(repeating: nil, count: Int(id) + 1 - parts.tokens.count)
      }
      if let other = parts.tokens[Int(id)], !other.utf8.elementsEqual(content.utf8) {
        throw try entry.required("id").refusal("found \(id), which \(JSON.string(other).text()) has already")
      }
      parts.tokens[Int(id)] = content
      parts.ids.insert(content, id)
      largest = max(largest ?? id, id)
      parts.added.append(token)
      places.append(place)
    }
    parts.isSpecial = Array(repeating: false, count: parts.tokens.count)
    var plain: [([UInt8], Int)] = []
    var normalized: [([UInt8], Int)] = []
    let matcher = PatternMatcher()
    for (index, token) in parts.added.enumerated() {
      if token.isNormalized {
        var content = WorkingText(bytes: Array(token.content.utf8), origins: nil, isFirst: true)
        for normalizer in parts.normalizers { try normalizer.apply(to: &content, matcher) }
        guard !content.bytes.isEmpty else {
          throw entries[places[index]].refusal(
            "the added token \(JSON.string(token.content).text()) is normalized to nothing",
            hint: "set its \"normalized\" to false")
        }
        normalized.append((content.bytes, index))
        // As elsewhere, what stands in the text is what is decoded.
        parts.tokens[Int(token.id)] = String(decoding: content.bytes, as: UTF8.self)
      } else {
        plain.append((Array(token.content.utf8), index))
      }
    }
    for token in parts.added where token.isSpecial {
      parts.isSpecial[Int(token.id)] = parts.tokens[Int(token.id)]?.utf8.elementsEqual(token.content.utf8) ?? false
    }
    parts.plainMatcher = AddedTokenMatcher(plain, of: parts.added)
    parts.normalizedMatcher = AddedTokenMatcher(normalized, of: parts.added)
  }

  // MARK: Decoder

  func decoder(_ step: DescriptionNode) throws -> Decoder {
    let steps = try decoderSteps(step)
    if steps.count == 1, case .byteLevel = steps[0] { return .byteLevel }
    return .steps(steps)
  }

  private func decoderSteps(_ step: DescriptionNode) throws -> [Decoder.Step] {
    switch try step.type("a decoder") {
    case "Sequence": return try step.required("decoders").items().flatMap(decoderSteps)
    case "ByteLevel":
      for key in ["add_prefix_space", "trim_offsets"] { _ = try step.required(key).bool() }
      _ = try step.usesRegex()
      return [.byteLevel]
    case "ByteFallback": return [.byteFallback]
    case "Fuse": return [.fuse]
    case "Metaspace":
      let (replacement, prepends) = try metaspace(step)
      return [.metaspace(replacement, dropsFirst: prepends != .never)]
    case "Replace":
      return [.replace(try step.required("pattern").delimiter(), with: try step.required("content").bytes())]
    case "Strip":
      return [
        .strip(
          Array(String(Character(try step.required("content").character())).utf8),
          start: try step.required("start").count(), stop: try step.required("stop").count())
      ]
    case "WordPiece":
      return [
        .wordPiece(prefix: try step.required("prefix").bytes(), cleansUp: try step.required("cleanup").bool())
      ]
    case "BPEDecoder": return [.wordEnd(try step.required("suffix").bytes())]
    case "CTC":
      return [
        .collapse(
          padding: try step.required("pad_token").bytes(),
          delimiter: try step.required("word_delimiter_token").bytes(), cleansUp: try step.required("cleanup").bool())
      ]
    case let other: throw step.unsupported("the decoder", other, Decoder.supported)
    }
  }

  // MARK: Post-processor

  func readPostProcessor(_ step: DescriptionNode, into parts: inout TokenizerParts) throws {
    var full = SequencePlan()
    var bare = SequencePlan()
    try process(step, &full, &bare, &parts.postProcessor)
    parts.postProcessor.layout = full.layout
    parts.postProcessor.copies = bare.layout.count - 1
  }

  /// - Parameters:
  ///   - full: the plan with special tokens.
  ///   - bare: the plan without.
  private func process(
    _ step: DescriptionNode, _ full: inout SequencePlan, _ bare: inout SequencePlan, _ processor: inout PostProcessor
  ) throws {
    switch try step.type("a post-processor") {
    case "Sequence":
      for inner in try step.required("processors").items() { try process(inner, &full, &bare, &processor) }
    case "ByteLevel":
      _ = try step.usesRegex()
      try trimOffsets(step.required("trim_offsets").bool(), step.required("add_prefix_space").bool(), &processor)
    case "BertProcessing": try surround(step, &full, separatesBefore: false)
    case "RobertaProcessing":
      try surround(step, &full, separatesBefore: true)
      try trimOffsets(
        step.flag("trim_offsets", default: true), step.flag("add_prefix_space", default: true), &processor)
    case "TemplateProcessing":
      full = try filled(step, full, withSpecialTokens: true)
      bare = try filled(step, bare, withSpecialTokens: false)
    case let other: throw step.unsupported("the post-processor", other, PostProcessor.supported)
    }
  }

  private func trimOffsets(_ trims: Bool, _ keepsPrefixSpace: Bool, _ processor: inout PostProcessor) throws {
    guard trims else { return }
    processor.trimsOffsets = true
    processor.keepsPrefixSpace = keepsPrefixSpace
  }

  /// `"cls": ["[CLS]", 101]` before the text and `"sep"` behind it.
  private func surround(_ step: DescriptionNode, _ plan: inout SequencePlan, separatesBefore: Bool) throws {
    func id(_ key: String) throws -> Int32 {
      let node = try step.required(key)
      let items = try node.items()
      guard items.count == 2, items[0].json.string != nil else { throw node.unexpected(#"["token", id]"#) }
      return try items[1].id()
    }
    plan.surround(cls: try id("cls"), sep: try id("sep"), separatesBefore: separatesBefore)
  }

  /// The template for as many sequences as the plan has, filled with them.
  private func filled(
    _ step: DescriptionNode, _ plan: SequencePlan, withSpecialTokens: Bool
  ) throws -> SequencePlan {
    let special = try specialTokens(step.required("special_tokens"))
    let templates = try ["single", "pair"].map { try items(of: step.required($0)) }
    guard plan.sequences.count == 1 || plan.sequences.count == 2 else {
      throw step.refusal(
        "found \(plan.sequences.count) sequences left by the processors before, expected 1 or 2: a template has no more"
      )
    }
    var result = SequencePlan(sequences: [])
    for (node, item) in templates[plan.sequences.count - 1] {
      switch item {
      case .token(let name):
        guard let ids = special[name] else { throw node.unexpected("a name in \"special_tokens\"") }
        if withSpecialTokens { result.sequences.append([.ids(ids)]) }
      case .sequence(let index):
        guard index < plan.sequences.count else { throw node.unexpected("the Sequence A: there is one text alone") }
        result.sequences.append(plan.sequences[index])
      }
    }
    return result
  }

  private enum TemplateItem {
    case token(String)
    case sequence(Int)
  }

  private func items(of template: DescriptionNode) throws -> [(DescriptionNode, TemplateItem)] {
    try template.items().map { node in
      guard let object = node.json.object, object.count == 1, let kind = object.keys.first,
        ["SpecialToken", "Sequence"].contains(kind)
      else { throw node.unexpected("a SpecialToken or a Sequence") }
      let item = try node.required(kind)
      _ = try item.required("type_id").id()
      let name = try item.required("id").text()
      if kind == "SpecialToken" { return (node, .token(name)) }
      guard let index = ["A", "B"].firstIndex(of: name) else { throw try item.required("id").unexpected("A or B") }
      return (node, .sequence(index))
    }
  }

  private func specialTokens(_ node: DescriptionNode) throws -> [String: [Int32]] {
    guard let object = node.json.object else { throw node.unexpected("a mapping from names to tokens") }
    var tokens: [String: [Int32]] = [:]
    for name in object.keys {
      let token = try node.required(name)
      _ = try token.required("id").text()
      let ids = try token.required("ids").items().map { try $0.id() }
      let texts = try token.required("tokens").items().map { try $0.text() }
      guard ids.count == texts.count else {
        throw token.refusal("found \(ids.count) ids and \(texts.count) tokens, expected as many of one as of the other")
      }
      tokens[name] = ids
    }
    return tokens
  }
}
