import AttuneTensor
import AttuneVision
import Core
@testable import Models
import TestSupport
import Testing

/// Checkpoints in the published layout against what transformers and PEFT computed from them.
@Suite struct GoldenModelTests {
  static let backend = try! CPUBackend(threads: 2)

  /// One row of a case: its tokens without padding, and where they stood.
  struct Row {
    let name: String
    let index: Int
    let ids: [Int32]
    let padding: Int
    let pictures: [PictureInput]
    let films: [PictureInput]
  }

  /// DeepSeek-VL2's configuration does not say which token stands for a picture: the tokenizer does.
  static func load(_ folder: String) throws -> LanguageModel {
    let path = Fixtures.path("models/\(folder)")
    var configuration = try ModelConfiguration.load(folder: path)
    if configuration.vision != nil, configuration.imageTokenID == nil { configuration.imageTokenID = 600 }
    return try LanguageModel(
      configuration, from: CheckpointSource(folder: path, backend: backend, precision: .full))
  }

  /// The pictures that a case has by name, or the views and tiles of DeepSeek-VL2's.
  static func pictures(_ keys: [String], case name: String, _ tensors: SafeTensors) throws -> [PictureInput] {
    if tensors.entry("\(name).images_spatial_crop") != nil {
      guard !keys.isEmpty else { return [] }
      let crops = try tensors.integers("\(name).images_spatial_crop")
      let processor = try TilePictureProcessor(folder: Fixtures.path("models/deepseek_vl2_mha"))
      let inputs = try keys.enumerated().map { i, key in
        let tiled = try processor.process(picture(key, tensors), tiling: keys.count <= 2)
        #expect([tiled.tiles.across, tiled.tiles.down] == Array(crops[2 * i..<2 * i + 2]))
        return PictureInput(values: tiled.values, kind: .tiles(across: tiled.tiles.across, down: tiled.tiles.down))
      }
      if tensors.entry("\(name).images") != nil {
        #expect(inputs.flatMap(\.values) == (try tensors.floats("\(name).images")), "\(name)")
      }
      return inputs
    }
    let grids = keys.isEmpty ? [] : try tensors.integers("\(name).image_grid_thw")
    return try keys.enumerated().map { i, key in
      PictureInput(
        patches: try tensors.floats("pixels.\(key)"),
        grid: (frames: grids[3 * i], height: grids[3 * i + 1], width: grids[3 * i + 2]))
    }
  }

  static func picture(_ key: String, _ tensors: SafeTensors) throws -> Picture {
    let entry = try tensors.require("picture.\(key)")
    return Picture(
      width: entry.shape[1], height: entry.shape[0], pixels: tensors.withBytes(entry) { Array($0) })
  }

  /// The parts of a case's films, each a picture of one frame.
  static func films(_ keys: [String], case name: String, _ tensors: SafeTensors) throws -> [PictureInput] {
    let grids = keys.isEmpty ? [] : try tensors.integers("\(name).video_grid_thw")
    return try keys.enumerated().flatMap { i, key in
      let values = try tensors.floats("pixels.\(key)")
      let count = values.count / grids[3 * i]
      return (0..<grids[3 * i]).map { part in
        PictureInput(
          patches: Array(values[part * count..<(part + 1) * count]),
          grid: (frames: 1, height: grids[3 * i + 1], width: grids[3 * i + 2]))
      }
    }
  }

  /// All rows of all cases.
  static func rows(_ folder: String) throws -> [(Row, JSON)] {
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/expected.safetensors"))
    let json = try Fixtures.json("models/\(folder)/expected.json")
    var rows: [(Row, JSON)] = []
    for item in json["cases"]!.array! {
      let name = item["name"]!.string!
      let batch = item["batch"]?.int ?? 1
      let length = item["length"]!.int!
      let ids = try tensors.integers("\(name).input_ids")
      let mask = tensors.entry("\(name).attention_mask") == nil ? nil : try tensors.integers("\(name).attention_mask")
      let keys = (item["images"]?.array ?? []).map { $0.string! }
      var left = try pictures(keys, case: name, tensors)
      let films = try films((item["videos"]?.array ?? []).map { $0.string! }, case: name, tensors)
      for row in 0..<batch {
        let padding = mask.map { m in (0..<length).filter { m[row * length + $0] == 0 }.count } ?? 0
        let own = ids[row * length + padding..<(row + 1) * length].map { Int32($0) }
        var mine: [PictureInput] = []
        // Places of pictures in this row say how many of the batch's pictures are its own.
        var places = own.filter { $0 == 568 }.count
        if batch == 1 { (mine, left, places) = (left, [], 0) }
        while places > 0, !keys.isEmpty {
          let picture = left.removeFirst()
          places -= picture.count / 4
          mine.append(picture)
        }
        rows.append((Row(name: name, index: row, ids: own, padding: padding, pictures: mine, films: films), item))
      }
    }
    return rows
  }

  /// Log-probabilities of a row's own tokens, and its logits.
  static func evaluate(_ model: LanguageModel, _ prompt: EncodedPrompt, observe: LayerObserver? = nil) -> (
    logits: [Float], logprobs: [Float]
  ) {
    var forest = Forest()
    forest.append(count: prompt.ids.count)
    let tape = Tape(backend, recording: false)
    let batch = PackedBatch(
      ids: prompt.ids, positions: prompt.positions, plan: forest.attentionPlan, pictures: prompt.pictures,
      pictureRows: prompt.pictureRows)
    let hidden = model.hidden(tape, batch, PassOptions(observe: observe))
    let logits = tape.logits(hidden, model.head)
    let streams = tape.head(
      hidden, model.head, targets: Array(prompt.ids.dropFirst()) + [0], temperature: 1, wanted: [.logprob])
    return (backend.floats(logits), Array(backend.floats(streams).prefix(prompt.ids.count - 1)))
  }

  static let folders = [
    "llama2", "llama3_rope", "llama_tied", "qwen2", "qwen2_window", "qwen3", "qwen3_moe", "qwen3_tied_yarn",
    "deepseek_v2", "deepseek_v2_lite", "qwen3_vl", "qwen3_vl_moe", "deepseek_vl2_mha", "deepseek_vl2_mla",
    "deepseek_vl2_noaux",
  ]

  @Test(arguments: folders)
  func logitsEqualTheReference(folder: String) throws {
    let model = try Self.load(folder)
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/expected.safetensors"))
    let vocabulary = model.configuration.text.vocabularySize
    let rows = try Self.rows(folder)
    #expect(rows.count >= 4)
    for (row, item) in rows {
      let length = item["length"]!.int!
      let from = item["logits_from"]!.int!
      let prompt = try model.encode(ids: row.ids, pictures: row.pictures, films: row.films)
      if tensors.entry("\(row.name).position_ids") != nil {
        let positions = try tensors.integers("\(row.name).position_ids")
        let batch = item["batch"]!.int!
        #expect(item["rope_deltas"]!.array![row.index].array![0].int! == prompt.nextPosition - prompt.ids.count)
        for axis in 0..<3 {
          let start = (axis * batch + row.index) * length + row.padding
          let found = prompt.positions.map { Int([$0.time, $0.height, $0.width][axis]) }
          #expect(found == Array(positions[start..<start + row.ids.count]), "\(row.name) axis \(axis)")
        }
      }
      var seen: [String: [Float]] = [:]
      let (logits, logprobs) = Self.evaluate(model, prompt) { seen[$0] = Self.backend.floats($1) }
      let expected = try tensors.floats("\(row.name).logits")
      let perRow = (length - from) * vocabulary
      let first = max(from, row.padding)
      expectClose(
        Array(logits[(first - row.padding) * vocabulary..<(length - row.padding) * vocabulary]),
        Array(expected[row.index * perRow + (first - from) * vocabulary..<(row.index + 1) * perRow]), absolute: 2e-4,
        "\(folder) \(row.name) \(row.index) logits")
      let wanted = try tensors.floats("\(row.name).logprobs")
      expectClose(
        logprobs, Array(wanted[row.index * (length - 1) + row.padding..<(row.index + 1) * (length - 1)]),
        absolute: 2e-4,
        "\(folder) \(row.name) \(row.index) logprobs")
      guard item["batch"]?.int ?? 1 == 1 else { continue }
      for (name, values) in seen {
        // Of pictures and films together the reference kept one part of the tower's results.
        guard tensors.entry("\(row.name).\(name)") != nil,
          row.pictures.isEmpty || row.films.isEmpty || !name.hasPrefix("image.")
        else { continue }
        expectClose(
          values, try tensors.floats("\(row.name).\(name)"), absolute: 1e-4, relative: 1e-4,
          "\(folder) \(row.name) \(name)")
      }
    }
  }

  /// A padded batch with labels, row by row without its padding.
  struct LabelledRow {
    let prompt: EncodedPrompt
    let labels: [Int]
    /// Columns of the padded batch that this row's tokens stood in.
    let columns: [Int]
  }

  private static func labelledRows(_ model: LanguageModel, _ tensors: SafeTensors, _ folder: String) throws
    -> [LabelledRow]
  {
    let shape = try tensors.require("input.input_ids").shape
    let ids = try tensors.integers("input.input_ids")
    let labels = try tensors.integers("input.labels")
    let mask =
      tensors.entry("input.attention_mask") == nil
      ? [Int](repeating: 1, count: ids.count) : try tensors.integers("input.attention_mask")
    return try (0..<shape[0]).map { row in
      let columns = (0..<shape[1]).filter { mask[row * shape[1] + $0] == 1 }
      let hasPictures = ["input.image_grid_thw", "input.images_seq_mask"].contains { tensors.entry($0) != nil }
      let pictures =
        hasPictures
        ? try Self.pictures(
          ["a", "b"], case: "two_images", SafeTensors(Fixtures.path("models/\(folder)/expected.safetensors"))) : []
      return LabelledRow(
        prompt: try model.encode(ids: columns.map { Int32(ids[row * shape[1] + $0]) }, pictures: pictures),
        labels: columns.map { labels[row * shape[1] + $0] }, columns: columns)
    }
  }

  /// Backward passes of the mean negative log-likelihood over all labels of a batch; compares the loss and gradients.
  private static func checkGradients(
    _ model: LanguageModel, _ rows: [LabelledRow], _ parameters: [Parameter], _ tensors: SafeTensors, loss: Double,
    norm: Double, names: Int
  ) throws {
    let counted = rows.reduce(0) { $0 + $1.labels.dropFirst().filter { $0 != -100 }.count }
    var sum = 0.0
    for row in rows {
      var forest = Forest()
      forest.append(count: row.prompt.ids.count)
      let tape = Tape(backend, recording: true)
      let hidden = model.hidden(
        tape,
        PackedBatch(
          ids: row.prompt.ids, positions: row.prompt.positions, plan: forest.attentionPlan,
          pictures: row.prompt.pictures,
          pictureRows: row.prompt.pictureRows))
      let predicting = (0..<row.labels.count - 1).filter { row.labels[$0 + 1] != -100 }
      let streams = tape.head(
        tape.gatherRows(hidden, predicting.map { Int32($0) }), model.head,
        targets: predicting.map { Int32(row.labels[$0 + 1]) }, temperature: 1, wanted: [.logprob])
      sum -= backend.floats(streams).prefix(predicting.count).reduce(0) { $0 + Double($1) } / Double(counted)
      var seed = [Float](repeating: 0, count: 6 * predicting.count)
      for i in predicting.indices { seed[i] = -1 / Float(counted) }
      tape.backward(from: streams, seed: backend.upload(seed, [6, predicting.count]))
    }
    expectClose([sum], [loss], absolute: 2e-4, "loss")
    var squares = 0.0
    var compared = 0
    for parameter in parameters { squares += backend.sumOfSquares(parameter.gradient!) }
    for (name, gradient) in joined(parameters.map { ($0.name, $0.gradient!) }, model.stacks) {
      guard tensors.entry("grad.\(name)") != nil else { continue }
      let expected = try tensors.floats("grad.\(name)")
      expectClose(backend.floats(gradient), expected, absolute: 1e-4 * Double(expected.map(abs).max()!), name)
      compared += 1
    }
    #expect(compared == names)
    expectClose([squares.squareRoot()], [norm], relative: 1e-5, "gradient norm")
  }

  /// Gradients in the checkpoint's layout: those of the experts of a stack in one.
  private static func joined(_ tensors: [(name: String, tensor: Tensor)], _ stacks: [ExpertStack]) -> [(String, Tensor)]
  {
    let byName = Dictionary(tensors.map { ($0.name, $0.tensor) }, uniquingKeysWith: { a, _ in a })
    let members = Set(stacks.flatMap { $0.members.map(\.name) })
    return tensors.filter { !members.contains($0.name) }.map { ($0.name, $0.tensor) }
      + stacks.filter { byName[$0.members[0].name] != nil }.map { stack in
        let own = stack.members.map { stack.isTurned ? backend.turned(byName[$0.name]!) : byName[$0.name]! }
        return (stack.name, backend.upload(own.flatMap { backend.floats($0) }, [own.count] + own[0].shape))
      }
  }

  @Test(arguments: [
    "llama_tied", "qwen2", "qwen3", "qwen3_moe", "deepseek_v2_lite", "qwen3_vl", "qwen3_vl_moe", "deepseek_vl2_mla",
  ])
  func gradientsEqualTheReference(folder: String) throws {
    let model = try Self.load(folder)
    model.setTrainable(true)
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/gradients.safetensors"))
    let json = try Fixtures.json("models/\(folder)/gradients.json")
    try Self.checkGradients(
      model, try Self.labelledRows(model, tensors, folder), model.parameters, tensors, loss: json["loss"]!.double!,
      norm: json["global_gradient_norm"]!.double!, names: json["names"]!.array!.count)
  }

  @Test(arguments: [("qwen3", "lora"), ("qwen3_vl", "lora"), ("qwen3", "dora")])
  func adaptersEqualPEFT(folder: String, kind: String) throws {
    let backend = Self.backend
    let model = try Self.load(folder)
    try model.loadAdapter(folder: Fixtures.path("models/\(folder)/\(kind)"))
    let adapter = try #require(model.adapter)
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/\(kind)/expected.safetensors"))
    let json = try Fixtures.json("models/\(folder)/\(kind)/expected.json")
    let rows = try Self.labelledRows(model, tensors, folder)
    let vocabulary = model.configuration.text.vocabularySize
    let from = json["logits_from"]!.int!
    for (enabled, name) in [(true, "on.logits"), (false, "off.logits")] {
      adapter.isEnabled = enabled
      let expected = try tensors.floats(name)
      let stored = try tensors.require(name).shape[1]
      for (index, row) in rows.enumerated() {
        let logits = Self.evaluate(model, row.prompt).logits
        for (i, column) in row.columns.enumerated() where column >= from {
          let at = (index * stored + column - from) * vocabulary
          expectClose(
            Array(logits[i * vocabulary..<(i + 1) * vocabulary]), Array(expected[at..<at + vocabulary]), absolute: 2e-4,
            "\(name) row \(index) token \(i)")
        }
      }
    }
    adapter.isEnabled = true
    // Merged in memory, and taken out again to the very bits.
    let beside = Self.evaluate(model, rows[0].prompt).logits
    try model.mergeAdapter()
    let inside = Self.evaluate(model, rows[0].prompt).logits
    #expect(inside != beside)
    expectClose(inside, beside, absolute: 2e-4, "merged in memory")
    try model.unmergeAdapter()
    #expect(Self.evaluate(model, rows[0].prompt).logits.map(\.bitPattern) == beside.map(\.bitPattern))
    var merged = 0
    for linear in model.linears {
      let key = "merged.\(linear.weight.name)"
      guard tensors.entry(key) != nil else { continue }
      expectClose(backend.floats(model.merged(linear)), try tensors.floats(key), absolute: 1e-5, relative: 1e-5, key)
      merged += 1
    }
    #expect(merged > 0)
    try Self.checkGradients(
      model, rows, model.trainedParameters, tensors, loss: json["loss"]!.double!,
      norm: json["adapter_gradient_norm"]!.double!, names: json["gradients"]!.array!.count)
  }
}
