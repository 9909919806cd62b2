/// Philox4x32-10: a counter-based generator. Any number of any stream is computed at once, in any order.
///
/// Source: Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3* (SC11), section 4.3.
public enum Philox {
  /// The four 32-bit words of `counter` under `key`.
  public static func block(
    key: (UInt32, UInt32), counter: (UInt32, UInt32, UInt32, UInt32)
  ) -> (UInt32, UInt32, UInt32, UInt32) {
    var (k0, k1) = key
    var (c0, c1, c2, c3) = counter
    for _ in 0..<10 {
      let p0 = UInt64(0xD251_1F53) * UInt64(c0)
      let p1 = UInt64(0xCD9E_8D57) * UInt64(c2)
      (c0, c1, c2, c3) = (
        UInt32(truncatingIfNeeded: p1 >> 32) ^ c1 ^ k0, UInt32(truncatingIfNeeded: p1),
        UInt32(truncatingIfNeeded: p0 >> 32) ^ c3 ^ k1, UInt32(truncatingIfNeeded: p0)
      )
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return (c0, c1, c2, c3)
  }
}

/// The randomness of a run: every number is a function of (seed, purpose) and a place, never of what was drawn before.
public struct Randomness: Sendable {
  /// What numbers are for. Two purposes of one seed share nothing.
  public enum Purpose: UInt32, Sendable {
    case sampling = 1
    case initialization = 2
    case shuffling = 3
    case augmentation = 4
    case composition = 5
    case testing = 6
    case dropout = 7
    case surveying = 8
    case preferences = 9
    case projection = 10
  }

  private let key: (UInt32, UInt32)

  public init(seed: UInt64, for purpose: Purpose) {
    // The key is a Philox block of (seed, purpose), so that near seeds have unrelated keys.
    let mixed = Philox.block(
      key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)),
      counter: (purpose.rawValue, 0x6174_7475, 0x6E65, 0))
    key = (mixed.0, mixed.1)
  }

  /// Uniform in [0, 1) with 53 random bits, for one place: (step, prompt, index, token) in sampling.
  public func uniform(_ a: Int, _ b: Int = 0, _ c: Int = 0, _ d: Int = 0) -> Double {
    let words = block(a, b, c, d)
    let bits = UInt64(words.0) << 21 ^ UInt64(words.1) >> 11
    return Double(bits & ((1 << 53) - 1)) * 0x1p-53
  }

  /// The 128 random bits of one place.
  public func block(_ a: Int, _ b: Int, _ c: Int, _ d: Int) -> (UInt32, UInt32, UInt32, UInt32) {
    Philox.block(
      key: key,
      counter: (
        UInt32(truncatingIfNeeded: a), UInt32(truncatingIfNeeded: b), UInt32(truncatingIfNeeded: c),
        UInt32(truncatingIfNeeded: d)
      ))
  }

  /// A stream of numbers that belongs to one place.
  public func stream(_ a: Int = 0, _ b: Int = 0, _ c: Int = 0) -> Stream { Stream(randomness: self, place: (a, b, c)) }

  /// A stream that belongs to a name (FNV-1a of its UTF-8 picks the place), such as a parameter's.
  public func stream(named name: String, _ b: Int = 0) -> Stream {
    let hash = name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
    return stream(Int(hash), b)
  }

  /// A repeatable sequence; use with `Int.random(in:using:)`, `shuffled(using:)` and `uniform`.
  public struct Stream: RandomNumberGenerator, Sendable {
    private let randomness: Randomness
    private let place: (Int, Int, Int)
    private var count = 0
    private var spare: UInt64?

    fileprivate init(randomness: Randomness, place: (Int, Int, Int)) {
      self.randomness = randomness
      self.place = place
    }

    public mutating func next() -> UInt64 {
      if let spare {
        self.spare = nil
        return spare
      }
      let words = randomness.block(place.0, place.1, place.2, count)
      count += 1
      spare = UInt64(words.2) << 32 | UInt64(words.3)
      return UInt64(words.0) << 32 | UInt64(words.1)
    }

    /// Uniform in [0, 1) with 53 random bits.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Uniform in [low, high).
    public mutating func uniform(_ low: Double, _ high: Double) -> Double { low + (high - low) * uniform() }

    /// A whole number in 0..<bound by multiplication; the bias is below bound / 2^64.
    public mutating func integer(below bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }

    /// Approximately normal (Irwin-Hall, twelve uniforms), mean 0 and variance 1: needs no logarithm, so the same bits anywhere.
    public mutating func normal() -> Double {
      var sum = -6.0
      for _ in 0..<12 { sum += uniform() }
      return sum
    }
  }
}
