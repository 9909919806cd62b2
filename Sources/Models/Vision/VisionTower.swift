import AttuneTensor
import Core

/// What sees pictures, by family.
public enum VisionArchitecture: Sendable {
  case qwen3VL(Qwen3VLVisionConfiguration)
  case deepSeekVL2(DeepSeekVL2VisionConfiguration)
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
