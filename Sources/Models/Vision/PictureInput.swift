import AttuneTensor
import Core

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

/// What a vision tower gives to the decoder, each `[places, hidden]`.
public struct VisionFeatures {
  public let merged: Tensor
  /// Injected after decoder layer 0, 1, ...
  public let deepstack: [Tensor]
}

/// Turns pictures into rows of hidden states.
protocol VisionTower: AnyObject {
  /// Linear layers that an adapter can stand beside.
  var linears: [Linear] { get }

  /// The features of all pictures, one after the other.
  func callAsFunction(_ tape: Tape, _ pictures: [PictureInput], observe: LayerObserver?) -> VisionFeatures
}

extension VisionArchitecture {
  /// The positions of a picture's places when the first of them would stand at `start`, and the position that follows.
  ///
  /// - Throws: `.request`, without a name, if the picture is not one that the tower takes.
  public func layOut(_ picture: PictureInput, from start: Int) throws -> (positions: [TokenPosition], next: Int) {
    switch self {
    case .qwen3VL(let vision):
      let merge = vision.mergeSize
      guard case .patches(let frames, let height, let width) = picture.kind,
        picture.values.count == picture.count * vision.patchWidth, height % merge == 0, width % merge == 0
      else { throw AttuneError.request("it was cut into patches of another size than the model's") }
      let (rows, columns) = (height / merge, width / merge)
      let positions = (0..<frames * rows * columns).map { place in
        TokenPosition(
          time: Int32(start + place / (rows * columns)), height: Int32(start + place / columns % rows),
          width: Int32(start + place % columns))
      }
      // The next token follows the largest position used.
      return (positions, start + max(rows, columns))
    case .deepSeekVL2(let vision):
      guard case .tiles(let across, let down) = picture.kind,
        picture.values.count == picture.count * 3 * vision.viewSize * vision.viewSize
      else { throw AttuneError.request("it was cut into tiles of another size than the model's") }
      let places = vision.places(across: across, down: down)
      return ((0..<places).map { TokenPosition(start + $0) }, start + places)
    }
  }
}
