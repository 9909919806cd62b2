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
      frames: 1, height: height, width: width, temporalFactor: 1, factor: factor, minPixels: minPixels,
      maxPixels: maxPixels)
  }

  /// The size for the frames of one video, the limits being those of all its frames together.
  ///
  /// - Returns: nil when a side is smaller than `factor`, or more than 200 times the other.
  public static func videoSize(
    frames: Int, height: Int, width: Int, temporalFactor: Int, factor: Int, minPixels: Int, maxPixels: Int
  ) -> (height: Int, width: Int)? {
    guard height >= factor, width >= factor else { return nil }
    return size(
      frames: frames, height: height, width: width, temporalFactor: temporalFactor, factor: factor,
      minPixels: minPixels, maxPixels: maxPixels)
  }

  private static func size(
    frames: Int, height: Int, width: Int, temporalFactor: Int, factor: Int, minPixels: Int, maxPixels: Int
  ) -> (height: Int, width: Int)? {
    precondition(
      frames > 0 && height > 0 && width > 0 && temporalFactor > 0 && factor > 0 && minPixels > 0 && maxPixels > 0,
      "a size for \(frames) frames of \(width) x \(height), factors \(temporalFactor) and \(factor)")
    let (tall, wide, step) = (Double(height), Double(width), Double(factor))
    guard max(tall, wide) / min(tall, wide) <= largestAspectRatio else { return nil }
    let long = (Double(frames) / Double(temporalFactor)).rounded(.up) * Double(temporalFactor)
    var rows = (tall / step).rounded(.toNearestOrEven) * step
    var columns = (wide / step).rounded(.toNearestOrEven) * step
    let volume = Double(frames) * tall * wide
    if long * rows * columns > Double(maxPixels) {
      let ratio = (volume / Double(maxPixels)).squareRoot()
      rows = max(step, (tall / ratio / step).rounded(.down) * step)
      columns = max(step, (wide / ratio / step).rounded(.down) * step)
    } else if long * rows * columns < Double(minPixels) {
      let ratio = (Double(minPixels) / volume).squareRoot()
      rows = (tall * ratio / step).rounded(.up) * step
      columns = (wide * ratio / step).rounded(.up) * step
    }
    return (Int(rows), Int(columns))
  }
}
