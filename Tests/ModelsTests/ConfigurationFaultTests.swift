import AttuneTensor
import Core
import Foundation
import Models
import TestSupport
import Testing

/// Every value of every family's configuration replaced by something else: an error of ours, or a model that computes.
@Suite struct ConfigurationFaultTests {
  private static let replacements: [JSON] = [
    .null, -1, 0, 1, 2, 3, .int(1 << 40), 0.5, 1e300, "other", [], [3], ["sliding_attention"], [:], true, false,
  ]

  /// A path of keys, and the configuration with the value there replaced.
  private static func mutations(of json: JSON) -> [(path: String, json: JSON)] {
    guard let object = json.object else { return [] }
    return object.entries.flatMap { key, value -> [(String, JSON)] in
      func with(_ new: JSON) -> JSON { .object(object.entries.map { ($0, $0 == key ? new : $1) }) }
      return replacements.map { ("\(key) = \($0.text())", with($0)) }
        + mutations(of: value).map { ("\(key).\($0.path)", with($0.json)) }
    }
  }

  @Test(arguments: TinyModels.all.map(\.name))
  func changedConfigurationsNeverCrash(family: String) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    let backend = try CPUBackend(threads: 1)
    let folder = NSTemporaryDirectory() + "attune-configurations-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let whole = try LanguageModel(
      ModelConfiguration(json: json, file: "config.json"),
      from: RandomSource(seed: 1, deviation: 0.2, backend: backend, precision: .full))
    try SafeTensors.write(try whole.writtenWeights(), to: folder + "/model.safetensors")
    var (refused, computed) = (0, 0)
    for (path, changed) in Self.mutations(of: json) {
      do {
        let model = try LanguageModel(
          ModelConfiguration(json: changed, file: "config.json"),
          from: CheckpointSource(folder: folder, backend: backend, precision: .full))
        let prompt = try model.encode(ids: [1, 2, 3, 4, 5, 6])
        let batch = TrainingBatch([PromptTree(prompt: prompt, completions: [[1, 2]])])
        let streams = model.streams(
          Tape(backend, recording: false), batch, temperature: 1, wanted: [.logprob])
        #expect(backend.floats(streams).prefix(2).allSatisfy { !$0.isNaN }, "\(family) \(path)")
        computed += 1
      } catch let error as AttuneError {
        #expect(!error.message.isEmpty, "\(family) \(path)")
        refused += 1
      }
    }
    #expect(refused > 100 && computed > 10, "\(family): \(refused) refused, \(computed) computed")
  }
}
