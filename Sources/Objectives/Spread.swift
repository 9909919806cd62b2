/// Mean and deviation of the values that are not NaN.
struct Spread {
  let count: Int
  /// NaN without values.
  let mean: Double
  /// With the n − 1 denominator; NaN below two values.
  let deviation: Double
  /// True when the values differ by no more than rounding, or there are fewer than two.
  let isFlat: Bool

  init(_ values: some Sequence<Double>) {
    let known = values.filter { !$0.isNaN }
    count = known.count
    guard let first = known.first else {
      (mean, deviation, isFlat) = (.nan, .nan, true)
      return
    }
    let mean = known.reduce(0, +) / Double(known.count)
    self.mean = mean
    let squares = known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    deviation = known.count > 1 ? PortableMath.sqrt(squares / Double(known.count - 1)) : .nan
    let range = known.reduce((first, first)) { (Swift.min($0.0, $1), Swift.max($0.1, $1)) }
    isFlat = range.1 - range.0 <= 1e-9 * Swift.max(1, abs(mean))
  }
}

extension Spread {
  /// The groups of a step, runs of `size` values.
  private static func groups(_ values: [Double], size: Int) -> [Range<Int>] {
    stride(from: 0, to: values.count, by: max(1, size)).map { $0..<Swift.min(values.count, $0 + Swift.max(1, size)) }
  }

  /// One per group: true if its values differ by no more than rounding.
  static func flatGroups(_ values: [Double], size: Int) -> [Bool] {
    groups(values, size: size).map { Spread(values[$0]).isFlat }
  }

  /// Values minus the mean of their group's known ones; 0 where none is known.
  static func centred(_ values: [Double], size: Int) -> [Double] {
    groups(values, size: size).flatMap { group in
      let mean = Spread(values[group]).mean
      return group.map { values[$0].isNaN ? 0 : values[$0] - mean }
    }
  }

  /// Which part of the groups has two known values or more that do not differ.
  static func flatShare(_ values: [Double], size: Int) -> Double {
    let all = groups(values, size: size).map { Spread(values[$0]) }
    return Double(all.count { $0.isFlat && $0.count > 1 }) / Double(Swift.max(1, all.count))
  }

  /// Values minus the mean of their group's *other* known ones; NaN where there is no other, or the value itself is unknown. Exactly 0
  /// in a group that differs by no more than rounding.
  static func leftOneOut(_ values: [Double], size: Int) -> [Double] {
    groups(values, size: size).flatMap { group in
      let known = group.filter { !values[$0].isNaN }
      if known.count > 1, Spread(values[group]).isFlat { return group.map { values[$0].isNaN ? .nan : 0 } }
      let sum = known.reduce(0) { $0 + values[$1] }
      return group.map {
        known.count < 2 ? .nan : values[$0] - (sum - values[$0]) / Double(known.count - 1)
      }
    }
  }
}
