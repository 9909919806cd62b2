import AttuneTensor
import Core
import Foundation
import Models
import TestSupport
import Testing

/// Checkpoints in F16, BF16 and F32, of every family.
@Suite struct CheckpointTypeTests {
  private static let backend = GoldenModelTests.backend

  /// A fixture whose weights are rounded to a type, stored as that type or widened to f32.
  private static func rounded(_ family: String, _ type: String, widened: Bool) throws -> String {
    let source = Fixtures.path("models/\(family)")
    let folder = try Program.temporaryFolder()
    try FileManager.default.copyItem(atPath: source + "/config.json", toPath: folder + "/config.json")
    let files = try SafeTensorsFolder(source)
    let tensors = try files.names.map { name -> WrittenTensor in
      let entry = files.entry(name)!
      let halves = backend.floats(try files.tensor(name, shape: entry.shape, on: backend)).map { x -> UInt16 in
        switch type {
        case "F16": return half(x)
        default:
          let bits = x.bitPattern
          return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
        }
      }
      let narrow = halves.withUnsafeBytes { backend.upload($0, entry.shape, type == "F16" ? .f16 : .bf16) }
      guard widened else { return WrittenTensor(entry.name, narrow.dtype, entry.shape, from: backend) { narrow } }
      let wide = backend.empty(entry.shape, .f32)
      backend.convert(wide, narrow)
      return WrittenTensor(entry.name, .f32, entry.shape, from: backend) { wide }
    }
    try SafeTensors.write(tensors, to: folder + "/model.safetensors")
    return folder
  }

  /// To the nearest half, ties to even; for values below the largest half.
  private static func half(_ x: Float) -> UInt16 {
    let sign: UInt16 = x.sign == .minus ? 0x8000 : 0
    let size = x.magnitude
    if size < 0x1p-14 { return sign | UInt16((size * 0x1p24).rounded(.toNearestOrEven)) }
    let exponent = Int(size.exponent)
    let fraction = UInt16(
      ((size / Float(sign: .plus, exponent: exponent, significand: 1) - 1) * 1024).rounded(.toNearestOrEven))
    return sign | (UInt16(exponent + 15) << 10 + fraction)
  }

  /// Logits of a family's first row from a checkpoint.
  private static func logits(
    _ family: String, _ folder: String, _ precision: Precision, _ weights: WeightFormat
  ) throws -> [Float] {
    var configuration = try ModelConfiguration.load(folder: folder)
    // DeepSeek-VL2's configuration leaves it to the tokenizer.
    if configuration.vision != nil, configuration.imageTokenID == nil { configuration.imageTokenID = 600 }
    let source = try CheckpointSource(folder: folder, backend: backend, precision: precision, weights: weights)
    let model = try LanguageModel(configuration, from: source)
    #expect(
      source.unusedTensors.allSatisfy { $0.hasPrefix("vision.attn_pool.") || $0.hasPrefix("vision.norm.") },
      "\(source.unusedTensors)")
    let row = try GoldenModelTests.rows(family)[0].0
    return GoldenModelTests.evaluate(model, try model.encode(ids: row.ids, pictures: row.pictures)).logits
  }

  @Test(
    arguments: GoldenModelTests.folders, ["F16", "BF16"])
  func narrowFilesComputeAsTheirValuesInF32(family: String, type: String) throws {
    let (narrow, wide) = (
      try Self.rounded(family, type, widened: false), try Self.rounded(family, type, widened: true)
    )
    defer { for folder in [narrow, wide] { try? FileManager.default.removeItem(atPath: folder) } }
    let formats: [(Precision, WeightFormat)] = [(.full, .plain), (.bf16, .plain), (.bf16, .int8), (.bf16, .int4)]
    for (precision, format) in formats {
      let found = try Self.logits(family, narrow, precision, format)
      let expected = try Self.logits(family, wide, precision, format)
      #expect(found.map(\.bitPattern) == expected.map(\.bitPattern), "\(precision) \(format)")
    }
  }

  /// A checkpoint of any family that is written again has its tensors, in its layout.
  @Test(arguments: GoldenModelTests.folders) func everyFamilyIsWrittenAsItWasRead(family: String) throws {
    let folder = Fixtures.path("models/\(family)")
    let source = try CheckpointSource(folder: folder, backend: Self.backend, precision: .full)
    let model = try LanguageModel(ModelConfiguration.load(folder: folder), from: source)
    let target = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: target) }
    try SafeTensors.write(model.writtenWeights() + source.unusedToWrite(), toFolder: target, shardSize: 100_000)
    let (before, after) = (try SafeTensorsFolder(folder), try SafeTensorsFolder(target))
    #expect(after.names == before.names)
    for name in before.names {
      let shape = before.entry(name)!.shape
      #expect(
        Self.backend.floats(try after.tensor(name, shape: shape, on: Self.backend)).map(\.bitPattern)
          == Self.backend.floats(try before.tensor(name, shape: shape, on: Self.backend)).map(\.bitPattern), "\(name)")
    }
  }

  /// Log-probabilities of transformers, computed in f32 from the rounded weights.
  @Test(
    arguments: GoldenModelTests.folders.filter { !$0.hasPrefix("deepseek_vl2") }, ["F16", "BF16"])
  func narrowFilesGiveTheReferencesLogProbabilities(family: String, type: String) throws {
    let folder = try Self.rounded(family, type, widened: false)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let model = try LanguageModel.load(folder: folder, backend: Self.backend, precision: .full)
    let item = try Fixtures.json("models/weight_types.json")[family]!
    let ids = item["input_ids"]!.array!.map { Int32($0.int!) }
    let found = GoldenModelTests.evaluate(model, try model.encode(ids: ids)).logprobs.map(Double.init)
    let expected = item[type]!.array!.map { $0.double! }
    expectClose(found, expected, absolute: 2e-5, "\(family) \(type)")
    // Rounding the weights moves them: the test would see weights that were not rounded, or by another type.
    let other = item[type == "F16" ? "BF16" : "F16"]!.array!.map { $0.double! }
    // (The weights of one fixture are bf16 already, which are halves too.)
    #expect(family == "qwen3_tied_yarn" || zip(found, other).contains { abs($0 - $1) > 1e-4 })
  }
}
