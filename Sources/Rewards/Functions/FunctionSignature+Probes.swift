import Core

extension FunctionSignature {
  /// The sample with what the arguments ask for and it lacks: columns, pictures, entropies. So that a validator's samples
  /// can be scored.
  func completed(_ sample: RewardSample) -> RewardSample {
    var sample = sample
    for argument in arguments {
      switch argument.source {
      case .column(let name, let form, nil): sample.columns[name] = form.example
      case .tokens(.entropies) where sample.entropies == nil:
        sample.entropies = Array(repeating: 0.5, count: sample.tokenIDs.count)
      case .picture(_, let index, _), .pictureBytes(_, let index):
        while sample.images.count <= min(index, 64) {
          var image = RewardImage(Picture(width: 3, height: 2, pixels: (0..<18).map { UInt8($0) }))
          (image.modelWidth, image.modelHeight) = (28, 28)
          image.encoded = [0]
          sample.images.append(image)
        }
      default: break
      }
    }
    return sample
  }
}

extension ValueForm {
  /// A value that can be passed so.
  fileprivate var example: JSON {
    switch self {
    case .number(.bool): true
    case .number: 1
    case .text, .size: "42"
    case .list, .count: [1, 2]
    }
  }
}
