import Foundation

/// The fixed-point weights of one pass: for every result pixel, which source pixels count and how much.
struct ResamplingWeights {
  /// A sum of 8-bit samples times weights stays within 32 bits.
  private static let fractionBits = 22
  /// One half: added before the shift, it rounds.
  static let half: Int32 = 1 << Int32(fractionBits - 1)

  /// First source pixel and number of source pixels for each result pixel.
  let starts: [Int]
  let counts: [Int]
  /// `[results, stride]`; behind a result's `count` stands padding.
  let weights: [Int32]
  let stride: Int

  init(_ filter: Resampling, from source: Int, to target: Int) {
    let scale = Double(source) / Double(target)
    let stretch = max(scale, 1)
    let support = filter.support * stretch
    let stride = Int(support.rounded(.up)) * 2 + 1
    var starts = [Int](repeating: 0, count: target)
    var counts = starts
    var weights = [Int32](repeating: 0, count: target * stride)
    var exact = [Double](repeating: 0, count: stride)
    let inverse = 1 / stretch
    for i in 0..<target {
      let center = (Double(i) + 0.5) * scale
      let start = max(Int(center - support + 0.5), 0)
      let count = min(Int(center + support + 0.5), source) - start
      var sum = 0.0
      for j in 0..<count {
        exact[j] = filter.kernel((Double(j + start) - center + 0.5) * inverse)
        sum += exact[j]
      }
      for j in 0..<count {
        let weight = (sum == 0 ? exact[j] : exact[j] / sum) * Double(1 << Self.fractionBits)
        weights[i * stride + j] = Int32(weight < 0 ? weight - 0.5 : weight + 0.5)
      }
      starts[i] = start
      counts[i] = count
    }
    self.starts = starts
    self.counts = counts
    self.weights = weights
    self.stride = stride
  }

  @inline(__always)
  static func clipped(_ sum: Int32) -> UInt8 {
    UInt8(truncatingIfNeeded: min(max(sum >> Int32(fractionBits), 0), 255))
  }
}

extension Resampling {
  /// Half the kernel's width at a ratio of one.
  fileprivate var support: Double {
    switch self {
    case .box: 0.5
    case .bilinear, .hamming: 1
    case .bicubic: 2
    case .lanczos: 3
    }
  }

  fileprivate func kernel(_ x: Double) -> Double {
    switch self {
    case .box: return x > -0.5 && x <= 0.5 ? 1 : 0
    case .bilinear: return max(1 - abs(x), 0)
    case .bicubic:
      // Keys' cubic with a = -0.5.
      let a = -0.5
      let x = abs(x)
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
      return 0
    case .lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
    case .hamming:
      let x = abs(x)
      if x == 0 { return 1 }
      if x >= 1 { return 0 }
      return sinc(x) * (0.54 + 0.46 * cos(x * .pi))
    }
  }

  private func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * .pi) / (x * .pi) }
}
