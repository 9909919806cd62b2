import Core
import Foundation
import Models
import Rewards
import TestSupport
import Testing
import Text

@testable import Lab

@Suite struct RewardInputTests {
  /// Bytes as ids: characters of several bytes are split over ids.
  private func decode(_ ids: [Int32]) -> String { String(decoding: ids.map { UInt8($0 & 0xFF) }, as: UTF8.self) }

  @Test func offsetsOfSplitCharacters() {
    let text = "aé€😀b"
    let ids = Array(text.utf8).map { Int32($0) }
    // a at 0, é at 1 (two ids), € at 3 (three), the face at 6 (four), b at 10.
    #expect(TokenOffsets.of(ids, in: text, decode: decode) == [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10])
    #expect(TokenOffsets.of([], in: "", decode: decode) == [])
  }

  /// What is no character is U+FFFD in the text, three bytes long.
  @Test func offsetsOfBrokenBytes() {
    let ids: [Int32] = [0x61, 0xE2, 0x82, 0x62, 0xFF, 0x63]
    let text = decode(ids)
    #expect(text == "a\u{FFFD}b\u{FFFD}c")
    #expect(TokenOffsets.of(ids, in: text, decode: decode) == [0, 1, 4, 4, 5, 8])
  }

  /// The windowed walk gives what decoding every beginning gives.
  @Test(arguments: ["qwen", "llama2", "deepseek", "metaspace"])
  func longTexts(name: String) throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/" + name))
    let text = String(repeating: "Zwölf Boxkämpfer jagen 🦊 über den Sylter Deich — 东京 x", count: 8)
    let ids = tokenizer.encode(text)
    let raw = tokenizer.decode(ids, skipSpecialTokens: false)
    let found = TokenOffsets.of(ids, in: raw) { tokenizer.decode($0, skipSpecialTokens: false) }
    let bytes = Array(raw.utf8)
    try #require(found.count == ids.count)
    // A run of bytes that is no text as a whole decodes to no text at all: what was text before stays where it is.
    var last = 0
    for (t, offset) in found.enumerated() {
      var expected = 0
      let start = Array(tokenizer.decode(ids[..<t], skipSpecialTokens: false).utf8)
      while expected < min(start.count, bytes.count), start[expected] == bytes[expected] { expected += 1 }
      while expected > 0, expected < bytes.count, bytes[expected] & 0xC0 == 0x80 { expected -= 1 }
      last = max(last, expected)
      #expect(Int(offset) == last, "token \(t)")
    }
  }

  private func prefix(_ source: String) throws -> String {
    try ChatTemplate(source: source, file: "template").generationPrefix()
  }

  @Test func whatTheTemplateOpens() throws {
    let turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    let open = "{% if add_generation_prompt %}<|im_start|>assistant\n"
    #expect(try prefix(turns + open + "{% endif %}") == "")
    #expect(try prefix(turns + open + "<think>\n{% endif %}") == "<think>\n")
    #expect(try prefix(turns + open + "<think>\n\n</think>\n\n{% endif %}") == "<think>\n\n</think>\n\n")
    // A template that writes thoughts into the last answer alone: the header is read from an earlier one.
    let thinking = """
      {% for m in messages %}<|im_start|>{{ m.role }}
      {% if m.role == 'assistant' and loop.last %}<think>

      </think>

      {% endif %}{{ m.content }}<|im_end|>
      {% endfor %}
      """
    #expect(try prefix(thinking + open + "<think>\n{% endif %}") == "<think>\n")
    // One that cannot be asked opens nothing.
    #expect(try prefix("{{ raise_exception('no') }}") == "")
  }

  /// Templates as families ship them open nothing but the turn.
  @Test(arguments: ["qwen2_5", "qwen3", "qwen3_vl", "deepseek", "llama3"])
  func templatesOfFamilies(name: String) throws {
    let path = Fixtures.path("chat_templates/templates/\(name).jinja")
    #expect(try prefix(String(contentsOfFile: path, encoding: .utf8)) == "")
  }

  /// Thousandths of a side and the size after the model's resize for Qwen3-VL, 0 ... 999 for DeepSeek-VL2.
  @Test func coordinatesOfFamilies() throws {
    let picture = Picture(width: 30, height: 20, pixels: [UInt8](repeating: 0, count: 1800))
    func described(_ json: JSON, _ input: PictureInput) throws -> RewardImage {
      var image = RewardImage(picture)
      let vision = try #require(try ModelConfiguration(json: json, file: "config.json").vision)
      vision.describe(input, in: &image)
      return image
    }
    // Patches of 4 pixels, 6 down and 8 across.
    let qwen = try described(TinyModels.qwen3VL, PictureInput(patches: [], grid: (frames: 1, height: 6, width: 8)))
    #expect(qwen.coordinateRange == 1000 && qwen.modelWidth == 32 && qwen.modelHeight == 24)
    let tiles = try described(TinyModels.deepSeekVL2, PictureInput(values: [], kind: .tiles(across: 2, down: 1)))
    #expect(tiles.coordinateRange == 999 && tiles.modelWidth == 0)
  }

  @Test func outcomesComeBackFromTheJournal() throws {
    var outcome = RewardOutcome(
      score: 0.1 + 0.2, status: .ok, components: [("a", 1.0 / 3), ("b", -0.0)], log: "says \"x\"\n",
      tokenRewards: [0.1, 0, -2.5], stepRewards: [RewardStep(tokens: 1..<3, value: 0.7, label: "first")])
    outcome.notes = [("extracted", "é")]
    for original in [outcome, .none(.timedOut, "late"), .none(.notApplicable, "")] {
      let back = RewardOutcome(journalled: try JSON.parse(original.json.text()))
      #expect(back.json == original.json && back.score == original.score && back.status == original.status)
      #expect(back.tokenRewards == original.tokenRewards && back.stepRewards == original.stepRewards)
    }
  }
}
