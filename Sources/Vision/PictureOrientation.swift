import Core

/// How a camera was held: the EXIF orientation (tag 0x0112), values as in the standard.
public enum PictureOrientation: Int, Sendable, CaseIterable {
  case up = 1
  case mirrored = 2
  case upsideDown = 3
  case upsideDownMirrored = 4
  /// Rows and columns exchanged.
  case transposed = 5
  /// To be turned clockwise by a quarter.
  case right = 6
  case transverse = 7
  /// To be turned anticlockwise by a quarter.
  case left = 8

  /// Whether width and height change places.
  public var swapsSides: Bool { rawValue >= 5 }

  /// `stored` as it is to be seen.
  public func upright(_ stored: Picture) -> Picture {
    if self == .up { return stored }
    let (width, height) = swapsSides ? (stored.height, stored.width) : (stored.width, stored.height)
    // Where the upright picture's first pixel lies in the stored one, and the way from there to the pixel on the
    // right and to the one below, in pixels.
    let w = stored.width
    let lastColumn = stored.width - 1
    let lastRow = (stored.height - 1) * w
    let (start, across, down) =
      switch self {
      case .up: (0, 1, w)
      case .mirrored: (lastColumn, -1, w)
      case .upsideDown: (lastRow + lastColumn, -1, -w)
      case .upsideDownMirrored: (lastRow, 1, -w)
      case .transposed: (0, w, 1)
      case .right: (lastRow, -w, 1)
      case .transverse: (lastRow + lastColumn, -w, -1)
      case .left: (lastColumn, w, -1)
      }
    let total = stored.pixels.count
    let pixels = stored.pixels.withUnsafeBufferPointer { source in
      [UInt8](unsafeUninitializedCapacity: total) { target, count in
        var to = 0
        for y in 0..<height {
          var from = (start + y * down) * 3
          for _ in 0..<width {
            target[to] = source[from]
            target[to + 1] = source[from + 1]
            target[to + 2] = source[from + 2]
            to += 3
            from += across * 3
          }
        }
        count = total
      }
    }
    return Picture(width: width, height: height, pixels: pixels, transparentColor: stored.transparentColor)
  }
}
