import AttuneTensor

/// DeepSeek-VL2's eyes: a SigLIP tower (2303.15343) over the views of a picture, a projector that joins squares of patches into
/// places, and the rows of these places with line ends between.
///
/// Ports the behaviour of repository deepseek-ai/DeepSeek-VL2, `siglip_vit.py` and `modeling_deepseek_vl_v2.py`.
final class DeepSeekVL2Vision: VisionTower {
  private let configuration: DeepSeekVL2VisionConfiguration
  private let patchEmbedding: Projection
  private let positions: Parameter
  private let blocks: [VisionBlock]
  private let norm: LayerNorm
  private let projector: [Projection]
  private let newline: Parameter
  private let separator: Parameter
  private static let epsilon = 1e-6

  init(_ c: DeepSeekVL2VisionConfiguration, from source: ParameterSource) throws {
    configuration = c
    patchEmbedding = Projection([
      try Linear(
        "vision.patch_embed.proj", in: 3 * c.patchSize * c.patchSize, out: c.hiddenSize, bias: true,
        from: PatchKernelSource(source, shape: [c.hiddenSize, 3, c.patchSize, c.patchSize]))
    ])
    positions = try source.parameter("vision.pos_embed", [1, c.patchSide * c.patchSide, c.hiddenSize], .normal)
    blocks = try (0..<c.depth).map {
      try VisionBlock(
        "vision.blocks.\($0)", width: c.hiddenSize, heads: c.heads, intermediate: c.intermediateSize,
        units: ("mlp.fc1", "mlp.fc2"), epsilon: Self.epsilon, from: source)
    }
    norm = try LayerNorm("vision.norm", c.hiddenSize, epsilon: Self.epsilon, from: source)
    projector = try (0..<c.projectorDepth).map { i in
      let width = i == 0 ? c.hiddenSize * c.groupSize * c.groupSize : c.projectorWidth
      let out = i == c.projectorDepth - 1 ? c.outputSize : c.projectorWidth
      // Activations stand between, and count in the names.
      return Projection([try Linear("projector.layers.\(2 * i)", in: width, out: out, bias: true, from: source)])
    }
    newline = try source.parameter("image_newline", [c.outputSize], .normal)
    separator = try source.parameter("view_seperator", [c.outputSize], .normal)
  }

  var linears: [Linear] { patchEmbedding.linears + blocks.flatMap(\.linears) + projector.flatMap(\.linears) }

  func callAsFunction(_ tape: Tape, _ pictures: [PictureInput], observe: LayerObserver?) -> VisionFeatures {
    let c = configuration
    // On the way back a bf16 sum adds rows in pairs. A picture with an odd number of views is followed by one that nothing
    // depends on, or pairs would reach into the next tree's picture.
    let fills = tape.isRecording && (c.patchSide % 2 != 0 || c.placeSide % 2 != 0)
    var values: [Float] = []
    var firstViews: [Int] = []
    var origins: [RowPlace] = []
    var views = 0
    for picture in pictures {
      firstViews.append(views)
      values += picture.values
      views += picture.count
      origins += (0..<picture.count).map {
        RowPlace(tree: Int(picture.origin.tree), row: Int(picture.origin.row) + $0 * c.patchSide * c.patchSide)
      }
      if fills, picture.count % 2 != 0 {
        values += [Float](repeating: 0, count: 3 * c.viewSize * c.viewSize)
        views += 1
        origins.append(RowPlace(tree: 0, row: 0))
      }
    }
    // A patch, and then a place, is known by its view's origin and its number in the view.
    func name(_ rowsPerView: Int) {
      if tape.dropout != nil { tape.dropout?.rows = origins.flatMap { $0.counted(rowsPerView) } }
    }
    name(c.patchSide * c.patchSide)
    let seen = see(tape, values, views: views, observe: observe)
    name(c.placeSide * c.placeSide)
    let tokens = project(tape, seen, views: views)
    observe?("projected", tokens)
    let merged = layOut(tape, tokens, zip(pictures, firstViews).map { ($0, $1) })
    observe?("image_embeds", merged)
    return VisionFeatures(merged: merged, deepstack: [])
  }

  /// The tower: `[views * patches, hidden]`.
  private func see(_ tape: Tape, _ values: [Float], views: Int, observe: LayerObserver?) -> Tensor {
    let patches = configuration.patchSide * configuration.patchSide
    var x = patchEmbedding(tape, cut(values, views: views, on: tape.backend))
    x = tape.add(
      x, tape.embedding(positions, (0..<views).flatMap { _ in 0..<Int32(patches) }, width: configuration.hiddenSize))
    var plan = AttentionPlan(causal: false)
    for view in 0..<views {
      let rows = view * patches..<(view + 1) * patches
      plan.addRun(query: rows.lowerBound, rows: patches, seen: patches, path: KeyPiece.pieces(rows))
      plan.endTree()
    }
    for block in blocks { x = block(tape, x, nil, plan) }
    x = norm(tape, x, for: .full)
    observe?("vision", x)
    return x
  }

  /// The views' patches, `[views * patches, 3 * patch * patch]`: channel, line, column.
  private func cut(_ values: [Float], views: Int, on backend: any Backend) -> Tensor {
    let (side, patch, view) = (configuration.patchSide, configuration.patchSize, configuration.viewSize)
    var rows: [Float] = []
    rows.reserveCapacity(views * side * side * 3 * patch * patch)
    for index in 0..<views {
      for row in 0..<side {
        for column in 0..<side {
          for channel in 0..<3 {
            for line in 0..<patch {
              let from = ((index * 3 + channel) * view + row * patch + line) * view + column * patch
              rows += values[from..<from + patch]
            }
          }
        }
      }
    }
    return backend.upload(rows, [views * side * side, 3 * patch * patch])
  }

  /// Squares of patches become places, `[views * places, hidden]`; an odd grid is filled up with zeros at its ends.
  private func project(_ tape: Tape, _ x: Tensor, views: Int) -> Tensor {
    let (side, group, places) = (configuration.patchSide, configuration.groupSize, configuration.placeSide)
    var index: [Int32] = []
    index.reserveCapacity(views * places * places * group * group)
    for view in 0..<views {
      for place in 0..<places * places {
        for member in 0..<group * group {
          let row = place / places * group + member / group
          let column = place % places * group + member % group
          index.append(row < side && column < side ? Int32((view * side + row) * side + column) : -1)
        }
      }
    }
    var y = tape.groupRows(x, index, group: group * group)
    for (i, layer) in projector.enumerated() {
      y = layer(tape, i == 0 ? y : tape.gelu(y, .exact, for: layer.precision))
    }
    return y
  }

  /// The places of every picture in order: rows of the whole view and of the joined tiles, each with a line end, and a
  /// separator between the two.
  private func layOut(_ tape: Tape, _ tokens: Tensor, _ pictures: [(picture: PictureInput, firstView: Int)]) -> Tensor {
    let side = configuration.placeSide
    var sources: [Int32] = []  // rows of `tokens` in the order in which they stand
    var places: [Int32] = []  // where they stand; line ends stand between
    var separators: [Int32] = []
    var next: Int32 = 0
    func row(_ tokens: some Sequence<Int>) {
      for token in tokens {
        sources.append(Int32(token))
        places.append(next)
        next += 1
      }
      next += 1
    }
    for (picture, firstView) in pictures {
      guard case .tiles(let across, let down) = picture.kind else { preconditionFailure("a picture without tiles") }
      func whole() {
        for line in 0..<side { row((0..<side).map { (firstView * side + line) * side + $0 }) }
      }
      func tiles() {
        for line in 0..<down * side {
          row(
            (0..<across * side).map { column in
              let view = firstView + 1 + line / side * across + column / side
              return (view * side + line % side) * side + column % side
            })
        }
      }
      if configuration.wholeViewFirst { whole() } else { tiles() }
      separators.append(next)
      next += 1
      if configuration.wholeViewFirst { tiles() } else { whole() }
    }
    func repeated(_ vector: Parameter, _ count: Int) -> Tensor {
      tape.embedding(vector, [Int32](repeating: 0, count: count), width: configuration.outputSize)
    }
    let rows = tape.putRows(repeated(newline, Int(next)), tape.gatherRows(tokens, sources), at: places)
    return tape.putRows(rows, repeated(separator, separators.count), at: separators)
  }
}
