import AttuneTensor
import Core
import Models
import Rollout
import TestSupport
import Testing

struct NumberDecoder: CompletionDecoder {
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { ids.map { "\($0) " }.joined() }
}

/// What was sampled is what is trained on: recorded log-probabilities equal the trainer's bit for bit.
@Suite struct BitsTests {
  private static func model(_ json: JSON, _ precision: Precision, threads: Int = 2) throws -> LanguageModel {
    let backend = try CPUBackend(threads: threads)
    return try LanguageModel(
      ModelConfiguration(json: json, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: precision))
  }

  /// Prompts of various lengths, some with pictures where the family takes them.
  private static func prompts(_ model: LanguageModel, _ count: Int, _ seed: Int) throws -> [EncodedPrompt] {
    var random = Randomness(seed: 9, for: .testing).stream(seed)
    return try (0..<count).map { i in
      var ids = (0..<1 + random.integer(below: 80)).map { _ in Int32(random.integer(below: 90)) }
      var pictures: [PictureInput] = []
      if let vision = model.configuration.vision, i % 3 != 2 {
        let height = 2 * (1 + random.integer(below: 3))
        let width = 2 * (1 + random.integer(below: 4))
        let patches = (0..<height * width * vision.patchWidth).map { _ in Float(random.uniform(-1, 1)) }
        pictures.append(PictureInput(patches: patches, grid: (frames: 1, height: height, width: width)))
        ids.insert(contentsOf: [91] + [Int32](repeating: 90, count: height * width / 4) + [92], at: ids.count / 2)
      }
      return try model.encode(ids: ids, pictures: pictures)
    }
  }

  private static func trained(_ model: LanguageModel, _ trees: [PromptTree], temperature: Double) -> [[[Float]]] {
    let batch = TrainingBatch(trees)
    let tape = Tape(model.backend, recording: false)
    let values = model.backend.floats(model.streams(tape, batch, temperature: temperature, wanted: [.logprob]))
    var ranges = batch.completionRanges[...]
    return trees.map { tree in tree.completions.map { _ in Array(values[ranges.removeFirst()]) } }
  }

  private static func bits(_ values: [[[Float]]]) -> [[[UInt32]]] { values.map { $0.map { $0.map(\.bitPattern) } } }

  @Test(arguments: TinyModels.all.map(\.name), [Precision.full, .bf16])
  func recordedLogprobsEqualTheTrainers(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    let model = try Self.model(json, precision)
    let engine = LocalEngine(model, decoder: NumberDecoder(), seed: 3)
    let prompts = try Self.prompts(model, 7, 1)
    for (group, temperature) in [(1, 1.0), (2, 0.7), (5, 1.3)] {
      let parameters = SamplingParameters(
        temperature: temperature, maxNewTokens: 9, stopIDs: [3, 17, 40, 55], logprobTemperature: temperature)
      let requests = prompts.enumerated().map {
        RolloutRequest(prompt: $1, completions: group, step: 4, promptNumber: $0)
      }
      let groups = try engine.generate(requests, parameters)
      let recorded = groups.map { $0.map(\.logprobs) }
      let trees = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
      #expect(
        Self.bits(recorded) == Self.bits(Self.trained(model, trees, temperature: temperature)),
        "packed, group of \(group)")
      // Each completion alone, and in another order, and in smaller batches.
      for (t, tree) in trees.enumerated() {
        for (c, completion) in tree.completions.enumerated() {
          let alone = Self.trained(
            model, [PromptTree(prompt: tree.prompt, completions: [completion])], temperature: temperature)
          #expect(Self.bits(alone) == Self.bits([[recorded[t][c]]]), "prompt \(t), completion \(c) alone")
        }
      }
      let reversed = Self.trained(
        model, trees.reversed().map { PromptTree(prompt: $0.prompt, completions: $0.completions.reversed()) },
        temperature: temperature)
      #expect(Self.bits(reversed.reversed().map { $0.reversed() }) == Self.bits(recorded), "reversed")
    }
  }

  /// A sample is a function of (seed, step, prompt, index): not of its group's size nor of what is sampled beside it.
  @Test(arguments: TinyModels.all.map(\.name))
  func samplesDependOnTheirPlaceAlone(family: String) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    let parameters = SamplingParameters(maxNewTokens: 12, stopIDs: [3, 17])
    func sample(threads: Int, only: [Int], group: Int, seed: UInt64 = 3, budget: Int = 2 << 30) throws -> [[[Int32]]] {
      let model = try Self.model(json, .full, threads: threads)
      let prompts = try Self.prompts(model, 5, 2)
      let engine = LocalEngine(model, decoder: NumberDecoder(), seed: seed, cacheBudget: budget)
      let requests = only.map { RolloutRequest(prompt: prompts[$0], completions: group, step: 1, promptNumber: $0) }
      return try engine.generate(requests, parameters).map { $0.map(\.ids) }
    }
    let all = try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 4)
    #expect(Set(all.flatMap { $0 }).count > 15)
    #expect(try sample(threads: 1, only: [0, 1, 2, 3, 4], group: 4) == all)
    #expect(try sample(threads: 3, only: [4, 2], group: 4) == [all[4], all[2]])
    #expect(try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 2) == all.map { Array($0.prefix(2)) })
    // A cache for one prompt at a time: waves change nothing.
    #expect(try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 4, budget: 1) == all)
    #expect(try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 4, seed: 4) != all)
  }

  /// Adapted policies keep the promise, and switching the adapter off gives the reference's own bits.
  @Test func adaptersKeepTheBits() throws {
    let model = try Self.model(TinyModels.qwen3, .full)
    let prompts = try Self.prompts(model, 3, 5)
    let trees = prompts.map { PromptTree(prompt: $0, completions: [[5, 6, 7]]) }
    let before = Self.trained(model, trees, temperature: 1)
    try model.attachLoRA(LoRAConfiguration(rank: 4, alpha: 8), seed: 1)
    #expect(Self.trained(model, trees, temperature: 1) == before, "a fresh adapter adds zero")
    var random = Randomness(seed: 2, for: .testing).stream()
    for layer in model.adapter!.layers {
      layer.b.setValue(
        model.backend.upload((0..<layer.b.value.count).map { _ in Float(random.normal() * 0.1) }, layer.b.shape))
    }
    let engine = LocalEngine(model, decoder: NumberDecoder(), seed: 3)
    let requests = prompts.enumerated().map { RolloutRequest(prompt: $1, completions: 3, promptNumber: $0) }
    let groups = try engine.generate(requests, SamplingParameters(maxNewTokens: 6))
    let own = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
    #expect(Self.bits(groups.map { $0.map(\.logprobs) }) == Self.bits(Self.trained(model, own, temperature: 1)))
    #expect(Self.bits(Self.trained(model, trees, temperature: 1)) != Self.bits(before))
    model.adapter!.isEnabled = false
    #expect(Self.bits(Self.trained(model, trees, temperature: 1)) == Self.bits(before))
  }

  /// Gradients of all parameters have the same bits for any number of threads.
  @Test(arguments: TinyModels.all.map(\.name), [Precision.full, .bf16])
  func gradientsDoNotDependOnThreads(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    func gradients(_ threads: Int) throws -> [[UInt32]] {
      let model = try Self.model(json, precision, threads: threads)
      model.setTrainable(true)
      let prompts = try Self.prompts(model, 6, 3)
      let batch = TrainingBatch(
        prompts.map { PromptTree(prompt: $0, completions: [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]) })
      let tape = Tape(model.backend, recording: true)
      let streams = model.streams(tape, batch, temperature: 1, wanted: [.logprob])
      tape.backward(
        from: streams, seed: model.backend.upload([Float](repeating: 0.1, count: streams.count), streams.shape))
      return model.parameters.map { model.backend.floats($0.gradient!).map(\.bitPattern) }
    }
    let one = try gradients(1)
    #expect(one.contains { $0.contains { $0 != 0 } })
    #expect(try gradients(2) == one)
    #expect(try gradients(3) == one)
  }
}
