/// A decoded picture: 8-bit RGB, upright, rows from the top without gaps.
public struct Picture: Sendable, Equatable {
  public let width: Int
  public let height: Int
  /// `[height, width, 3]`.
  public let pixels: [UInt8]

  public init(width: Int, height: Int, pixels: [UInt8]) {
    precondition(
      pixels.count == width * height * 3,
      "a \(width) x \(height) picture has \(width * height * 3) bytes, not \(pixels.count)")
    self.width = width
    self.height = height
    self.pixels = pixels
  }
}
