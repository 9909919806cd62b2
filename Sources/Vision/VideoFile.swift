import Core

/// Frames of films in files.
public enum VideoFile {
  /// Frames of a container file (through `ffmpeg`, which has to be on the PATH) or of a folder of frames, taken evenly
  /// from the first to the last.
  ///
  /// - Parameters:
  ///   - path: a video file, or a folder of PNG, JPEG and WebP files (see `VideoSource`).
  ///   - fps: frames to take for each second of film (of a folder: of 24 frames); nil for every frame.
  ///   - maxFrames: at least 1.
  /// - Throws: as `VideoSource.frames`.
  public static func frames(
    path: String, fps: Double? = nil, maxFrames: Int = 768, limits: VideoLimits = VideoLimits()
  ) throws -> VideoFrames {
    precondition(maxFrames > 0 && fps.map { $0 > 0 && $0.isFinite } ?? true, "\(fps ?? 0) a second, \(maxFrames)")
    var sampling = QwenVideoProcessor()
    sampling.sampledRate = fps
    sampling.minFrames = 1
    sampling.maxFrames = maxFrames
    return try VideoSource(path: path).frames(limits: limits, choosing: sampling.sampledIndices)
  }
}

extension QwenVideoProcessor {
  /// A film's patches, from its file or its frames' files: only frames that count are decoded, each is resized at once.
  ///
  /// - Parameter frameRate: frames a second of a list; nil is taken for 24, see `process(_:frameRate:name:)`.
  /// - Throws: as `VideoSource.frames` and `process(_:frameRate:name:)`.
  public func process(
    _ source: VideoSource, frameRate: Double? = nil, limits: VideoLimits = VideoLimits()
  ) throws -> ProcessedVideo {
    var first: (width: Int, height: Int)?
    let film = try source.frames(
      frameRate: frameRate, limits: limits, choosing: sampledIndices,
      each: { frame, chosen, name in
        if let first { try checkSize(frame, first, name: name) }
        first = (frame.width, frame.height)
        return try resized(frame, frames: chosen, name: source.name)
      })
    return process(resized: film)
  }
}
