/// How stored samples become 8-bit RGB, and how large a picture may be.
public struct PictureDecodingOptions: Sendable, Equatable {
  /// What becomes of an alpha channel, a transparent palette entry or a transparent colour.
  public enum Transparency: Sendable {
    /// The stored colour stays as it is (Pillow's `convert("RGB")`); a transparent colour is kept beside the pixels, as Pillow
    /// does (`Picture.transparentColor`).
    case dropped
    /// Blended onto white with Pillow's rounding (`alpha_composite`).
    case onWhite
  }

  /// How 16-bit grey becomes 8-bit. (16-bit colour, and grey with alpha, always gives its high byte.)
  public enum SixteenBitGrey: Sendable {
    /// Everything above 255 is white: Pillow's conversion, here so that inputs equal the reference's.
    case clipped
    /// The high byte: the picture as it looks.
    case highByte
  }

  public var transparency: Transparency
  public var sixteenBitGrey: SixteenBitGrey
  /// Whether the EXIF orientation is applied.
  public var upright: Bool
  /// Pixels a side may have, at most 65535.
  public var maximumSide: Int
  /// Pixels the picture may have.
  public var maximumPixels: Int
  /// Bytes the file may have.
  public var maximumBytes: Int

  /// The limits are checked against the header, before anything is allocated. Unless said otherwise: sides of
  /// 16,384, 64 Mi pixels (8192 x 8192, four times what any model's processor keeps), files of 512 MiB.
  public init(
    transparency: Transparency = .dropped, sixteenBitGrey: SixteenBitGrey = .highByte, upright: Bool = true,
    maximumSide: Int = 16_384, maximumPixels: Int = 1 << 26, maximumBytes: Int = 1 << 29
  ) {
    precondition(
      (1...65_535).contains(maximumSide) && maximumPixels > 0 && maximumBytes > 0,
      "limits of \(maximumSide), \(maximumPixels), \(maximumBytes)")
    self.transparency = transparency
    self.sixteenBitGrey = sixteenBitGrey
    self.upright = upright
    self.maximumSide = maximumSide
    self.maximumPixels = maximumPixels
    self.maximumBytes = maximumBytes
  }

  /// For people's eyes: upright, alpha dropped, 16-bit grey by its high byte.
  public static let display = PictureDecodingOptions()
  /// What a model's processor gets, equal to the reference's loading of a picture (Pillow: EXIF transposed, then
  /// `convert("RGB")`): upright, alpha dropped, 16-bit grey clipped.
  public static let reference = PictureDecodingOptions(sixteenBitGrey: .clipped)
}
