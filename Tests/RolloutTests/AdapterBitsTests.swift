import AttuneTensor
import Core
import Models
import Rollout
import TestSupport
import Testing

/// What adapters promise to the bit: sampler equals trainer, and dropout is a function of a token's place in its update.
@Suite struct AdapterBitsTests {
  private static func attach(_ model: LanguageModel, _ change: (inout LoRAConfiguration) -> Void) throws {
    // What PEFT has as parameters takes neither magnitudes nor dropout; DeepSeek-VL2's experts are linear layers, its routers not.
    let asParameters = ["qwen3_moe", "qwen3_vl_moe", "deepseek_v2"].contains(model.configuration.family.name)
    var configuration = LoRAConfiguration(
      rank: 4, alpha: 8, targets: asParameters ? .allLinear : .pattern(#".*\.(?!gate$)[^.]*"#))
    change(&configuration)
    try model.attachLoRA(configuration, seed: 1)
    var random = Randomness(seed: 2, for: .testing).stream()
    for parameter in model.trainedParameters {
      let old = model.backend.floats(parameter.value)
      parameter.setValue(model.backend.upload(old.map { $0 + Float(random.normal() * 0.1) }, parameter.shape))
    }
  }

  @Test(
    arguments: TinyModels.all.map(\.name),
    [(Precision.full, WeightFormat.plain), (.bf16, .plain), (.bf16, .int8), (.bf16, .int4)])
  func doraSamplesWhatItTrains(family: String, held: (Precision, WeightFormat)) throws {
    let model = try BitsTests.model(TinyModels.all.first { $0.name == family }!.json, held.0, weights: held.1)
    try Self.attach(model) { $0.dora = true }
    let prompts = try BitsTests.prompts(model, 4, 5)
    let requests = prompts.enumerated().map { RolloutRequest(prompt: $1, completions: 3, promptNumber: $0) }
    let groups = try LocalEngine(model, decoder: NumberDecoder(), seed: 3).generate(
      requests, SamplingParameters(maxNewTokens: 6))
    let trees = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
    #expect(
      BitsTests.bits(groups.map { $0.map(\.logprobs) })
        == BitsTests.bits(BitsTests.trained(model, trees, temperature: 1)))
  }

  /// Norms of codes are those of the values that products with codes see.
  @Test(arguments: [WeightFormat.int8, .int4]) func freshMagnitudesAreThoseOfTheCodes(weights: WeightFormat) throws {
    let model = try BitsTests.model(TinyModels.qwen3, .bf16, weights: weights)
    let linear = model.linears[0]
    var configuration = LoRAConfiguration(rank: 2)
    configuration.dora = true
    try model.attachLoRA(configuration, seed: 1)
    let panels = model.backend.pack([linear.weight.value], for: .bf16, as: weights)
    let seen = model.backend.empty(linear.weight.shape, .f32)
    model.backend.unpack(seen, panels)
    let values = model.backend.floats(seen)
    let width = linear.weight.value.width
    let norms = (0..<linear.weight.value.rows).map { row in
      values[row * width..<(row + 1) * width].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
    let magnitude = try #require(model.adapter?.layers[0].factors.magnitude)
    expectClose(model.backend.doubles(magnitude.value), norms, relative: 1e-6)
  }

  private static func gradients(
    _ family: String, _ precision: Precision, dora: Bool, threads: Int, _ sizes: [Int], recomputes: Bool = false,
    step: Int = 3
  ) throws -> (values: [UInt32], gradients: [[UInt32]]) {
    let model = try BitsTests.model(TinyModels.all.first { $0.name == family }!.json, precision, threads: threads)
    try attach(model) { ($0.dropout, $0.dora) = (0.3, dora) }
    let trees = try BitsTests.prompts(model, 6, 3).map {
      PromptTree(prompt: $0, completions: [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]])
    }
    var first = 0
    var values: [UInt32] = []
    for size in sizes {
      let batch = TrainingBatch(Array(trees[first..<first + size]), firstTree: first)
      first += size
      let tape = Tape(model.backend, recording: true)
      var options = PassOptions(recomputesLayers: recomputes)
      options.dropout = DropoutPass(seed: 7, step: step)
      let streams = model.streams(tape, batch, temperature: 1, wanted: [.logprob], options)
      let found = model.backend.floats(streams)
      var seed = [Float](repeating: 0, count: streams.count)
      for range in batch.completionRanges {
        for i in range { seed[i] = 0.1 }
        values += found[range].map(\.bitPattern)
      }
      tape.backward(from: streams, seed: model.backend.upload(seed, streams.shape))
    }
    return (values, model.trainedParameters.map { model.backend.floats($0.gradient!).map(\.bitPattern) })
  }

  /// Masks do not depend on threads, on how an update is cut, or on whether layers are kept; they do depend on the step.
  @Test(arguments: TinyModels.all.map(\.name), [Precision.full, .bf16])
  func dropoutDoesNotDependOnTheCut(family: String, precision: Precision) throws {
    for dora in [false, true] {
      let whole = try Self.gradients(family, precision, dora: dora, threads: 2, [6])
      for (threads, sizes, recomputes) in [(1, [6], false), (3, [2, 1, 3], false), (2, [1, 1, 1, 1, 1, 1], true)] {
        let other = try Self.gradients(
          family, precision, dora: dora, threads: threads, sizes, recomputes: recomputes)
        #expect(other.values == whole.values, "dora \(dora), \(sizes)")
        #expect(other.gradients == whole.gradients, "dora \(dora), \(sizes)")
      }
      #expect(try Self.gradients(family, precision, dora: dora, threads: 2, [6], step: 4).values != whole.values)
    }
  }
}
