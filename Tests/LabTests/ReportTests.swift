import CCairo
import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

private typealias Content = ReportContent

private func chart(_ points: [(Double, Double)]) -> Content.Curve {
  Content.Curve(title: "t", yLabel: "y", series: [.init(name: "s", points: points.map { .init($0.0, $0.1) })])
}

private func card(_ picture: Picture, before: Bool = false, after: Bool = true, answer: String = "12")
  -> Content.AnswerCard
{
  Content.AnswerCard(
    picture: picture, reference: "12", before: answer, beforeCorrect: before, after: answer, afterCorrect: after)
}

private func flat(_ width: Int, _ height: Int, _ level: UInt8) -> Picture {
  Picture(width: width, height: height, pixels: [UInt8](repeating: level, count: width * height * 3))
}

/// A PNG file decoded by cairo: `[height, width]` of 0xRRGGBB, the upper byte unused.
private struct Decoded {
  var width = 0
  var height = 0
  var pixels: [UInt32] = []

  init(_ png: [UInt8]) throws {
    final class Source {
      var rest: ArraySlice<UInt8>
      init(_ bytes: [UInt8]) { rest = bytes[...] }
    }
    let source = Source(png)
    let surface = withExtendedLifetime(source) {
      cairo_image_surface_create_from_png_stream(
        { closure, data, count in
          guard let closure, let data else { return CAIRO_STATUS_READ_ERROR }
          let source = Unmanaged<Source>.fromOpaque(closure).takeUnretainedValue()
          guard source.rest.count >= Int(count) else { return CAIRO_STATUS_READ_ERROR }
          for (i, byte) in source.rest.prefix(Int(count)).enumerated() { data[i] = byte }
          source.rest = source.rest.dropFirst(Int(count))
          return CAIRO_STATUS_SUCCESS
        }, Unmanaged.passUnretained(source).toOpaque())
    }
    defer { cairo_surface_destroy(surface) }
    width = Int(cairo_image_surface_get_width(surface))
    height = Int(cairo_image_surface_get_height(surface))
    let data = try #require(cairo_image_surface_get_data(surface))
    let stride = Int(cairo_image_surface_get_stride(surface))
    for y in 0..<height {
      data.advanced(by: y * stride).withMemoryRebound(to: UInt32.self, capacity: width) { row in
        pixels.append(contentsOf: UnsafeBufferPointer(start: row, count: width))
      }
    }
  }

  /// The upper left pixel.
  var corner: UInt32 { (pixels.first ?? 0) & 0xFFFFFF }

  /// How many pixels have `color`.
  func count(_ color: UInt32) -> Int { pixels.count { $0 & 0xFFFFFF == color } }
}

@Suite struct ReportDrawingTests {
  @Test func aChartShowsItsLinesAtTwoPixelsAPoint() throws {
    var curve = chart((0..<10).map { (Double($0), Double($0)) })
    curve.series.append(.init(name: "other", points: (0..<10).map { .init(Double($0), 3) }))
    let png = try Decoded(ChartRenderer().png(curve))
    #expect(png.width == 1520 && png.height == 780)
    #expect(png.corner == 0xFFFFFF)
    #expect(png.count(0x0072B2) > 1000)
    #expect(png.count(0xD55E00) > 1000)
    let dark = try Decoded(ChartRenderer(theme: .dark).png(curve))
    #expect(dark.corner == 0x15181C)
    #expect(dark.count(0x56B4E9) > 1000)
  }

  @Test func theSameContentGivesTheSameBytes() throws {
    let points = Self.many(300) { (Double($0), Double($0 * 7919 % 101 + $0) / 100) }
    #expect(try ChartRenderer().png(chart(points)) == ChartRenderer().png(chart(points)))
    let cards = [card(flat(96, 32, 90))]
    #expect(try ContactSheet().png(cards) == ContactSheet().png(cards))
  }

  private static let oddPoints: [[(Double, Double)]] = [
    [], [(0, 1)], [(5, 0), (5, 0)], [(0, .nan), (1, .infinity), (2, -.infinity)], [(.nan, 1)],
    [(0, -1e300), (1, 1e300)], [(0, 9e299), (1, -9e299), (2, 0)], [(1e18, 1), (1e18 + 4096, 2)],
    [(0, .leastNonzeroMagnitude), (1, 2000 * .leastNonzeroMagnitude)], [(3, 2), (1, 4), (2, 0)],
    [(0, 7), (1, 7), (2, 7)], [(-1, -1e-9), (0, -2e-9)],
    many(5000) { (0.001 * Double($0), Double($0 % 7)) }, many(100) { _ in (1, 2) },
    many(100) { (4, Double($0 % 3)) },
  ]

  private static func many(_ count: Int, _ point: (Int) -> (Double, Double)) -> [(Double, Double)] {
    (0..<count).map(point)
  }

  @Test(arguments: oddPoints.indices)
  func anyNumbersCanBeDrawn(index: Int) throws {
    var curve = chart(Self.oddPoints[index])
    curve.boundaries = [
      .init(x: 0, label: "a"), .init(x: 1, label: "b"), .init(x: .nan, label: "c"), .init(x: 1e9, label: "d"),
    ]
    #expect(try Decoded(ChartRenderer().png(curve)).width == 1520)
  }

  @Test func anyTextCanBeDrawn() throws {
    var curve = chart([(0, 1), (1, 2)])
    curve.title = String(repeating: "long ", count: 200)
    curve.yLabel = "a\0b\u{1B}[31m\n漢字 🙂"
    curve.series = (0..<40).map { .init(name: String(repeating: "n", count: $0 * 3), points: [.init(0, Double($0))]) }
    #expect(try Decoded(ChartRenderer().png(curve)).height == 780)
  }

  /// 96 pixels are enlarged four times; a checkerboard keeps exactly its two levels.
  @Test func picturesStaySharp() throws {
    var board: [UInt8] = []
    for i in 0..<(96 * 32) { board += [UInt8](repeating: (i % 96 + i / 96) % 2 == 0 ? 17 : 203, count: 3) }
    let sheet = try Decoded(ContactSheet().png([card(Picture(width: 96, height: 32, pixels: board))]))
    let half = 96 * 32 * 16 / 2
    // The outline of the picture covers its outermost pixels.
    #expect(abs(sheet.count(0x111111) - half) < 2000 && abs(sheet.count(0xCBCBCB) - half) < 2000)
  }

  @Test func rightAndWrongDifferByColor() throws {
    let right = try Decoded(ContactSheet().png([card(flat(32, 32, 0), before: true, after: true)]))
    let wrong = try Decoded(ContactSheet().png([card(flat(32, 32, 0), before: false, after: false)]))
    #expect(right.count(0x009E73) > 300 && right.count(0xD55E00) == 0)
    #expect(wrong.count(0xD55E00) > 300 && wrong.count(0x009E73) == 0)
  }

  @Test func sheetsOfAnySizeCanBeDrawn() throws {
    let many = [Content.AnswerCard](repeating: card(flat(8, 8, 5)), count: 500)
    let sheet = try Decoded(ContactSheet().png(many))
    #expect(sheet.height < 32_000)
    for size in [(1, 1), (3000, 2), (2, 3000), (500, 400), (0, 0)] {
      let odd = card(flat(size.0, size.1, 9), answer: String(repeating: "x\n", count: 3000))
      #expect(try Decoded(ContactSheet().png([odd, card(flat(10, 10, 0), answer: "")])).width > 400)
    }
  }
}

@Suite struct ReportScaleTests {
  @Test func ticksAreRound() {
    let scale = AxisScale(covering: [0, 0.87], marks: 5, padding: 0.05)
    #expect(scale.low == 0)
    expectClose(scale.ticks, [0, 0.2, 0.4, 0.6, 0.8], absolute: 1e-12)
    #expect(scale.ticks.map(scale.label) == ["0.0", "0.2", "0.4", "0.6", "0.8"])

    let negative = AxisScale(covering: [-1.2, 0.9], marks: 5, padding: 0)
    #expect(negative.ticks.map(negative.label) == ["−1.0", "−0.5", "0.0", "0.5"])
    let steps = AxisScale(covering: [0, 3], marks: 8, padding: 0, whole: true)
    #expect(steps.ticks == [0, 1, 2, 3])
    let quarters = AxisScale(covering: [0, 1], marks: 4, padding: 0)
    #expect(quarters.ticks.map(quarters.label) == ["0.00", "0.25", "0.50", "0.75", "1.00"])
    let small = AxisScale(covering: [0, 8e-7], marks: 4, padding: 0)
    #expect(small.ticks.map(small.label) == ["0", "2e−7", "4e−7", "6e−7", "8e−7"])
    let large = AxisScale(covering: [0, 4e12], marks: 4, padding: 0)
    #expect(large.label(3e12) == "3e12")
  }

  /// A straight line is its own local regression, at the ends too.
  @Test func smoothingKeepsStraightLines() {
    let line = (0..<100).map { Content.Point(Double($0), 3 - 0.5 * Double($0)) }
    let smooth = CurveSmoothing.smooth(line)
    expectClose(smooth.map(\.y), line.map(\.y), absolute: 1e-9)
    expectClose(smooth.map(\.x), line.map(\.x))
  }

  @Test func smoothingRemovesMostOfTheNoise() {
    var stream = Randomness(seed: 1, for: .testing).stream()
    let noisy = (0..<300).map { Content.Point(Double($0), stream.normal()) }
    #expect(CurveSmoothing.isNoisy(noisy))
    let smooth = CurveSmoothing.smooth(noisy)
    let variance = smooth.reduce(0) { $0 + $1.y * $1.y } / 300
    #expect(variance < 0.1)
  }

  @Test func schedulesAreNotNoise() {
    let warmup = (0..<200).map { Content.Point(Double($0), min(Double($0) / 20, 1) * (1 - Double($0) / 200)) }
    #expect(!CurveSmoothing.isNoisy(warmup))
    #expect(!CurveSmoothing.isNoisy([Content.Point](repeating: .init(0, 1), count: 100)))
  }

  @Test func stagesAreSmoothedApart() {
    let points = (0..<10).map { Content.Point(Double($0), 0) }
    let stages = CurveSmoothing.stages(points, boundaries: [7, 0, 3, 100])
    #expect(stages.map { $0.map(\.x) } == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]])
  }
}
