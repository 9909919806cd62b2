/// A color with opacity, each channel 0–1.
struct ReportColor: Sendable, Equatable {
  var red: Double
  var green: Double
  var blue: Double
  var alpha: Double

  /// From `0xRRGGBB`.
  init(_ hex: UInt32, alpha: Double = 1) {
    red = Double(hex >> 16 & 0xFF) / 255
    green = Double(hex >> 8 & 0xFF) / 255
    blue = Double(hex & 0xFF) / 255
    self.alpha = alpha
  }

  func faded(_ alpha: Double) -> ReportColor {
    var copy = self
    copy.alpha = alpha
    return copy
  }
}

/// The colors of a report's pictures, for pages on white and on black.
public struct ReportTheme: Sendable {
  let paper: ReportColor
  let card: ReportColor
  let border: ReportColor
  let text: ReportColor
  let muted: ReportColor
  let grid: ReportColor
  let axis: ReportColor
  let right: ReportColor
  let wrong: ReportColor
  /// Colors of lines, told apart also by color-blind readers: Okabe and Ito, *Color universal design* (2008).
  let lines: [ReportColor]

  /// Dark on white.
  public static let light = ReportTheme(
    paper: ReportColor(0xFFFFFF), card: ReportColor(0xF6F7F9), border: ReportColor(0xDFE2E6),
    text: ReportColor(0x1B1F24), muted: ReportColor(0x667080), grid: ReportColor(0xE8EAED),
    axis: ReportColor(0x9AA1A9), right: ReportColor(0x009E73), wrong: ReportColor(0xD55E00),
    lines: [0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x4D4D4D].map { ReportColor($0) })

  /// Light on black.
  public static let dark = ReportTheme(
    paper: ReportColor(0x15181C), card: ReportColor(0x1D2126), border: ReportColor(0x333A42),
    text: ReportColor(0xE8EBEF), muted: ReportColor(0x9AA5B1), grid: ReportColor(0x2A3037),
    axis: ReportColor(0x5A6470), right: ReportColor(0x00B084), wrong: ReportColor(0xE8722A),
    lines: [0x56B4E9, 0xF0813A, 0x14BF92, 0xDB93BB, 0xE9B13A, 0xF0E442, 0xC8CDD3].map { ReportColor($0) })
}
