import AttuneTensor
import Core
import Foundation
import Lab
import Models
import TestSupport
import Testing

/// Merged checkpoints: one file or shards, one type, nothing lost, nothing half-written.
@Suite struct CheckpointWritingTests {
  private static let backend = try! CPUBackend(threads: 1)
  private let source: String
  private let target: String

  init() throws {
    source = try Program.temporaryFolder()
    target = try Program.temporaryFolder()
    try Preset.named("tiny-vl").write(to: source, seed: 4)
  }

  private func names(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  private func contents(_ folder: String) throws -> [String: [UInt8]] {
    let files = try SafeTensorsFolder(folder)
    return Dictionary(
      uniqueKeysWithValues: try files.names.map { name in
        let tensor = try files.tensor(name, shape: files.entry(name)!.shape, on: Self.backend)
        return (name, Self.backend.withHostBytes(tensor) { Array($0) })
      })
  }

  private func policy(_ precision: Precision = .full) throws -> Policy {
    try Policy(folder: source, backend: Self.backend, precision: precision)
  }

  @Test func shardsHoldWhatOneFileHolds() throws {
    try policy().save(to: target)
    let whole = try contents(target)
    #expect(whole == (try contents(source)))
    #expect(try names(target).contains("model.safetensors"))
    try policy().save(to: target, shardSize: 100_000)
    let shards = try names(target).filter { $0.hasSuffix(".safetensors") }
    // The single file is gone: readers would prefer it.
    let last = String(format: "-of-%05d.safetensors", shards.count)
    #expect(shards.count > 3 && shards.allSatisfy { $0.hasSuffix(last) }, "\(shards)")
    #expect(try contents(target) == whole)
    let index = try JSON.parse(MappedFile.read(target + "/model.safetensors.index.json"))
    #expect(index["metadata"]!["total_size"]!.int == whole.values.reduce(0) { $0 + $1.count })
    #expect(index["metadata"]!["total_parameters"]!.int == whole.values.reduce(0) { $0 + $1.count / 4 })
    for shard in shards {
      let file = try SafeTensors(target + "/" + shard)
      #expect(file.metadata == ["format": "pt"])
      let size = file.entries.reduce(0) { $0 + $1.shape.reduce(4, *) }
      #expect(size <= 100_000 || file.entries.count == 1, "\(shard)")
      for entry in file.entries { #expect(index["weight_map"]![entry.name]!.string == shard) }
    }
    // Fewer shards replace more, and one file replaces them.
    try policy().save(to: target, shardSize: 300_000)
    #expect(try names(target).filter { $0.hasSuffix(".safetensors") }.count < shards.count)
    #expect(try contents(target) == whole)
    try policy().save(to: target)
    #expect(try names(target).filter { $0.hasPrefix("model") } == ["model.safetensors"])
  }

  @Test func theConfigurationNamesTheTypeThatWasWritten() throws {
    try policy(.bf16).save(to: target)
    let files = try SafeTensorsFolder(target)
    #expect(files.names.allSatisfy { files.entry($0)!.type == "BF16" })
    let json = try JSON.parse(MappedFile.read(target + "/config.json"))
    #expect(json["text_config"]!["dtype"]!.string == "bfloat16")
    #expect(json["torch_dtype"]!.string == "bfloat16")
    // Everything else is as it was.
    var before = try JSON.parse(MappedFile.read(source + "/config.json")).object!
    var after = json.object!
    for key in ["torch_dtype", "text_config"] {
      before[key] = nil
      after[key] = nil
    }
    #expect(JSON(.object(before)) == JSON(.object(after)))
    // A bf16 checkpoint written in f32 is f32 throughout, and the same numbers.
    let wide = try Program.temporaryFolder()
    try Policy(folder: target, backend: Self.backend, precision: .full).save(to: wide)
    let written = try SafeTensorsFolder(wide)
    #expect(written.names.allSatisfy { written.entry($0)!.type == "F32" })
    for name in written.names {
      let shape = written.entry(name)!.shape
      #expect(
        Self.backend.floats(try written.tensor(name, shape: shape, on: Self.backend))
          == Self.backend.floats(try files.tensor(name, shape: shape, on: Self.backend)), "\(name)")
    }
  }

  @Test func whatTheModelHasNoPlaceForIsToldAndCarriedOver() throws {
    let backend = Self.backend
    let path = source + "/model.safetensors"
    let own = try policy().model.writtenWeights()
    let extra =
      own + [
        WrittenTensor("visual.unused.weight", .i64, [2], from: backend) {
          [7, -8].withUnsafeBytes { backend.upload($0, [2], .i64) }
        },
        WrittenTensor("model.layers.0.self_attn.rotary_emb.inv_freq", .f32, [1], from: backend) {
          backend.upload([0.5] as [Float], [1])
        },
      ]
    try SafeTensors.write(extra, to: path + ".new")
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: path + ".new", toPath: path)
    let policy = try policy()
    #expect(
      policy.remarks.count == 1 && policy.remarks[0].contains("1 tensor ")
        && policy.remarks[0].contains("visual.unused.weight"))
    try policy.save(to: target)
    #expect(try SafeTensors(target + "/model.safetensors").integers("visual.unused.weight") == [7, -8])
    #expect(try SafeTensorsFolder(target).names.count == own.count + 2)
    // The single file is read where there is an index too, and that is said.
    try AtomicFile.write(source + "/model.safetensors.index.json", text: "not read")
    #expect(try self.policy().remarks.contains { $0.contains("the single file is read") })
  }

  @Test func aTiedHeadInTheFileMustBeTheEmbedding() throws {
    let model = try policy().model
    let name = "model.language_model.embed_tokens.weight"
    let embedding = model.parameters.first { $0.name == name }!
    func write(_ head: Tensor, to folder: String) throws {
      try FileManager.default.removeItem(atPath: folder)
      try FileManager.default.copyItem(atPath: source, toPath: folder)
      let tensors =
        try model.writtenWeights() + [
          WrittenTensor("lm_head.weight", .f32, head.shape, from: Self.backend) { head }
        ]
      try SafeTensors.write(tensors, to: folder + "/model.safetensors")
    }
    try write(embedding.value, to: target)
    let policy = try Policy(folder: target, backend: Self.backend, precision: .full)
    #expect(policy.remarks.isEmpty)
    let again = try Program.temporaryFolder()
    try policy.save(to: again)
    #expect(try SafeTensorsFolder(again).entry("lm_head.weight") == nil)
    var values = Self.backend.floats(embedding.value)
    values[values.count - 1] += 1
    try write(Self.backend.upload(values, embedding.shape), to: target)
    expectAttuneError(containing: target, "lm_head.weight differs from \(name)", "tie_word_embeddings") {
      _ = try Policy(folder: target, backend: Self.backend, precision: .full)
    }
  }

  @Test func theOriginalIsNotOverwritten() throws {
    let before = try contents(source)
    expectAttuneError(containing: source, "another folder") { try policy().save(to: source) }
    let link = target + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: source)
    expectAttuneError(containing: "another folder") { try policy().save(to: link) }
    #expect(try contents(source) == before)
  }

  /// Companions of another checkpoint that stood in the target do not stay beside the new weights.
  @Test func nothingOfAnotherCheckpointStays() throws {
    try AtomicFile.write(target + "/special_tokens_map.json", text: "{}")
    try AtomicFile.write(target + "/notes.txt", text: "mine")
    try policy().save(to: target)
    let expected = try names(source)
    #expect(try names(target) == (expected + ["notes.txt"]).sorted())
  }
}
