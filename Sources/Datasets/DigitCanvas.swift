import Core

/// A sheet of ink, 0 (paper) to 1 (full ink), that 8 x 8 digits are drawn on.
///
/// Only +, -, *, / and floor in Double: the same pixels on every processor and with every C library.
struct DigitCanvas {
  /// Intensities of one digit.
  static let cells = DigitRecords.side * DigitRecords.side

  let width: Int
  let height: Int
  private var ink: [Double]

  init(width: Int, height: Int) {
    self.width = width
    self.height = height
    ink = [Double](repeating: 0, count: width * height)
  }

  /// Draws one digit; where two overlap, the darker ink stays.
  ///
  /// - Parameters:
  ///   - digit: `[8, 8]` intensities 0–16.
  ///   - at: the digit's centre, in pixels from the canvas's upper left corner.
  ///   - side: width and height of the cell, in pixels.
  ///   - degrees: turn about the centre, clockwise, within ±45.
  ///   - shear: pixels to the right per pixel upwards.
  ///   - bend: displacements in pixels on a 4 x 4 grid over the cell, `[2, 4, 4]` (sideways, then downwards); empty for none.
  mutating func draw(
    _ digit: ArraySlice<UInt8>, at center: (x: Double, y: Double), side: Double, degrees: Double, shear: Double,
    bend: [Double] = []
  ) {
    let count = Double(DigitRecords.side)
    let cellsPerPixel = count / side
    let (cosine, sine) = rotation(degrees)
    // A turned and slanted square lies within this distance of its centre.
    let reach = side * (1 + abs(shear)) * 0.9 + 2
    let left = clampedFloor(center.x - reach, 0, width)
    let right = clampedFloor(center.x + reach + 1, 0, width)
    let top = clampedFloor(center.y - reach, 0, height)
    let bottom = clampedFloor(center.y + reach + 1, 0, height)
    let width = width
    digit.withUnsafeBufferPointer { digit in
      ink.withUnsafeMutableBufferPointer { ink in
        for y in top..<bottom {
          for x in left..<right {
            // From the pixel's centre back to the digit: undo the turn, then the slant, then the magnification.
            var px = Double(x) + 0.5 - center.x
            var py = Double(y) + 0.5 - center.y
            if !bend.isEmpty {
              let (sideways, down) = displacement(bend, px / side + 0.5, py / side + 0.5)
              px += sideways
              py += down
            }
            let turnedX = cosine * px + sine * py
            let turnedY = cosine * py - sine * px
            let u = (turnedX + shear * turnedY) * cellsPerPixel + count / 2 - 0.5
            let v = turnedY * cellsPerPixel + count / 2 - 0.5
            let level = bilinear(digit, u, v)
            if level > ink[y * width + x] { ink[y * width + x] = level }
          }
        }
      }
    }
  }

  /// The sheet as a grey picture.
  ///
  /// - Parameters:
  ///   - light: white paper and black ink, or the reverse.
  ///   - contrast: share of the full distance between paper and ink.
  ///   - noise: standard deviation per pixel, in grey levels.
  func picture(light: Bool, contrast: Double, noise: Double, stream: inout Randomness.Stream) -> Picture {
    let paper = light ? 255.0 : 0.0
    let span = (light ? -255.0 : 255.0) * contrast
    var pixels = [UInt8](repeating: 0, count: ink.count * 3)
    pixels.withUnsafeMutableBufferPointer { pixels in
      ink.withUnsafeBufferPointer { ink in
        for i in ink.indices {
          var level = paper + span * ink[i]
          if noise > 0 { level += noise * stream.normal() }
          let grey = UInt8(min(max((level + 0.5).rounded(.down), 0), 255))
          pixels[3 * i] = grey
          pixels[3 * i + 1] = grey
          pixels[3 * i + 2] = grey
        }
      }
    }
    return Picture(width: width, height: height, pixels: pixels)
  }
}

/// The digit's ink at (u, v), where whole numbers are the centres of its cells; no ink outside.
@inline(__always)
private func bilinear(_ digit: UnsafeBufferPointer<UInt8>, _ u: Double, _ v: Double) -> Double {
  let side = DigitRecords.side
  guard u > -1, v > -1, u < Double(side), v < Double(side) else { return 0 }
  let column = Int(u.rounded(.down))
  let row = Int(v.rounded(.down))
  let fu = u - Double(column)
  let fv = v - Double(row)
  func cell(_ row: Int, _ column: Int) -> Double {
    row >= 0 && row < side && column >= 0 && column < side ? Double(digit[row * side + column]) : 0
  }
  let upper = cell(row, column) * (1 - fu) + cell(row, column + 1) * fu
  let lower = cell(row + 1, column) * (1 - fu) + cell(row + 1, column + 1) * fu
  return (upper * (1 - fv) + lower * fv) / Double(DigitRecords.fullInk)
}

/// The displacement at (u, v), 0 to 1 across the cell, bilinear between the points of the 4 x 4 grid.
private func displacement(_ bend: [Double], _ u: Double, _ v: Double) -> (Double, Double) {
  let x = min(max(u, 0), 1) * 3
  let y = min(max(v, 0), 1) * 3
  let column = min(Int(x), 2)
  let row = min(Int(y), 2)
  let fx = x - Double(column)
  let fy = y - Double(row)
  func mix(_ base: Int) -> Double {
    let at = base + row * 4 + column
    let upper = bend[at] * (1 - fx) + bend[at + 1] * fx
    let lower = bend[at + 4] * (1 - fx) + bend[at + 5] * fx
    return upper * (1 - fy) + lower * fy
  }
  return (mix(0), mix(16))
}

/// Cosine and sine of an angle within ±45 degrees, from the tangent of its half (a Taylor polynomial, off by less than
/// 1e-5): always an exact rotation, and needs no C library.
private func rotation(_ degrees: Double) -> (cosine: Double, sine: Double) {
  let half = degrees * (3.141592653589793 / 360)
  let square = half * half
  let tangent = half * (1 + square * (1.0 / 3 + square * (2.0 / 15 + square * (17.0 / 315))))
  let scale = 1 / (1 + tangent * tangent)
  return ((1 - tangent * tangent) * scale, 2 * tangent * scale)
}

private func clampedFloor(_ x: Double, _ low: Int, _ high: Int) -> Int {
  Int(min(max(x.rounded(.down), Double(low)), Double(high)))
}
