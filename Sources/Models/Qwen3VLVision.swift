import AttuneTensor

/// One picture as the vision tower takes it.
public struct PictureInput: Sendable {
  /// `[frames * height * width, channels * temporal * patch * patch]`, patches in merge order.
  public let patches: [Float]
  /// Patches along time, height and width.
  public let grid: (frames: Int, height: Int, width: Int)
  /// Whose picture it is, for dropout: its patches are the rows from there on.
  public var origin = RowPlace(tree: 0, row: 0)

  public init(patches: [Float], grid: (frames: Int, height: Int, width: Int)) {
    self.patches = patches
    self.grid = grid
  }

  public var patchCount: Int { grid.frames * grid.height * grid.width }
}

/// What the tower gives to the decoder, each `[places, hidden]`.
public struct VisionFeatures {
  public let merged: Tensor
  /// Injected after decoder layer 0, 1, ...
  public let deepstack: [Tensor]
}

/// Qwen3-VL's vision tower (transformers' `modeling_qwen3_vl.py`): pre-norm blocks with two-axis rotary embedding over
/// patches, a resampled table of learned positions, 2 x 2 merging, and features of some blocks for the decoder.
final class Qwen3VLVision {
  let configuration: VisionConfiguration
  private let patchEmbedding: Projection
  private let positions: Parameter
  private let blocks: [Block]
  private let merger: Merger
  private let deepstackMergers: [Merger]
  private static let epsilon = 1e-6

  init(_ c: VisionConfiguration, prefix: String, from source: ParameterSource) throws {
    configuration = c
    patchEmbedding = Projection([
      try Linear(
        "\(prefix).patch_embed.proj", in: c.patchWidth, out: c.hiddenSize, bias: true,
        from: PatchKernelSource(
          source, shape: [c.hiddenSize, c.channels, c.temporalPatchSize, c.patchSize, c.patchSize]))
    ])
    positions = try source.parameter(
      "\(prefix).pos_embed.weight", [c.positionSide * c.positionSide, c.hiddenSize], .normal)
    blocks = try (0..<c.depth).map { try Block(c, prefix: "\(prefix).blocks.\($0)", from: source) }
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
    var pictures = pictures
    // The rows of the mergers' products are places. On the way back a bf16 sum adds them in pairs; a picture with an odd
    // number of them is followed by one that nothing depends on, or its pairs would reach into the next tree's picture.
    var keptPlaces: [Int32] = []
    if tape.isRecording, pictures.contains(where: { $0.patchCount / merged % 2 != 0 }) {
      let filler = PictureInput(
        patches: [Float](repeating: 0, count: merged * configuration.patchWidth),
        grid: (frames: 1, height: configuration.mergeSize, width: configuration.mergeSize))
      var place: Int32 = 0
      pictures = pictures.flatMap { picture -> [PictureInput] in
        let count = Int32(picture.patchCount / merged)
        keptPlaces += place..<place + count
        place += count + count % 2
        return count % 2 == 0 ? [picture] : [picture, filler]
      }
    }
    func kept(_ features: Tensor) -> Tensor { keptPlaces.isEmpty ? features : tape.gatherRows(features, keptPlaces) }
    let patchCount = pictures.reduce(0) { $0 + $1.patchCount }
    var pixels: [Float] = []
    pixels.reserveCapacity(patchCount * configuration.patchWidth)
    for picture in pictures { pixels += picture.patches }
    let places = pictures.flatMap(patchPlaces)
    tape.dropout?.rows = pictures.flatMap(\.rowPlaces)
    var x = patchEmbedding(tape, backend.upload(pixels, [patchCount, configuration.patchWidth]))
    x = tape.add(x, tape.mixRows(positions, by: positionMix(pictures, on: backend)))
    let angles = rotaryAngles(places, on: backend)
    var plan = AttentionPlan(causal: false)
    var row = 0
    for picture in pictures {
      for _ in 0..<picture.grid.frames {
        let count = picture.grid.height * picture.grid.width
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
  private func patchPlaces(_ picture: PictureInput) -> [(row: Int, column: Int)] {
    let merge = configuration.mergeSize
    var frame: [(row: Int, column: Int)] = []
    for blockRow in 0..<picture.grid.height / merge {
      for blockColumn in 0..<picture.grid.width / merge {
        for row in 0..<merge {
          for column in 0..<merge { frame.append((blockRow * merge + row, blockColumn * merge + column)) }
        }
      }
    }
    return (0..<picture.grid.frames).flatMap { _ in frame }
  }

  /// Weights of the learned positions for each patch: bilinear with aligned corners, `[patches, entries]`.
  private func positionMix(_ pictures: [PictureInput], on backend: any Backend) -> Tensor {
    let side = configuration.positionSide
    func taps(_ index: Int, _ count: Int) -> (low: Int, high: Int, share: Double) {
      guard count > 1 else { return (0, 0, 0) }
      let at = Double(index) * Double(side - 1) / Double(count - 1)
      let low = min(Int(at), side - 1)
      return (low, min(low + 1, side - 1), at - Double(low))
    }
    var rows = 0
    for picture in pictures { rows += picture.patchCount }
    var mix = [Float](repeating: 0, count: rows * side * side)
    var at = 0
    for picture in pictures {
      for place in patchPlaces(picture) {
        let v = taps(place.row, picture.grid.height)
        let h = taps(place.column, picture.grid.width)
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

  private final class Block {
    private let norm1: LayerNorm
    private let norm2: LayerNorm
    private let qkv: Projection
    private let projection: Projection
    private let fc1: Projection
    private let fc2: Projection
    private let heads: AttentionHeads

    init(_ c: VisionConfiguration, prefix: String, from source: ParameterSource) throws {
      let size = c.hiddenSize / c.heads
      heads = AttentionHeads(heads: c.heads, kvHeads: c.heads, size: size, scale: 1 / Double(size).squareRoot())
      let width = c.hiddenSize
      norm1 = try LayerNorm("\(prefix).norm1", width, epsilon: epsilon, from: source)
      norm2 = try LayerNorm("\(prefix).norm2", width, epsilon: epsilon, from: source)
      func one(_ name: String, _ width: Int, _ out: Int) throws -> Projection {
        Projection([try Linear("\(prefix).\(name)", in: width, out: out, bias: true, from: source)])
      }
      qkv = try one("attn.qkv", width, 3 * width)
      projection = try one("attn.proj", width, width)
      fc1 = try one("mlp.linear_fc1", width, c.intermediateSize)
      fc2 = try one("mlp.linear_fc2", c.intermediateSize, width)
    }

    var linears: [Linear] { qkv.linears + projection.linears + fc1.linears + fc2.linears }

    func callAsFunction(_ tape: Tape, _ input: Tensor, _ angles: RotaryAngles, _ plan: AttentionPlan) -> Tensor {
      let all = qkv(tape, norm1(tape, input, for: qkv.precision))
      let attended = tape.attention(all, HeadTransform(angles: angles), plan, heads, for: projection.precision)
      let middle = tape.add(input, projection(tape, attended))
      let inner = fc1(tape, norm2(tape, middle, for: fc1.precision))
      return tape.add(middle, fc2(tape, tape.gelu(inner, .tanh, for: fc2.precision)))
    }
  }

  /// Joins 2 x 2 patches into one place of the decoder.
  private final class Merger {
    private let norm: LayerNorm
    private let fc1: Projection
    private let fc2: Projection
    private let joined: Int
    private let normAfterJoining: Bool

    init(_ c: VisionConfiguration, prefix: String, normAfterJoining: Bool, from source: ParameterSource) throws {
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

/// Reads the patch kernel `[out, channels, time, height, width]` as the matrix `[out, patchWidth]` that it is.
private final class PatchKernelSource: ParameterSource {
  private let inner: ParameterSource
  private let shape: [Int]

  init(_ inner: ParameterSource, shape: [Int]) {
    self.inner = inner
    self.shape = shape
    super.init(backend: inner.backend, precision: inner.precision, weights: .plain)
  }

  override func parameter(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Parameter {
    try inner.parameter(name, shape, initialization)
  }
  override func matrix(_ name: String, _ shape: [Int]) throws -> Parameter {
    try inner.parameter(name, self.shape, .normal)
  }
}
