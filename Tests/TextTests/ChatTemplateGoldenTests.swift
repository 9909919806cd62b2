import Core
import TestSupport
import Testing

@testable import Text

/// Templates in the manner of published ones: text, ids, spans and masks.
@Suite struct ChatTemplateGoldenTests {
  static let names = [
    "qwen2_5", "qwen3", "qwen3_vl", "qwen3_masked", "chatml_masked", "llama3", "llama3_masked", "llama2", "deepseek",
    "deepseek_vl2",
  ]

  @Test(arguments: names) func renders(_ name: String) throws {
    let golden = try Fixtures.json("chat_templates/\(name).json")
    let source = try String(decoding: Fixtures.bytes("chat_templates/templates/\(name).jinja"), as: UTF8.self)
    let folder = try Fixtures.path("tokenizers/" + #require(golden["tokenizer"]?.string))
    let tokenizer = try Tokenizer.load(folder: folder)
    let tokens = try #require(golden["special_tokens"]?.object)
    let template = try ChatTemplate(source: source, file: name, specialTokens: tokens)
    let now = try CivilTime(iso: #require(golden["now"]?.string))
    let rows = try #require(golden["cases"]?.array)
    #expect(rows.count > 10)
    for row in rows {
      let label = "\(name)/\(row["name"]?.string ?? "?")"
      var line = row["options"]?.object ?? JSON.Object()
      line["messages"] = row["messages"]
      line["tools"] = row["tools"]
      do {
        let result = try TextCommands.renderLine(
          JSON(.object(line)), template: template, tokenizer: tokenizer, now: now)
        if let error = row["error"] {
          Issue.record("\(label): rendered, expected the failure \(error.text())")
          continue
        }
        expectSame(result["text"]?.string, row["rendered"]?.string, label)
        #expect(result["input_ids"] == row["input_ids"], "\(label)")
        if row["assistant_spans"] != nil {
          #expect(result["assistant_spans"] == row["assistant_spans"], "\(label)")
          #expect(result["assistant_mask"] == row["assistant_mask"], "\(label)")
        }
      } catch let error as AttuneError {
        guard let expected = row["error"] else {
          Issue.record("\(label): failed with \(error)")
          continue
        }
        if expected["kind"]?.string == "TemplateError" { #expect(error.message == expected["message"]?.string) }
      }
    }
  }

  @Test func foldersGiveTheirSpecialTokens() throws {
    #expect(try ChatTemplate.load(folder: Fixtures.path("tokenizers/qwen")) == nil)
  }
}
