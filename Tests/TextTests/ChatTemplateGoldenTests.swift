import Core
import Foundation
import TestSupport
import Testing

@testable import Text

/// Templates in the manner of published ones: text, ids, spans and masks.
@Suite struct ChatTemplateGoldenTests {
  static let names = [
    "qwen2_5", "qwen3", "qwen3_vl", "qwen3_masked", "chatml_masked", "llama3", "llama3_masked", "llama2", "deepseek",
    "deepseek_vl2",
  ]

  static let secondNames = [
    "llama_tools", "mistral_tools", "gemma", "phi4", "deepseek_r1", "qwen2_5_vl", "qwen3_thinking", "qwen3_coder",
    "smollm3", "command_r", "hermes", "gpt_oss",
  ]

  @Test(arguments: names) func renders(_ name: String) throws { try compare(name, in: "chat_templates") }

  @Test(arguments: secondNames) func rendersSecond(_ name: String) throws {
    try compare(name, in: "chat_templates/second")
  }

  private func compare(_ name: String, in suite: String) throws {
    let golden = try Fixtures.json("\(suite)/\(name).json")
    let source = try String(decoding: Fixtures.bytes("\(suite)/templates/\(name).jinja"), as: UTF8.self)
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
        if expected["kind"]?.string == "TemplateError" {
          #expect(error.message == expected["message"]?.string, "\(label)")
        }
      }
    }
  }

  @Test func foldersGiveTheirSpecialTokens() throws {
    #expect(try ChatTemplate.load(folder: Fixtures.path("tokenizers/qwen")) == nil)
  }

  /// As transformers reads them.
  @Test func foldersGiveNamedTemplatesAndMoreTokens() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("attune-template-\(UUID())")
    let more = folder.appendingPathComponent("additional_chat_templates")
    try FileManager.default.createDirectory(at: more, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func write(_ name: String, _ text: String) throws {
      try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    }
    try write(
      "tokenizer_config.json",
      #"{"bos_token": {"content": "<s>"}, "add_bos_token": true, "image_token": "<i>", "#
        + #""extra_special_tokens": {"video_token": "<v>"}}"#)
    try write("chat_template.jinja", "{{ bos_token }}{{ image_token }}{{ video_token }}{{ add_bos_token }}")
    try write("additional_chat_templates/tool_use.jinja", "with tools")
    let template = try #require(try ChatTemplate.load(folder: folder.path))
    #expect(try template.render(messages: []).text == "<s><i><v>")
    #expect(try template.render(messages: [], tools: [["name": "f"]]).text == "with tools")
  }
}
