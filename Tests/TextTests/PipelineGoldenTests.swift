import Core
import Foundation
import TestSupport
import Testing

@testable import Text

/// Pipelines of every kind, and what the reference library makes of texts and ids with them.
@Suite struct PipelineGoldenTests {
  private static let folder = "tokenizers/second"

  @Test func everyPipelineDoesWhatTheLibraryDoes() throws {
    var models: [String: JSON.Object] = [:]
    for row in try #require(Fixtures.json("\(Self.folder)/models.json").array) {
      models[try #require(row["name"]?.string)] = row["model"]?.object
    }
    let pipelines = try #require(Fixtures.json("\(Self.folder)/pipelines.json").array)
    #expect(pipelines.count >= 100)
    for (number, pipeline) in pipelines.enumerated() {
      let label = "\(number) \(pipeline["name"]?.string ?? "?")"
      var model = try #require(models[pipeline["model"]?.string ?? ""])
      for (key, value) in try #require(pipeline["changes"]?.object).entries { model[key] = value }
      var outer = try #require(pipeline["outer"]?.object)
      outer["model"] = JSON(.object(model))
      let tokenizer: Tokenizer
      do {
        tokenizer = try Tokenizer(json: JSON(.object(outer)), file: label)
      } catch {
        Issue.record("\(error)")
        continue
      }
      for row in try #require(pipeline["cases"]?.array) { try check(row, tokenizer, label) }
    }
  }

  private func check(_ row: JSON, _ tokenizer: Tokenizer, _ label: String) throws {
    let ids = row["ids"]?.ids ?? []
    if let text = row["text"]?.string {
      let special = row["special"]?.bool ?? false
      #expect(tokenizer.encode(text, addSpecialTokens: special) == ids, "\(label): \(JSON.string(text).text())")
      #expect(tokenizer.encodeWithOffsets(text, addSpecialTokens: special).map(\.id) == ids, "\(label)")
    }
    let skip = row["skip"]?.bool ?? false
    expectSame(tokenizer.decode(ids, skipSpecialTokens: skip), row["decoded"]?.string, "\(label): \(ids)")
    guard let expected = row["stream"]?.array else { return }
    var stream = tokenizer.stream(skipSpecialTokens: skip)
    for (id, piece) in zip(ids, expected) { expectSame(try stream.append(id), piece.string, "\(label): \(ids)") }
  }
}
