/// An interval of numbers.
public struct NumberBounds: Sendable, Equatable {
  public var low: Double
  public var high: Double
  public var includesLow: Bool
  public var includesHigh: Bool

  /// low ≤ x ≤ high.
  public static func within(_ low: Double, _ high: Double) -> NumberBounds {
    NumberBounds(low: low, high: high, includesLow: true, includesHigh: true)
  }
  /// low ≤ x < high.
  public static func below(_ high: Double, from low: Double = 0) -> NumberBounds {
    NumberBounds(low: low, high: high, includesLow: true, includesHigh: false)
  }
  /// x ≥ low.
  public static func atLeast(_ low: Double) -> NumberBounds {
    NumberBounds(low: low, high: .infinity, includesLow: true, includesHigh: false)
  }
  /// x > low, and at most `high`.
  public static func above(_ low: Double, upTo high: Double = .infinity) -> NumberBounds {
    NumberBounds(low: low, high: high, includesLow: false, includesHigh: high.isFinite)
  }

  /// NaN and infinity lie in no interval.
  public func contains(_ x: Double) -> Bool {
    x.isFinite && (includesLow ? x >= low : x > low) && (includesHigh ? x <= high : x < high)
  }

  /// `≥ 0`, `0 ≤ x < 1` and so on.
  public var description: String {
    switch (low.isFinite, high.isFinite) {
    case (true, true):
      "\(NumberBounds.text(low)) \(includesLow ? "≤" : "<") x \(includesHigh ? "≤" : "<") \(NumberBounds.text(high))"
    case (true, false): "\(includesLow ? "≥" : ">") \(NumberBounds.text(low))"
    case (false, true): "\(includesHigh ? "≤" : "<") \(NumberBounds.text(high))"
    case (false, false): "finite"
    }
  }

  private static func text(_ x: Double) -> String {
    x == 0x1p63 ? "2^63 - 1" : Int(exactly: x).map { String($0) } ?? String(x)
  }
}
