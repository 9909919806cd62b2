/// The decimal spellings of whole numbers between two bounds, exactly: no leading zeros and no −0.
enum IntegerRange {
  /// The largest absolute value where no bound is given: 18 digits.
  static let widest = 999_999_999_999_999_999

  static func syntax(_ low: Int, _ high: Int) -> GuideSyntax {
    guard low <= high else { return .nothing }
    var parts: [GuideSyntax] = []
    if low < 0 {
      let least = high < 0 ? high.magnitude : 1
      parts.append(.sequence([.literal("-"), magnitudes(least, low.magnitude)]))
    }
    if high >= 0 { parts.append(magnitudes(UInt(max(low, 0)), UInt(high))) }
    return .choice(parts)
  }

  private static func magnitudes(_ low: UInt, _ high: UInt) -> GuideSyntax {
    var parts: [GuideSyntax] = []
    let (first, last) = (digits(low), digits(high))
    for length in first.count...last.count {
      let from = length == first.count ? first : [1] + [Int](repeating: 0, count: length - 1)
      let to = length == last.count ? last : [Int](repeating: 9, count: length)
      parts.append(sameLength(from[...], to[...]))
    }
    return .choice(parts)
  }

  private static func digits(_ value: UInt) -> [Int] { String(value).utf8.map { Int($0) - 0x30 } }

  private static func sameLength(_ low: ArraySlice<Int>, _ high: ArraySlice<Int>) -> GuideSyntax {
    guard let first = low.first, let last = high.first else { return .empty }
    if low.allSatisfy({ $0 == 0 }), high.allSatisfy({ $0 == 9 }) {
      return .repeated(.scalars(.digits), least: low.count, most: low.count)
    }
    let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
    let zeros = [Int](repeating: 0, count: lowRest.count)[...]
    let nines = [Int](repeating: 9, count: lowRest.count)[...]
    if first == last { return .sequence([digit(first, first), sameLength(lowRest, highRest)]) }
    var parts = [GuideSyntax.sequence([digit(first, first), sameLength(lowRest, nines)])]
    if last - first > 1 { parts.append(.sequence([digit(first + 1, last - 1), sameLength(zeros, nines)])) }
    parts.append(.sequence([digit(last, last), sameLength(zeros, highRest)]))
    return .choice(parts)
  }

  private static func digit(_ low: Int, _ high: Int) -> GuideSyntax {
    .scalars(ScalarSet([UInt32(0x30 + low)...UInt32(0x30 + high)]))
  }
}
