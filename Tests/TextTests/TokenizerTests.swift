import Core
import Foundation
import TestSupport
import Testing

@testable import Text

@Suite struct TokenizerTests {
  /// The golden tokenizer with one key of its description replaced.
  private func changed(_ key: String, _ value: JSON, inModel: Bool = false) throws -> Tokenizer {
    var object = try #require(Fixtures.json("tokenizers/qwen/tokenizer.json").object)
    if inModel {
      var model = try #require(object["model"]?.object)
      model[key] = value
      object["model"] = JSON(.object(model))
    } else {
      object[key] = value
    }
    return try Tokenizer(json: JSON(.object(object)), file: "t.json")
  }

  @Test func whatIsNotSupportedIsRefusedByName() throws {
    let cases: [(String, JSON, Bool, [String])] = [
      (
        "normalizer", ["type": "Precompiled"], false, ["normalizer: the normalizer \"Precompiled\"", "supported: Bert"]
      ),
      ("pre_tokenizer", ["type": "UnicodeScripts"], false, ["UnicodeScripts", "Split"]),
      ("decoder", ["type": "Wordpiece"], false, ["Wordpiece", "did you mean \"WordPiece\""]),
      ("post_processor", ["type": "Robert"], false, ["Robert", "TemplateProcessing"]),
      ("type", "Unicorn", true, ["model.type", "Unicorn", "BPE"]), ("dropout", 0.1, true, ["model.dropout"]),
      ("dropout", 2, true, ["model.dropout", "from 0 to 1"]),
      ("merges", [["a"]], true, ["model.merges[0]", "a merge"]),
      ("merges", ["zz a"], true, ["model.merges[0]", "\"zz\"", "not in the vocabulary"]),
      ("merges", ["i n", "zz qq"], true, ["model.merges[1]", "\"zz\"", "not in the vocabulary"]),
      ("vocab", ["a": -1], true, ["model.vocab.a", "-1"]), ("vocab", ["a": 1e15], true, ["expected an id, 0"]),
      ("vocab", ["a": 0, "b": 0], true, ["model.vocab.b", "\"a\" has already"]),
      ("added_tokens", [["content": "x"]], false, ["added_tokens[0]", "no \"id\""]),
      (
        "pre_tokenizer", ["type": "Split", "pattern": ["Regex": "(a"], "behavior": "Isolated", "invert": false], false,
        ["pre_tokenizer.pattern.Regex", "(a"]
      ),
      (
        "pre_tokenizer", ["type": "Split", "pattern": ["Regex": "a"], "behavior": "Gone", "invert": false], false,
        ["pre_tokenizer.behavior", "Gone"]
      ),
      ("pre_tokenizer", ["type": "Split", "pattern": "a", "behavior": "Isolated"], false, ["pattern", "Regex"]),
      ("paddin", 1, false, ["paddin: unknown key", "did you mean \"padding\""]),
      ("version", "2.0", false, ["version", "2.0", "1.0"]),
    ]
    for (key, value, inModel, fragments) in cases {
      do {
        _ = try changed(key, value, inModel: inModel)
        Issue.record("\(key) \(value.text()) was accepted")
      } catch let error as AttuneError {
        for fragment in fragments { #expect(error.description.contains(fragment), "\(key): \(error)") }
        #expect(error.exitStatus == 2)
      }
    }
    expectAttuneError(containing: "tokenizer.json", "cannot be read") { _ = try Tokenizer.load(folder: "/nowhere") }
  }

  @Test func patternsMeanWhatTheyMeanElsewhere() throws {
    func split(_ pattern: String, _ text: String) throws -> [String] {
      var working = WorkingText(bytes: Array(text.utf8), origins: nil, isFirst: true)
      let step = PreTokenizer.split(.pattern(try SplitPattern(pattern)), .isolated, inverted: false)
      try step.apply(to: &working, PatternMatcher())
      return working.pieces.map { String(decoding: working.bytes[$0], as: UTF8.self) }
    }
    // Recorded from the tokenizers library (Oniguruma).
    #expect(try split(#"b$"#, "ab\nab") == ["a", "b", "\na", "b"])
    #expect(try split(#"^a"#, "ab\nab") == ["a", "b\n", "a", "b"])
    #expect(try split(#"\w+"#, "a\u{300}b_é ３") == ["a\u{300}b_é", " ", "３"])
    #expect(try split(#"\h+"#, "af \t") == ["af", " \t"])
    #expect(try split(#"\s"#, "a\u{180E}b") == ["a\u{180E}b"])
    #expect(try split(#"(?i:'s)"#, "a'ſ b'S") == ["a", "'ſ", " b", "'S"])
    // Letters and numbers of Unicode 15 and 16, inside and outside classes and negations.
    #expect(try split(#"\p{L}+"#, "a\u{31350}\u{1C89}1") == ["a\u{31350}\u{1C89}", "1"])
    #expect(try split(#"[^\s\p{L}\p{N}]+"#, "a\u{31350}!\u{1E4F0}") == ["a\u{31350}", "!", "\u{1E4F0}"])
    #expect(try split(#"[\P{L}x]+"#, "ab1x\u{31350}") == ["ab", "1x", "\u{31350}"])
    #expect(try split(#"[^\P{L}x]+"#, "ab1x\u{31350}") == ["ab", "1x", "\u{31350}"])
    #expect(try split(#"[\p{L}&&[^\p{Han}]]+"#, "ab漢1") == ["ab", "漢1"])
    #expect(try split(#"[a-c[0-9]]+"#, "ab1x2") == ["ab1", "x", "2"])
    #expect(try split(#"[[:punct:]]+"#, "a+b.") == ["a", "+", "b", "."])
    #expect(try split(#"\p{Han}+"#, "漢\u{3001}字") == ["漢", "\u{3001}", "字"])
    #expect(try split(#"(?=\d)"#, "a12") == ["a", "1", "2"])
    #expect(try split(#"a{,2}b"#, "aaab") == ["a", "aab"])
  }

  @Test func longPiecesMergeAsShortOnesDo() throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/qwen"))
    var random = Randomness(seed: 3, for: .testing).stream()
    let letters = Array("theanrsi".utf8)
    for _ in 0..<200 {
      let piece = (0..<40).map { _ in letters[random.integer(below: letters.count)] }
      var short: [PieceSymbol] = []
      var long: [PieceSymbol] = []
      piece.withUnsafeBufferPointer { tokenizer.parts.model.encode($0, into: &short) }
      // Twice the piece with bytes that merge with nothing between takes the other algorithm.
      let doubled = piece + [0x01] + piece
      doubled.withUnsafeBufferPointer { tokenizer.parts.model.encode($0, into: &long) }
      #expect(long.map(\.id).starts(with: short.map(\.id)))
      #expect(long.count == 2 * short.count + 1)
    }
  }

  /// As long runs of anything, in time that grows with their length.
  @Test func longRunsOfUnfinishedCharactersAreStreamed() throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/qwen"))
    let stray = try #require((0..<256).first { tokenizer.bytes(of: $0) == [0x80] })
    let special = try #require(tokenizer.id(of: "<|im_end|>"))
    let letter = try #require(tokenizer.encode("a", addSpecialTokens: false).first)
    let count = 100_000
    for (run, text) in [(stray, String(repeating: "\u{FFFD}", count: count)), (special, "")] {
      var stream = tokenizer.stream(skipSpecialTokens: true)
      #expect(try stream.append(letter) == "a")
      for _ in 0..<count where try stream.append(run) != nil { Issue.record("released too early") }
      expectSame(try stream.append(letter), text + "a", "a run of \(run)")
    }
  }

  /// Composed and decomposed characters are two tokens, though Swift's `String` takes them for one.
  @Test func equivalentTextsAreTwoTokens() throws {
    let model: JSON = [
      "type": "BPE", "vocab": ["\u{E9}": 0, "e": 1, "\u{301}": 2, "e\u{301}": 3], "merges": ["e \u{301}"],
    ]
    let tokenizer = try Tokenizer(json: ["model": model], file: "t.json")
    #expect(tokenizer.encode("\u{E9}e\u{301}") == [0, 3])
    expectSame(tokenizer.decode([0, 3], skipSpecialTokens: false), "\u{E9} e\u{301}", "decoded")
  }

  /// Where the file's ids are not those that follow from its vocabulary, neither is taken silently.
  @Test func idsThatClashAreRefused() throws {
    func added(_ tokens: [(String, Int)]) -> JSON {
      .array(
        tokens.map { content, id in
          let flags: [(String, JSON)] = ["single_word", "lstrip", "rstrip", "normalized", "special"].map { ($0, false) }
          return .object([("id", .int(id)), ("content", .string(content))] + flags)
        })
    }
    for (tokens, fragment) in [
      ([("<x>", 3)], "found 3 for \"<x>\", expected 2"), ([("<x>", 1)], "expected 2"), ([("a", 2)], "expected 0"),
      ([("<x>", 2), ("<x>", 2)], "added_tokens[1]"), ([("<x>", 2), ("<y>", 2)], "added_tokens[1].id"),
    ] {
      let file: JSON = [
        "model": ["type": "BPE", "vocab": ["a": 0, "b": 1], "merges": []], "added_tokens": added(tokens),
      ]
      expectAttuneError(containing: fragment) { _ = try Tokenizer(json: file, file: "t.json") }
    }
    expectAttuneError(containing: "appears twice") {
      _ = try JSON.parse(#"{"model": {"vocab": {"a": 0, "a": 1}}}"#.utf8.map { $0 }, refuseDuplicateKeys: true)
    }
  }

  @Test func longTextsStayExact() throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/qwen"))
    let part = "The model saw 3 images; café 東京 😀.\n\n   x = y_1  \t z\r\n"
    let once = tokenizer.encode(part)
    let many = tokenizer.encode(String(repeating: part, count: 2000))
    #expect(many.count == once.count * 2000)
    #expect(tokenizer.encode(String(repeating: "a", count: 100_000)).count > 0)
    #expect(tokenizer.encode(String(repeating: " ", count: 1_000_000)).count > 0)
    #expect(tokenizer.encode("e" + String(repeating: "\u{301}\u{323}", count: 20_000)).count > 0)
  }

  @Test func threadsShareOneTokenizer() async throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/qwen"))
    let texts = (0..<64).map { "text number \($0), with its own words \($0 * 7)" }
    let expected = texts.map { tokenizer.encode($0) }
    let found = await withTaskGroup(of: (Int, [Int32]).self) { group in
      for (i, text) in texts.enumerated() { group.addTask { (i, tokenizer.encode(text)) } }
      return await group.reduce(into: [Int: [Int32]]()) { $0[$1.0] = $1.1 }
    }
    for (i, ids) in expected.enumerated() { #expect(found[i] == ids) }
  }

  /// A begin token that a text writes out is not put in front of it again, also where an end token is added.
  @Test(arguments: ["llama3", "llama2", "deepseek"])
  func beginTokensStandOnce(folder: String) throws {
    let path = "tokenizers/\(folder)/tokenizer.json"
    var object = try #require(Fixtures.json(path).object)
    for post in [
      object["post_processor"] ?? .null,
      [
        "type": "TemplateProcessing",
        "single": [
          ["SpecialToken": ["id": "b", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]],
          ["SpecialToken": ["id": "e", "type_id": 0]],
        ],
        "pair": [["Sequence": ["id": "A", "type_id": 0]], ["Sequence": ["id": "B", "type_id": 0]]],
        "special_tokens": [
          "b": ["id": "b", "ids": [0], "tokens": ["b"]], "e": ["id": "e", "ids": [1], "tokens": ["e"]],
        ],
      ],
    ] as [JSON] {
      object["post_processor"] = post
      let tokenizer = try Tokenizer(json: .init(.object(object)), file: path)
      let text = "Two gulls."
      let whole = tokenizer.encode(text, addSpecialTokens: true)
      #expect(tokenizer.encodeOnce(text) == whole)
      let front = whole.prefix { $0 != tokenizer.encode(text)[0] }
      guard let begin = front.first.flatMap({ tokenizer.token(of: $0) }) else { continue }
      #expect(front.count == 1)
      #expect(tokenizer.encodeOnce(begin + text) == tokenizer.encode(begin + text))
    }
  }

  @Test func unknownIDsAddNothing() throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/qwen"))
    #expect(tokenizer.decode([-5, 100_000, .max, .min], skipSpecialTokens: false) == "")
    var stream = tokenizer.stream(skipSpecialTokens: false)
    #expect(try stream.append(100_000) == nil)
    #expect(throws: AttuneError.self) { _ = try stream.append(-1) }
    #expect(tokenizer.token(of: -1) == nil && !tokenizer.isSpecial(-1))
  }

  /// Descriptions with bytes changed are refused or read, never more.
  @Test func brokenFilesNeverCrash() throws {
    let source = try Fixtures.bytes("tokenizers/qwen/tokenizer.json")
    var random = Randomness(seed: 9, for: .testing).stream()
    for _ in 0..<150 {
      var bytes = source
      for _ in 0..<3 { bytes[random.integer(below: bytes.count)] = UInt8(32 + random.integer(below: 95)) }
      guard let json = try? JSON.parse(bytes), let tokenizer = try? Tokenizer(json: json, file: "t") else { continue }
      let ids = tokenizer.encode("Hello, wörld 123 <|im_end|>")
      _ = tokenizer.decode(ids, skipSpecialTokens: true)
    }
  }
}
