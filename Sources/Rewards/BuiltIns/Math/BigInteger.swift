/// An integer of any size up to `maximumLimbs`, for answers that have to agree exactly.
struct BigInteger: Hashable, Sendable {
  /// 4096 bits: more than any answer that a person would read, few enough that no operation takes long.
  static let maximumLimbs = 128

  private(set) var isNegative = false
  /// Base 2³², least significant first, without leading zeros; empty for zero.
  private(set) var limbs: [UInt32] = []

  init(_ value: Int) {
    isNegative = value < 0
    let magnitude = value.magnitude
    if magnitude != 0 { limbs.append(UInt32(truncatingIfNeeded: magnitude)) }
    if magnitude >> 32 != 0 { limbs.append(UInt32(truncatingIfNeeded: magnitude >> 32)) }
  }

  private init(isNegative: Bool, limbs: [UInt32]) {
    self.limbs = limbs
    while self.limbs.last == 0 { self.limbs.removeLast() }
    self.isNegative = isNegative && !self.limbs.isEmpty
  }

  /// Decimal digits without a sign; nil for anything else, and for more than fits.
  init?(digits: some Collection<UInt8>) {
    guard !digits.isEmpty, digits.count <= Self.maximumLimbs * 9 else { return nil }
    for digit in digits {
      guard (0x30...0x39).contains(digit) else { return nil }
      var carry = UInt64(digit - 0x30)
      for i in limbs.indices {
        carry += UInt64(limbs[i]) * 10
        limbs[i] = UInt32(truncatingIfNeeded: carry)
        carry >>= 32
      }
      if carry != 0 { limbs.append(UInt32(carry)) }
    }
    guard limbs.count <= Self.maximumLimbs else { return nil }
  }

  static let zero = BigInteger(0)
  static let one = BigInteger(1)

  var isZero: Bool { limbs.isEmpty }
  var isOne: Bool { !isNegative && limbs == [1] }
  var isOdd: Bool { limbs.first.map { $0 & 1 == 1 } ?? false }
  var magnitude: BigInteger { BigInteger(isNegative: false, limbs: limbs) }
  var bitWidth: Int { limbs.last.map { limbs.count * 32 - $0.leadingZeroBitCount } ?? 0 }

  /// The value, if it is an `Int`.
  var int: Int? {
    guard limbs.count <= 2 else { return nil }
    var magnitude: UInt = 0
    for limb in limbs.reversed() { magnitude = magnitude << 32 | UInt(limb) }
    if isNegative { return magnitude <= 1 << 63 ? Int(truncatingIfNeeded: 0 &- magnitude) : nil }
    return Int(exactly: magnitude)
  }

  /// `fraction · 2^exponent`, the fraction with all bits that a double has.
  var scaled: (fraction: Double, exponent: Int) {
    var fraction = 0.0
    for limb in limbs.suffix(3).reversed() { fraction = fraction * 4_294_967_296 + Double(limb) }
    return (isNegative ? -fraction : fraction, max(0, limbs.count - 3) * 32)
  }

  static prefix func - (a: BigInteger) -> BigInteger { BigInteger(isNegative: !a.isNegative, limbs: a.limbs) }

  static func + (a: BigInteger, b: BigInteger) -> BigInteger {
    if a.isNegative == b.isNegative {
      return BigInteger(isNegative: a.isNegative, limbs: sum(a.limbs, b.limbs))
    }
    switch order(a.limbs, b.limbs) {
    case 0: return .zero
    case 1: return BigInteger(isNegative: a.isNegative, limbs: difference(a.limbs, b.limbs))
    default: return BigInteger(isNegative: b.isNegative, limbs: difference(b.limbs, a.limbs))
    }
  }

  static func - (a: BigInteger, b: BigInteger) -> BigInteger { a + -b }

  /// The product, or nil if it does not fit.
  func times(_ other: BigInteger) -> BigInteger? {
    guard !isZero, !other.isZero else { return .zero }
    guard limbs.count + other.limbs.count <= Self.maximumLimbs + 1 else { return nil }
    var product = [UInt32](repeating: 0, count: limbs.count + other.limbs.count)
    for i in limbs.indices {
      var carry: UInt64 = 0
      for j in other.limbs.indices {
        carry += UInt64(limbs[i]) * UInt64(other.limbs[j]) + UInt64(product[i + j])
        product[i + j] = UInt32(truncatingIfNeeded: carry)
        carry >>= 32
      }
      product[i + other.limbs.count] = UInt32(carry)
    }
    let result = BigInteger(isNegative: isNegative != other.isNegative, limbs: product)
    return result.limbs.count <= Self.maximumLimbs ? result : nil
  }

  /// The power, or nil if it does not fit.
  func power(_ exponent: Int) -> BigInteger? {
    guard exponent >= 0 else { return nil }
    if isZero { return exponent == 0 ? .one : .zero }
    if limbs == [1] { return isNegative && exponent % 2 == 1 ? self : .one }
    guard exponent <= Self.maximumLimbs * 32, (bitWidth - 1) * exponent <= Self.maximumLimbs * 32 else { return nil }
    var result = BigInteger.one
    var square = self
    var rest = exponent
    while true {
      if rest & 1 == 1 {
        guard let next = result.times(square) else { return nil }
        result = next
      }
      rest >>= 1
      guard rest > 0 else { return result }
      guard let next = square.times(square) else { return nil }
      square = next
    }
  }

  /// Quotient towards zero and the remainder with the sign of `self`.
  ///
  /// - Precondition: `divisor` is not zero.
  func dividedBy(_ divisor: BigInteger) -> (quotient: BigInteger, remainder: BigInteger) {
    precondition(!divisor.isZero, "\(self) divided by zero")
    guard Self.order(limbs, divisor.limbs) >= 0 else { return (.zero, self) }
    if divisor.limbs.count == 1 {
      var quotient = limbs
      var remainder: UInt64 = 0
      let by = UInt64(divisor.limbs[0])
      for i in limbs.indices.reversed() {
        remainder = remainder << 32 | UInt64(limbs[i])
        quotient[i] = UInt32(remainder / by)
        remainder %= by
      }
      return (
        BigInteger(isNegative: isNegative != divisor.isNegative, limbs: quotient),
        BigInteger(isNegative: isNegative, limbs: [UInt32(remainder)])
      )
    }
    let (quotient, remainder) = Self.longDivision(limbs, divisor.limbs)
    return (
      BigInteger(isNegative: isNegative != divisor.isNegative, limbs: quotient),
      BigInteger(isNegative: isNegative, limbs: remainder)
    )
  }

  /// Not negative; the other one if one is zero.
  static func greatestCommonDivisor(_ a: BigInteger, _ b: BigInteger) -> BigInteger {
    var (a, b) = (a.magnitude, b.magnitude)
    while !b.isZero {
      if let x = a.int, let y = b.int {
        var (x, y) = (x, y)
        while y != 0 { (x, y) = (y, x % y) }
        return BigInteger(x)
      }
      (a, b) = (b, a.dividedBy(b).remainder)
    }
    return a
  }

  /// The root, if it is an integer. For values that are not negative.
  func root(_ degree: Int) -> BigInteger? {
    guard degree >= 1, !isNegative else { return nil }
    if isZero || isOne || degree == 1 { return self }
    guard degree < bitWidth else { return nil }
    // Bisection on bits, from above.
    var root = BigInteger.zero
    for bit in stride(from: bitWidth / degree, through: 0, by: -1) {
      guard let step = BigInteger(2).power(bit) else { return nil }
      let candidate = root + step
      if let power = candidate.power(degree), power <= self { root = candidate }
    }
    return root.power(degree) == self ? root : nil
  }
}

extension BigInteger: Comparable {
  static func < (a: BigInteger, b: BigInteger) -> Bool {
    if a.isNegative != b.isNegative { return a.isNegative }
    let order = order(a.limbs, b.limbs)
    return a.isNegative ? order > 0 : order < 0
  }
}

extension BigInteger: CustomStringConvertible {
  var description: String {
    guard !isZero else { return "0" }
    var rest = self.magnitude
    var parts: [String] = []
    let billion = BigInteger(1_000_000_000)
    while !rest.isZero {
      let (quotient, remainder) = rest.dividedBy(billion)
      let digits = String(remainder.int ?? 0)
      parts.append(quotient.isZero ? digits : String(repeating: "0", count: 9 - digits.count) + digits)
      rest = quotient
    }
    return (isNegative ? "-" : "") + parts.reversed().joined()
  }
}

extension BigInteger {
  private static func order(_ a: [UInt32], _ b: [UInt32]) -> Int {
    if a.count != b.count { return a.count < b.count ? -1 : 1 }
    for i in a.indices.reversed() where a[i] != b[i] { return a[i] < b[i] ? -1 : 1 }
    return 0
  }

  private static func sum(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(max(a.count, b.count) + 1)
    var carry: UInt64 = 0
    for i in 0..<max(a.count, b.count) {
      carry += (i < a.count ? UInt64(a[i]) : 0) + (i < b.count ? UInt64(b[i]) : 0)
      result.append(UInt32(truncatingIfNeeded: carry))
      carry >>= 32
    }
    if carry != 0 { result.append(UInt32(carry)) }
    return result
  }

  /// For `a` not smaller than `b`.
  private static func difference(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
    var result = a
    var borrow: Int64 = 0
    for i in a.indices {
      var digit = Int64(a[i]) - (i < b.count ? Int64(b[i]) : 0) - borrow
      borrow = digit < 0 ? 1 : 0
      if digit < 0 { digit += 1 << 32 }
      result[i] = UInt32(digit)
    }
    return result
  }

  /// Knuth, The Art of Computer Programming, volume 2, algorithm D; for a divisor of two limbs or more.
  private static func longDivision(_ a: [UInt32], _ b: [UInt32]) -> (quotient: [UInt32], remainder: [UInt32]) {
    let n = b.count
    let shift = b[n - 1].leadingZeroBitCount
    func shifted(_ x: [UInt32]) -> [UInt32] {
      var result = x + [0]
      guard shift > 0 else { return result }
      for i in result.indices.reversed() {
        result[i] = result[i] << UInt32(shift) | (i > 0 ? result[i - 1] >> UInt32(32 - shift) : 0)
      }
      return result
    }
    var u = shifted(a)
    let v = Array(shifted(b).prefix(n))
    var quotient = [UInt32](repeating: 0, count: a.count - n + 1)
    for j in quotient.indices.reversed() {
      let top = UInt64(u[j + n]) << 32 | UInt64(u[j + n - 1])
      var digit = top / UInt64(v[n - 1])
      var rest = top % UInt64(v[n - 1])
      while digit >> 32 != 0 || digit * UInt64(v[n - 2]) > rest << 32 | UInt64(u[j + n - 2]) {
        digit -= 1
        rest += UInt64(v[n - 1])
        if rest >> 32 != 0 { break }
      }
      var borrow: Int64 = 0
      var carry: UInt64 = 0
      for i in 0..<n {
        carry += digit * UInt64(v[i])
        let t = Int64(u[i + j]) - borrow - Int64(carry & 0xFFFF_FFFF)
        u[i + j] = UInt32(truncatingIfNeeded: t)
        borrow = t < 0 ? 1 : 0
        carry >>= 32
      }
      let t = Int64(u[j + n]) - borrow - Int64(carry)
      u[j + n] = UInt32(truncatingIfNeeded: t)
      if t < 0 {
        digit -= 1
        var carry: UInt64 = 0
        for i in 0..<n {
          carry += UInt64(u[i + j]) + UInt64(v[i])
          u[i + j] = UInt32(truncatingIfNeeded: carry)
          carry >>= 32
        }
        u[j + n] = u[j + n] &+ UInt32(truncatingIfNeeded: carry)
      }
      quotient[j] = UInt32(digit)
    }
    var remainder = [UInt32](u[0..<n])
    if shift > 0 {
      for i in 0..<n {
        let above = i + 1 < n ? remainder[i + 1] : 0
        remainder[i] = remainder[i] >> UInt32(shift) | above << UInt32(32 - shift)
      }
    }
    return (quotient, remainder)
  }
}
