import Core

/// Draws a curve of a report as a line chart: round ticks, a light grid, noisy points faint under their smoothed line,
/// and a mark where each stage begins.
public struct ChartRenderer: Sendable {
  public let theme: ReportTheme
  /// Points (1/2 pixel each way).
  static let size = (width: 760.0, height: 390.0)

  public init(theme: ReportTheme = .light) { self.theme = theme }

  /// The chart as a PNG file of 1520 x 780 pixels; the same curve gives the same bytes.
  ///
  /// - Throws: `AttuneError` if the font DejaVu Sans is missing or memory is short.
  public func png(_ curve: ReportContent.Curve) throws -> [UInt8] {
    let canvas = try ReportCanvas(width: Self.size.width, height: Self.size.height, paper: theme.paper)
    var drawing = ChartDrawing(canvas: canvas, theme: theme, curve: curve)
    drawing.draw()
    return try canvas.png()
  }
}

/// One chart while it is being drawn.
private struct ChartDrawing {
  typealias Point = ReportContent.Point

  let canvas: ReportCanvas
  let theme: ReportTheme
  let curve: ReportContent.Curve
  private let series: [[Point]]
  private let xs: AxisScale
  private let ys: AxisScale
  private var plot = ReportCanvas.Box(x: 0, y: 0, width: 0, height: 0)

  private static let margin = 22.0
  private static let small = 11.0

  init(canvas: ReportCanvas, theme: ReportTheme, curve: ReportContent.Curve) {
    self.canvas = canvas
    self.theme = theme
    self.curve = curve
    series = curve.series.map { CurveSmoothing.usable($0.points) }
    let x = series.flatMap { $0.map(\.x) }
    let whole = x.allSatisfy { $0 == $0.rounded() }
    xs = AxisScale(covering: x, marks: 8, padding: 0, whole: whole)
    ys = AxisScale(covering: series.flatMap { $0.map(\.y) }, marks: 6, padding: 0.05)
  }

  mutating func draw() {
    let margin = Self.margin
    let title = canvas.fitted(curve.title, into: canvas.width - 2 * margin, size: 16, weight: .bold)
    canvas.text(title, x: margin, y: 34, size: 16, theme.text, weight: .bold)
    var top = 46.0
    if curve.series.count > 1 { top = legend(from: top) }
    if !curve.boundaries.isEmpty { top += 18 }
    top += 8

    let labels = ys.ticks.map(ys.label)
    let widest = labels.map { canvas.textWidth($0, size: Self.small) }.max() ?? 0
    let left = margin + 16 + widest + 8
    let bottom = canvas.height - margin - 34
    plot = .init(x: left, y: top, width: canvas.width - margin - left, height: bottom - top)

    axes(labels)
    stages()
    if series.allSatisfy(\.isEmpty) {
      canvas.text(
        "no values were recorded", x: plot.x + plot.width / 2, y: plot.y + plot.height / 2, size: 13, theme.muted,
        alignment: .center)
    }
    for index in series.indices { line(index) }
  }

  private func at(_ point: Point) -> (x: Double, y: Double) {
    (plot.x + xs.position(point.x) * plot.width, plot.y + (1 - ys.position(point.y)) * plot.height)
  }

  // MARK: Frame

  private func axes(_ labels: [String]) {
    for (tick, label) in zip(ys.ticks, labels) {
      let y = at(Point(xs.low, tick)).y
      canvas.line([(plot.x, y), (plot.x + plot.width, y)], theme.grid, width: 1)
      canvas.text(label, x: plot.x - 8, y: y + 4, size: Self.small, theme.muted, alignment: .right)
    }
    let base = plot.y + plot.height
    for tick in xs.ticks {
      let x = at(Point(tick, ys.low)).x
      canvas.line([(x, base), (x, base + 4)], theme.axis, width: 1)
      canvas.text(xs.label(tick), x: x, y: base + 18, size: Self.small, theme.muted, alignment: .center)
    }
    canvas.line([(plot.x, base), (plot.x + plot.width, base)], theme.axis, width: 1)
    canvas.text(
      curve.xLabel, x: plot.x + plot.width / 2, y: base + 38, size: 12, theme.muted, alignment: .center)
    canvas.text(
      canvas.fitted(curve.yLabel, into: plot.height, size: 12), x: Self.margin + 8, y: plot.y + plot.height / 2,
      size: 12, theme.muted, alignment: .center, upright: true)
  }

  /// Names of the lines in rows from `top` down; returns where the rows end.
  private func legend(from top: Double) -> Double {
    let swatch = 20.0
    let gap = 20.0
    let widest = canvas.width - 2 * Self.margin
    var x = Self.margin
    var y = top + 12
    for (index, series) in curve.series.enumerated() {
      let name = canvas.fitted(series.name, into: widest - swatch - 6, size: 12)
      let width = swatch + 6 + canvas.textWidth(name, size: 12)
      if x > Self.margin, x + width > Self.margin + widest {
        x = Self.margin
        y += 18
      }
      let middle = y - 4
      canvas.line([(x + 1, middle), (x + swatch - 1, middle)], color(index), width: 2.25, dash: dash(index))
      if isSparse(index) { marker(index, at: (x + swatch / 2, middle)) }
      canvas.text(name, x: x + swatch + 6, y: y, size: 12, theme.text)
      x += width + gap
    }
    return y + 6
  }

  /// A dashed line where each stage begins, its name above the plot as far as there is room.
  private func stages() {
    let boundaries = curve.boundaries.filter { $0.x >= xs.low && $0.x <= xs.high }.sorted { $0.x < $1.x }
    for (index, boundary) in boundaries.enumerated() {
      let x = at(Point(boundary.x, ys.low)).x
      let next = index + 1 < boundaries.count ? at(Point(boundaries[index + 1].x, ys.low)).x : plot.x + plot.width
      if boundary.x > xs.low {
        canvas.line([(x, plot.y - 16), (x, plot.y + plot.height)], theme.axis, width: 1, dash: [1, 4])
      }
      let start = boundary.x > xs.low ? x + 6 : x
      if next - start > 16 {
        let label = canvas.fitted(boundary.label, into: next - start - 6, size: Self.small, weight: .bold)
        canvas.text(label, x: start, y: plot.y - 7, size: Self.small, theme.muted, weight: .bold)
      }
    }
  }

  // MARK: Lines

  private func line(_ index: Int) {
    let stages = CurveSmoothing.stages(series[index], boundaries: curve.boundaries.map(\.x))
    let around = ReportCanvas.Box(x: plot.x - 6, y: plot.y - 6, width: plot.width + 12, height: plot.height + 12)
    canvas.clipped(to: around) {
      if isSparse(index) {
        // A few measurements: joined through all stages, each marked.
        canvas.line(series[index].map(at), color(index), width: 2, dash: dash(index))
        for point in series[index] { marker(index, at: at(point)) }
        return
      }
      guard CurveSmoothing.isNoisy(series[index]) else {
        for stage in stages { canvas.line(stage.map(at), color(index), width: 2.25, dash: dash(index)) }
        return
      }
      let every = max(1, series[index].count / 2000)
      for (i, point) in series[index].enumerated() where i % every == 0 {
        let place = at(point)
        canvas.disc(x: place.x, y: place.y, radius: 1.6, color(index).faded(series.count > 1 ? 0.22 : 0.3))
      }
      for stage in stages {
        let line = stage.count > 3 ? CurveSmoothing.smooth(stage) : stage
        canvas.line(line.map(at), color(index), width: 2.25, dash: dash(index))
      }
    }
  }

  private func isSparse(_ index: Int) -> Bool { series[index].count <= CurveSmoothing.fewest }

  private func color(_ index: Int) -> ReportColor { theme.lines[index % theme.lines.count] }

  /// Solid for the first round of colors, dashed for the next.
  private func dash(_ index: Int) -> [Double] {
    let dashes: [[Double]] = [[], [6, 5], [1, 4.5], [9, 4, 1, 4]]
    return dashes[index / theme.lines.count % dashes.count]
  }

  /// Lines differ by shape as well as by color.
  private func marker(_ index: Int, at place: (x: Double, y: Double)) {
    let (x, y) = place
    let r = 3.6
    switch index % 4 {
    case 0: canvas.disc(x: x, y: y, radius: r, color(index))
    case 1: canvas.fill(.init(x: x - r + 0.4, y: y - r + 0.4, width: 2 * r - 0.8, height: 2 * r - 0.8), color(index))
    case 2: canvas.shape([(x, y - r - 1), (x + r + 0.6, y + r - 0.6), (x - r - 0.6, y + r - 0.6)], color(index))
    default: canvas.shape([(x, y - r - 1), (x + r + 1, y), (x, y + r + 1), (x - r - 1, y)], color(index))
    }
  }
}
