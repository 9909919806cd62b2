import Core
import Foundation
import TestSupport
import Testing

@testable import Datasets

/// Rows of a file beside two empty pictures; each picture becomes one pixel that tells which path it was.
private func samples(
  _ text: String, _ task: SampleTask, name: String = "data.jsonl", mapping: ColumnMapping = ColumnMapping()
) throws -> [Sample] {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("attune-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  for name in ["a.png", "b.png"] { try Data().write(to: folder.appendingPathComponent(name)) }
  let file = folder.appendingPathComponent(name).path
  try text.write(toFile: file, atomically: false, encoding: .utf8)
  let source = try JSONLSource(file: file, task: task, mapping: mapping) { path in
    let name = path.split(separator: "/").last ?? ""
    return Picture(width: 1, height: 1, pixels: [UInt8](repeating: name.utf8.first ?? 0, count: 3))
  }
  return try (0..<(source.count ?? 0)).map { try source.sample(at: $0) }
}

private func refuse(
  _ text: String, _ task: SampleTask, name: String = "data.jsonl", mapping: ColumnMapping = ColumnMapping(),
  _ fragments: String..., sourceLocation: SourceLocation = #_sourceLocation
) {
  for fragment in fragments {
    expectAttuneError(containing: fragment, sourceLocation: sourceLocation) {
      _ = try samples(text, task, name: name, mapping: mapping)
    }
  }
}

private let question = [Message(role: "user", text: "q")]

@Suite struct PreferenceTests {
  /// Every shape of one pair reads the same.
  @Test(arguments: [
    #"{"prompt":"q","chosen":"good","rejected":"bad"}"#,
    #"{"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"good"}],"rejected":[{"role":"assistant","content":"bad"}]}"#,
    #"{"prompt":"q","chosen":{"role":"assistant","content":"good"},"rejected":{"from":"gpt","value":"bad"}}"#,
    #"{"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"good"},"rejected":{"from":"gpt","value":"bad"}}"#,
    #"{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"bad"}]}"#,
    #"{"prompt":"q","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"bad"}]}"#,
    #"{"question":"q","chosen_response":"good","rejected_response":"bad"}"#,
    #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"rejected_response":"bad"}"#,
    #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"rejected_response":[{"role":"assistant","content":"bad"}]}"#,
    #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"rejected_messages":[{"role":"user","content":"q"},{"role":"assistant","content":"bad"}]}"#,
    #"{"messages":[{"role":"user","content":"q"}],"chosen":"good","rejected":"bad"}"#,
    #"{"query":"q","response":"good","rejected_response":"bad"}"#,
    #"{"question":"q","response_j":"good","response_k":"bad"}"#,
    #"{"Prompt":"q","Chosen":"good","Rejected":"bad"}"#,
    #"{"chosen":"\n\nHuman: q\n\nAssistant: good","rejected":"\n\nHuman: q\n\nAssistant: bad"}"#,
  ])
  func pairs(row: String) throws {
    let pair = try samples(row, .preference)
    #expect(pair.count == 1)
    #expect(pair[0].prompt == question)
    #expect(pair[0].completion == "good" && pair[0].rejected == "bad")
    #expect(pair[0].label == nil && pair[0].margin == nil && pair[0].reference == nil)

    let halves = try samples(row, .unpaired)
    #expect(halves.map(\.prompt) == [question, question])
    #expect(halves.map(\.completion) == ["good", "bad"])
    #expect(halves.map(\.label) == [true, false])
    #expect(halves.map(\.rejected) == [nil, nil])
    #expect(halves.map(\.id) == [0, 1])

    // Whoever imitates imitates the better one.
    let imitated = try samples(row, .sft)
    #expect(imitated.count == 1 && imitated[0].prompt == question && imitated[0].completion == "good")
  }

  /// The prompt of two dialogues ends with their last common message, never inside one.
  @Test func longDialoguesShareAllButTheLastMessage() throws {
    let turns =
      #"{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"r"}"#
    let row =
      "{\"chosen\":[\(turns),{\"role\":\"assistant\",\"content\":\"the same start, good\"}],"
      + "\"rejected\":[\(turns),{\"role\":\"assistant\",\"content\":\"the same start, bad\"}]}"
    let pair = try samples(row, .preference)[0]
    #expect(pair.prompt.map(\.role) == ["system", "user", "assistant", "user"])
    #expect(pair.completion == "the same start, good" && pair.rejected == "the same start, bad")

    let transcript = try samples(
      #"{"chosen":"\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: good","rejected":"\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant:  bad"}"#,
      .preference)[0]
    #expect(transcript.prompt.map(\.text) == ["q", "a", "r"])
    #expect(transcript.completion == "good" && transcript.rejected == " bad")
  }

  @Test func historySystemAndReference() throws {
    let pair = try samples(
      #"{"system":"s","query":"r","history":[["q","a"]],"response":"good","rejected_response":"bad","answer":"7","k":1}"#,
      .preference)[0]
    #expect(pair.prompt.map(\.text) == ["s", "q", "a", "r"])
    #expect(pair.reference == "7" && pair.referenceColumn == "answer")
    #expect(pair.columns["k"]?.int == 1 && pair.columns["rejected_response"]?.string == "bad")
  }

  @Test func picturesBelongToThePrompt() throws {
    let pair = try samples(
      #"{"prompt":"see <image>","chosen":"a <image> tag","rejected":"bad","images":["b.png"]}"#, .preference)[0]
    #expect(pair.prompt[0].parts == [.text("see "), .image(0)])
    #expect(pair.completion == "a <image> tag")
    #expect(pair.pictures.map { $0.pixels[0] } == [UInt8(ascii: "b")])

    let dialogues = try samples(
      #"{"images":["a.png"],"chosen":[{"role":"user","content":"<image>q"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"<image>q"},{"role":"assistant","content":"bad"}]}"#,
      .unpaired)
    #expect(dialogues.map { $0.pictures.map { $0.pixels[0] } } == [[UInt8(ascii: "a")], [UInt8(ascii: "a")]])

    let messages =
      #""messages":[{"role":"user","content":"<image>q"},{"role":"assistant","content":"good"}],"rejected_messages":[{"role":"user","content":"<image>q"},{"role":"assistant","content":"bad"}],"images":["a.png"]"#
    #expect(try samples("{\(messages),\"rejected_images\":[\"a.png\"]}", .preference)[0].rejected == "bad")
    refuse("{\(messages),\"rejected_images\":[\"b.png\"]}", .preference, "data.jsonl:1:", "pictures", "differ")
    refuse(#"{"prompt":"q","chosen":"a","rejected":"b","images":["a.png"]}"#, .preference, "1 pictures and 0 places")
  }

  @Test func margins() throws {
    let text = #"{"prompt":"q","chosen":"a","rejected":"b","margin":0.5,"score_chosen":9,"score_rejected":"3.5"}"#
    #expect(try samples(text, .preference)[0].margin == 0.5)
    #expect(try samples(text, .unpaired)[0].margin == nil)
    let difference = ColumnMapping(margin: "score_chosen - score_rejected")
    #expect(try samples(text, .preference, mapping: difference)[0].margin == 5.5)
    // Scores alone are not a margin: nobody said that their difference is one.
    #expect(
      try samples(
        #"{"prompt":"q","chosen":"a","rejected":"b","score_chosen":9,"score_rejected":3}"#, .preference)[0].margin
        == nil)
    let table = try samples(
      "prompt,chosen,rejected,margin\nq,a,b,-1e-3\nq,a,b,\n", .preference, name: "data.csv")
    #expect(table.map(\.margin) == [-0.001, nil])
    refuse(
      #"{"prompt":"q","chosen":"a","rejected":"b","margin":"much"}"#, .preference, "data.jsonl:1:",
      "'margin' is 'much'",
      "expected a finite number")
    refuse(#"{"prompt":"q","chosen":"a","rejected":"b","margin":"nan"}"#, .preference, "expected a finite number")
    refuse(
      #"{"prompt":"q","chosen":"a","rejected":"b"}"#, .preference, mapping: difference, "no column 'score_chosen'")
  }

  /// A label that is not plainly one of two would turn the objective round.
  @Test(arguments: [
    ("true", true), ("1", true), ("\"True\"", true), ("\"yes\"", true), ("\"1\"", true), ("\"+\"", true),
    ("\"chosen\"", true), ("false", false), ("0", false), ("\"FALSE\"", false), ("\"no\"", false), ("\"0\"", false),
    ("\"-\"", false), ("\"rejected\"", false),
  ])
  func labels(written: String, label: Bool) throws {
    for row in [
      "{\"prompt\":\"q\",\"completion\":\"a\",\"label\":\(written)}",
      "{\"query\":\"q\",\"answer\":\"a\",\"label\":\(written)}",
      "{\"prompt\":\"q\",\"completion\":[{\"role\":\"assistant\",\"content\":\"a\"}],\"kto_tag\":\(written)}",
      "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}],\"label\":\(written)}",
    ] {
      let sample = try samples(row, .unpaired)
      #expect(sample.count == 1)
      #expect(sample[0].prompt == question && sample[0].completion == "a")
      #expect(sample[0].label == label && sample[0].rejected == nil && sample[0].reference == nil)
    }
  }

  @Test func labelsThatAreNone() {
    func row(_ label: String) -> String { "{\"prompt\":\"q\",\"completion\":\"a\",\"label\":\(label)}" }
    refuse(row("4"), .unpaired, "data.jsonl:1:", "'label' is 4", "from a threshold on")
    refuse(row("0.5"), .unpaired, "'label' is 0.5")
    refuse(row("\"maybe\""), .unpaired, "'label' is 'maybe'", "expected true or false")
    refuse(row("[1]"), .unpaired, "'label' is a list")
    refuse(row("null"), .unpaired, "no label")
    refuse(#"{"prompt":"q","completion":"a"}"#, .unpaired, "data.jsonl:1:", "no label", "'kto_tag'")
    refuse(#"{"prompt":"q","label":true}"#, .unpaired, "no completion to learn from")
    refuse(#"{"prompt":"q","completion":"","label":true}"#, .unpaired, "empty text")
  }

  @Test func mappingNamesColumns() throws {
    let text = #"{"ask":"q","better":"good","worse":"bad","by":2,"fine":"no"}"#
    let pair = try samples(
      text, .preference, mapping: ColumnMapping(prompt: "ask", chosen: "better", rejected: "worse", margin: "by"))[0]
    #expect(pair.completion == "good" && pair.rejected == "bad" && pair.margin == 2)
    let judged = try samples(
      text, .unpaired, mapping: ColumnMapping(prompt: "ask", completion: "better", label: "fine"))
    #expect(judged.map(\.label) == [false])
    refuse(
      text, .preference, mapping: ColumnMapping(prompt: "ask", chosen: "beter", rejected: "worse"),
      "no column 'beter'", "gives to chosen", "did you mean 'better'?")
    // A label that the user named makes a row with both columns one judged completion.
    let both = #"{"prompt":"q","completion":"a","chosen":"a","rejected":"b","ok":true}"#
    #expect(try samples(both, .unpaired, mapping: ColumnMapping(label: "ok")).map(\.completion) == ["a"])
  }

  @Test func pairsThatAreNone() {
    let good = "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}\n"
    refuse(good + #"{"prompt":"q","chosen":"a","rejected":"a"}"#, .preference, "data.jsonl:2:", "are the same text")
    refuse(
      good + #"{"prompt":"q","chosen":"","rejected":"a"}"#, .preference, "data.jsonl:2:",
      "chosen completion is an empty")
    refuse(
      good + #"{"prompt":"q","chosen":"a","rejected":""}"#, .unpaired, "data.jsonl:2:",
      "rejected completion is an empty")
    refuse(good + #"{"prompt":"q","chosen":"a"}"#, .preference, "data.jsonl:2:", "no rejected completion", "'chosen'")
    refuse(#"{"prompt":"q","chosen":"a","rejected":null}"#, .preference, "no rejected completion")
    refuse(#"{"prompt":"q","rejected":"a"}"#, .preference, "no chosen completion")
    refuse(#"{"chosen":"a","rejected":"b"}"#, .preference, "no prompt", "whole dialogues")
    refuse(#"{"prompt":"","chosen":"a","rejected":"b"}"#, .preference, "empty")
    refuse(
      #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"chosen":"c","rejected":"b"}"#,
      .preference, "two answers", "'messages'", "'chosen'")
    refuse(
      #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected_messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
      .preference, "are the same text")
    refuse(
      #"{"prompt":"q","chosen":[{"role":"assistant","content":"a"},{"role":"tool","content":"t"},{"role":"assistant","content":"b"}],"rejected":"c"}"#,
      .preference, "a list of 3 messages", "one message of the assistant")
  }

  @Test func dialoguesThatDoNotBelongTogether() {
    func dialogue(_ turns: String...) -> String {
      let roles = ["user", "assistant"]
      return "["
        + turns.enumerated().map { "{\"role\":\"\(roles[$0 % 2])\",\"content\":\"\($1)\"}" }.joined(separator: ",")
        + "]"
    }
    func row(_ chosen: String, _ rejected: String) -> String { "{\"chosen\":\(chosen),\"rejected\":\(rejected)}" }
    refuse(row(dialogue("q", "a"), dialogue("q", "a")), .preference, "data.jsonl:1:", "are the same text")
    refuse(
      row(dialogue("q", "a"), dialogue("r", "b")), .preference, "data.jsonl:1:", "first 0 agree",
      "differ in the last message alone")
    refuse(row(dialogue("q", "a", "r", "c"), dialogue("q", "b", "r", "d")), .preference, "first 1 agree")
    refuse(row(dialogue("q", "a", "r", "c"), dialogue("q", "a")), .preference, "4 messages and", "2, of which")
    refuse(row(dialogue("q", "a", "r"), dialogue("q", "a", "s")), .preference, "role 'user'", "the assistant")
    refuse(row(dialogue("q"), dialogue("q", "a")), .preference, "role 'user'")
    refuse(
      "{\"prompt\":\"other\",\"chosen\":\(dialogue("q", "a")),\"rejected\":\(dialogue("q", "b"))}", .preference,
      "'prompt' is not what the dialogues of this row begin with")
    refuse(
      #"{"chosen":"\n\nHuman: q\n\nAssistant: a","rejected":"\n\nHuman: r\n\nAssistant: b"}"#, .preference,
      "first 0 agree")
  }

  /// A sample that is written as a row is read as the same sample, its original columns beside it.
  @Test func rowsComeBack() throws {
    let rows = [
      #"{"prompt":"see <image>","chosen":"a <image> tag","rejected":"bad","images":["b.png"],"margin":0.1,"answer":["7","seven"],"k":{"x":1}}"#,
      #"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"image","image":"a.png"},{"type":"text","text":"<image>?"},{"type":"image","image":"b.png"}]}],"chosen":"good","rejected":"bad"}"#,
      #"{"query":"in code `<image>`","history":[["q","a"]],"response":"a","label":"no"}"#,
      #"{"question":"q","answer":"a"}"#,
    ]
    for (row, task) in zip(rows, [SampleTask.preference, .preference, .unpaired, .sft]) {
      let sample = try samples(row, task)[0]
      let written = sample.row(images: sample.pictureFiles.map { String($0.split(separator: "/").last ?? "") })
      let again = try samples(JSON(.object(written)).text(), task)[0]
      #expect(again.prompt == sample.prompt && again.pictures == sample.pictures)
      #expect(again.completion == sample.completion && again.rejected == sample.rejected)
      #expect(again.label == sample.label && again.margin == sample.margin && again.reference == sample.reference)
      for (name, value) in sample.columns.entries {
        #expect(again.columns[name] == value || again.columns["columns"]?[name] == value, "\(name)")
      }
    }
  }

  @Test func decisionsSayHowPairsWereRead() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("attune-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("d.jsonl").path
    try
      (#"{"prompt":"q","chosen":"a","rejected":"b","margin":1}"# + "\n"
      + #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected_response":"b"}"#)
      .write(toFile: file, atomically: false, encoding: .utf8)
    let source = try JSONLSource(file: file, task: .preference) { _ in throw AttuneError.work("no pictures") }
    #expect(
      source.decisions == [
        "prompt: prompt, chosen: chosen, rejected: rejected, margin: margin (1 rows)",
        "prompt: messages before the last of messages, chosen: last message of messages, rejected: rejected_response (1 rows)",
      ])
  }
}
