import Core
import Foundation
import TestSupport
import Testing

/// `attune tokenize` and `attune render`: what lines may hold, what is said of those that are wrong.
@Suite struct TextProgramTests {
  private func lines(_ text: String) throws -> [JSON] {
    try text.split(separator: "\n").map { try JSON.parse(String($0)) }
  }

  private func jsonl(_ lines: [JSON]) -> String { lines.map { $0.text() + "\n" }.joined() }

  private func tokenize(_ input: String, _ flags: [String] = [], model: String = "tokenizers/llama3") throws
    -> Program.Result
  {
    try Program.run(["tokenize", "--model", model.hasPrefix("/") ? model : Fixtures.path(model)] + flags, input: input)
  }

  /// A folder with a golden tokenizer and what else it is given.
  private func folder(_ files: [String: String], tokenizer: String = "llama3") throws -> String {
    let folder = try Program.temporaryFolder()
    var files = files
    if files["tokenizer.json"] == nil {
      files["tokenizer.json"] = try String(
        decoding: Fixtures.bytes("tokenizers/\(tokenizer)/tokenizer.json"), as: UTF8.self)
    }
    for (name, text) in files {
      let place = URL(fileURLWithPath: folder + "/" + name)
      try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: place)
    }
    return folder
  }

  private let user: JSON = ["role": "user", "content": "hi"]

  // MARK: tokenize

  @Test func piecesJoinToTheText() throws {
    let texts = ["", " ", "Two gulls 😀 é\u{301} 日本\r\n\t", "<|eot_id|>x<|begin_of_text|>", "\u{FFFD}a", "\0"]
    let result = try tokenize(jsonl(texts.map { ["text": .string($0), "add_special_tokens": false] }))
    try #require(result.status == 0, "\(result.errors)")
    let rows = try lines(result.output)
    #expect(rows.count == texts.count)
    for (row, text) in zip(rows, texts) {
      #expect(row["text"]?.string.map { Array($0.utf8) } == Array(text.utf8))
      let pieces = row["pieces"]?.array ?? []
      #expect(pieces.count == row["ids"]?.array?.count)
      #expect(pieces.compactMap(\.string).joined() == text)
    }
  }

  @Test func specialTokensAreAddedAndSkippedAsAsked() throws {
    let texts: [JSON] = [["text": "hi"], ["text": "hi", "add_special_tokens": false]]
    let rows = try lines(tokenize(jsonl(texts)).output)
    let (with, without) = (rows[0]["ids"]!.array!, rows[1]["ids"]!.array!)
    #expect(Array(with.dropFirst()) == without && rows[0]["text"] == "<|begin_of_text|>hi")
    let back = try lines(
      tokenize(
        jsonl([
          ["ids": .array(with), "skip_special_tokens": true], ["ids": .array(with), "skip_special_tokens": false],
          ["ids": []],
        ])
      ).output)
    #expect(back[0]["text"] == "hi" && back[0]["ids"] == .array(with) && back[0]["pieces"]![0]! == .null)
    #expect(back[1]["text"] == "<|begin_of_text|>hi" && back[1]["pieces"]![0]! == "<|begin_of_text|>")
    #expect(back[2] == ["ids": [], "text": "", "pieces": []])
  }

  private static let badLines: [(line: String, message: String)] = [
    (#"{"txt": "a"}"#, #"did you mean "text"?"#), ("nonsense", "not valid JSON"), (#"{"text": "a"} x"#, "JSON"),
    ("[1]", "the line is a list, expected a mapping"), ("{}", #"neither "text" nor "ids""#),
    (#"{"text": "a", "ids": []}"#, #"both "text" and "ids""#), (#"{"text": 5}"#, "expected a string"),
    (#"{"ids": [1, -1]}"#, "the id -1 has no token"), (#"{"ids": [99999999999]}"#, "99999999999"),
    (#"{"ids": [1.5]}"#, "an id is 1.5, expected a whole number"), (#"{"ids": [true]}"#, "expected a whole number"),
    (#"{"ids": 3}"#, "expected a list"), (#"{"text": "a", "add_special_tokens": "no"}"#, "expected true or false"),
    (#"{"ids": [1], "skip_special_tokens": null}"#, "expected true or false"),
    (String(repeating: "[", count: 100_000), "nested deeper than"),
  ]

  @Test func badLinesOfTokenizeNameTheirPlace() throws {
    let good = #"{"text": "a"}"#
    let input = ([good] + Self.badLines.map(\.line) + [good]).joined(separator: "\n")
    let lenient = try tokenize(input, ["--keep-going"])
    #expect(lenient.status == 0, "\(lenient.errors)")
    let rows = try lines(lenient.output)
    #expect(rows.count == Self.badLines.count + 2 && rows.first == rows.last && rows[0]["text"] != nil)
    for (index, bad) in Self.badLines.enumerated() where index + 1 < rows.count {
      let (row, number) = (rows[index + 1], index + 2)
      #expect(row.object?.keys == ["line", "error"] && row["line"]?.int == number, "\(bad.line.prefix(40))")
      let error = row["error"]?.string ?? ""
      #expect(error.hasPrefix("standard input:\(number):") && error.contains(bad.message), "\(error.prefix(300))")
    }
    for bad in Self.badLines.prefix(3) {
      let strict = try tokenize("\(good)\n\n\(bad.line)\n\(good)\n")
      #expect(strict.status == 2 && strict.output.isEmpty)
      #expect(strict.errors.contains("standard input:3:") && strict.errors.contains(bad.message), "\(strict.errors)")
    }
  }

  @Test func emptyAndHugeInput() throws {
    for input in ["", "\n \r\n\t\n"] {
      let result = try tokenize(input)
      #expect(result.status == 0 && result.output.isEmpty && result.errors.isEmpty)
    }
    let text = String(repeating: "the tide 😀 rises; ", count: 20_000)
    let result = try tokenize(#"{"text": "\#(text)"}"#)
    try #require(result.status == 0, "\(result.errors.prefix(500))")
    let row = try lines(result.output)[0]
    #expect(row["text"]?.string == "<|begin_of_text|>" + text)
    #expect(row["pieces"]?.array?.count == row["ids"]?.array?.count)
  }

  @Test func brokenTokenizersAreRefused() throws {
    let whole = try Fixtures.bytes("tokenizers/llama3/tokenizer.json")
    let place = try folder([:]) + "/tokenizer.json"
    let middle = whole.count / 2
    let broken: [(bytes: [UInt8], message: String)] = [
      ([], "tokenizer.json:1:1"), ([0xFF, 0xFE, 0x7B, 0x00], "found byte 255"),
      (Array(whole[..<middle]) + [0xC3, 0x28] + whole[middle...], "UTF-8"),
      (Array(whole[..<middle]), "tokenizer.json:"),
      (Array(String(repeating: #"{"model":"#, count: 100_000).utf8), "nested deeper than"),
      (
        Array(
          (#"{"model": {"type": "BPE", "vocab": {}, "merges": []}, "normalizer": "#
            + String(repeating: #"{"type": "Sequence", "normalizers": ["#, count: 200) + #"{"type": "NFC"}"#
            + String(repeating: "]}", count: 200) + "}").utf8), ""
      ),
      (Array(#"{"model": []}"#.utf8), "model"), (Array("[]".utf8), "tokenizer.json"),
    ]
    for (bytes, message) in broken {
      try Data(bytes).write(to: URL(fileURLWithPath: place))
      let result = try tokenize(#"{"text": "a"}"#, model: String(place.dropLast("/tokenizer.json".count)))
      // Deep but well-formed steps may be read; nothing may crash.
      guard !message.isEmpty else {
        #expect(result.status == 0 || result.status == 2, "\(result.status)")
        continue
      }
      #expect(result.status == 2 && result.output.isEmpty)
      #expect(
        result.errors.contains("tokenizer.json") && result.errors.contains(message),
        "\(message): \(result.errors.prefix(500))")
    }
  }

  // MARK: render

  @Test func templatesAreFoundWhereCheckpointsKeepThem() throws {
    let source = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}"
    let named: JSON = [
      ["name": "default", "template": .string(source)], ["name": "tool_use", "template": "with {{ tools | length }}"],
    ]
    func configuration(_ template: JSON?) -> String {
      var object = JSON.Object([("bos_token", ["content": "<s>"] as JSON)])
      object["chat_template"] = template
      return JSON(.object(object)).text()
    }
    let plain = configuration(nil)
    let folders: [(files: [String: String], withTools: String)] = [
      (["tokenizer_config.json": configuration(.string(source))], "<s>[hi]"),
      (["tokenizer_config.json": plain, "chat_template.jinja": source], "<s>[hi]"),
      (["tokenizer_config.json": plain, "chat_template.json": configuration(.string(source))], "<s>[hi]"),
      (["tokenizer_config.json": configuration(named)], "with 1"),
      (["tokenizer_config.json": plain, "chat_template.json": configuration(named)], "with 1"),
      (
        [
          "tokenizer_config.json": configuration("other"), "chat_template.jinja": source,
          "additional_chat_templates/tool_use.jinja": "with {{ tools | length }}",
        ], "with 1"
      ),
    ]
    let input = jsonl([["messages": [user]], ["messages": [user], "tools": [["name": "f"]]]])
    for (files, withTools) in folders {
      let result = try Program.run(["render", "--model", try folder(files)], input: input)
      try #require(result.status == 0, "\(files.keys): \(result.errors)")
      #expect(try lines(result.output).map { $0["text"]?.string } == ["<s>[hi]", withTools], "\(files.keys)")
    }
  }

  /// A template for tools alone renders what has tools, and says what is missing for the rest.
  @Test func loneToolTemplates() throws {
    let list: JSON = ["chat_template": [["name": "tool_use", "template": "with {{ tools | length }}"]]]
    for files in [
      ["tokenizer_config.json": list.text()], ["additional_chat_templates/tool_use.jinja": "with {{ tools | length }}"],
    ] {
      let model = try folder(files)
      let input = jsonl([["messages": [user], "tools": []], ["messages": [user]]])
      let result = try Program.run(["render", "--model", model, "--keep-going"], input: input)
      let rows = try lines(result.output)
      try #require(rows.count == 2, "\(result.errors)")
      #expect(rows[0]["text"] == "with 0")
      #expect(rows[1]["error"]?.string?.contains("named \"tool_use\" alone, and no \"tools\" are given") == true)
      #expect(try Program.run(["render", "--model", model], input: input).status == 2)
    }
    let other: JSON = ["chat_template": [["name": "rag", "template": "x"]]]
    let result = try Program.run(
      ["render", "--model", try folder(["tokenizer_config.json": other.text()])], input: jsonl([["messages": [user]]]))
    #expect(result.status == 2 && result.errors.contains("without a template named \"default\""), "\(result.errors)")
    let none = try Program.run(["render", "--model", try folder([:])], input: "")
    #expect(none.status == 2 && none.errors.contains("no chat template"), "\(none.errors)")
  }

  @Test func spansCountCodePointsAndMasksFollow() throws {
    let template =
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
      + "{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}"
    let line: JSON = [
      "messages": [["role": "user", "content": "😀é\u{301}"], ["role": "assistant", "content": "👍🏽 ok"]]
    ]
    let model = try folder(["chat_template.jinja": template])
    let row = try lines(Program.run(["render", "--model", model], input: jsonl([line])).output)[0]
    #expect(row.object?.keys == ["text", "assistant_spans", "input_ids", "assistant_mask"])
    // Three code points and a marker of ten.
    #expect(row["assistant_spans"] == [[13, 18]])
    let ids = row["input_ids"]?.array ?? []
    let mask = row["assistant_mask"]?.array ?? []
    try #require(ids.count == mask.count)
    let spoken = zip(ids, mask).filter { $0.1 == 1 }.map(\.0)
    let texts = try lines(
      tokenize(
        jsonl([["ids": .array(spoken)], ["text": row["text"]!, "add_special_tokens": false]])
      ).output)
    #expect(texts[0]["text"] == "👍🏽 ok")
    #expect(texts[1]["ids"] == row["input_ids"])
    let file = model + "/chat_template.jinja"
    let bare = try lines(Program.run(["render", "--template", file], input: jsonl([line])).output)[0]
    #expect(bare.object?.keys == ["text", "assistant_spans"] && bare["text"] == row["text"])
  }

  @Test func templatesTakeVariablesAndTheClock() throws {
    let file =
      try folder([
        "t.jinja": "{{ bos_token }}{{ mood }}{% for m in messages %}{{ m.content }};{% endfor %}"
          + "{{ strftime_now('%d %b %Y %H:%M') }}{{ tools | tojson }}{{ '>' if add_generation_prompt }}"
      ]) + "/t.jinja"
    let input: [JSON] = [
      ["messages": [user], "add_generation_prompt": true, "mood": "good"],
      ["messages": [user, user], "tools": [["a": 1.0]], "bos_token": "<t>"],
      ["messages": [user], "continue_final_message": true],
    ]
    let result = try Program.run(
      [
        "render", "--template", file, "--variables", #"{"bos_token": "<s>", "mood": "calm"}"#, "--now",
        "2026-11-23T10:00:00",
      ], input: jsonl(input))
    try #require(result.status == 0, "\(result.errors)")
    #expect(
      try lines(result.output).map { $0["text"]?.string } == [
        "<s>goodhi;23 Nov 2026 10:00null>", #"<t>calmhi;hi;23 Nov 2026 10:00[{"a": 1.0}]"#, "<s>calmhi",
      ])
  }

  @Test func wrongRequestsOfRender() throws {
    let model = try folder(["chat_template.jinja": "x", "bad.jinja": "{{ a", "latin.jinja": "x"])
    try Data([0x78, 0xE9]).write(to: URL(fileURLWithPath: model + "/latin.jinja"))
    let requests: [(flags: [String], message: String)] = [
      ([], "needs --model or --template"), (["--model", model, "--template", "t"], "exclude each other"),
      (["--model", model, "--variables", "{}"], "--variables goes with --template"),
      (["--template", "/nowhere.jinja"], "/nowhere.jinja"), (["--template", model + "/bad.jinja"], "bad.jinja:1"),
      (["--template", model + "/latin.jinja"], "not UTF-8"),
      (["--model", model, "--now", "today"], "--now: \"today\""),
      (["--template", model + "/chat_template.jinja", "--variables", "[1]"], "--variables"),
      (["--template", model + "/chat_template.jinja", "--variables", "{"], "--variables"),
    ]
    for (flags, message) in requests {
      let result = try Program.run(["render"] + flags, input: jsonl([["messages": [user]]]))
      #expect(result.status == 2 && result.output.isEmpty, "\(flags)")
      #expect(result.errors.contains(message), "\(flags): \(result.errors)")
    }
  }

  @Test func badLinesOfRenderNameTheirPlace() throws {
    let file =
      try folder([
        "t.jinja":
          "{% for m in messages %}\n{% if m.role == 'x' %}{{ raise_exception('no x, ' ~ m.content) }}{% endif %}"
          + "{{ m.content + '' }}{% endfor %}"
      ]) + "/t.jinja"
    let bad: [(line: JSON, message: String)] = [
      ([:], "no \"messages\""), (["messages": "a"], "expected a list"), (["messages": ["a"]], "a message is a string"),
      (["messages": [["role": "x", "content": "please"]]], "no x, please"),
      (["messages": [["role": "user", "content": 5]]], "t.jinja:2"),
      (["messages": [], "tools": "f"], "expected a list"),
      (["messages": [user], "continue_final_message": true, "add_generation_prompt": true], "exclude each other"),
      (["messages": [], "continue_final_message": true], "no messages"),
      (["messages": [["role": "user", "content": []]], "continue_final_message": true], "no text to go on with"),
    ]
    let lenient = try Program.run(
      ["render", "--template", file, "--keep-going"], input: jsonl(bad.map(\.line) + [["messages": [user]]]))
    #expect(lenient.status == 0, "\(lenient.errors)")
    let rows = try lines(lenient.output)
    try #require(rows.count == bad.count + 1)
    #expect(rows[bad.count]["text"]?.string == "\nhi" || rows[bad.count]["text"]?.string == "hi")
    for (index, (_, message)) in bad.enumerated() {
      #expect(rows[index]["line"]?.int == index + 1)
      let error = rows[index]["error"]?.string ?? ""
      #expect(error.hasPrefix("standard input:\(index + 1):") && error.contains(message), "\(error)")
    }
    let strict = try Program.run(["render", "--template", file], input: jsonl([["messages": [user]], bad[3].line]))
    #expect(strict.status == 2 && strict.output.isEmpty)
    #expect(strict.errors.contains("standard input:2:") && strict.errors.contains("no x, please"), "\(strict.errors)")
  }
}
