import Core
import Foundation
import TestSupport
import Testing

@testable import Text

@Suite struct ByteLevelBPETrainerTests {
  static let texts = [
    "the cat and the hat and the bat 123 123 123", "Count: 1234567890, then the others; naïve cafés — 東京 😀",
    "The theatre is there.\n\nThe end.\n",
  ]
  static let special: [(content: String, special: Bool)] = [
    ("<|endoftext|>", true), ("<|im_start|>", true), ("<|im_end|>", true), ("<think>", false),
  ]

  @Test func whatWasWrittenLoadsAndComesBack() throws {
    let trained = try ByteLevelBPETrainer.train(texts: Self.texts, mergeCount: 40, specialTokens: Self.special)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (name, text) in trained.files { try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8) }
    let tokenizer = try Tokenizer.load(folder: folder)
    #expect(tokenizer.vocabularySize == trained.vocabularySize)
    for text in Self.texts + ["unseen wörds <|im_start|>user\n<think>"] {
      expectSame(tokenizer.decode(tokenizer.encode(text), skipSpecialTokens: false), text, "round trip")
    }
    let first = Int32(trained.vocabularySize - Self.special.count)
    #expect(Self.special.map { tokenizer.id(of: $0.content) } == (0..<4).map { first + $0 })
    #expect(tokenizer.isSpecial(first) && !tokenizer.isSpecial(first + 3))
    let config = try JSON.parse(trained.configurationJSON)
    #expect(config["eos_token"] == "<|im_end|>" && config["pad_token"] == "<|endoftext|>")
    #expect(config["added_tokens_decoder"]?[String(first)]?["content"] == "<|endoftext|>")
    #expect(try JSON.parse(trained.vocabularyJSON).object?.count == Int(first))
  }

  @Test func mergesAreLearnedByCountThenByID() throws {
    // "ab" occurs 3 times, "cd" and "ce" twice each: of those two, d comes before e.
    let trained = try ByteLevelBPETrainer.train(
      texts: ["ab", "ab", "ab", "cd", "cd", "ce", "ce"], mergeCount: 5, specialTokens: [])
    #expect(trained.mergesText == "#version: 0.2\na b\nc d\nc e\n")
    let tokenizer = try trained.tokenizer()
    #expect(tokenizer.encode("ab") == [256])
    #expect(tokenizer.token(of: 257) == "cd")
  }

  @Test func digitsStayApart() throws {
    let trained = try ByteLevelBPETrainer.train(
      texts: Array(repeating: "12 12 12 x12", count: 20), mergeCount: 50, specialTokens: [])
    let tokenizer = try trained.tokenizer()
    #expect(tokenizer.encode("1212").count == 4)
  }

  @Test func theSameTextsGiveTheSameFiles() throws {
    let a = try ByteLevelBPETrainer.train(texts: Self.texts, mergeCount: 60, specialTokens: Self.special)
    let b = try ByteLevelBPETrainer.train(texts: Self.texts, mergeCount: 60, specialTokens: Self.special)
    #expect(a.tokenizerJSON == b.tokenizerJSON && a.mergesText == b.mergesText)
  }

  @Test func repeatedSpecialTokensAreRefused() {
    expectAttuneError(containing: "<a>", "twice") {
      _ = try ByteLevelBPETrainer.train(texts: [], mergeCount: 0, specialTokens: [("<a>", true), ("<a>", true)])
    }
  }
}
