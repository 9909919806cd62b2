import Core

/// Resizing of 8-bit RGB, equal to Pillow's to the last bit.
///
/// Two passes, each a weighted sum with weights of 22 fractional bits, rounded and clipped to 8 bits in between; a pass
/// that changes nothing is left out. When shrinking, the kernel is stretched by the ratio. Which pass comes first can
/// be seen in the last bits: the horizontal one, unless the picture loses more than twice as many rows as columns. That
/// is the rule of Pillow 13, found by comparing its results with both orders over thousands of sizes.
public enum Resampling: String, Sendable, CaseIterable {
  case lanczos, bilinear, bicubic, box, hamming

  /// The filter of Pillow's number, as in a processor's `resample`; nil for 0 (nearest) and for unknown numbers.
  public init?(pillowCode: Int) {
    switch pillowCode {
    case 1: self = .lanczos
    case 2: self = .bilinear
    case 3: self = .bicubic
    case 4: self = .box
    case 5: self = .hamming
    default: return nil
    }
  }

  /// `picture` at another size.
  ///
  /// - Parameters:
  ///   - width: in pixels, at least 1.
  ///   - height: in pixels, at least 1.
  public func resize(_ picture: Picture, width: Int, height: Int) -> Picture {
    precondition(
      width > 0 && height > 0 && picture.width > 0 && picture.height > 0,
      "resizing \(picture.width) x \(picture.height) to \(width) x \(height)")
    let lostRows = picture.height - height
    let verticalFirst = lostRows > 0 && lostRows > 2 * (picture.width - width)
    var result = picture
    if verticalFirst { result = vertical(result, to: height) }
    if width != result.width { result = horizontal(result, to: width) }
    if height != result.height { result = vertical(result, to: height) }
    return result
  }

  private func horizontal(_ picture: Picture, to width: Int) -> Picture {
    let table = ResamplingWeights(self, from: picture.width, to: width)
    let (sourceRow, targetRow) = (picture.width * 3, width * 3)
    let pixels = picture.pixels.withUnsafeBytes { source in
      table.weights.withUnsafeBufferPointer { weights in
        [UInt8](unsafeUninitializedCapacity: targetRow * picture.height) { target, count in
          for y in 0..<picture.height {
            let last = y == picture.height - 1
            for x in 0..<width {
              let start = table.starts[x]
              let taps = table.counts[x]
              let row = x * table.stride
              var sum = SIMD4<Int32>(repeating: ResamplingWeights.half)
              var from = y * sourceRow + start * 3
              // Four bytes are loaded for three; behind the very last pixel there is no fourth.
              let wide = last && start + taps == picture.width ? taps - 1 : taps
              for tap in 0..<wide {
                let pixel = source.loadUnaligned(fromByteOffset: from, as: SIMD4<UInt8>.self)
                sum &+= SIMD4<Int32>(truncatingIfNeeded: pixel) &* weights[row + tap]
                from += 3
              }
              if wide < taps {
                let pixel = SIMD4<Int32>(Int32(source[from]), Int32(source[from + 1]), Int32(source[from + 2]), 0)
                sum &+= pixel &* weights[row + wide]
              }
              let to = y * targetRow + x * 3
              target[to] = ResamplingWeights.clipped(sum[0])
              target[to + 1] = ResamplingWeights.clipped(sum[1])
              target[to + 2] = ResamplingWeights.clipped(sum[2])
            }
          }
          count = targetRow * picture.height
        }
      }
    }
    return Picture(width: width, height: picture.height, pixels: pixels)
  }

  private func vertical(_ picture: Picture, to height: Int) -> Picture {
    let table = ResamplingWeights(self, from: picture.height, to: height)
    let row = picture.width * 3
    let pixels = picture.pixels.withUnsafeBufferPointer { source in
      [UInt8](unsafeUninitializedCapacity: row * height) { target, count in
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: row) { sums in
          for y in 0..<height {
            sums.update(repeating: ResamplingWeights.half)
            for tap in 0..<table.counts[y] {
              let weight = table.weights[y * table.stride + tap]
              let from = (table.starts[y] + tap) * row
              for i in 0..<row { sums[i] &+= Int32(truncatingIfNeeded: source[from &+ i]) &* weight }
            }
            let to = y * row
            for i in 0..<row { target[to &+ i] = ResamplingWeights.clipped(sums[i]) }
          }
        }
        count = row * height
      }
    }
    return Picture(width: picture.width, height: height, pixels: pixels)
  }
}
