import AttuneTensor

/// One picture, or one pair of a film's frames, as a vision tower takes it.
public struct PictureInput: Sendable {
  public enum Kind: Sendable, Equatable {
    /// Qwen3-VL: values are `[frames * height * width, channels * temporal * patch * patch]`, patches in merge order.
    case patches(frames: Int, height: Int, width: Int)
    /// DeepSeek-VL2: values are `[1 + across * down, 3, side, side]`: the whole picture, then its tiles row by row.
    case tiles(across: Int, down: Int)
  }

  public let values: [Float]
  public let kind: Kind
  /// Whose picture it is, for dropout: its rows in the tower are counted from there on.
  public var origin = RowPlace(tree: 0, row: 0)

  public init(values: [Float], kind: Kind) {
    self.values = values
    self.kind = kind
  }

  /// Patches in merge order; `grid` counts them along time, height and width.
  public init(patches: [Float], grid: (frames: Int, height: Int, width: Int)) {
    self.init(values: patches, kind: .patches(frames: grid.frames, height: grid.height, width: grid.width))
  }

  /// Patches of a `.patches` picture, views of a `.tiles` picture.
  public var count: Int {
    switch kind {
    case .patches(let frames, let height, let width): frames * height * width
    case .tiles(let across, let down): 1 + across * down
    }
  }
}

extension RowPlace {
  /// This place and those that follow it.
  func counted(_ count: Int) -> [RowPlace] { (0..<count).map { RowPlace(tree: Int(tree), row: Int(row) + $0) } }
}
