import Core

/// Draws pictures with their truth and the policy's answers before and after training, as one grid.
public struct ContactSheet: Sendable {
  public let theme: ReportTheme
  /// A sheet shows no more cards than this; its heading says so.
  public static let mostCards = 120

  public init(theme: ReportTheme = .light) { self.theme = theme }

  /// The sheet as a PNG file; the same cards give the same bytes.
  ///
  /// - Throws: `AttuneError` if the font DejaVu Sans is missing or memory is short.
  public func png(_ cards: [ReportContent.AnswerCard]) throws -> [UInt8] {
    let shown = Array(cards.prefix(Self.mostCards))
    let layout = SheetLayout(shown)
    let canvas = try ReportCanvas(width: layout.width, height: layout.height, paper: theme.paper)
    heading(canvas, all: cards, shown: shown.count)
    for (index, card) in shown.enumerated() {
      let x = layout.margin + Double(index % layout.columns) * (layout.card.width + layout.gap)
      let y = layout.top + Double(index / layout.columns) * (layout.card.height + layout.gap)
      try draw(card, at: (x, y), layout, canvas)
    }
    return try canvas.png()
  }

  /// The sheet's width in points.
  static func width(_ cards: [ReportContent.AnswerCard]) -> Double { SheetLayout(Array(cards.prefix(mostCards))).width }

  private func heading(_ canvas: ReportCanvas, all: [ReportContent.AnswerCard], shown: Int) {
    let before = all.count { $0.beforeCorrect }
    let after = all.count { $0.afterCorrect }
    canvas.text("Answers before and after", x: 20, y: 34, size: 16, theme.text, weight: .bold)
    var words = "right before: \(before) of \(all.count), after: \(after) of \(all.count)"
    if shown < all.count { words += " (the first \(shown) are shown)" }
    canvas.text(words, x: 20, y: 54, size: 12, theme.muted)
  }

  private func draw(
    _ card: ReportContent.AnswerCard, at place: (x: Double, y: Double), _ layout: SheetLayout, _ canvas: ReportCanvas
  ) throws {
    let box = ReportCanvas.Box(
      x: place.x, y: place.y, width: layout.card.width, height: layout.card.height)
    canvas.fill(box, theme.card, radius: 6)
    canvas.outline(
      .init(x: box.x + 0.5, y: box.y + 0.5, width: box.width - 1, height: box.height - 1), theme.border, radius: 6)

    if card.picture.width > 0, card.picture.height > 0 {
      let scale = SheetLayout.scale(card.picture)
      let width = Double(card.picture.width) * scale
      let height = Double(card.picture.height) * scale
      // On whole pixels, so that every enlarged pixel keeps its edges.
      let x = box.x + ((box.width - width) * 0.5).rounded()
      let y = box.y + layout.padding + ((layout.picture.height - height) * 0.5).rounded()
      try canvas.picture(card.picture, in: .init(x: x, y: y, width: width, height: height))
      canvas.outline(.init(x: x, y: y, width: width, height: height), theme.border, lineWidth: 0.5)
    }

    var y = box.y + layout.padding + layout.picture.height + 21
    row("truth", card.reference, mark: nil, bold: true, x: box.x, y: y, layout, canvas)
    y += layout.line
    row("before", card.before, mark: card.beforeCorrect, bold: false, x: box.x, y: y, layout, canvas)
    y += layout.line
    row("after", card.after, mark: card.afterCorrect, bold: true, x: box.x, y: y, layout, canvas)
  }

  private func row(
    _ name: String, _ value: String, mark: Bool?, bold: Bool, x: Double, y: Double, _ layout: SheetLayout,
    _ canvas: ReportCanvas
  ) {
    let left = x + layout.padding
    canvas.text(name, x: left, y: y, size: 11, theme.muted)
    if let mark { draw(mark: mark, center: (left + 53, y - 4), canvas) }
    let start = left + 66
    let weight: ReportCanvas.Weight = bold ? .bold : .regular
    let room = x + layout.card.width - layout.padding - start
    let text = value.isEmpty ? "(nothing)" : canvas.fitted(value, into: room, size: 12.5, weight: weight)
    canvas.text(text, x: start, y: y, size: 12.5, value.isEmpty ? theme.muted : theme.text, weight: weight)
  }

  /// Right is a tick on a green disc, wrong a cross on a red square: told apart by shape as well as by color.
  private func draw(mark: Bool, center: (x: Double, y: Double), _ canvas: ReportCanvas) {
    let (x, y) = center
    if mark {
      canvas.disc(x: x, y: y, radius: 6.5, theme.right)
      canvas.line([(x - 3, y + 0.3), (x - 0.8, y + 2.5), (x + 3.1, y - 2.2)], theme.paper, width: 1.7)
    } else {
      canvas.fill(.init(x: x - 6, y: y - 6, width: 12, height: 12), theme.wrong, radius: 2)
      canvas.line([(x - 2.6, y - 2.6), (x + 2.6, y + 2.6)], theme.paper, width: 1.7)
      canvas.line([(x + 2.6, y - 2.6), (x - 2.6, y + 2.6)], theme.paper, width: 1.7)
    }
  }
}

/// Sizes of a sheet, in points.
private struct SheetLayout {
  let margin = 20.0
  let gap = 12.0
  let padding = 12.0
  let line = 20.0
  let top = 70.0
  let columns: Int
  let picture: (width: Double, height: Double)
  let card: (width: Double, height: Double)
  let width: Double
  let height: Double

  /// The largest side of a picture on the sheet.
  private static let box = 200.0

  init(_ cards: [ReportContent.AnswerCard]) {
    let sizes = cards.map { card in
      let scale = SheetLayout.scale(card.picture)
      return (Double(card.picture.width) * scale, Double(card.picture.height) * scale)
    }
    picture = (sizes.map(\.0).max() ?? 0, sizes.map(\.1).max() ?? 0)
    card = (max(picture.width, 168) + 2 * padding, picture.height + 2 * padding + 24 + 2 * line)
    let fits = Int((940 - 2 * margin + gap) / (card.width + gap))
    columns = max(1, min(fits, cards.count))
    let rows = (cards.count + columns - 1) / columns
    // The heading needs room, also over a single card.
    width = max(2 * margin + Double(columns) * (card.width + gap) - gap, 420)
    height = top + Double(rows) * (card.height + gap) - gap + margin
  }

  /// Points per pixel of a picture: a whole number of the sheet's pixels if the picture is small, or what fits.
  static func scale(_ picture: Picture) -> Double {
    let longest = Double(max(picture.width, picture.height, 1))
    let pixels = box * ReportCanvas.pixelsPerPoint
    let scale = longest <= pixels ? (pixels / longest).rounded(.down) : pixels / longest
    return scale / ReportCanvas.pixelsPerPoint
  }
}
