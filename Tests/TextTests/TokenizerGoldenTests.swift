import Core
import TestSupport
import Testing

@testable import Text

/// Strings compare by code points here: Swift's own `==` takes composed and decomposed characters for the same.
func expectSame(
  _ actual: String?, _ expected: String?, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
) {
  let same = actual.map { Array($0.utf8) } == expected.map { Array($0.utf8) }
  if !same {
    Issue.record(
      "\(what): found \(String(reflecting: actual)), expected \(String(reflecting: expected))",
      sourceLocation: sourceLocation)
  }
}

extension JSON {
  var ids: [Int32] { (array ?? []).compactMap { $0.int.map(Int32.init) } }
}

/// Every case that the reference library recorded, for every family.
@Suite struct TokenizerGoldenTests {
  static let folders = ["qwen", "llama3", "deepseek", "deepseek_old", "llama2", "metaspace"]

  @Test(arguments: folders) func encodes(_ name: String) throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/\(name)"))
    let golden = try Fixtures.json("tokenizers/\(name)/cases.json")
    #expect(tokenizer.vocabularySize == golden["vocab_size_with_added"]?.int)
    for row in try #require(golden["cases"]?.array) {
      let label = "\(name)/\(row["name"]?.string ?? "?")"
      let text = try #require(row["text"]?.string)
      let ids = row["ids"]?.ids ?? []
      #expect(tokenizer.encode(text) == ids, "\(label)")
      #expect(tokenizer.encode(text, addSpecialTokens: true) == row["ids_with_special"]?.ids, "\(label)")
      let tokens = tokenizer.encodeWithOffsets(text)
      #expect(tokens.map(\.id) == ids, "\(label)")
      #expect(tokens.map { [$0.start, $0.end] } == row["offsets"]?.array?.map { $0.ids.map(Int.init) }, "\(label)")
      for (token, expected) in zip(tokens, row["tokens"]?.array ?? []) {
        // An added token that takes spaces along is recorded with them, as it stood in the text.
        let written = String(String.UnicodeScalarView(Array(text.unicodeScalars)[token.start..<token.end]))
        let isAdded = tokenizer.addedTokens.contains { $0.id == token.id }
        expectSame(isAdded ? written : tokenizer.token(of: token.id), expected.string, label)
      }
      try checkDecoding(tokenizer, row, label)
    }
  }

  @Test(arguments: folders) func decodes(_ name: String) throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/\(name)"))
    let golden = try Fixtures.json("tokenizers/\(name)/cases.json")
    for row in try #require(golden["decode_cases"]?.array) {
      try checkDecoding(tokenizer, row, "\(name)/\(row["name"]?.string ?? "?")")
    }
  }

  /// Token by token, the bytes are those of the decoded text.
  @Test(arguments: folders) func bytesOfTokensMakeTheText(_ name: String) throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/\(name)"))
    let golden = try Fixtures.json("tokenizers/\(name)/cases.json")
    var compared = 0
    for row in try #require(golden["cases"]?.array) {
      // Ids without a token add no bytes and begin no text.
      let ids = (row["ids"]?.ids ?? []).filter { tokenizer.token(of: $0) != nil }
      let bytes = ids.enumerated().flatMap { tokenizer.bytes(of: $1, atStart: $0 == 0) ?? [] }
      guard let text = String(validating: bytes, as: UTF8.self) else { continue }
      expectSame(tokenizer.decode(ids, skipSpecialTokens: false), text, "\(name)/\(row["name"]?.string ?? "?")")
      compared += 1
    }
    #expect(compared > 20)
    #expect(tokenizer.bytes(of: -1) == nil && tokenizer.bytes(of: Int32(tokenizer.vocabularySize)) == nil)
    #expect(tokenizer.dropsSpaceAtStart == ["llama2", "metaspace"].contains(name))
  }

  private func checkDecoding(_ tokenizer: Tokenizer, _ row: JSON, _ label: String) throws {
    let ids = row["ids"]?.ids ?? []
    for (skip, whole, streamed) in [(false, "decoded", "stream"), (true, "decoded_skip", "stream_skip")] {
      expectSame(tokenizer.decode(ids, skipSpecialTokens: skip), row[whole]?.string, "\(label) \(whole)")
      var stream = tokenizer.stream(skipSpecialTokens: skip)
      let pieces = try ids.map { try stream.append($0) }
      // Where the library refuses a sequence there is nothing to compare; it must only not crash.
      guard let expected = row[streamed]?.array else { continue }
      #expect(pieces.count == expected.count, "\(label)")
      for (i, piece) in pieces.enumerated() { expectSame(piece, expected[i].string, "\(label) \(streamed) \(i)") }
    }
  }
}
