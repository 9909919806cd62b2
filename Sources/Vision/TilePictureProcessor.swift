import Core

/// The picture processor of DeepSeek-VL2: the whole picture in a square view, and its details in further square tiles.
///
/// Among the candidate resolutions the one is chosen that keeps the most pixels; the picture is fitted into it (Pillow's
/// `ImageOps.pad`) and cut into tiles of the base side. Equal to the published `DeepseekVLV2Processor`.
public struct TilePictureProcessor: Sendable, Equatable {
  /// Pixels, each side a multiple of `baseSide`.
  public struct Resolution: Sendable, Hashable {
    public var width: Int
    public var height: Int

    public init(width: Int, height: Int) {
      self.width = width
      self.height = height
    }
  }

  /// In one conversation, pictures are cut into tiles if there are at most so many; more are seen whole.
  public static let mostTiledPictures = 2

  /// Side of every view in pixels: the first candidate's width.
  public let baseSide: Int
  /// In the order of the configuration, which decides between equals.
  public let candidates: [Resolution]
  /// Red, green, blue, on the scale of 0...1.
  public let mean: [Double]
  public let std: [Double]
  public let normalizes: Bool
  /// Side of a patch in pixels.
  public let patchSize: Int
  /// Patches that become one token, along each side.
  public let downsampleRatio: Int
  /// The text that stands for one picture in a prompt.
  public let imageToken: String

  /// A processor from its numbers.
  ///
  /// - Parameters:
  ///   - candidates: at least one; every side is a multiple of the first one's width.
  ///   - std: three numbers, none of them zero.
  public init(
    candidates: [Resolution], mean: [Double] = [0.5, 0.5, 0.5], std: [Double] = [0.5, 0.5, 0.5],
    normalizes: Bool = true, patchSize: Int = 16, downsampleRatio: Int = 2, imageToken: String = "<image>"
  ) {
    precondition(!candidates.isEmpty, "no candidate resolutions")
    let base = candidates[0].width
    precondition(
      base > 0
        && candidates.allSatisfy { $0.width > 0 && $0.height > 0 && $0.width % base == 0 && $0.height % base == 0 },
      "candidates \(candidates)")
    precondition(
      patchSize > 0 && patchSize <= base && downsampleRatio > 0, "patch \(patchSize), ratio \(downsampleRatio)")
    precondition(mean.count == 3 && std.count == 3 && !std.contains(0), "mean \(mean), std \(std)")
    baseSide = base
    self.candidates = candidates
    self.mean = mean
    self.std = std
    self.normalizes = normalizes
    self.patchSize = patchSize
    self.downsampleRatio = downsampleRatio
    self.imageToken = imageToken
  }

  /// The candidate that keeps the most of a picture's pixels; among equals the one that wastes the fewest, then the
  /// earliest. Nil if the picture would vanish in every one.
  public func resolution(width: Int, height: Int) -> Resolution? {
    guard width > 0, height > 0 else { return nil }
    var best: (resolution: Resolution, kept: Int, wasted: Int)?
    for candidate in candidates {
      let scale = min(Double(candidate.width) / Double(width), Double(candidate.height) / Double(height))
      let kept = min(Int(Double(width) * scale) * Int(Double(height) * scale), width * height)
      let wasted = candidate.width * candidate.height - kept
      guard kept > 0 else { continue }
      if let best, (best.kept, -best.wasted) >= (kept, -wasted) { continue }
      best = (candidate, kept, wasted)
    }
    return best?.resolution
  }

  /// How many tiles a picture of `width` x `height` pixels is cut into, besides its whole view.
  ///
  /// - Parameter tiling: false for one tile, as with more than `mostTiledPictures` pictures in a conversation.
  /// - Throws: `AttuneError` (`.request`): no pixels, or a side that would vanish.
  public func tiles(
    width: Int, height: Int, tiling: Bool, name: String = "the picture"
  ) throws -> (across: Int, down: Int) {
    guard width > 0, height > 0 else {
      throw AttuneError.request(
        "the picture has \(width) x \(height) pixels; both sides must be at least 1", at: .init(file: name))
    }
    guard tiling else { return (1, 1) }
    guard let found = resolution(width: width, height: height) else { throw ribbon(width, height, name) }
    return (found.width / baseSide, found.height / baseSide)
  }

  /// Places that a picture takes in the language model's input: the whole view's rows with a newline behind each, one
  /// separator, the tiles' rows with a newline behind each.
  public func placeCount(_ tiles: (across: Int, down: Int)) -> Int {
    let side = tokensPerSide
    return side * (side + 1) + 1 + tiles.down * side * (tiles.across * side + 1)
  }

  /// Tokens along each side of one view.
  public var tokensPerSide: Int { (baseSide / patchSize + downsampleRatio - 1) / downsampleRatio }

  /// The views of a picture as pictures: the whole one, then the tiles row by row, each `baseSide` x `baseSide`.
  ///
  /// - Throws: as `tiles(width:height:tiling:name:)`.
  public func views(
    of picture: Picture, tiling: Bool, name: String = "the picture"
  ) throws -> (views: [Picture], tiles: (across: Int, down: Int)) {
    let tiles = try tiles(width: picture.width, height: picture.height, tiling: tiling, name: name)
    let color = mean.map { UInt8(min(max($0 * 255, 0), 255)) }
    guard let whole = picture.padded(width: baseSide, height: baseSide, color: color),
      let canvas = tiles == (1, 1)
        ? whole : picture.padded(width: tiles.across * baseSide, height: tiles.down * baseSide, color: color)
    else { throw ribbon(picture.width, picture.height, name) }
    var views = [whole]
    for row in 0..<tiles.down {
      for column in 0..<tiles.across {
        views.append(
          canvas.cropped(left: column * baseSide, top: row * baseSide, width: baseSide, height: baseSide))
      }
    }
    return (views, tiles)
  }

  /// One picture's views, normalized.
  ///
  /// - Parameters:
  ///   - picture: decoded with `PictureDecodingOptions.reference` for equality with the reference.
  ///   - tiling: whether the picture is cut into tiles; the published processor does it for at most
  ///     `mostTiledPictures` pictures in a conversation.
  ///   - name: what errors call it.
  /// - Throws: as `tiles(width:height:tiling:name:)`.
  public func process(_ picture: Picture, tiling: Bool, name: String = "the picture") throws -> TiledPicture {
    let (views, tiles) = try views(of: picture, tiling: tiling, name: name)
    let area = baseSide * baseSide
    let total = views.count * 3 * area
    let table = levels
    let values = [Float](unsafeUninitializedCapacity: total) { target, count in
      var at = 0
      for view in views {
        view.pixels.withUnsafeBufferPointer { pixels in
          for channel in 0..<3 {
            for i in 0..<area {
              target[at] = table[channel * 256 + Int(pixels[i * 3 + channel])]
              at += 1
            }
          }
        }
      }
      count = total
    }
    return TiledPicture(values: values, side: baseSide, tiles: tiles)
  }

  /// Level to value, `[3, 256]`, in the reference's float32 steps.
  private var levels: [Float] {
    (0..<3).flatMap { channel in
      (0..<256).map { level in
        let value = Float(level) / 255
        return normalizes ? (value - Float(mean[channel])) / Float(std[channel]) : value
      }
    }
  }

  private func ribbon(_ width: Int, _ height: Int, _ name: String) -> AttuneError {
    .request(
      "the picture has \(width) x \(height) pixels; fitted into a view of \(baseSide) x \(baseSide), its short side would vanish",
      at: .init(file: name), hint: "crop the picture")
  }
}

/// A picture as DeepSeek-VL2's vision encoder sees it.
public struct TiledPicture: Sendable, Equatable {
  /// `[views, 3, side, side]`, float32: the whole picture, then the tiles row by row.
  public var values: [Float]
  /// Pixels along each side of a view.
  public var side: Int
  public var tiles: (across: Int, down: Int)

  public init(values: [Float], side: Int, tiles: (across: Int, down: Int)) {
    self.values = values
    self.side = side
    self.tiles = tiles
  }

  /// The whole view and the tiles.
  public var viewCount: Int { 1 + tiles.across * tiles.down }

  public static func == (a: TiledPicture, b: TiledPicture) -> Bool {
    a.values == b.values && a.side == b.side && a.tiles == b.tiles
  }
}
