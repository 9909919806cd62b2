import AttuneTensor

/// Qwen3-VL's vision tower (transformers' `modeling_qwen3_vl.py`): pre-norm blocks with two-axis rotary embedding over
/// patches, a resampled table of learned positions, 2 x 2 merging, and features of some blocks for the decoder.
final class Qwen3VLVision: VisionTower {
  let configuration: Qwen3VLVisionConfiguration
  private let patchEmbedding: Projection
  private let positions: Parameter
  private let blocks: [VisionBlock]
  private let merger: Merger
  private let deepstackMergers: [Merger]
  private static let epsilon = 1e-6

  /// A picture's patches in merge order.
  private struct Patches {
    let values: [Float]
    let frames: Int
    let height: Int
    let width: Int
    let origin: RowPlace

    init(values: [Float], frames: Int, height: Int, width: Int, origin: RowPlace = RowPlace(tree: 0, row: 0)) {
      self.origin = origin
      self.values = values
      self.frames = frames
      self.height = height
      self.width = width
    }

    init(_ picture: PictureInput) {
      guard case .patches(let frames, let height, let width) = picture.kind else {
        preconditionFailure("a picture that is not cut into patches")
      }
      self.init(values: picture.values, frames: frames, height: height, width: width, origin: picture.origin)
    }

    var count: Int { frames * height * width }
  }

  init(_ c: Qwen3VLVisionConfiguration, prefix: String, from source: ParameterSource) throws {
    configuration = c
    patchEmbedding = Projection([
      try Linear(
        "\(prefix).patch_embed.proj", in: c.patchWidth, out: c.hiddenSize, bias: true,
        from: PatchKernelSource(
          source, shape: [c.hiddenSize, c.channels, c.temporalPatchSize, c.patchSize, c.patchSize]))
    ])
    positions = try source.parameter(
      "\(prefix).pos_embed.weight", [c.positionSide * c.positionSide, c.hiddenSize], .normal)
    blocks = try (0..<c.depth).map {
      try VisionBlock(
        "\(prefix).blocks.\($0)", width: c.hiddenSize, heads: c.heads, intermediate: c.intermediateSize,
        units: ("mlp.linear_fc1", "mlp.linear_fc2"), epsilon: Self.epsilon, from: source)
    }
    merger = try Merger(c, prefix: "\(prefix).merger", normAfterJoining: false, from: source)
    deepstackMergers = try c.deepstackBlocks.indices.map {
      try Merger(c, prefix: "\(prefix).deepstack_merger_list.\($0)", normAfterJoining: true, from: source)
    }
  }

  var linears: [Linear] {
    patchEmbedding.linears + blocks.flatMap(\.linears) + merger.linears + deepstackMergers.flatMap(\.linears)
  }

  /// The features of all pictures, one after the other.
  func callAsFunction(_ tape: Tape, _ pictures: [PictureInput], observe: LayerObserver?) -> VisionFeatures {
    let backend = tape.backend
    let merged = configuration.mergeSize * configuration.mergeSize
    var pictures = pictures.map(Patches.init)
    // The rows of the mergers' products are places. On the way back a bf16 sum adds them in pairs; a picture with an odd
    // number of them is followed by one that nothing depends on, or its pairs would reach into the next tree's picture.
    var keptPlaces: [Int32] = []
    if tape.isRecording, pictures.contains(where: { $0.count / merged % 2 != 0 }) {
      let filler = Patches(
        values: [Float](repeating: 0, count: merged * configuration.patchWidth), frames: 1,
        height: configuration.mergeSize, width: configuration.mergeSize)
      var place: Int32 = 0
      pictures = pictures.flatMap { picture -> [Patches] in
        let count = Int32(picture.count / merged)
        keptPlaces += place..<place + count
        place += count + count % 2
        return count % 2 == 0 ? [picture] : [picture, filler]
      }
    }
    func kept(_ features: Tensor) -> Tensor { keptPlaces.isEmpty ? features : tape.gatherRows(features, keptPlaces) }
    let patchCount = pictures.reduce(0) { $0 + $1.count }
    var pixels: [Float] = []
    pixels.reserveCapacity(patchCount * configuration.patchWidth)
    for picture in pictures { pixels += picture.values }
    let places = pictures.flatMap(patchPlaces)
    if tape.dropout != nil { tape.dropout?.rows = pictures.flatMap { $0.origin.counted($0.count) } }
    var x = patchEmbedding(tape, backend.upload(pixels, [patchCount, configuration.patchWidth]))
    x = tape.add(x, tape.mixRows(positions, by: positionMix(pictures, on: backend)))
    let angles = rotaryAngles(places, on: backend)
    var plan = AttentionPlan(causal: false)
    var row = 0
    for picture in pictures {
      for _ in 0..<picture.frames {
        let count = picture.height * picture.width
        plan.addRun(query: row, rows: count, seen: count, path: KeyPiece.pieces(row..<row + count))
        plan.endTree()
        row += count
      }
    }
    var deepstack: [Tensor] = []
    for (i, block) in blocks.enumerated() {
      x = block(tape, x, angles, plan)
      if let place = configuration.deepstackBlocks.firstIndex(of: i) {
        deepstack.append(kept(deepstackMergers[place](tape, x)))
        observe?("image.deepstack.\(place)", deepstack.last!)
      }
    }
    observe?("image.last_hidden", x)
    let features = kept(merger(tape, x))
    observe?("image.merged", features)
    return VisionFeatures(merged: features, deepstack: deepstack)
  }

  /// Row and column of every patch, in merge order (block row, block column, row, column), frame after frame.
  private func patchPlaces(_ picture: Patches) -> [(row: Int, column: Int)] {
    let merge = configuration.mergeSize
    var frame: [(row: Int, column: Int)] = []
    for blockRow in 0..<picture.height / merge {
      for blockColumn in 0..<picture.width / merge {
        for row in 0..<merge {
          for column in 0..<merge { frame.append((blockRow * merge + row, blockColumn * merge + column)) }
        }
      }
    }
    return (0..<picture.frames).flatMap { _ in frame }
  }

  /// Weights of the learned positions for each patch: bilinear with aligned corners, `[patches, entries]`.
  private func positionMix(_ pictures: [Patches], on backend: any Backend) -> Tensor {
    let side = configuration.positionSide
    func taps(_ index: Int, _ count: Int) -> (low: Int, high: Int, share: Double) {
      guard count > 1 else { return (0, 0, 0) }
      let at = Double(index) * Double(side - 1) / Double(count - 1)
      let low = min(Int(at), side - 1)
      return (low, min(low + 1, side - 1), at - Double(low))
    }
    var rows = 0
    for picture in pictures { rows += picture.count }
    var mix = [Float](repeating: 0, count: rows * side * side)
    var at = 0
    for picture in pictures {
      for place in patchPlaces(picture) {
        let v = taps(place.row, picture.height)
        let h = taps(place.column, picture.width)
        mix[at + v.low * side + h.low] += Float((1 - v.share) * (1 - h.share))
        mix[at + v.low * side + h.high] += Float((1 - v.share) * h.share)
        mix[at + v.high * side + h.low] += Float(v.share * (1 - h.share))
        mix[at + v.high * side + h.high] += Float(v.share * h.share)
        at += side * side
      }
    }
    return backend.upload(mix, [rows, side * side])
  }

  /// Rows turn the first quarter of a head's frequencies, columns the second.
  private func rotaryAngles(_ places: [(row: Int, column: Int)], on backend: any Backend) -> RotaryAngles {
    let size = configuration.hiddenSize / configuration.heads
    let quarter = size / 4
    let logTheta = PortableMath.log(10_000)
    let frequencies = (0..<quarter).map { Float(PortableMath.exp(-logTheta * Double(4 * $0) / Double(size))) }
    let most = 1 + places.reduce(0) { max($0, $1.row, $1.column) }
    let table = (0..<most).flatMap { position in
      frequencies.map { PortableMath.sineAndCosine(Double(Float(position) * $0)) }
    }
    var cosine: [Float] = []
    var sine: [Float] = []
    cosine.reserveCapacity(places.count * 2 * quarter)
    sine.reserveCapacity(places.count * 2 * quarter)
    for place in places {
      for position in [place.row, place.column] {
        for j in 0..<quarter {
          cosine.append(Float(table[position * quarter + j].cosine))
          sine.append(Float(table[position * quarter + j].sine))
        }
      }
    }
    return RotaryAngles(
      cosine: backend.upload(cosine, [places.count, 2 * quarter]),
      sine: backend.upload(sine, [places.count, 2 * quarter]))
  }

  /// Joins 2 x 2 patches into one place of the decoder.
  private final class Merger {
    private let norm: LayerNorm
    private let fc1: Projection
    private let fc2: Projection
    private let joined: Int
    private let normAfterJoining: Bool

    init(_ c: Qwen3VLVisionConfiguration, prefix: String, normAfterJoining: Bool, from source: ParameterSource) throws {
      joined = c.hiddenSize * c.mergeSize * c.mergeSize
      self.normAfterJoining = normAfterJoining
      norm = try LayerNorm("\(prefix).norm", normAfterJoining ? joined : c.hiddenSize, epsilon: epsilon, from: source)
      fc1 = Projection([try Linear("\(prefix).linear_fc1", in: joined, out: joined, bias: true, from: source)])
      fc2 = Projection([try Linear("\(prefix).linear_fc2", in: joined, out: c.outputSize, bias: true, from: source)])
    }

    var linears: [Linear] { fc1.linears + fc2.linears }

    func callAsFunction(_ tape: Tape, _ x: Tensor) -> Tensor {
      // Patches stand in merge order, so joining four of them is only another shape.
      let rows = x.count / joined
      let joinedFirst = normAfterJoining ? x.reshaped([rows, joined]) : x
      let normal = norm(tape, joinedFirst, for: fc1.precision).reshaped([rows, joined])
      return fc2(tape, tape.gelu(fc1(tape, normal), .exact, for: fc2.precision))
    }
  }
}
