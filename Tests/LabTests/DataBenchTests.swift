import Core
import Datasets
import Foundation
import TestSupport
import Testing

@testable import Lab

/// What a data file is said to be, and what it becomes.
@Suite struct DataBenchTests {
  private func file(_ text: String, _ name: String = "data.jsonl") throws -> String {
    let path = try Program.temporaryFolder() + "/" + name
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private let pairs = """
    {"question":"q","chosen":"a","rejected":"b","k":1,"margin":0.5,"score_chosen":2}
    {"question":"r","chosen":"c","rejected":"d","k":null}

    """

  @Test func aFileOfPairs() throws {
    let path = try file(pairs)
    let inspection = try DataInspection(file: path)
    #expect(inspection.container == "JSON lines" && inspection.rows == 2)
    #expect(inspection.columns.map(\.name).prefix(4) == ["question", "chosen", "rejected", "k"])
    #expect(inspection.columns[3].rows == 1 && inspection.columns[3].kinds == ["a number", "null"])
    #expect(inspection.best?.task == .preference)
    #expect(inspection.readings.map(\.task) == [.preference, .unpaired, .sft, .rl])
    #expect(inspection.readings.map(\.samples) == [2, 4, 2, 2])
    let text = inspection.text
    #expect(text.contains("prompt: question, chosen: chosen, rejected: rejected, margin: margin (1 rows)"))
    #expect(text.contains("read for preference") && text.contains("\"rejected\": \"b\""))
    #expect(
      inspection.recipeBlock == "train: {kind: jsonl, file: \(JSON.string(path).text()), prompt: \"question\"}")
    let json = inspection.json
    #expect(json["task"]?.string == "preference" && json["readings"]?[1]?["samples"]?.int == 4)
    #expect(json["first"]?["chosen"]?.string == "a")
  }

  @Test func whatIsWrongIsSaid() throws {
    let path = try file("prompt,completion,label\nq,a,yes\nq,b,perhaps\n", "data.csv")
    let inspection = try DataInspection(file: path)
    #expect(inspection.container == "CSV" && inspection.best?.task == .sft)
    #expect(inspection.readings[1].rows == 1)
    #expect(inspection.text.contains("data.csv:3") && inspection.text.contains("'perhaps'"))
    let none = try DataInspection(file: file("{\"a\":1}"))
    #expect(none.best == nil && none.text.contains("no row can be read for any task"))
    let mapped = try DataInspection(
      file: file("{\"a\":\"q\",\"b\":\"x\"}"), mapping: ColumnMapping([("prompt", "a"), ("completion", "b")]))
    #expect(mapped.best?.task == .sft && mapped.recipeBlock.hasSuffix("prompt: \"a\", completion: \"b\"}"))
    expectAttuneError(containing: "no field 'promt'", "did you mean 'prompt'?") {
      _ = try ColumnMapping([("promt", "a")])
    }
  }

  @Test func conversions() throws {
    let path = try file(pairs)
    let output = try Program.temporaryFolder() + "/out.jsonl"
    #expect(try DataBench.convert(path, to: .preference, output: output) == (2, 0))
    let lines = try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n").map {
      try JSON.parse(String($0))
    }
    #expect(
      lines[0] == [
        "prompt": [["role": "user", "content": "q"]], "chosen": [["role": "assistant", "content": "a"]],
        "rejected": [["role": "assistant", "content": "b"]], "margin": 0.5, "k": 1, "score_chosen": 2,
      ])
    // What was written is read as the same samples.
    let original = try DataConversion.samples(file: path, task: .preference)
    let again = try DataConversion.samples(file: output, task: .preference)
    for (a, b) in zip(original, again) {
      #expect(a.prompt == b.prompt && a.completion == b.completion && a.rejected == b.rejected && a.margin == b.margin)
    }

    #expect(try DataBench.convert(path, to: .unpaired, output: output) == (4, 0))
    let labelled = try DataConversion.samples(file: output, task: .unpaired)
    #expect(labelled.map(\.label) == [true, false, true, false])
    #expect(labelled.map(\.completion) == ["a", "b", "c", "d"])
    // Labelled completions to imitate are the desirable ones.
    let imitated = try Program.temporaryFolder() + "/sft.jsonl"
    #expect(try DataBench.convert(output, to: .sft, output: imitated) == (2, 2))
    #expect(try DataConversion.samples(file: imitated, task: .sft).map(\.completion) == ["a", "c"])
    #expect(try DataConversion.samples(file: imitated, task: .sft).map(\.reference) == [nil, nil])
    #expect(try DataBench.convert(path, to: .sft, output: imitated) == (2, 0))
    #expect(try DataConversion.samples(file: imitated, task: .sft).map(\.completion) == ["a", "c"])
    expectAttuneError(containing: ":1", "no rejected completion") {
      _ = try DataBench.convert(imitated, to: .preference, output: output)
    }
  }
}
