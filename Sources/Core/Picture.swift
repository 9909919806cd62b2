/// A decoded picture: 8-bit RGB, upright, rows from the top without gaps.
public struct Picture: Sendable, Equatable {
  public let width: Int
  public let height: Int
  /// `[height, width, 3]`.
  public let pixels: [UInt8]
  /// The colour that stands for transparency, where the file says so: processors that put pictures on white make it white.
  public let transparentColor: Color?

  /// 8-bit levels.
  public struct Color: Sendable, Equatable {
    public let red: UInt8
    public let green: UInt8
    public let blue: UInt8

    public init(red: UInt8, green: UInt8, blue: UInt8) { (self.red, self.green, self.blue) = (red, green, blue) }
  }

  public init(width: Int, height: Int, pixels: [UInt8], transparentColor: Color? = nil) {
    precondition(
      pixels.count == width * height * 3,
      "a \(width) x \(height) picture has \(width * height * 3) bytes, not \(pixels.count)")
    self.width = width
    self.height = height
    self.pixels = pixels
    self.transparentColor = transparentColor
  }

  /// The picture with every pixel of its transparent colour white.
  public var onWhite: Picture {
    guard let color = transparentColor else { return self }
    var pixels = pixels
    for i in stride(from: 0, to: pixels.count, by: 3)
    where pixels[i] == color.red && pixels[i + 1] == color.green && pixels[i + 2] == color.blue {
      for channel in 0..<3 { pixels[i + channel] = 255 }
    }
    return Picture(width: width, height: height, pixels: pixels)
  }
}
