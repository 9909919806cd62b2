/// A set of Unicode code points as ascending ranges that neither touch nor overlap.
struct ScalarSet: Sendable, Equatable {
  private(set) var ranges: [ClosedRange<UInt32>] = []

  static let last: UInt32 = 0x10FFFF
  static let all = ScalarSet([0...last])
  static let digits = ScalarSet("0"..."9")
  static let wordCharacters = ScalarSet(["0"..."9", "A"..."Z", "_"..."_", "a"..."z"].map(ScalarSet.range))
  static let spaces = ScalarSet([0x09...0x0D, 0x20...0x20])
  static let notNewline = ScalarSet([0x0A...0x0A]).inverted

  init(_ ranges: [ClosedRange<UInt32>]) {
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = self.ranges.last, range.lowerBound <= last.upperBound &+ 1 {
        self.ranges[self.ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        self.ranges.append(range)
      }
    }
  }

  init(_ range: ClosedRange<Unicode.Scalar>) { self.init([Self.range(range)]) }

  init(_ scalar: Unicode.Scalar) { self.init(scalar...scalar) }

  static func range(_ range: ClosedRange<Unicode.Scalar>) -> ClosedRange<UInt32> {
    range.lowerBound.value...range.upperBound.value
  }

  var isEmpty: Bool { ranges.isEmpty }

  var inverted: ScalarSet {
    var result: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
      next = range.upperBound + 1
    }
    if next <= Self.last { result.append(next...Self.last) }
    return ScalarSet(result)
  }

  func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

  func intersection(_ other: ScalarSet) -> ScalarSet { inverted.union(other.inverted).inverted }

  func subtracting(_ other: ScalarSet) -> ScalarSet { intersection(other.inverted) }

  func contains(_ scalar: UInt32) -> Bool { ranges.contains { $0.contains(scalar) } }
}

/// The UTF-8 forms of a range of code points.
enum UTF8Ranges {
  typealias Sequence = [ClosedRange<UInt8>]

  /// Sequences of byte ranges that together match exactly the encodings of `range`; surrogates have none.
  static func sequences(_ range: ClosedRange<UInt32>) -> [Sequence] {
    var result: [Sequence] = []
    for part in [0...0x7F, 0x80...0x7FF, 0x800...0xD7FF, 0xE000...0xFFFF, 0x10000...0x10FFFF] as [ClosedRange<UInt32>]
    where part.overlaps(range) {
      let own = range.clamped(to: part)
      split(own.lowerBound, own.upperBound, encode(own.lowerBound).count, &result)
    }
    return result
  }

  private static func split(_ low: UInt32, _ high: UInt32, _ length: Int, _ result: inout [Sequence]) {
    for i in 1..<max(length, 1) {
      let mask = UInt32(1) << UInt32(6 * i) - 1
      guard low & ~mask != high & ~mask else { continue }
      if low & mask != 0 {
        split(low, low | mask, length, &result)
        split((low | mask) + 1, high, length, &result)
        return
      }
      if high & mask != mask {
        split(low, (high & ~mask) - 1, length, &result)
        split(high & ~mask, high, length, &result)
        return
      }
    }
    result.append(zip(encode(low), encode(high)).map { $0...$1 })
  }

  private static func encode(_ scalar: UInt32) -> [UInt8] {
    Array(String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8)
  }
}
