import Core

extension TokenizerReader {
  /// A model and its vocabulary.
  struct ModelParts {
    var model: any PieceModel
    /// Token texts by id; nil where an id has none.
    var tokens: [String?]
    /// Ids by token text.
    var ids: ByteStringTable
    /// The model takes bytes as they are, not characters of the byte alphabet.
    var takesBytes = false
  }

  private static let supportedModels = ["BPE", "Unigram", "WordLevel", "WordPiece"]

  func model(_ model: DescriptionNode, takesBytes: Bool) throws -> ModelParts {
    guard model.json.object != nil else { throw model.unexpected("a mapping") }
    // Old files leave the type out: each kind has keys of its own.
    let type =
      try (model.json["type"] == nil ? nil : model.required("type"))?.text()
      ?? (model["merges"] != nil
        ? "BPE"
        : model.json["vocab"]?.array != nil
          ? "Unigram" : model["max_input_chars_per_word"] != nil ? "WordPiece" : "WordLevel")
    switch type {
    case "BPE": return try bytePairEncoding(model, takesBytes: takesBytes)
    case "Unigram": return try unigram(model)
    case "WordLevel":
      let (tokens, ids) = try vocabulary(model)
      let unknown = try unknown(model.required("unk_token"), ids)
      return ModelParts(model: WordLevel(vocabulary: ids, unknown: unknown), tokens: tokens, ids: ids)
    case "WordPiece":
      let (tokens, ids) = try vocabulary(model)
      let word = WordPiece(
        vocabulary: ids, unknown: try unknown(model.required("unk_token"), ids),
        prefix: try model.required("continuing_subword_prefix").bytes(),
        longestWord: try model.required("max_input_chars_per_word").count())
      return ModelParts(model: word, tokens: tokens, ids: ids)
    default: throw try model.required("type").unsupported("the model", type, Self.supportedModels)
    }
  }

  private func vocabulary(_ model: DescriptionNode) throws -> (tokens: [String?], ids: ByteStringTable) {
    let node = try model.required("vocab")
    guard let vocabulary = node.json.object else { throw node.unexpected("a mapping from tokens to ids") }
    var ids = ByteStringTable(
      capacity: vocabulary.count, bytes: vocabulary.keys.reduce(0) { $0 + $1.utf8.count })
    var tokens: [String?] = Array(repeating: nil, count: vocabulary.count)
    for (token, value) in vocabulary.entries {
      guard case .int(let number) = value.value, let id = Int32(exactly: number), id >= 0,
        id < DescriptionNode.largestID
      else {
        let place = DescriptionNode(json: value, path: node.path(of: token), file: file)
        throw place.unexpected("an id, 0...\(DescriptionNode.largestID - 1)")
      }
      if id >= tokens.count { tokens += Array(repeating: nil, count: Int(id) + 1 - tokens.count) }
      if let other = tokens[Int(id)] {
        throw DescriptionNode(json: value, path: node.path(of: token), file: file).refusal(
          "found the id \(id), which \(JSON.string(other).text()) has already; expected an id of its own")
      }
      tokens[Int(id)] = token
      ids.insert(token, id)
    }
    return (tokens, ids)
  }

  private func unknown(_ node: DescriptionNode, _ ids: ByteStringTable) throws -> Int32 {
    guard let id = ids.value(of: try node.text()) else {
      throw node.unexpected("a token of the vocabulary")
    }
    return id
  }

  /// The tokens `<0x00>` to `<0xFF>`, -1 for those that are missing.
  private func byteTokens(_ ids: ByteStringTable) -> [Int32] {
    (0...255).map { byte in
      let hex = String(byte, radix: 16, uppercase: true)
      return ids.value(of: "<0x\(hex.count < 2 ? "0" : "")\(hex)>") ?? -1
    }
  }

  // MARK: Byte-pair encoding

  private func bytePairEncoding(_ model: DescriptionNode, takesBytes: Bool) throws -> ModelParts {
    if let dropout = model["dropout"] {
      guard let share = dropout.json.double, share >= 0, share <= 1 else {
        throw dropout.unexpected("null or a number from 0 to 1")
      }
      if share > 0 { throw dropout.refusal("dropout is not supported: ids would be random", hint: "set it to null") }
    }
    let (tokens, ids) = try vocabulary(model)
    var characters = BytePairEncoding.Characters()
    characters.prefix = try model["continuing_subword_prefix"]?.bytes() ?? []
    characters.suffix = try model["end_of_word_suffix"]?.bytes() ?? []
    characters.fusesUnknown = try model.flag("fuse_unk", default: false)
    let fallsBack = try model.flag("byte_fallback", default: false)
    let ignoresMerges = try model.flag("ignore_merges", default: false)
    let merges = try self.merges(model.required("merges"), ids, prefix: characters.prefix.count)

    if takesBytes, characters.prefix.isEmpty, characters.suffix.isEmpty,
      ByteAlphabet.encoded.allSatisfy({ ids.value(of: $0) != nil })
    {
      _ = try model["unk_token"]?.text()
      var bytes = ByteStringTable(capacity: tokens.count, bytes: tokens.count * 8)
      var spelled: [UInt8] = []
      for (id, token) in tokens.enumerated() {
        spelled.removeAll(keepingCapacity: true)
        if let token, ByteAlphabet.append(token, to: &spelled) { bytes.insert(spelled, Int32(id)) }
      }
      let encoding = BytePairEncoding(
        vocabulary: bytes, merges: PairTable(merges),
        symbols: .bytes((0...255).map { bytes.value(of: [UInt8($0)]) ?? -1 }), ignoresMerges: ignoresMerges,
        borders: nil)
      return ModelParts(model: encoding, tokens: tokens, ids: ids, takesBytes: true)
    }
    characters.byteTokens = fallsBack ? byteTokens(ids) : nil
    characters.unknown = try model["unk_token"].map { try unknown($0, ids) }
    // Characters that are left out move those behind them: pieces stay whole there.
    let isComplete = characters.unknown != nil || characters.byteTokens?.allSatisfy { $0 >= 0 } ?? false
    let isPlain = characters.prefix.isEmpty && characters.suffix.isEmpty && !ignoresMerges && isComplete
    let borders =
      !isPlain
      ? nil
      : MergeBorders(
        merges.lazy.map { (Array((tokens[Int($0.left)] ?? "").utf8), Array((tokens[Int($0.right)] ?? "").utf8)) })
    let encoding = BytePairEncoding(
      vocabulary: ids, merges: PairTable(merges), symbols: .characters(characters), ignoresMerges: ignoresMerges,
      borders: borders)
    return ModelParts(model: encoding, tokens: tokens, ids: ids)
  }

  /// - Parameter prefix: bytes at the beginning of the right side that the merged token does not have.
  private func merges(_ node: DescriptionNode, _ ids: ByteStringTable, prefix: Int) throws -> [PairTable.Merge] {
    guard let list = node.json.array else { throw node.unexpected("a list") }
    var merges: [PairTable.Merge] = []
    merges.reserveCapacity(list.count)
    // Both sides of a merge, one behind the other: what they merge into.
    var joined: [UInt8] = []
    func place(_ index: Int) -> DescriptionNode {
      DescriptionNode(json: list[index], path: "\(node.path)[\(index)]", file: file)
    }
    for (index, entry) in list.enumerated() {
      var border: Int?
      joined.removeAll(keepingCapacity: true)
      switch entry.value {
      case .string(var text):
        if index == 0, text.utf8.starts(with: "#version".utf8) { continue }
        text.withUTF8 { text in
          for byte in text {
            if byte != 0x20 { joined.append(byte) } else { border = border == nil ? joined.count : 0 }
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
        throw place(index).unexpected(#"a merge: "left right" or ["left", "right"]"#)
      }
      let left = joined.withUnsafeBufferPointer { ids.value(of: UnsafeBufferPointer(rebasing: $0[..<border])) }
      let right = joined.withUnsafeBufferPointer { ids.value(of: UnsafeBufferPointer(rebasing: $0[border...])) }
      guard let left, let right else {
        let missing = String(decoding: left == nil ? joined[..<border] : joined[border...], as: UTF8.self)
        throw place(index).refusal("merges \(JSON.string(missing).text()), which is not in the vocabulary")
      }
      joined.removeSubrange(border..<min(border + prefix, joined.count))
      guard let merged = ids.value(of: joined) else {
        let missing = JSON.string(String(decoding: joined, as: UTF8.self)).text()
        throw place(index).refusal("makes \(missing), which is not in the vocabulary")
      }
      merges.append((left, right, merged))
    }
    return merges
  }

  // MARK: Unigram

  private func unigram(_ model: DescriptionNode) throws -> ModelParts {
    var pairs: [(text: [UInt8], score: Double)] = []
    var tokens: [String?] = []
    for entry in try model.required("vocab").items() {
      guard let pair = entry.json.array, pair.count == 2, let token = pair[0].string, let score = pair[1].double else {
        throw entry.unexpected(#"["token", score]"#)
      }
      pairs.append((Array(token.utf8), score))
      tokens.append(token)
    }
    let unknown = try model["unk_id"].map { node -> Int32 in
      let id = try node.id()
      guard id < tokens.count else { throw node.unexpected("an id of the vocabulary, below \(tokens.count)") }
      return id
    }
    let fallsBack = try model.flag("byte_fallback", default: false)
    var ids = ByteStringTable(capacity: tokens.count)
    for (id, pair) in pairs.enumerated() { ids.insert(pair.text, Int32(id)) }
    let unigram = Unigram(tokens: pairs, unknown: unknown, byteTokens: fallsBack ? byteTokens(ids) : nil)
    return ModelParts(model: unigram, tokens: tokens, ids: ids)
  }
}
