import AttuneTensor
import Core
import Foundation
import Lab
import Models
import TestSupport
import Testing

/// A checkpoint folder with a file removed, cut off, replaced or with one bit flipped: an error that names the file and says
/// what to do, or the identical weights.
@Suite struct CheckpointFaultTests {
  private static let backend = try! CPUBackend(threads: 1)

  // MARK: Small checkpoints

  enum Kind: String, CaseIterable, Sendable { case text, pictures, sharded }

  /// A fresh preset, for the files beside the weights; `.sharded` has three files of weights and their index.
  private static func preset(_ kind: Kind) throws -> String {
    let folder = try Program.temporaryFolder()
    try Preset.named(kind == .pictures ? "tiny-vl" : "tiny").write(to: folder, seed: 3)
    guard kind == .sharded else { return folder }
    let sharded = try Program.temporaryFolder()
    try Policy(folder: folder, backend: backend, precision: .full).save(to: sharded, shardSize: 100_000)
    try FileManager.default.removeItem(atPath: folder)
    #expect(try FileManager.default.contentsOfDirectory(atPath: sharded).filter { $0.hasPrefix("model-") }.count > 2)
    return sharded
  }

  /// The smallest model of a kind: its header is short enough for every bit of it.
  private static func smallest(_ kind: Kind) throws -> String {
    let folder = try Program.temporaryFolder()
    let text: [(String, JSON)] = [
      ("vocab_size", 4), ("hidden_size", 4), ("intermediate_size", 4), ("num_hidden_layers", 1),
      ("num_attention_heads", 2), ("num_key_value_heads", 1), ("head_dim", 4), ("rms_norm_eps", 1e-6),
      ("tie_word_embeddings", true),
    ]
    let vision: JSON = [
      "depth": 1, "hidden_size": 8, "num_heads": 1, "intermediate_size": 4, "patch_size": 2, "temporal_patch_size": 1,
      "spatial_merge_size": 1, "out_hidden_size": 4, "num_position_embeddings": 4, "in_channels": 1,
      "deepstack_visual_indexes": [],
    ]
    let rope: JSON = ["rope_type": "default", "mrope_interleaved": true, "mrope_section": [2, 0, 0]]
    let json: JSON =
      kind == .pictures
      ? [
        "model_type": "qwen3_vl", "image_token_id": 3, "text_config": .object(text + [("rope_scaling", rope)]),
        "vision_config": vision,
      ]
      : .object([("model_type", "qwen3")] + text)
    try AtomicFile.write(folder + "/config.json", text: json.text(.pretty))
    let model = try LanguageModel(
      ModelConfiguration(json: json, file: "config.json"),
      from: RandomSource(seed: 5, backend: backend, precision: .full))
    try SafeTensors.write(model.writtenWeights(), toFolder: folder, shardSize: kind == .sharded ? 300 : 1 << 30)
    return folder
  }

  private static func contents(_ model: LanguageModel) -> [[UInt8]] {
    model.parameters.map { parameter in backend.withHostBytes(parameter.value) { Array($0) } }
  }

  private static func weights(_ folder: String) throws -> [[UInt8]] {
    contents(try LanguageModel.load(folder: folder, backend: backend, precision: .full))
  }

  /// Nil if the folder gives the weights that are expected; otherwise the error, which must say where and what to do.
  private static func outcome(
    _ folder: String, expecting weights: [[UInt8]], naming file: String, _ what: String,
    _ load: (String) throws -> [[UInt8]] = weights
  ) -> AttuneError? {
    do {
      let found = try load(folder)
      if found != weights { Issue.record("\(what): other weights, and no error") }
      return nil
    } catch let error as AttuneError {
      if !error.description.contains(file) { Issue.record("\(what): the error does not name \(file): \(error)") }
      if error.hint == nil { Issue.record("\(what): the error does not say what to do: \(error)") }
      return error
    } catch {
      Issue.record("\(what): \(error)")
      return nil
    }
  }

  // MARK: Bits

  @Test(arguments: Kind.allCases) func everyBitOfAHeader(kind: Kind) throws {
    let folder = try Self.smallest(kind)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let whole = try Self.weights(folder)
    var refused = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    where name.hasSuffix(".safetensors") {
      let path = folder + "/" + name
      let bytes = try MappedFile.read(path)
      let header = 8 + bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
      defer { try? file.close() }
      for bit in 0..<header * 8 {
        try file.seek(toOffset: UInt64(bit / 8))
        try file.write(contentsOf: [bytes[bit / 8] ^ 1 << UInt8(bit % 8)])
        if Self.outcome(folder, expecting: whole, naming: name, "\(name), bit \(bit)") != nil { refused += 1 }
        try file.seek(toOffset: UInt64(bit / 8))
        try file.write(contentsOf: [bytes[bit / 8]])
      }
    }
    #expect(refused > 1000)
    #expect(try Self.weights(folder) == whole)
  }

  @Test func everyBitOfAnIndex() throws {
    let folder = try Self.smallest(.sharded)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let whole = try Self.weights(folder)
    let path = folder + "/model.safetensors.index.json"
    let bytes = try MappedFile.read(path)
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    defer { try? file.close() }
    for bit in 0..<bytes.count * 8 {
      try file.seek(toOffset: UInt64(bit / 8))
      try file.write(contentsOf: [bytes[bit / 8] ^ 1 << UInt8(bit % 8)])
      _ = Self.outcome(folder, expecting: whole, naming: "model", "index, bit \(bit)")
      try file.seek(toOffset: UInt64(bit / 8))
      try file.write(contentsOf: [bytes[bit / 8]])
    }
  }

  // MARK: Files

  /// What a removed or emptied file means: the checkpoint is refused, or only what needs the file is.
  private static func needs(_ name: String) -> String {
    switch name {
    case "chat_template.jinja": "messages"
    case "preprocessor_config.json": "pictures"
    // Films then take what is said of pictures, as in transformers.
    case "video_preprocessor_config.json": "nothing"
    case "merges.txt", "vocab.json", "generation_config.json", "tokenizer_config.json": "nothing"
    default: "everything"
    }
  }

  private static func policyWeights(_ folder: String) throws -> [[UInt8]] {
    contents(try Policy(folder: folder, backend: backend, precision: .full).model)
  }

  @Test(arguments: Kind.allCases) func everyFileRemoved(kind: Kind) throws {
    let folder = try Self.preset(kind)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let whole = try Self.policyWeights(folder)
    let message: [JSON] = [["role": "user", "content": "hello"]]
    let picture = Picture(width: 32, height: 32, pixels: [UInt8](repeating: 90, count: 32 * 32 * 3))
    for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
      let path = folder + "/" + name
      try FileManager.default.moveItem(atPath: path, toPath: folder + ".kept")
      defer { try! FileManager.default.moveItem(atPath: folder + ".kept", toPath: path) }
      let stem = name.hasPrefix("model") ? "model" : name
      let error = Self.outcome(folder, expecting: whole, naming: stem, "without \(name)", Self.policyWeights)
      #expect((error != nil) == (Self.needs(name) == "everything"), "without \(name)")
      if error != nil { continue }
      let policy = try Policy(folder: folder, backend: Self.backend, precision: .full)
      switch Self.needs(name) {
      case "messages":
        expectAttuneError(containing: folder, "chat_template.jinja") {
          _ = try policy.prompt(messages: message)
        }
      case "pictures":
        #expect(try policy.prompt(messages: message).encoded.ids.count > 3)
        expectAttuneError(containing: folder, "preprocessor_config.json") {
          _ = try policy.encode(
            text: "<|vision_start|><|image_pad|><|vision_end|>", media: PromptMedia(pictures: [picture]))
        }
      default: #expect(try policy.prompt(messages: message).encoded.ids.count > 3, "without \(name)")
      }
    }
  }

  @Test(arguments: Kind.allCases) func everyFileCutOffOrReplaced(kind: Kind) throws {
    let folder = try Self.preset(kind)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let whole = try Self.policyWeights(folder)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
      let path = folder + "/" + name
      let bytes = try MappedFile.read(path)
      let lengths = Set([0, 1, 7, 8, 9, bytes.count / 3, bytes.count / 2, bytes.count - 2, bytes.count - 1])
      var variants = lengths.filter { $0 >= 0 && $0 < bytes.count }.sorted().map {
        ("cut to \($0)", Array(bytes[..<$0]))
      }
      variants.append(("noise", (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 13) }))
      variants.append(("a line of text", Array("404: Not Found\n".utf8)))
      if name.hasSuffix(".json") || name.hasSuffix(".safetensors") {
        variants += ["{}", "[]", "null", "3"].map { ($0, Array($0.utf8)) }
        variants.append(("a pointer", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n".utf8)))
      }
      for (what, variant) in variants {
        try variant.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
        let error = Self.outcome(folder, expecting: whole, naming: name, "\(name): \(what)", Self.policyWeights)
        let must = ["config.json", "tokenizer.json"].contains(name) || name.hasPrefix("model")
        if must, !(what.hasPrefix("cut to") && variant.count >= bytes.count - 2) {
          #expect(error != nil, "\(name): \(what)")
        }
        if what == "cut to 0", Self.needs(name) != "nothing" { #expect(error != nil, "\(name): \(what)") }
      }
      try bytes.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
    }
    #expect(try Self.policyWeights(folder) == whole)
  }

  // MARK: Values of config.json

  /// All paths of a configuration's values.
  private static func paths(_ json: JSON, _ here: [String] = []) -> [[String]] {
    (json.object?.entries.map { ($0, $1) } ?? []).flatMap { key, value -> [[String]] in
      [here + [key]] + paths(value, here + [key])
    }
  }

  private static func replacing(_ path: ArraySlice<String>, in json: JSON, by value: JSON) -> JSON {
    guard let key = path.first, var object = json.object else { return value }
    object[key] = replacing(path.dropFirst(), in: object[key] ?? .null, by: value)
    return JSON(.object(object))
  }

  /// Strange values are refused, or leave the weights as they are and the model computing something.
  @Test(arguments: Kind.allCases) func strangeConfigurations(kind: Kind) throws {
    let folder = try Self.smallest(kind)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let whole = try Self.weights(folder)
    let path = folder + "/config.json"
    let json = try JSON.parse(MappedFile.read(path), file: path)
    let values: [JSON] = [
      .int(-1), .int(0), .int(1), .int(3), .int(1 << 20), .int(1 << 31), .int(Int64.max), .double(1e300), .double(0.5),
      .double(-0.0),
      "x", "", .null, .bool(true), .bool(false), [], [.int(-1)], [.int(1 << 40)], .object([]),
    ]
    for key in Self.paths(json) {
      for value in values {
        try AtomicFile.write(path, text: Self.replacing(key[...], in: json, by: value).text(.pretty))
        let before = Self.backend.highWaterBytes
        let what = "\(key.joined(separator: ".")) = \(value.text())"
        if Self.outcome(folder, expecting: whole, naming: folder, what) == nil {
          let model = try LanguageModel.load(folder: folder, backend: Self.backend, precision: .full)
          // An id that now stands for a picture is refused, as it should be.
          guard let prompt = try? model.encode(ids: [0, 1, 2]) else { continue }
          var forest = Forest()
          forest.append(count: 3)
          let batch = PackedBatch(
            ids: prompt.ids, positions: prompt.positions, plan: forest.attentionPlan, pictures: [], pictureRows: [])
          #expect(model.hidden(Tape(Self.backend, recording: false), batch).rows == 3, "\(what)")
        }
        #expect(Self.backend.highWaterBytes - before < 64 << 20, "\(what)")
      }
    }
  }
}
