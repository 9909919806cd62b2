import Foundation

/// A range of values and the round numbers to mark on it.
struct AxisScale {
  let low: Double
  let high: Double
  let ticks: [Double]
  private let step: Double

  /// - Parameters:
  ///   - values: finite values to cover.
  ///   - marks: about how many ticks are wanted.
  ///   - padding: free room at both ends, as a share of the range.
  ///   - whole: ticks at whole numbers only.
  init(covering values: [Double], marks: Int, padding: Double, whole: Bool = false) {
    var low = values.min() ?? 0
    var high = values.max() ?? 1
    // Rewards and accuracies are read against 0: show it when it is near.
    if padding > 0, low > 0, low < high * 0.35 { low = 0 }
    if !(high - low > max(abs(low), abs(high)) * 1e-9) {
      let room = low == 0 ? 1 : abs(low) * 0.1
      (low, high) = padding > 0 || whole ? (low - room, high + room) : (low, low + room)
    }
    let span = high - low
    let room = span * padding
    let (from, to) = (low == 0 ? 0 : low - room, high + room)
    var step = AxisScale.roundStep(span / Double(max(marks, 1)))
    if whole { step = max(step.rounded(.up), 1) }
    self.low = from
    self.high = to
    self.step = step
    let first = (from / step).rounded(.up)
    let last = (to / step).rounded(.down)
    ticks = stride(from: first, through: last, by: 1).prefix(50).map { $0 * step + 0 }
  }

  /// 1, 2, 2.5 or 5 times a power of ten, not below `step`.
  private static func roundStep(_ step: Double) -> Double {
    let power = pow(10, log10(step).rounded(.down))
    for factor in [1, 2, 2.5, 5] where factor * power >= step * (1 - 1e-9) { return factor * power }
    return 10 * power
  }

  /// Where `value` lies: 0 at the low end, 1 at the high end.
  func position(_ value: Double) -> Double { (value - low) / (high - low) }

  /// `value` with as many decimals as the ticks need.
  func label(_ value: Double) -> String {
    let text: String
    if abs(value) >= 1e6 || (step < 1e-5 && value != 0) {
      // 8e-07 reads 8e-7.
      text = String(format: "%.4g", value).replacing(#/e([+-])0*/#) { $0.1 == "-" ? "e-" : "e" }
    } else {
      var decimals = 0
      var scaled = step
      while decimals < 8, abs(scaled - scaled.rounded()) > 1e-6 * max(scaled, 1) {
        scaled *= 10
        decimals += 1
      }
      text = String(format: "%.\(decimals)f", value)
    }
    return text.replacingOccurrences(of: "-", with: "−")
  }
}
