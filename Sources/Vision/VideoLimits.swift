/// How much of a film is read; what goes beyond is refused, not cut.
public struct VideoLimits: Sendable, Equatable {
  /// Frames that are kept.
  public var maximumFrames = 2048
  /// Pixels a side of a frame may have.
  public var maximumSide = 16_384
  /// Pixels a frame may have.
  public var maximumPixels = 1 << 26
  /// Bytes of all kept frames together, 8-bit RGB.
  public var maximumBytes = 1 << 31
  /// Seconds that one run of `ffmpeg` or `ffprobe` may take.
  public var seconds = 300.0

  public init() {}
}
