import Core
import TestSupport
import Testing

@testable import Text

@Suite struct TextCommandTests {
  private func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer.load(folder: Fixtures.path("tokenizers/\(name)"))
  }

  @Test func tokenizesTextAndIDs() throws {
    let qwen = try tokenizer("qwen")
    let out = try TextCommands.tokenizeLine(["text": "the<|im_end|>"], tokenizer: qwen)
    #expect(out.object?.keys == ["ids", "text", "pieces"])
    #expect(out["text"] == "the<|im_end|>")
    let back = try TextCommands.tokenizeLine(
      JSON(.object(.init([("ids", try #require(out["ids"])), ("skip_special_tokens", true)]))), tokenizer: qwen)
    #expect(back["text"] == "the")
    #expect(back["pieces"]?.array?.last == .null)
    // An emoji is several tokens; only the last of them releases it.
    let pieces = try TextCommands.tokenizeLine(["text": "😀"], tokenizer: qwen)["pieces"]?.array ?? []
    #expect(pieces.last == "😀" && pieces.dropLast().allSatisfy { $0.isNull } && pieces.count > 1)
  }

  @Test func addsWhatThePostProcessorAdds() throws {
    let llama = try tokenizer("llama3")
    let with = try TextCommands.tokenizeLine(["text": "hi"], tokenizer: llama)["ids"]?.ids ?? []
    let without = try TextCommands.tokenizeLine(["text": "hi", "add_special_tokens": false], tokenizer: llama)["ids"]
    #expect(with.first == llama.id(of: "<|begin_of_text|>"))
    #expect(Array(with.dropFirst()) == without?.ids)
  }

  @Test func wrongLinesAreRefused() throws {
    let qwen = try tokenizer("qwen")
    let lines: [(JSON, String)] = [
      (["txt": "a"], "did you mean \"text\"?"), ([:], "neither"), (["text": "a", "ids": [1]], "both"),
      (["text": 1], "expected a string"), (["ids": ["a"]], "expected a whole number"), (["ids": [99999]], "no token"),
      (["ids": [-1]], "no token"), (["text": "a", "add_special_tokens": 1], "true or false"), ([1], "a list"),
    ]
    for (line, fragment) in lines {
      expectAttuneError(containing: fragment) { _ = try TextCommands.tokenizeLine(line, tokenizer: qwen) }
    }
    let template = try ChatTemplate(source: "{{ messages[0].content }}", file: "t")
    let rendered: [(JSON, String)] = [
      ([:], "no \"messages\""), (["messages": 1], "expected a list"), (["messages": [1]], "a message is a number"),
      (["messages": [], "tools": 1], "\"tools\""), (["messages": [], "add_generation_prompt": 1], "true or false"),
      (
        [
          "messages": [["role": "user", "content": "a"]], "add_generation_prompt": true, "continue_final_message": true,
        ],
        "exclude each other"
      ),
    ]
    for (line, fragment) in rendered {
      expectAttuneError(containing: fragment) { _ = try TextCommands.renderLine(line, template: template) }
    }
  }

  @Test func otherKeysAreVariables() throws {
    let template = try ChatTemplate(
      source: "{{ eos_token }}{{ greeting }}{{ strftime_now('%Y') }}{{ messages[0].thinking }}", file: "t",
      specialTokens: JSON.Object([("eos_token", "E")]))
    let line: JSON = ["messages": [["role": "a", "content": .null, "reasoning": "r"]], "greeting": "hello"]
    let out = try TextCommands.renderLine(line, template: template, now: CivilTime(iso: "2026-11-23T10:00:00"))
    #expect(out["text"] == "Ehello2026r")
    #expect(out.object?.keys == ["text", "assistant_spans"])
  }

  @Test func finalMessagesAreContinued() throws {
    let trims = "{% for m in messages %}<{{ m.content | trim }}>{% endfor %}"
    let keeps = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    let line: JSON = [
      "messages": [["role": "u", "content": "ab"], ["role": "a", "content": "ab "]], "continue_final_message": true,
    ]
    for (source, expected) in [(trims, "<ab><ab"), (keeps, "<ab><ab ")] {
      let template = try ChatTemplate(source: source, file: "t")
      expectSame(try TextCommands.renderLine(line, template: template)["text"]?.string, expected, source)
    }
    let ignores = try ChatTemplate(source: "nothing", file: "t")
    expectAttuneError(containing: "not in the rendered text") {
      _ = try TextCommands.renderLine(line, template: ignores)
    }
  }

  @Test func timesAreRead() throws {
    #expect(try CivilTime(iso: "2026-11-23T10:00:00") == CivilTime(year: 2026, month: 11, day: 23, hour: 10))
    #expect(try CivilTime(iso: "2024-02-29").formatted("%a %j %V") == "Thu 060 09")
    for text in ["", "2026", "2026-13-01", "2025-02-29", "2026-11-23T25:00:00", "2026-11-23T10", "x-y-z", "T"] {
      expectAttuneError(containing: "2026-11-23T10:00:00") { _ = try CivilTime(iso: text) }
    }
  }
}
