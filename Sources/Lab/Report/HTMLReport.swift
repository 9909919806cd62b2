import Core
import Foundation

/// The report as one HTML page that needs nothing else: pictures inside, styles inside, no script, and nothing is
/// fetched. It follows the reader's choice of a light or a dark page.
public struct HTMLReport: Sendable {
  /// A PNG file for light pages and one for dark pages.
  struct Figure: Sendable {
    var light: [UInt8]
    var dark: [UInt8]
  }

  let content: ReportContent
  /// One for each curve.
  let curves: [Figure]
  let contactSheet: Figure?

  /// Draws the pictures.
  ///
  /// - Throws: `AttuneError` if the font DejaVu Sans is missing or memory is short.
  public init(_ content: ReportContent) throws {
    self.content = content
    curves = try content.curves.map {
      try Figure(light: ChartRenderer(theme: .light).png($0), dark: ChartRenderer(theme: .dark).png($0))
    }
    contactSheet =
      content.cards.isEmpty
      ? nil
      : try Figure(
        light: ContactSheet(theme: .light).png(content.cards), dark: ContactSheet(theme: .dark).png(content.cards))
  }

  /// The page, UTF-8.
  public func html() -> String {
    var page = """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
      <title>\(HTMLReport.escape(content.title))</title>
      <style>
      \(HTMLReport.style)
      </style>
      </head>
      <body>
      <main>
      <header>
      <h1>\(HTMLReport.escape(content.title))</h1>

      """
    if !content.subtitle.isEmpty { page += "<p>\(HTMLReport.escape(content.subtitle))</p>\n" }
    page += "</header>\n"
    page += table()
    page += notices()
    if !curves.isEmpty {
      page += "<section>\n<h2>Curves</h2>\n"
      for (curve, figure) in zip(content.curves, curves) {
        page += self.figure(
          figure, kind: "chart", points: ChartRenderer.size.width, alternative: HTMLReport.description(of: curve))
      }
      page += "</section>\n"
    }
    if let contactSheet {
      page += "<section>\n<h2>Answers</h2>\n"
      page += figure(
        contactSheet, kind: "sheet", points: ContactSheet.width(content.cards), alternative: answersDescription())
      page += "</section>\n"
    }
    page += facts()
    return page + "</main>\n</body>\n</html>\n"
  }

  private func table() -> String {
    guard !content.table.headers.isEmpty || !content.table.rows.isEmpty else { return "" }
    let count = max(content.table.headers.count, content.table.rows.map(\.count).max() ?? 0)
    let isNumeric = (0..<count).map { column in TerminalTable.isNumeric(content.table.rows, column: column) }
    func cells(_ row: [String], _ tag: String) -> String {
      (0..<count).map { column in
        let text = column < row.count ? HTMLReport.escape(row[column]) : ""
        return "<\(tag)\(isNumeric[column] ? " class=\"number\"" : "")>\(text)</\(tag)>"
      }.joined()
    }
    var html = "<section class=\"table\">\n<table>\n"
    if !content.table.headers.isEmpty { html += "<thead><tr>\(cells(content.table.headers, "th"))</tr></thead>\n" }
    html += "<tbody>\n"
    for row in content.table.rows { html += "<tr>\(cells(row, "td"))</tr>\n" }
    return html + "</tbody>\n</table>\n</section>\n"
  }

  private func figure(_ figure: Figure, kind: String, points: Double, alternative: String) -> String {
    """
    <figure class="\(kind)"><picture>
    <source media="(prefers-color-scheme: dark)" srcset="\(HTMLReport.dataURI(figure.dark))">
    <img width="\(Int(points.rounded()))" alt="\(HTMLReport.escape(alternative))" \
    src="\(HTMLReport.dataURI(figure.light))">
    </picture></figure>

    """
  }

  private func notices() -> String {
    guard !content.notices.isEmpty else { return "" }
    var html = "<section>\n<h2>Alarms</h2>\n<dl>\n"
    for notice in content.notices {
      html += "<dt>\(HTMLReport.escape(notice.place))</dt><dd>\(HTMLReport.escape(notice.text))\n"
      html += "<small>\(HTMLReport.escape(notice.detail))</small></dd>\n"
    }
    return html + "</dl>\n</section>\n"
  }

  private func facts() -> String {
    guard !content.facts.isEmpty else { return "" }
    var html = "<section>\n<h2>Facts</h2>\n<dl>\n"
    for fact in content.facts {
      html += "<dt>\(HTMLReport.escape(fact.name))</dt><dd>\(HTMLReport.escape(fact.value))</dd>\n"
    }
    return html + "</dl>\n</section>\n"
  }

  private func answersDescription() -> String {
    content.cards.prefix(ContactSheet.mostCards).map { card in
      "\(card.reference): before \(card.before) (\(card.beforeCorrect ? "right" : "wrong")), "
        + "after \(card.after) (\(card.afterCorrect ? "right" : "wrong"))"
    }.joined(separator: "; ")
  }

  /// A chart in words, for readers who do not see it: where each line begins and ends.
  static func description(of curve: ReportContent.Curve) -> String {
    let lines = curve.series.map { series in
      let points = CurveSmoothing.usable(series.points)
      guard let first = points.first, let last = points.last else { return "\(series.name): no values" }
      func number(_ x: Double) -> String { String(format: "%.4g", x) }
      return "\(series.name) from \(number(first.y)) at \(curve.xLabel) \(number(first.x)) "
        + "to \(number(last.y)) at \(number(last.x))"
    }
    return "Line chart: \(curve.title), \(curve.yLabel) over \(curve.xLabel). " + lines.joined(separator: "; ")
  }

  static func dataURI(_ png: [UInt8]) -> String { "data:image/png;base64," + Data(png).base64EncodedString() }

  /// `text` as HTML text or attribute value; control characters that HTML forbids become U+FFFD.
  static func escape(_ text: String) -> String {
    var out = ""
    out.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      case "'": out += "&#39;"
      case "\n", "\t", "\r": out.unicodeScalars.append(scalar)
      case _ where scalar.properties.generalCategory == .control: out += "\u{FFFD}"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  private static let style = """
    :root { --paper: #ffffff; --card: #f6f7f9; --border: #dfe2e6; --text: #1b1f24; --muted: #667080; }
    @media (prefers-color-scheme: dark) {
      :root { --paper: #15181c; --card: #1d2126; --border: #333a42; --text: #e8ebef; --muted: #9aa5b1; }
    }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--paper); color: var(--text);
      font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
    main { max-width: 980px; margin: 0 auto; padding: 40px 20px 64px; }
    header { margin-bottom: 28px; }
    h1 { font-size: 28px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
    header p { color: var(--muted); margin: 6px 0 0; overflow-wrap: anywhere; }
    h2 { font-size: 19px; margin: 44px 0 14px; }
    .table { overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; font-size: 15px; }
    th, td { padding: 8px 14px; border-bottom: 1px solid var(--border); text-align: left; white-space: pre-wrap; }
    th { color: var(--muted); font-weight: 600; border-bottom-width: 2px; }
    tbody tr:hover { background: var(--card); }
    .number { text-align: right; font-variant-numeric: tabular-nums; }
    figure { margin: 0 0 20px; padding: 4px; border: 1px solid var(--border); border-radius: 8px;
      background: var(--paper); overflow: hidden; }
    figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
    .chart img { width: 100%; }
    dl { display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 6px 24px; margin: 0; font-size: 15px; }
    dt { color: var(--muted); }
    dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
    """
}
