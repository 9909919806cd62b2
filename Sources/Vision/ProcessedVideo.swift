import Core

/// Frames of a film, and where in it they stood.
public struct VideoFrames: Sendable, Equatable {
  public var pictures: [Picture]
  /// Each picture's place in the film, ascending, counted from 0.
  public var indices: [Int]
  /// Frames a second of the film; nil if unknown.
  public var frameRate: Double?

  public init(pictures: [Picture], indices: [Int], frameRate: Double?) {
    precondition(pictures.count == indices.count, "\(pictures.count) pictures, \(indices.count) places")
    self.pictures = pictures
    self.indices = indices
    self.frameRate = frameRate
  }
}

/// A film as Qwen3-VL's vision encoder sees it. Each temporal patch is a vision block of its own in the language model's
/// input, behind the text of its moment: `patches(ofTemporalPatch:)` and `blockGrid` are what one block needs.
public struct ProcessedVideo: Sendable, Equatable {
  /// `[t * h * w, channels * temporal patch * patch * patch]`, float32, as in `ProcessedPicture`; temporal patches one
  /// after the other.
  public var patches: [Float]
  public var grid: PatchGrid
  /// The frames that were taken of the film, counted from 0, without the repeated last one.
  public var indices: [Int]
  /// `[t]`, seconds from the film's start to the middle of each temporal patch; the prompt has them with one decimal.
  public var timestamps: [Double]

  public init(patches: [Float], grid: PatchGrid, indices: [Int], timestamps: [Double]) {
    precondition(timestamps.count == grid.t, "\(timestamps.count) moments for \(grid.t) temporal patches")
    self.patches = patches
    self.grid = grid
    self.indices = indices
    self.timestamps = timestamps
  }

  /// The grid of one temporal patch: `[1, h, w]`.
  public var blockGrid: PatchGrid { PatchGrid(t: 1, h: grid.h, w: grid.w) }

  /// The rows of temporal patch `index`, `[h * w, row]`: the same values that a picture of these frames would have.
  public func patches(ofTemporalPatch index: Int) -> ArraySlice<Float> {
    precondition((0..<grid.t).contains(index), "temporal patch \(index) of \(grid.t)")
    let count = patches.count / grid.t
    return patches[(index * count)..<((index + 1) * count)]
  }

  /// Temporal patch `index` as a picture.
  public func block(_ index: Int) -> ProcessedPicture {
    ProcessedPicture(patches: Array(patches(ofTemporalPatch: index)), grid: blockGrid)
  }
}
