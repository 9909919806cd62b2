import Core
import Foundation
import TestSupport
import Testing

@testable import Datasets

/// A folder of its own for one test, with empty files standing in for pictures.
private func inFolder<T>(_ body: (String) throws -> T) throws -> T {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("attune-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  for name in ["a.png", "b.png"] { try Data().write(to: folder.appendingPathComponent(name)) }
  return try body(folder.path)
}

/// Each path becomes a picture of one pixel that tells which path it was.
private let loader: PictureLoader = { path in
  let name = path.split(separator: "/").last ?? ""
  return Picture(width: 1, height: 1, pixels: [UInt8](repeating: name.utf8.first ?? 0, count: 3))
}

private func samples(
  _ text: String, name: String = "data.jsonl", task: SampleTask = .sft, mapping: ColumnMapping = ColumnMapping()
) throws -> [Sample] {
  try inFolder { folder in
    let file = folder + "/" + name
    try text.write(toFile: file, atomically: false, encoding: .utf8)
    let source = try JSONLSource(file: file, task: task, mapping: mapping, loadPicture: loader)
    return try (0..<(source.count ?? 0)).map { try source.sample(at: $0) }
  }
}

private func refuse(
  _ text: String, name: String = "data.jsonl", task: SampleTask = .sft, mapping: ColumnMapping = ColumnMapping(),
  _ fragments: String..., sourceLocation: SourceLocation = #_sourceLocation
) {
  for fragment in fragments {
    expectAttuneError(containing: fragment, sourceLocation: sourceLocation) {
      _ = try samples(text, name: name, task: task, mapping: mapping)
    }
  }
}

@Suite struct JSONLSourceTests {
  @Test func dialogue() throws {
    let rows = try samples(
      #"""
      {"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"k":1}

      {"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"x"},{"role":"user","content":"r"},{"role":"assistant","content":"b"}]}
      """#)
    #expect(rows.map(\.id) == [0, 1])
    #expect(rows[0].prompt == [Message(role: "system", text: "s"), Message(role: "user", text: "q")])
    #expect(rows[0].completion == "a")
    #expect(rows[0].reference == nil)
    #expect(rows[0].columns.keys == ["messages", "k"])
    #expect(rows[1].prompt.map(\.role) == ["user", "assistant", "user"])
    #expect(rows[1].completion == "b")
  }

  @Test func promptAndCompletionAsTextsOrMessages() throws {
    let rows = try samples(
      #"""
      {"prompt":"q","completion":"a"}
      {"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}
      {"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}
      {"system":"s","query":"q","response":"a"}
      {"instruction":"q","input":"i","output":"a"}
      {"Question":"q","Answer":"a"}
      {"query":"r","response":"b","history":[["q","a"]]}
      """#)
    for row in rows[..<3] {
      #expect(row.prompt == [Message(role: "user", text: "q")])
      #expect(row.completion == "a")
    }
    #expect(rows[3].prompt == [Message(role: "system", text: "s"), Message(role: "user", text: "q")])
    #expect(rows[4].prompt[0].text == "q\ni")
    #expect(rows[5].completion == "a")
    #expect(rows[6].prompt.map(\.text) == ["q", "a", "r"])
    #expect(rows[6].completion == "b")
  }

  /// The task decides whether `answer` is imitated or compared with; neither column is ever lost.
  @Test func anAnswerIsAReferenceForReinforcementLearning() throws {
    let text = #"{"question":"q","answer":42}"#
    let imitated = try samples(text, task: .sft)[0]
    #expect(imitated.completion == "42" && imitated.reference == nil)
    let compared = try samples(text, task: .rl)[0]
    #expect(compared.completion == nil && compared.reference == "42")
    #expect(compared.columns["answer"]?.int == 42)

    for task in [SampleTask.sft, .rl] {
      let both = try samples(#"{"question":"q","answer":"4","response":"two and two is 4"}"#, task: task)[0]
      #expect(both.completion == "two and two is 4" && both.reference == "4")
    }
    let worked = try samples(#"{"problem":"q","solution":"long","answer":"4"}"#)[0]
    #expect(worked.completion == "long" && worked.reference == "4")
    let dialogue = try samples(
      #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"answer":"4"}"#)[0]
    #expect(dialogue.completion == "a" && dialogue.reference == "4")
  }

  @Test func nestedReferencesAndLists() throws {
    let verl = try samples(
      #"{"prompt":[{"role":"user","content":"q"}],"reward_model":{"style":"rule","ground_truth":"7"}}"#, task: .rl)[0]
    #expect(verl.reference == "7")
    let list = try samples(#"{"prompt":"q","answer":["1","one"]}"#, task: .rl)[0]
    #expect(list.reference.flatMap { try? JSON.parse($0) } == ["1", "one"])
  }

  @Test func mappingNamesColumns() throws {
    let text = #"{"text":"q","gold":"g","prompt":"not this"}"#
    let row = try samples(text, task: .rl, mapping: ColumnMapping(prompt: "text", reference: "gold"))[0]
    #expect(row.prompt[0].text == "q" && row.reference == "g")
    let deep = try samples(
      #"{"q":"q","meta":{"truth":3}}"#, task: .rl, mapping: ColumnMapping(prompt: "q", reference: "meta.truth"))[0]
    #expect(deep.reference == "3")
    // A column that the user gave to one field is not claimed by another through its common name.
    let response = try samples(
      #"{"prompt":"q","response":"4"}"#, task: .rl, mapping: ColumnMapping(reference: "response"))[0]
    #expect(response.reference == "4" && response.completion == nil)
    refuse(
      text, mapping: ColumnMapping(reference: "gould"), "data.jsonl:1:", "no column 'gould'", "did you mean 'gold'?")
  }

  @Test func placeholdersBecomeParts() throws {
    let rows = try samples(
      #"""
      {"query":"<image>which <image>?","response":"a <image> tag","images":["a.png","b.png"]}
      {"query":"see <image>","response":"a","image":"b.png"}
      {"messages":[{"role":"user","content":"x <image>"},{"role":"assistant","content":"y"},{"role":"user","content":"<image>"}],"images":["a.png",{"path":"b.png"}],"answer":"z"}
      {"query":"in code `<image>`","response":"a"}
      {"query":"none","response":"a","images":[]}
      """#)
    #expect(rows[0].prompt[0].parts == [.image(0), .text("which "), .image(1), .text("?")])
    #expect(rows[0].completion == "a <image> tag")
    #expect(rows[0].pictures.map { $0.pixels[0] } == [UInt8(ascii: "a"), UInt8(ascii: "b")])
    #expect(rows[1].prompt[0].parts == [.text("see "), .image(0)])
    #expect(rows[1].pictures.map { $0.pixels[0] } == [UInt8(ascii: "b")])
    #expect(rows[2].prompt.map(\.parts) == [[.text("x "), .image(0)], [.text("y")], [.image(1)]])
    #expect(rows[3].prompt[0].parts == [.text("in code `<image>`")])
    #expect(rows[4].prompt[0].parts == [.text("none")])
  }

  @Test func typedParts() throws {
    let rows = try samples(
      #"""
      {"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a.png"}},{"type":"text","text":"<image>?"}]},{"role":"assistant","content":[{"type":"text","text":"a"}]}]}
      {"messages":[{"role":"user","content":[{"type":"text","text":"q"},{"type":"image"}]},{"role":"assistant","content":"a"}],"images":["b.png"]}
      {"messages":[{"role":"user","content":[{"type":"image","image":"b.png"},{"type":"image"}]},{"role":"assistant","content":"a"}],"images":["a.png"]}
      """#)
    #expect(rows[0].prompt[0].parts == [.image(0), .text("<image>?")])
    #expect(rows[0].completion == "a")
    #expect(rows[1].prompt[0].parts == [.text("q"), .image(0)])
    #expect(rows[2].pictures.map { $0.pixels[0] } == [UInt8(ascii: "b"), UInt8(ascii: "a")])
  }

  @Test func containers() throws {
    let array = try samples(
      "\u{FEFF}[{\"prompt\":\"q\",\"completion\":\"a\"},\n{\"prompt\":\"r\",\"completion\":\"b\"}]")
    #expect(array.map(\.completion) == ["a", "b"])
    let wrapped = try samples(#"{"version":1,"data":[{"prompt":"q","completion":"a"}]}"#, name: "data.json")
    #expect(wrapped.map(\.completion) == ["a"])
    let linesCalledJSON = try samples(
      "{\"prompt\":\"q\",\"completion\":\"a\"}\n{\"prompt\":\"r\",\"completion\":\"b\"}\n", name: "data.json")
    #expect(linesCalledJSON.count == 2)
    let csv = try samples("question,answer\r\n\"q, \"\"x\"\"\n2\",a\r\nr,b\r\n", name: "data.csv")
    #expect(csv.map { $0.prompt[0].text } == ["q, \"x\"\n2", "r"])
    #expect(csv.map(\.completion) == ["a", "b"])
    let tsv = try samples("question\tanswer\nq,1\ta", name: "data.tsv", task: .rl)
    #expect(tsv[0].prompt[0].text == "q,1" && tsv[0].reference == "a")
  }

  @Test func decisionsAreCounted() throws {
    try inFolder { folder in
      let file = folder + "/d.jsonl"
      try
        (String(repeating: "{\"question\":\"q\",\"answer\":\"a\"}\n", count: 3)
        + #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#)
        .write(toFile: file, atomically: false, encoding: .utf8)
      let source = try JSONLSource(file: file, task: .sft, loadPicture: loader)
      #expect(
        source.decisions == [
          "prompt: question, completion: answer (3 rows)",
          "prompt: messages, completion: last message of messages (1 rows)",
        ])
    }
  }

  @Test func badRowsAreNamedByLine() {
    let good = "{\"prompt\":\"q\",\"completion\":\"a\"}\n"
    refuse(good + "{\"prompt\":", "data.jsonl:2:")
    refuse(good + "\n[1]", "data.jsonl:3:", "this line is a list")
    refuse(good + #"{"completion":"a"}"#, "data.jsonl:2:", "no prompt", "'completion'")
    refuse(good + #"{"prompt":"q"}"#, "data.jsonl:2:", "no completion to learn from")
    refuse(good + #"{"prompt":"q","completion":""}"#, "data.jsonl:2:", "empty text")
    refuse(#"{"prompt":"","completion":"a"}"#, "data.jsonl:1:", "empty")
    refuse(#"{"messages":[],"completion":"a"}"#, "data.jsonl:1:", "is empty")
    refuse(#"{"messages":[{"role":"usr","content":"q"}]}"#, "data.jsonl:1:22", "'usr'", "did you mean 'user'?")
    refuse(#"{"messages":[{"content":"q"}]}"#, "has no role")
    refuse(#"{"messages":[{"role":"user","content":null}]}"#, "content is null")
    refuse(#"{"messages":[{"role":"user","content":[{"type":"txt","text":"q"}]}]}"#, "did you mean 'text'?")
    refuse(#"{"messages":[{"role":"assistant","content":"q","tool_calls":[{}]}]}"#, "calls tools")
    refuse(#"{"messages":[3]}"#, "a message is a number")
    refuse(#"{"prompt":7,"completion":"a"}"#, "is a number, expected a text")
    refuse(
      #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"completion":"b"}"#,
      "two answers", "'completion'")
    refuse(
      #"{"prompt":"q","completion":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
      "a list of 2 messages")
    refuse(
      #"{"system":"s","messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]}"#, task: .rl,
      "two system texts")
    refuse(#"{"query":"r","response":"b","history":[["q"]]}"#, "expected a list of two texts")
    refuse("", "no rows")
    refuse("[]", "no rows")
    refuse("[{\"prompt\":\"q\",\"completion\":\"a\"},\n 4]", "data.jsonl:2:", "this row is a number")
    refuse("[\n{\"messages\":[\n{\"role\":\"x\",\"content\":\"q\"}]}]", "data.jsonl:3:")
  }

  @Test func badTablesAreNamedByLine() {
    refuse("question,answer\n\"q\n\",a\nonly\n", name: "d.csv", "d.csv:4:", "1 cells, expected 2")
    refuse("question,answer\n\"q,a\n", name: "d.csv", "d.csv:2:", "never closed")
    refuse("question,answer\n\"q\"x,a\n", name: "d.csv", "d.csv:2:", "follows a quoted cell")
    refuse("question,question\nq,a\n", name: "d.csv", "d.csv:1:", "'question' twice")
    refuse("question,answer\n", name: "d.csv", "no rows")
  }

  @Test func picturesMustMatchTheirPlaces() {
    refuse(#"{"query":"<image><image>","response":"a","images":["a.png"]}"#, "data.jsonl:1:", "place 2", "has 1")
    refuse(#"{"query":"q","response":"a","images":["a.png"]}"#, "1 pictures and 0 places")
    refuse(#"{"query":"<image>","response":"a","images":["c.png"]}"#, "data.jsonl:1:", "no picture file")
    refuse(#"{"query":"<image>","response":"a","images":["data:image/png;base64,AA"]}"#, "expected the path of a file")
    refuse(#"{"query":"<image>","response":"a","images":[{"bytes":"AA"}]}"#, "a picture is a mapping")
    refuse(
      #"{"messages":[{"role":"user","content":[{"type":"image"}]},{"role":"assistant","content":"a"}]}"#, "place 1",
      "has 0")
  }

  @Test func aPictureThatCannotBeDecodedNamesItsRow() throws {
    try inFolder { folder in
      let file = folder + "/d.jsonl"
      try #"{"query":"<image>","response":"a","images":["a.png"]}"#
        .write(toFile: file, atomically: false, encoding: .utf8)
      let source = try JSONLSource(file: file, task: .sft) { _ in throw AttuneError.work("not a picture") }
      expectAttuneError(containing: "a.png: not a picture", "d.jsonl:1") { _ = try source.sample(at: 0) }
    }
  }
}
