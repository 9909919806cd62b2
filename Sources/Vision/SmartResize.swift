import Core

/// The sizes that Qwen's processors choose: multiples of a factor, near the picture's own proportions, with a number of
/// pixels between two limits.
public enum SmartResize {
  /// More than this and the longer side is no picture any more.
  public static let largestAspectRatio = 200.0

  /// The size for one picture.
  ///
  /// - Parameters:
  ///   - factor: patch size times merge size; both results are multiples of it.
  ///   - minPixels: at least 1.
  ///   - maxPixels: may be exceeded where a side would fall below `factor`.
  /// - Returns: nil when one side is more than 200 times the other.
  public static func size(
    height: Int, width: Int, factor: Int, minPixels: Int, maxPixels: Int
  ) -> (height: Int, width: Int)? {
    size(
      frames: 1, paddedFrames: 1, height: height, width: width, factor: factor, minPixels: minPixels,
      maxPixels: maxPixels)
  }

  /// The size for the frames of one video, the limits being those of all its frames together.
  ///
  /// Follows `smart_resize` of Qwen3-VL's video processor in transformers 5.23: frames smaller than `factor` are
  /// enlarged first, and an odd number of temporal patches' frames counts as rounded half to even.
  ///
  /// - Parameter temporalFactor: frames in a temporal patch.
  /// - Returns: nil when there are fewer frames than `temporalFactor`, or one side is more than 200 times the other.
  public static func videoSize(
    frames: Int, height: Int, width: Int, temporalFactor: Int, factor: Int, minPixels: Int, maxPixels: Int
  ) -> (height: Int, width: Int)? {
    precondition(temporalFactor > 0 && height > 0 && width > 0 && factor > 0, "\(temporalFactor), \(width) x \(height)")
    guard frames >= temporalFactor else { return nil }
    var (height, width) = (height, width)
    if height < factor || width < factor {
      let scale = max(Double(factor) / Double(height), Double(factor) / Double(width))
      (height, width) = (Int(Double(height) * scale), Int(Double(width) * scale))
    }
    let padded = (Double(frames) / Double(temporalFactor)).rounded(.toNearestOrEven) * Double(temporalFactor)
    return size(
      frames: frames, paddedFrames: padded, height: height, width: width, factor: factor, minPixels: minPixels,
      maxPixels: maxPixels)
  }

  private static func size(
    frames: Int, paddedFrames: Double, height: Int, width: Int, factor: Int, minPixels: Int, maxPixels: Int
  ) -> (height: Int, width: Int)? {
    precondition(
      frames > 0 && height > 0 && width > 0 && factor > 0 && minPixels > 0 && maxPixels > 0,
      "a size for \(frames) frames of \(width) x \(height), factor \(factor)")
    let (tall, wide, step) = (Double(height), Double(width), Double(factor))
    guard max(tall, wide) / min(tall, wide) <= largestAspectRatio else { return nil }
    var rows = (tall / step).rounded(.toNearestOrEven) * step
    var columns = (wide / step).rounded(.toNearestOrEven) * step
    let volume = Double(frames) * tall * wide
    if paddedFrames * rows * columns > Double(maxPixels) {
      let ratio = (volume / Double(maxPixels)).squareRoot()
      rows = max(step, (tall / ratio / step).rounded(.down) * step)
      columns = max(step, (wide / ratio / step).rounded(.down) * step)
    } else if paddedFrames * rows * columns < Double(minPixels) {
      let ratio = (Double(minPixels) / volume).squareRoot()
      rows = (tall * ratio / step).rounded(.up) * step
      columns = (wide * ratio / step).rounded(.up) * step
    }
    return (Int(rows), Int(columns))
  }
}
