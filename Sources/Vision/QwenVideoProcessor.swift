import Core

/// The video processor of Qwen3-VL: frames to patches, with the moment of each temporal patch.
///
/// Samples frames, resizes them to one size (`SmartResize.videoSize`: the pixels of all frames together keep within the
/// limits), rescales and normalizes in one step, cuts into patches of `temporalPatchSize` frames; an odd last frame is
/// repeated. Follows `Qwen3VLVideoProcessor` and `Qwen3VLProcessor` of transformers 5.23. The library resizes with
/// torchvision, here it is Pillow's arithmetic: equal but for one level in fewer than one value of a hundred.
public struct QwenVideoProcessor: Sendable, Equatable {
  /// Frames a second that the library takes a film to have when nobody says.
  public static let assumedFrameRate = 24.0

  /// Side of a patch in pixels.
  public var patchSize = 16
  /// Frames in a patch.
  public var temporalPatchSize = 2
  /// Patches that become one token, along each side.
  public var mergeSize = 2
  /// Pixels that all frames together have at least and at most.
  public var minPixels = 128 * 32 * 32
  public var maxPixels = 768 * 32 * 32
  /// Whether each frame has at most `maxVideoTokens` tokens, and an even share of `maxPixels`.
  public var capsPixelsPerFrame = false
  public var maxVideoTokens = 768
  /// Whether frames are sampled at all (`do_sample_frames`).
  public var samples = true
  /// Frames to take for each second of film; nil if `frameCount` says how many, or if only the two limits do.
  public var sampledRate: Double? = 2
  public var frameCount: Int?
  public var minFrames = 4
  public var maxFrames = 768
  /// Red, green, blue, on the scale after rescaling.
  public var mean = [0.5, 0.5, 0.5]
  public var std = [0.5, 0.5, 0.5]
  public var rescaleFactor = 1.0 / 255
  public var filter = Resampling.bicubic
  public var resizes = true
  public var rescales = true
  public var normalizes = true

  /// The library's defaults.
  public init() {}

  /// Both sides of a processed frame are multiples of this.
  public var sizeFactor: Int { patchSize * mergeSize }

  /// Values in one row of the patch matrix.
  public var patchLength: Int { matrix.rowLength }

  /// The frames that are taken of a film, ascending, counted from 0.
  ///
  /// `count / frameRate * sampledRate` frames, at least `minFrames` and at most `maxFrames` or all there are, evenly from
  /// the first to the last.
  ///
  /// - Parameters:
  ///   - count: frames of the film, at least 1.
  ///   - frameRate: frames a second; nil is taken for 24, as by the library.
  public func sampledIndices(count: Int, frameRate: Double?) -> [Int] {
    precondition(count > 0 && frameRate.map { $0 > 0 && $0.isFinite } ?? true, "\(count) frames at \(frameRate ?? 0)")
    guard samples else { return Array(0..<count) }
    let wanted: Int
    if let frameCount {
      wanted = frameCount
    } else if let sampledRate {
      let exact = Double(count) / (frameRate ?? Self.assumedFrameRate) * sampledRate
      wanted = min(max(Int(min(exact, 1e9)), minFrames), maxFrames, count)
    } else {
      wanted = min(max(count, minFrames), maxFrames)
    }
    guard wanted > 1 else { return [0] }
    // numpy.linspace, rounded half to even.
    let step = Double(count - 1) / Double(wanted - 1)
    return (0..<wanted).map {
      $0 == wanted - 1 ? count - 1 : Int((Double($0) * step).rounded(.toNearestOrEven))
    }
  }

  /// The size that sampled frames of `width` x `height` pixels are brought to.
  ///
  /// - Throws: `AttuneError` (`.request`): fewer frames than a temporal patch has, one side more than 200 times the
  ///   other; without resizing, a side that is no multiple of `sizeFactor`.
  public func size(frames: Int, width: Int, height: Int, name: String) throws -> (width: Int, height: Int) {
    let place = AttuneError.Location(file: name)
    guard width > 0, height > 0 else {
      throw AttuneError.request(
        "the frames have \(width) x \(height) pixels; both sides must be at least 1", at: place)
    }
    guard resizes else {
      guard width % sizeFactor == 0, height % sizeFactor == 0 else {
        throw AttuneError.request(
          "the frames have \(width) x \(height) pixels; without resizing both sides must be multiples of \(sizeFactor)",
          at: place, hint: "set do_resize to true in video_preprocessor_config.json, or resize the frames")
      }
      return (width, height)
    }
    guard frames >= temporalPatchSize else {
      throw AttuneError.request(
        "found \(frames) frame\(frames == 1 ? "" : "s"), expected at least \(temporalPatchSize)", at: place,
        hint: "a single frame is a picture: give it as one")
    }
    guard
      let size = SmartResize.videoSize(
        frames: frames, height: height, width: width, temporalFactor: temporalPatchSize, factor: sizeFactor,
        minPixels: minPixels, maxPixels: largestVolume(frames: frames))
    else {
      throw AttuneError.request(
        "the frames have \(width) x \(height) pixels; one side may be at most 200 times the other", at: place,
        hint: "crop the frames")
    }
    return (size.width, size.height)
  }

  /// The grid that sampled frames of `width` x `height` pixels get; what packing needs before any pixel is decoded.
  ///
  /// - Throws: as `size(frames:width:height:name:)`.
  public func grid(frames: Int, width: Int, height: Int, name: String) throws -> PatchGrid {
    let size = try size(frames: frames, width: width, height: height, name: name)
    return PatchGrid(
      t: (frames + temporalPatchSize - 1) / temporalPatchSize, h: size.height / patchSize, w: size.width / patchSize)
  }

  /// A film's patches.
  ///
  /// A plain list of frames without `frameRate` is treated as the library treats a list of decoded frames without
  /// metadata: as a film of 24 frames a second, of which 2 a second are taken and at least 4 (of 8 frames the first, third,
  /// sixth and last), unless the configuration says `"do_sample_frames": false`, which keeps every frame. (A list of
  /// paths the library takes only with that setting.)
  ///
  /// - Parameters:
  ///   - frames: all frames in order, of one size, decoded with `PictureDecodingOptions.reference`.
  ///   - frameRate: frames a second; nil if unknown.
  ///   - name: what errors call the film.
  /// - Throws: `AttuneError` (`.request`): no frames, frames of different sizes, and as
  ///   `size(frames:width:height:name:)`.
  public func process(
    _ frames: [Picture], frameRate: Double? = nil, name: String = "the video"
  ) throws -> ProcessedVideo {
    guard !frames.isEmpty else { throw AttuneError.request("the video has no frames", at: .init(file: name)) }
    if let frameRate, !(frameRate > 0 && frameRate.isFinite) {
      throw AttuneError.request("the frame rate is \(frameRate), expected more than 0", at: .init(file: name))
    }
    let indices = sampledIndices(count: frames.count, frameRate: frameRate)
    return try process(
      sampled: VideoFrames(pictures: indices.map { frames[$0] }, indices: indices, frameRate: frameRate), name: name)
  }

  /// The patches of frames that were sampled already, with `sampledIndices(count:frameRate:)` or otherwise.
  ///
  /// - Throws: as `process(_:frameRate:name:)`.
  public func process(sampled film: VideoFrames, name: String = "the video") throws -> ProcessedVideo {
    guard let first = film.pictures.first else {
      throw AttuneError.request("the video has no frames", at: .init(file: name))
    }
    for (frame, place) in zip(film.pictures, film.indices) {
      try checkSize(frame, (first.width, first.height), name: "\(name), frame \(place + 1)")
    }
    var film = film
    film.pictures = try film.pictures.map { try resized($0, frames: film.pictures.count, name: name) }
    return process(resized: film)
  }

  /// All frames of a film have one size.
  func checkSize(_ frame: Picture, _ first: (width: Int, height: Int), name: String) throws {
    guard (frame.width, frame.height) == first else {
      throw AttuneError.request(
        "the frame has \(frame.width) x \(frame.height) pixels, the one before it \(first.width) x \(first.height); all frames of a film have one size",
        at: .init(file: name), hint: "resize the frames, or give them as single pictures")
    }
  }

  /// One of `frames` sampled frames at the size that the encoder takes.
  func resized(_ frame: Picture, frames: Int, name: String) throws -> Picture {
    let size = try size(frames: frames, width: frame.width, height: frame.height, name: name)
    return filter.resize(frame, width: size.width, height: size.height)
  }

  /// The patches of frames that have their size.
  func process(resized film: VideoFrames) -> ProcessedVideo {
    let (patches, grid) = matrix.patches(of: film.pictures)
    return ProcessedVideo(
      patches: patches, grid: grid, indices: film.indices, timestamps: timestamps(film.indices, film.frameRate))
  }

  /// Seconds from the film's start to the middle of each temporal patch: the mean of its first and last frame's time.
  private func timestamps(_ indices: [Int], _ frameRate: Double?) -> [Double] {
    let rate = frameRate ?? Self.assumedFrameRate
    return stride(from: 0, to: indices.count, by: temporalPatchSize).map { start in
      let last = min(start + temporalPatchSize, indices.count) - 1
      return (Double(indices[start]) / rate + Double(indices[last]) / rate) / 2
    }
  }

  private func largestVolume(frames: Int) -> Int {
    guard capsPixelsPerFrame else { return maxPixels }
    let cap = min(maxVideoTokens * sizeFactor * sizeFactor, maxPixels / frames)
    return max(cap, Int(Double(minPixels) * 1.05)) * frames
  }

  private var matrix: PatchMatrix {
    PatchMatrix(patchSize: patchSize, temporalPatchSize: temporalPatchSize, mergeSize: mergeSize, values: values)
  }

  /// Level to value, in the library's steps: where both are asked for, mean and deviation are brought to the scale of
  /// levels in float32, and the level itself is normalized.
  private var values: [Float] {
    (0..<3).flatMap { channel in
      (0..<256).map { level in
        guard normalizes else { return rescales ? Float(level) * Float(rescaleFactor) : Float(level) }
        let scale = rescales ? Float(1 / rescaleFactor) : 1
        return (Float(level) - Float(mean[channel]) * scale) / (Float(std[channel]) * scale)
      }
    }
  }
}
