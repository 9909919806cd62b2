import Core

/// A tokenizer that was learned here, as the files of a Hugging Face folder.
public struct TrainedTokenizer: Sendable {
  /// The texts of `tokenizer.json`, `tokenizer_config.json`, `vocab.json` and `merges.txt`.
  public let tokenizerJSON: String
  public let configurationJSON: String
  public let vocabularyJSON: String
  public let mergesText: String
  /// Ids in all: bytes, merges, special tokens.
  public let vocabularySize: Int

  /// File names and their contents.
  public var files: [(name: String, text: String)] {
    [
      ("tokenizer.json", tokenizerJSON), ("tokenizer_config.json", configurationJSON),
      ("vocab.json", vocabularyJSON), ("merges.txt", mergesText),
    ]
  }

  /// The tokenizer itself.
  public func tokenizer() throws -> Tokenizer {
    try Tokenizer(json: JSON.parse(tokenizerJSON, file: "tokenizer.json"), file: "tokenizer.json")
  }
}

/// Learns small byte-level byte-pair encodings in the layout of the Qwen families: NFC, one digit a piece, bytes first
/// in the vocabulary, then merges, then special tokens.
///
/// Source: Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (ACL 2016).
public enum ByteLevelBPETrainer {
  static let splitPattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"#
    + #" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// Learns up to `mergeCount` merges, always of the pair that is most frequent, of equals the one with lower ids.
  /// Learning ends early when no pair is left that occurs twice. The same texts give the same files anywhere.
  ///
  /// - Parameters:
  ///   - texts: what to learn from.
  ///   - mergeCount: merges wanted; 0 gives a tokenizer of bytes.
  ///   - specialTokens: added after the vocabulary, their ids in order; `special` ones are left out when decoding skips
  ///     special tokens.
  ///   - eosToken, padToken: what `tokenizer_config.json` names; by default `<|im_end|>` and `<|endoftext|>` if they are
  ///     among the special tokens.
  ///   - chatTemplate: put into `tokenizer_config.json` if given.
  /// - Throws: `AttuneError` if a special token is empty or given twice.
  public static func train(
    texts: [String], mergeCount: Int, specialTokens: [(content: String, special: Bool)], eosToken: String? = nil,
    padToken: String? = nil, chatTemplate: String? = nil
  ) throws -> TrainedTokenizer {
    var seen = ByteStringTable()
    for (content, _) in specialTokens {
      guard !content.isEmpty, seen.value(of: content) == nil else {
        throw AttuneError.request("the special token \"\(content)\" is empty or given twice")
      }
      seen.insert(content, 0)
    }
    let learned = learn(try pieces(of: texts), mergeCount: mergeCount)
    let bytes = byteOrder.map { [$0] }
    let tokens = (bytes + learned.tokens).map { ByteAlphabet.text(of: $0) }
    let merges = learned.merges.map { "\(tokens[$0.0]) \(tokens[$0.1])" }
    func named(_ wanted: String?, _ standard: String) -> JSON {
      .string(wanted ?? standard, ifIn: specialTokens.map(\.content))
    }
    return TrainedTokenizer(
      tokenizerJSON: tokenizerJSON(tokens, merges, specialTokens).text(.init(indent: 1, itemSeparator: ",")) + "\n",
      configurationJSON: configuration(
        tokens.count, specialTokens, eos: named(eosToken, "<|im_end|>"), pad: named(padToken, "<|endoftext|>"),
        chatTemplate: chatTemplate
      ).text(.pretty) + "\n",
      vocabularyJSON: vocabulary(tokens).text(.init(itemSeparator: ",", keySeparator: ":")),
      mergesText: "#version: 0.2\n" + merges.map { $0 + "\n" }.joined(),
      vocabularySize: tokens.count + specialTokens.count)
  }

  /// Bytes in the order of their characters: the first 256 ids.
  private static let byteOrder: [UInt8] = (0...255).sorted {
    ByteAlphabet.scalars[Int($0)].value < ByteAlphabet.scalars[Int($1)].value
  }

  // MARK: Learning

  /// The distinct pieces of all texts and how often each occurs, in the order of their first occurrence.
  private static func pieces(of texts: [String]) throws -> [(bytes: [UInt8], count: Int)] {
    let split = PreTokenizer.split(.pattern(try SplitPattern(splitPattern)), .isolated, inverted: false)
    let matcher = PatternMatcher()
    var places = ByteStringTable()
    var pieces: [(bytes: [UInt8], count: Int)] = []
    for text in texts {
      var working = WorkingText(bytes: Array(text.utf8), origins: nil, isFirst: true)
      UnicodeForm.nfc.apply(to: &working)
      try split.apply(to: &working, matcher)
      for range in working.pieces {
        let bytes = Array(working.bytes[range])
        if let place = places.value(of: bytes) {
          pieces[Int(place)].count += 1
        } else {
          places.insert(bytes, Int32(pieces.count))
          pieces.append((bytes, 1))
        }
      }
    }
    return pieces
  }

  private struct Pair: Hashable, Comparable {
    var left: Int
    var right: Int
    static func < (a: Pair, b: Pair) -> Bool { (a.left, a.right) < (b.left, b.right) }
  }

  private struct Candidate: Comparable {
    var count: Int
    var pair: Pair
    static func < (a: Candidate, b: Candidate) -> Bool {
      a.count != b.count ? a.count > b.count : a.pair < b.pair
    }
  }

  private static func learn(
    _ pieces: [(bytes: [UInt8], count: Int)], mergeCount: Int
  ) -> (tokens: [[UInt8]], merges: [(Int, Int)]) {
    var idOfByte = [Int](repeating: 0, count: 256)
    for (id, byte) in byteOrder.enumerated() { idOfByte[Int(byte)] = id }
    var words = pieces.map { piece in (ids: piece.bytes.map { idOfByte[Int($0)] }, count: piece.count) }
    var counts: [Pair: Int] = [:]
    var holders: [Pair: Set<Int>] = [:]
    for (index, word) in words.enumerated() {
      for (left, right) in zip(word.ids, word.ids.dropFirst()) {
        counts[Pair(left: left, right: right), default: 0] += word.count
        holders[Pair(left: left, right: right), default: []].insert(index)
      }
    }
    var heap = BinaryHeap<Candidate>()
    for (pair, count) in counts { heap.push(Candidate(count: count, pair: pair)) }

    var texts = byteOrder.map { [$0] }
    var ids = ByteStringTable()
    for (id, text) in texts.enumerated() { ids.insert(text, Int32(id)) }
    var merges: [(Int, Int)] = []
    while merges.count < mergeCount, let top = heap.pop() {
      // Counts in the heap may be old; the pair comes back with its present one.
      guard let count = counts[top.pair], count > 1 else { continue }
      guard count == top.count else {
        heap.push(Candidate(count: count, pair: top.pair))
        continue
      }
      let text = texts[top.pair.left] + texts[top.pair.right]
      // Two pairs may spell the same token; it has one id.
      let merged = ids.value(of: text).map(Int.init) ?? texts.count
      if merged == texts.count {
        ids.insert(text, Int32(merged))
        texts.append(text)
      }
      merges.append((top.pair.left, top.pair.right))
      var changed: Set<Pair> = []
      for index in holders[top.pair] ?? [] {
        let old = words[index].ids
        var new: [Int] = []
        var i = 0
        while i < old.count {
          if i + 1 < old.count, old[i] == top.pair.left, old[i + 1] == top.pair.right {
            new.append(merged)
            i += 2
          } else {
            new.append(old[i])
            i += 1
          }
        }
        for (left, right) in zip(old, old.dropFirst()) {
          counts[Pair(left: left, right: right), default: 0] -= words[index].count
        }
        for (left, right) in zip(new, new.dropFirst()) {
          let pair = Pair(left: left, right: right)
          counts[pair, default: 0] += words[index].count
          holders[pair, default: []].insert(index)
          changed.insert(pair)
        }
        words[index].ids = new
      }
      counts[top.pair] = nil
      holders[top.pair] = nil
      for pair in changed where pair != top.pair { heap.push(Candidate(count: counts[pair] ?? 0, pair: pair)) }
    }
    return (Array(texts.dropFirst(256)), merges)
  }

  // MARK: Writing

  private static func vocabulary(_ tokens: [String]) -> JSON {
    .object(tokens.enumerated().map { ($1, .int($0)) })
  }

  private static func byteLevel(trimOffsets: Bool = false) -> JSON {
    ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": .bool(trimOffsets), "use_regex": false]
  }

  private static func tokenizerJSON(
    _ tokens: [String], _ merges: [String], _ specialTokens: [(content: String, special: Bool)]
  ) -> JSON {
    let added = specialTokens.enumerated().map { index, token -> JSON in
      [
        "id": .int(tokens.count + index), "content": .string(token.content), "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": .bool(token.special),
      ]
    }
    let split: JSON = [
      "type": "Split", "pattern": ["Regex": .string(splitPattern)], "behavior": "Isolated", "invert": false,
    ]
    let model: JSON = [
      "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
      "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary(tokens),
      "merges": .array(merges.map { .string($0) }),
    ]
    return [
      "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
      "normalizer": ["type": "NFC"],
      "pre_tokenizer": ["type": "Sequence", "pretokenizers": [split, byteLevel()]],
      "post_processor": byteLevel(), "decoder": byteLevel(), "model": model,
    ]
  }

  private static func configuration(
    _ firstID: Int, _ specialTokens: [(content: String, special: Bool)], eos: JSON, pad: JSON, chatTemplate: String?
  ) -> JSON {
    let decoder = specialTokens.enumerated().map { index, token -> (String, JSON) in
      (
        String(firstID + index),
        [
          "content": .string(token.content), "lstrip": false, "normalized": false, "rstrip": false,
          "single_word": false, "special": .bool(token.special),
        ]
      )
    }
    let additional = specialTokens.filter { $0.special && JSON.string($0.content) != pad }
    var result = JSON.Object([
      ("added_tokens_decoder", .object(decoder)), ("add_bos_token", false), ("add_prefix_space", false),
      ("additional_special_tokens", .array(additional.map { .string($0.content) })), ("bos_token", .null),
    ])
    if let chatTemplate { result["chat_template"] = .string(chatTemplate) }
    for (key, value) in [
      ("clean_up_tokenization_spaces", false), ("eos_token", eos), ("errors", "replace"),
      ("model_max_length", 131072), ("pad_token", pad), ("split_special_tokens", false),
      ("tokenizer_class", "Qwen2Tokenizer"), ("unk_token", .null),
    ] as [(String, JSON)] {
      result[key] = value
    }
    return JSON(.object(result))
  }
}

extension JSON {
  /// The string if it is one of `names`, else null.
  fileprivate static func string(_ name: String, ifIn names: [String]) -> JSON {
    names.contains { sameText($0, name) } ? .string(name) : .null
  }
}
