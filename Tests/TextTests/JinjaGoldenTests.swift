import Core
import TestSupport
import Testing

@testable import Text

/// One-feature templates: what the reference renders, or that it fails.
@Suite struct JinjaGoldenTests {
  @Test func features() throws {
    let golden = try Fixtures.json("chat_templates/features.json")
    let now = try CivilTime(iso: #require(golden["now"]?.string))
    let variables = try #require(golden["variables"]?.object)
    let rows = try #require(golden["cases"]?.array)
    #expect(rows.count == 165)
    for row in rows {
      let name = try #require(row["name"]?.string)
      let source = try #require(row["template"]?.string)
      do {
        let result = try JinjaTemplate(source: source, file: name).render(variables, now: now)
        if let error = row["error"] {
          Issue.record("\(name): rendered \(result.text), expected the failure \(error.text())")
          continue
        }
        expectSame(result.text, row["rendered"]?.string, name)
        if let spans = row["assistant_spans"]?.array {
          #expect(result.generationSpans.map { [$0.lowerBound, $0.upperBound] } == spans.map { $0.ids.map(Int.init) })
        }
      } catch let error as AttuneError {
        guard let expected = row["error"] else {
          Issue.record("\(name): failed with \(error)")
          continue
        }
        if name == "raise_exception" { #expect(error.message == expected["message"]?.string) }
      }
    }
  }
}
