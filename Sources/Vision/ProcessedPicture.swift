/// A picture as Qwen's vision encoder sees it: a grid of patches, each flattened into a row.
public struct ProcessedPicture: Sendable, Equatable {
  /// `[t * h * w, channels * temporal patch * patch * patch]`, float32: one row a patch, the patches of each
  /// `merge x merge` square next to each other; within a row channel, frame, line, column.
  public var patches: [Float]
  public var grid: PatchGrid

  public init(patches: [Float], grid: PatchGrid) {
    self.patches = patches
    self.grid = grid
  }
}

/// How many patches a picture has in time, down and across.
public struct PatchGrid: Sendable, Hashable {
  public var t: Int
  public var h: Int
  public var w: Int

  public init(t: Int, h: Int, w: Int) {
    self.t = t
    self.h = h
    self.w = w
  }

  /// Rows of the patch matrix.
  public var patchCount: Int { t * h * w }

  /// Places that the picture takes in the language model's input.
  public func tokenCount(mergeSize: Int) -> Int { patchCount / (mergeSize * mergeSize) }
}
