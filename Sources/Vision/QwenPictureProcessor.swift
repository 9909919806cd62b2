import Core

/// The picture processor of Qwen2-VL, Qwen2.5-VL and Qwen3-VL.
///
/// Resizes to a multiple of patch size times merge size (`SmartResize`, Pillow's filters), rescales, normalizes, cuts
/// into patches. Equal to the Pillow-backed processor of the transformers library; its torchvision-backed twin differs
/// by a level here and there, because it does not clip between the two passes of a resize.
public struct QwenPictureProcessor: Sendable, Equatable {
  /// Side of a patch in pixels.
  public let patchSize: Int
  /// Frames in a patch; a picture is repeated to fill it.
  public let temporalPatchSize: Int
  /// Patches that become one token, along each side.
  public let mergeSize: Int
  /// Pixels that a resized picture has at least and at most.
  public let minPixels: Int
  public let maxPixels: Int
  /// Red, green, blue, on the scale after rescaling.
  public let mean: [Double]
  public let std: [Double]
  /// What a level of 0...255 is multiplied with.
  public let rescaleFactor: Double
  public let filter: Resampling
  public let resizes: Bool
  public let rescales: Bool
  public let normalizes: Bool
  /// Whether pixels of a picture's transparent colour become white.
  public let putsOnWhite: Bool

  /// A processor from its numbers.
  ///
  /// - Parameters:
  ///   - patchSize: at least 1, as temporal patch and merge size.
  ///   - minPixels: at least 1 and at most `maxPixels`.
  ///   - mean: three numbers, as `std`, which are not zero.
  public init(
    patchSize: Int, temporalPatchSize: Int, mergeSize: Int, minPixels: Int, maxPixels: Int, mean: [Double],
    std: [Double], rescaleFactor: Double = 1 / 255, filter: Resampling = .bicubic, resizes: Bool = true,
    rescales: Bool = true, normalizes: Bool = true, putsOnWhite: Bool = true
  ) {
    precondition(
      patchSize > 0 && temporalPatchSize > 0 && mergeSize > 0 && minPixels > 0 && minPixels <= maxPixels,
      "patch \(patchSize), temporal patch \(temporalPatchSize), merge \(mergeSize), pixels \(minPixels)...\(maxPixels)")
    precondition(mean.count == 3 && std.count == 3 && !std.contains(0), "mean \(mean), std \(std)")
    self.patchSize = patchSize
    self.temporalPatchSize = temporalPatchSize
    self.mergeSize = mergeSize
    self.minPixels = minPixels
    self.maxPixels = maxPixels
    self.mean = mean
    self.std = std
    self.rescaleFactor = rescaleFactor
    self.filter = filter
    self.resizes = resizes
    self.rescales = rescales
    self.normalizes = normalizes
    self.putsOnWhite = putsOnWhite
  }

  /// Both sides of a processed picture are multiples of this.
  public var sizeFactor: Int { patchSize * mergeSize }

  /// Values in one row of the patch matrix.
  public var patchLength: Int { 3 * temporalPatchSize * patchSize * patchSize }

  /// Tokens of a picture with this grid in the language model's input: t * h * w / merge^2.
  public func tokensPerPicture(_ grid: PatchGrid) -> Int { grid.tokenCount(mergeSize: mergeSize) }

  /// The size that a picture of `width` x `height` pixels is brought to.
  ///
  /// - Throws: `AttuneError` (`.request`): one side more than 200 times the other; without resizing, a side that is no
  ///   multiple of `sizeFactor`.
  public func size(width: Int, height: Int, name: String) throws -> (width: Int, height: Int) {
    let place = AttuneError.Location(file: name)
    guard resizes else {
      guard width % sizeFactor == 0, height % sizeFactor == 0 else {
        throw AttuneError.request(
          "the picture has \(width) x \(height) pixels; without resizing both sides must be multiples of \(sizeFactor)",
          at: place, hint: "set do_resize to true in preprocessor_config.json, or resize the picture")
      }
      return (width, height)
    }
    guard
      let size = SmartResize.size(
        height: height, width: width, factor: sizeFactor, minPixels: minPixels, maxPixels: maxPixels)
    else {
      throw AttuneError.request(
        "the picture has \(width) x \(height) pixels; one side may be at most 200 times the other", at: place,
        hint: "crop the picture")
    }
    return (size.width, size.height)
  }

  /// The grid that a picture of `width` x `height` pixels gets; what packing needs before any pixel is decoded.
  ///
  /// - Throws: as `size(width:height:name:)`.
  public func grid(width: Int, height: Int, name: String) throws -> PatchGrid {
    let size = try size(width: width, height: height, name: name)
    return PatchGrid(t: 1, h: size.height / patchSize, w: size.width / patchSize)
  }

  /// `picture` at the size that the encoder takes; itself if it has it.
  ///
  /// - Throws: as `size(width:height:name:)`.
  public func resized(_ picture: Picture, name: String) throws -> Picture {
    let size = try size(width: picture.width, height: picture.height, name: name)
    return filter.resize(putsOnWhite ? picture.onWhite : picture, width: size.width, height: size.height)
  }

  /// One picture's patches.
  ///
  /// - Parameters:
  ///   - picture: decoded with `PictureDecodingOptions.reference` for equality with the reference.
  ///   - name: what errors call it.
  /// - Throws: as `size(width:height:name:)`.
  public func process(_ picture: Picture, name: String = "the picture") throws -> ProcessedPicture {
    guard picture.width > 0, picture.height > 0 else {
      throw AttuneError.request(
        "the picture has \(picture.width) x \(picture.height) pixels; both sides must be at least 1",
        at: .init(file: name))
    }
    let (patches, grid) = matrix.patches(of: [try resized(picture, name: name)])
    return ProcessedPicture(patches: patches, grid: grid)
  }

  /// Several pictures: their patches one after the other, and a grid each.
  ///
  /// - Throws: as `size(width:height:name:)`.
  public func process(_ pictures: [Picture], names: [String] = []) throws -> (patches: [Float], grids: [PatchGrid]) {
    var patches: [Float] = []
    var grids: [PatchGrid] = []
    for (i, picture) in pictures.enumerated() {
      let one = try process(picture, name: i < names.count ? names[i] : "picture \(i + 1)")
      patches += one.patches
      grids.append(one.grid)
    }
    return (patches, grids)
  }

  /// Level to value for each channel, `[3, 256]`, in the reference's steps: the rescaled level is rounded to float32,
  /// then normalized in float32.
  private var values: [Float] {
    (0..<3).flatMap { channel in
      (0..<256).map { level in
        let value = rescales ? Float(Double(level) * rescaleFactor) : Float(level)
        return normalizes ? (value - Float(mean[channel])) / Float(std[channel]) : value
      }
    }
  }

  private var matrix: PatchMatrix {
    PatchMatrix(patchSize: patchSize, temporalPatchSize: temporalPatchSize, mergeSize: mergeSize, values: values)
  }
}
