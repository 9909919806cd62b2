import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

private func content() -> ReportContent {
  ReportContent(
    title: "Numbers <b>& \"more\"</b>", subtitle: "it's <i>",
    table: .init(headers: ["policy", "exact"], rows: [["before", "0.1"], ["<script>", "0.9"], ["short"]]),
    curves: [
      .init(
        title: "Reward", yLabel: "reward", series: [.init(name: "<r>", points: [.init(0, 0.25), .init(4, 0.75)])],
        boundaries: [.init(x: 0, label: "SFT")])
    ],
    cards: [
      .init(
        picture: Picture(width: 2, height: 2, pixels: [UInt8](repeating: 7, count: 12)), reference: "42",
        before: "<answer>", beforeCorrect: false, after: "42", afterCorrect: true)
    ],
    facts: [.init("seed", "7"), .init("note", "a\u{1B}[31m")],
    notices: [.init(place: "grpo, step 7", text: "the mean of <r> jumped", detail: "look at it")])
}

private func inFolder<T>(_ body: (String) throws -> T) throws -> T {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("attune-\(UUID().uuidString)").path
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}

@Suite struct ReportPageTests {
  @Test func textIsEscaped() throws {
    let page = try HTMLReport(content()).html()
    #expect(page.contains("<h1>Numbers &lt;b&gt;&amp; &quot;more&quot;&lt;/b&gt;</h1>"))
    #expect(page.contains("<p>it&#39;s &lt;i&gt;</p>"))
    #expect(page.contains("&lt;script&gt;") && !page.contains("<script"))
    #expect(page.contains("before &lt;answer&gt; (wrong), after 42 (right)"))
    #expect(page.contains("<dd>a\u{FFFD}[31m</dd>"))
    #expect(page.contains("<h2>Alarms</h2>") && page.contains("<dt>grpo, step 7</dt><dd>the mean of &lt;r&gt; jumped"))
    #expect(page.contains("look at it"))
  }

  @Test func thePageNeedsNothingElse() throws {
    let page = try HTMLReport(content()).html()
    for outside in ["http:", "https:", "url(", "@import", "<link", "<script", "<iframe"] {
      #expect(!page.contains(outside), "\(outside)")
    }
    // One light and one dark picture for each figure, all inside.
    #expect(page.components(separatedBy: "data:image/png;base64,").count - 1 == 4)
    #expect(page.components(separatedBy: "src=\"data:").count - 1 == 2)
    #expect(page.contains("prefers-color-scheme: dark"))
    #expect(page.contains("alt=\"Line chart: Reward, reward over step. &lt;r&gt; from 0.25 at step 0 to 0.75 at 4\""))
  }

  @Test func theTableComesFirstAndRaggedRowsAreFilled() throws {
    let page = try HTMLReport(content()).html()
    let order = ["<table>", "<h2>Curves</h2>", "<h2>Answers</h2>", "<h2>Facts</h2>"]
    let places = order.map { page.range(of: $0)?.lowerBound }
    #expect(!places.contains(nil))
    #expect(places.compactMap { $0 } == places.compactMap { $0 }.sorted())
    #expect(page.contains("<tr><td>short</td><td class=\"number\"></td></tr>"))
  }

  @Test func partsWithoutContentAreLeftOut() throws {
    let page = try HTMLReport(ReportContent(title: "empty")).html()
    #expect(!page.contains("<table>") && !page.contains("<h2>") && !page.contains("<figure"))
  }

  @Test func filesAreWrittenWhole() throws {
    try inFolder { folder in
      let paths = try ReportWriter.write(content(), folder: folder + "/a/b")
      #expect(paths == ["report.html", "curves-reward.png", "contact-sheet.png"].map { folder + "/a/b/" + $0 })
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/a/b").count == 3)
      let before = try paths.map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
      try ReportWriter.write(content(), folder: folder + "/a/b")
      #expect(try paths.map { try Data(contentsOf: URL(fileURLWithPath: $0)) } == before)
      #expect(before[1].starts(with: [0x89, 0x50, 0x4E, 0x47]))
    }
  }

  @Test func aFolderThatCannotBeMadeIsNamed() throws {
    try inFolder { folder in
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try Data().write(to: URL(fileURLWithPath: folder + "/file"))
      expectAttuneError(containing: folder + "/file", "cannot be made") {
        try ReportWriter.write(ReportContent(title: "t"), folder: folder + "/file/x")
      }
      try FileManager.default.createDirectory(atPath: folder + "/report.html", withIntermediateDirectories: true)
      expectAttuneError(containing: folder + "/report.html", "cannot rename") {
        try ReportWriter.write(ReportContent(title: "t"), folder: folder)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { !$0.hasSuffix(".tmp") })
    }
  }

  @Test func chartsHaveNamesOfTheirOwn() {
    func curve(_ title: String) -> ReportContent.Curve { .init(title: title, yLabel: "", series: []) }
    #expect(
      ReportWriter.curveNames(["Held-out accuracy", "held out ACCURACY!", "../../漢", ""].map(curve)) == [
        "curves-held-out-accuracy.png", "curves-held-out-accuracy-2.png", "curves-3.png", "curves-4.png",
      ])
  }
}

@Suite struct ReportTerminalTests {
  @Test func columnsAreAligned() {
    let text = TerminalTable.render(
      headers: ["policy", "exact", "note"],
      rows: [["before", "0.1", "x"], ["after GRPO", "−12.25", ""], ["none", "-"]])
    #expect(
      text == """
        policy       exact  note
        ──────────  ──────  ────
        before         0.1  x
        after GRPO  −12.25
        none             -

        """)
  }

  @Test func cellsCannotSteerTheTerminal() {
    let text = TerminalTable.render(headers: ["a"], rows: [["x\u{1B}[31m\ny\u{9B}z"]])
    #expect(text == "a\n──────────\nx [31m y z\n")
    #expect(text.split(separator: "\n").count == 3)
    #expect(!text.unicodeScalars.contains { $0.value == 0x1B || $0.value == 0x9B })
  }

  @Test func wideCharactersTakeTwoCells() {
    let text = TerminalTable.render(headers: [], rows: [["漢字", "a"], ["abcd", "b"], ["e\u{301}", "c"]])
    #expect(text == "漢字  a\nabcd  b\ne\u{301}     c\n")
  }

  @Test func nothingIsNothing() {
    #expect(TerminalTable.render(headers: [], rows: []) == "")
    #expect(TerminalTable.render(headers: [], rows: [[], []]) == "")
  }
}
