/// Finds where a running sum over ascending keys passes a limit, in three counting passes and without sorting.
struct RadixSelection {
  let keys: [UInt32]

  /// Bits that each pass looks at, from the top.
  private static let passes: [(shift: UInt32, bits: UInt32)] = [(21, 11), (10, 11), (0, 10)]

  /// A key that orders as the float does.
  static func key(of value: Float) -> UInt32 {
    // Adding zero makes one of the two zeros, or equal values would have different keys.
    let bits = (value + 0).bitPattern
    return bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
  }

  /// The float of a key.
  static func value(of key: UInt32) -> Float { Float(bitPattern: key >> 31 == 1 ? key & 0x7FFF_FFFF : ~key) }

  /// The key at which the sum of weights over all smaller and equal keys is above `limit`, while that over the smaller ones
  /// is not; the largest key if rounding keeps the whole sum below. There is at least one key.
  ///
  /// - Parameter weights: parallel to the keys; nil counts them.
  func key(above limit: Double, weights: [Float]? = nil) -> UInt32 {
    var prefix: UInt32 = 0
    var mask: UInt32 = 0
    var below = 0.0
    // Keys that begin with the prefix found so far, and their weights.
    var left: (keys: [UInt32], weights: [Float]) = (keys, weights ?? [])
    for (shift, bits) in Self.passes {
      let low = UInt32(1) << bits - 1
      let sums = Self.sums(left.keys, weights == nil ? nil : left.weights, shift: shift, low: low)
      var chosen = 0
      for bucket in sums.indices where sums[bucket].count > 0 {
        chosen = bucket
        if below + sums[bucket].weight > limit { break }
        below += sums[bucket].weight
      }
      prefix |= UInt32(chosen) << shift
      mask |= low << shift
      if shift == 0 { break }
      var next: (keys: [UInt32], weights: [Float]) = ([], [])
      for (i, key) in left.keys.enumerated() where key & mask == prefix {
        next.keys.append(key)
        if weights != nil { next.weights.append(left.weights[i]) }
      }
      left = next
    }
    return prefix
  }

  private static func sums(
    _ keys: [UInt32], _ weights: [Float]?, shift: UInt32, low: UInt32
  ) -> [(weight: Double, count: Int)] {
    var sums = [(weight: Double, count: Int)](repeating: (0, 0), count: Int(low) + 1)
    sums.withUnsafeMutableBufferPointer { sums in
      if let weights {
        for (key, weight) in zip(keys, weights) {
          let bucket = Int(key >> shift & low)
          sums[bucket].weight += Double(weight)
          sums[bucket].count += 1
        }
      } else {
        for key in keys { sums[Int(key >> shift & low)].count += 1 }
        for bucket in sums.indices { sums[bucket].weight = Double(sums[bucket].count) }
      }
    }
    return sums
  }
}
