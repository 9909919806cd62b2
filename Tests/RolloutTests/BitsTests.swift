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
  static func model(
    _ json: JSON, _ precision: Precision, weights: WeightFormat = .plain, threads: Int = 2
  ) throws -> LanguageModel {
    let backend = try CPUBackend(threads: threads)
    return try LanguageModel(
      ModelConfiguration(json: json, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: precision, weights: weights))
  }

  /// Puts an adapter on the model that changes what it computes.
  static func attachAdapter(_ model: LanguageModel) throws {
    try model.attachLoRA(LoRAConfiguration(rank: 4, alpha: 8, targets: .pattern(".*")), seed: 1)
    var random = Randomness(seed: 2, for: .testing).stream()
    for layer in model.adapter!.layers {
      layer.b.setValue(
        model.backend.upload((0..<layer.b.value.count).map { _ in Float(random.normal() * 0.1) }, layer.b.shape))
    }
  }

  /// Gradients of what is trained, all log-probabilities of some completions being wanted alike.
  static func gradients(_ model: LanguageModel) throws -> [[Float]] {
    let batch = TrainingBatch(
      try prompts(model, 6, 3).map { PromptTree(prompt: $0, completions: [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]) })
    let tape = Tape(model.backend, recording: true)
    let streams = model.streams(tape, batch, temperature: 1, wanted: [.logprob])
    tape.backward(
      from: streams, seed: model.backend.upload([Float](repeating: 0.1, count: streams.count), streams.shape))
    return model.trainedParameters.map { model.backend.floats($0.gradient!) }
  }

  /// Prompts of various lengths, some with pictures where the family takes them.
  static func prompts(_ model: LanguageModel, _ count: Int, _ seed: Int) throws -> [EncodedPrompt] {
    var random = Randomness(seed: 9, for: .testing).stream(seed)
    return try (0..<count).map { i in
      var ids = (0..<1 + random.integer(below: 80)).map { _ in Int32(random.integer(below: 90)) }
      var pictures: [PictureInput] = []
      if let vision = model.configuration.vision, i % 3 != 2 {
        let picture = TinyModels.picture(vision, &random)
        let places = try vision.layOut(picture, from: 0).positions.count
        pictures.append(picture)
        ids.insert(contentsOf: [91] + [Int32](repeating: 90, count: places) + [92], at: ids.count / 2)
      }
      return try model.encode(ids: ids, pictures: pictures)
    }
  }

  static func trained(_ model: LanguageModel, _ trees: [PromptTree], temperature: Double) -> [[[Float]]] {
    let batch = TrainingBatch(trees)
    let tape = Tape(model.backend, recording: false)
    let values = model.backend.floats(model.streams(tape, batch, temperature: temperature, wanted: [.logprob]))
    var ranges = batch.completionRanges[...]
    return trees.map { tree in tree.completions.map { _ in Array(values[ranges.removeFirst()]) } }
  }

  static func bits(_ values: [[[Float]]]) -> [[[UInt32]]] { values.map { $0.map { $0.map(\.bitPattern) } } }

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
      let engine = LocalEngine(model, decoder: NumberDecoder(), seed: seed, limits: RolloutLimits(cacheBytes: budget))
      let requests = only.map { RolloutRequest(prompt: prompts[$0], completions: group, step: 1, promptNumber: $0) }
      return try engine.generate(requests, parameters).map { $0.map(\.ids) }
    }
    let all = try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 4)
    #expect(Set(all.flatMap { $0 }).count > 15)
    #expect(try sample(threads: 1, only: [0, 1, 2, 3, 4], group: 4) == all)
    #expect(try sample(threads: 3, only: [4, 2], group: 4) == [all[4], all[2]])
    #expect(try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 2) == all.map { Array($0.prefix(2)) })
    // A cache of four pages: sequences wait, give way and are computed again, which changes nothing.
    let page = try Self.pageBytes(Self.model(json, .full).configuration.text)
    #expect(try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 4, budget: 4 * page) == all)
    #expect(try sample(threads: 2, only: [0, 1, 2, 3, 4], group: 4, seed: 4) != all)
  }

  static func pageBytes(_ c: TextConfiguration) -> Int { c.layers * c.keyValueWidth * 4 * 64 }

  /// One random way to run the engine.
  private struct Setting: CustomStringConvertible {
    var limits: RolloutLimits
    var threads: Int
    var order: [Int]
    var description: String { "\(limits), \(threads) threads, order \(order)" }
  }

  /// The property that everything rests on: whatever the batch, order, groups, pages, budget, threads, and whether
  /// beginnings are shared or kept, a completion is the one it is alone, and its recorded log-probabilities are the bits
  /// that training computes, however training packs it.
  @Test(arguments: TinyModels.all.map(\.name), [Precision.full, .bf16])
  func anyScheduleGivesTheSameBits(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    var random = Randomness(seed: 21, for: .testing).stream(named: "\(family) \(precision)")
    let models = try (1...3).map { try Self.model(json, precision, threads: $0) }
    let page = Self.pageBytes(models[0].configuration.text)
    let parameters = SamplingParameters(
      temperature: 0.9, maxNewTokens: 200, stopIDs: [3], logprobTemperature: 0.9)
    var preempted = 0
    var cached = 0
    for round in 0..<3 {
      // Prompts that share beginnings of any length, some of them pictures, and some identical ones.
      let own = try Self.prompts(models[0], 4, round)
      var prompts = own
      for _ in 0..<4 {
        let base = own[random.integer(below: own.count)]
        let kept = base.ids.count - random.integer(below: max(1, base.ids.count / 2))
        let end = base.pictureRanges.contains { $0.upperBound > kept } ? base.ids.count : kept
        let more = (0..<random.integer(below: 90)).map { _ in Int32(random.integer(below: 90)) }
        prompts.append(try models[0].encode(ids: Array(base.ids[..<end]) + more, pictures: base.pictures))
      }
      let counts = prompts.map { _ in 1 + random.integer(below: 4) }
      func request(_ i: Int, _ count: Int) -> RolloutRequest {
        RolloutRequest(prompt: prompts[i], completions: count, step: round, promptNumber: i)
      }
      let alone = try prompts.indices.map { i in
        try LocalEngine(models[0], decoder: NumberDecoder(), seed: 3).generate([request(i, counts[i])], parameters)[0]
      }
      for _ in 0..<6 {
        let needed = prompts.map { ($0.ids.count + 63) / 64 }.max()! + 4
        var order = Array(prompts.indices)
        for i in order.indices { order.swapAt(i, random.integer(below: order.count)) }
        let setting = Setting(
          limits: RolloutLimits(
            cacheBytes: page * (needed + random.integer(below: 30)), sequences: 1 + random.integer(below: 12),
            prefillTokens: 1 + random.integer(below: 200), sharesPrefixes: random.integer(below: 3) > 0,
            keepsCache: random.integer(below: 2) > 0),
          threads: 1 + random.integer(below: 3), order: order)
        let engine = LocalEngine(
          models[setting.threads - 1], decoder: NumberDecoder(), seed: 3, limits: setting.limits)
        // A second call finds what the first left, if it is kept.
        for _ in 0..<2 {
          var reported: [Int] = []
          let groups = try engine.generate(
            order.map { request($0, counts[$0]) }, parameters, isCancelled: { false }
          ) { number, group in
            reported.append(number)
            #expect(group.map(\.ids) == alone[order[number]].map(\.ids), "group \(number): \(setting)")
          }
          #expect(reported == Array(order.indices), "\(setting)")
          for (place, i) in order.enumerated() {
            #expect(groups[place].map(\.ids) == alone[i].map(\.ids), "prompt \(i): \(setting)")
            #expect(
              groups[place].map { $0.logprobs.map(\.bitPattern) } == alone[i].map { $0.logprobs.map(\.bitPattern) },
              "prompt \(i): \(setting)")
          }
          preempted += engine.statistics.preemptions
          cached += engine.statistics.cachedTokens
        }
      }
      // Training, packed at random, with layers kept or computed again.
      var left = Array(prompts.indices)
      while !left.isEmpty {
        let part = (0..<min(left.count, 1 + random.integer(below: 4))).map { _ in
          left.remove(at: random.integer(below: left.count))
        }
        let batch = TrainingBatch(
          part.map { PromptTree(prompt: prompts[$0], completions: alone[$0].map(\.ids)) })
        let model = models[random.integer(below: 3)]
        let values = model.backend.floats(
          model.streams(
            Tape(model.backend, recording: random.integer(below: 2) > 0), batch, temperature: 0.9, wanted: [.logprob],
            PassOptions(recomputesLayers: random.integer(below: 2) > 0)))
        var ranges = batch.completionRanges[...]
        for i in part {
          for completion in alone[i] {
            #expect(
              values[ranges.removeFirst()].map(\.bitPattern) == completion.logprobs.map(\.bitPattern), "prompt \(i)")
          }
        }
      }
    }
    #expect(preempted > 0 && cached > 0, "\(preempted) set aside, \(cached) tokens found")
  }

  /// A dialogue's next turn finds what the turn before computed, its completion included.
  @Test func turnsOfADialogueShareTheirPages() throws {
    let model = try Self.model(TinyModels.qwen3, .full)
    let engine = LocalEngine(
      model, decoder: NumberDecoder(), seed: 3, limits: RolloutLimits(keepsCache: true))
    let parameters = SamplingParameters(maxNewTokens: 80)
    var ids: [Int32] = (0..<50).map { Int32($0) }
    for turn in 0..<4 {
      let prompt = try model.encode(ids: ids)
      let request = RolloutRequest(prompt: prompt, completions: 1, step: turn, promptNumber: 0)
      let kept = try engine.generate([request], parameters)[0][0]
      // All but the completion's last token, which was never computed, and what is new.
      #expect(engine.statistics.cachedTokens == (turn == 0 ? 0 : ids.count - 6))
      let fresh = try LocalEngine(model, decoder: NumberDecoder(), seed: 3).generate([request], parameters)[0][0]
      #expect(kept.ids == fresh.ids && kept.logprobs.map(\.bitPattern) == fresh.logprobs.map(\.bitPattern))
      ids += kept.ids + [1, 2, 3, 4, 5]
    }
    // Other weights: nothing that was computed counts.
    model.parameters[0].setValue(model.parameters[0].value)
    _ = try engine.generate(
      [RolloutRequest(prompt: try model.encode(ids: ids), completions: 1, promptNumber: 0)], parameters)
    #expect(engine.statistics.cachedTokens == 0)
  }

  @Test func whatCannotFitIsRefused() throws {
    let model = try Self.model(TinyModels.qwen3, .full)
    let engine = LocalEngine(
      model, decoder: NumberDecoder(), seed: 3,
      limits: RolloutLimits(cacheBytes: 2 * Self.pageBytes(model.configuration.text)))
    let request = RolloutRequest(
      prompt: try model.encode(ids: (0..<70).map { Int32($0) }), completions: 1, promptNumber: 0)
    expectAttuneError(containing: "a prompt of 70 tokens and 100 new ones need") {
      _ = try engine.generate([request], SamplingParameters(maxNewTokens: 100))
    }
  }

  /// Gradients do not depend on how a batch is cut at tree borders, nor on whether layers are kept or computed again.
  @Test(arguments: TinyModels.all.map(\.name), [Precision.full, .bf16])
  func gradientsDoNotDependOnMicroBatches(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    func gradients(_ sizes: [Int], recomputes: Bool, lora: Bool) throws -> [[UInt32]] {
      let model = try Self.model(json, precision, threads: 2)
      if lora {
        try Self.attachAdapter(model)
      } else {
        model.setTrainable(true)
      }
      var trees = try Self.prompts(model, 6, 3).map {
        PromptTree(prompt: $0, completions: [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]])
      }[...]
      for size in sizes {
        let batch = TrainingBatch(Array(trees.prefix(size)))
        trees = trees.dropFirst(size)
        let tape = Tape(model.backend, recording: true)
        let streams = model.streams(
          tape, batch, temperature: 1, wanted: [.logprob], PassOptions(recomputesLayers: recomputes))
        var seed = [Float](repeating: 0, count: streams.count)
        for range in batch.completionRanges { for i in range { seed[i] = 0.1 } }
        tape.backward(from: streams, seed: model.backend.upload(seed, streams.shape))
      }
      return model.trainedParameters.map { model.backend.floats($0.gradient!).map(\.bitPattern) }
    }
    for lora in [false, true] {
      let whole = try gradients([6], recomputes: false, lora: lora)
      #expect(whole.allSatisfy { $0.contains { $0 != 0 } } || !lora)
      #expect(try gradients([2, 1, 3], recomputes: false, lora: lora) == whole, "cut, lora \(lora)")
      #expect(try gradients([6], recomputes: true, lora: lora) == whole, "computed again, lora \(lora)")
      #expect(try gradients([1, 1, 1, 1, 1, 1], recomputes: true, lora: lora) == whole, "both, lora \(lora)")
    }
  }

  /// Adapted policies keep the promise, and switching the adapter off gives the reference's own bits.
  @Test(arguments: ["qwen3", "qwen3_moe"], [Precision.full, .bf16])
  func adaptersKeepTheBits(family: String, precision: Precision) throws {
    let model = try Self.model(TinyModels.all.first { $0.name == family }!.json, precision)
    let prompts = try Self.prompts(model, 3, 5)
    let trees = prompts.map { PromptTree(prompt: $0, completions: [[5, 6, 7]]) }
    let before = Self.trained(model, trees, temperature: 1)
    try model.attachLoRA(LoRAConfiguration(rank: 4, alpha: 8, targets: .pattern(".*")), seed: 1)
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

  /// Weights held as codes keep the promise too, with an adapter on top and without.
  @Test(arguments: TinyModels.all.map(\.name), [WeightFormat.int8, .int4])
  func quantizedWeightsKeepTheBits(family: String, weights: WeightFormat) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    let model = try Self.model(json, .bf16, weights: weights)
    let prompts = try Self.prompts(model, 7, 1)
    let plain = try Self.model(json, .bf16)
    for adapted in [false, true] {
      if adapted { try Self.attachAdapter(model) }
      let engine = LocalEngine(model, decoder: NumberDecoder(), seed: 3)
      for group in [1, 5] {
        let requests = prompts.enumerated().map {
          RolloutRequest(prompt: $1, completions: group, step: 4, promptNumber: $0)
        }
        let groups = try engine.generate(requests, SamplingParameters(maxNewTokens: 9, stopIDs: [3, 17, 40, 55]))
        let trees = zip(prompts, groups).map { PromptTree(prompt: $0, completions: $1.map(\.ids)) }
        let recorded = Self.bits(groups.map { $0.map(\.logprobs) })
        #expect(recorded == Self.bits(Self.trained(model, trees, temperature: 1)), "group of \(group), \(adapted)")
        let alone = try trees.map { try #require(Self.trained(model, [$0], temperature: 1).first) }
        #expect(recorded == Self.bits(alone), "group of \(group) tree by tree, \(adapted)")
        if !adapted { #expect(recorded != Self.bits(Self.trained(plain, trees, temperature: 1))) }
      }
    }
  }

  /// An adapter on quantised weights gets the same gradients on any number of threads, and about those that it gets on
  /// plain weights of the same values.
  @Test(arguments: TinyModels.all.map(\.name), [WeightFormat.int8, .int4])
  func adapterGradientsOnQuantizedWeights(family: String, weights: WeightFormat) throws {
    // A head of its own: the rows of a tied one are also what tokens look up, which stays as it is. And all experts take part:
    // where rounding moves a token to another expert, gradients are not near each other.
    func changed(_ json: JSON) -> JSON {
      guard let object = json.object else { return json }
      let experts = object["num_experts"] ?? object["n_routed_experts"]
      return .object(
        object.entries.map { key, value in
          switch key {
          case "tie_word_embeddings": (key, false)
          case "num_experts_per_tok": (key, experts ?? value)
          case "topk_group": (key, object["n_group"] ?? value)
          default: (key, changed(value))
          }
        })
    }
    let json = changed(TinyModels.all.first { $0.name == family }!.json)
    func gradients(
      _ precision: Precision, _ weights: WeightFormat, threads: Int = 2, values: WeightFormat? = nil
    ) throws -> [[Float]] {
      let model = try Self.model(json, precision, weights: weights, threads: threads)
      if let values {
        // What is never held as codes: routers, and the patch embedding.
        for weight in model.linears.map(\.weight) + model.head.weights
        where !weight.name.contains("patch_embed") && !weight.name.hasSuffix("mlp.gate.weight") {
          let held = model.backend.empty([weight.value.rows, weight.value.width], .f32)
          model.backend.unpack(held, model.backend.pack([weight.value], for: .bf16, as: values))
          weight.setValue(held)
        }
      }
      try Self.attachAdapter(model)
      return try Self.gradients(model)
    }
    let found = try gradients(.bf16, weights)
    for threads in [1, 3] {
      let other = try gradients(.bf16, weights, threads: threads)
      #expect(other.map { $0.map(\.bitPattern) } == found.map { $0.map(\.bitPattern) }, "\(threads) threads")
    }
    func distance(_ a: [[Float]], _ b: [[Float]]) -> Double {
      let pairs = zip(a.joined(), b.joined())
      let apart = pairs.reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
      return (apart / b.joined().reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
    }
    // As far as rounding activations to bf16 moves them, and nearer than gradients on the weights before.
    let original = try gradients(.full, .plain)
    let rounding = distance(try gradients(.bf16, .plain), original)
    let same = distance(found, try gradients(.full, .plain, values: weights))
    #expect(same < 1.5 * rounding, "\(same), \(rounding)")
    #expect(2 * same < distance(found, original), "\(same)")
  }

  /// Gradients of all parameters have the same bits for any number of threads.
  @Test(arguments: TinyModels.all.map(\.name), [Precision.full, .bf16])
  func gradientsDoNotDependOnThreads(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    func gradients(_ threads: Int) throws -> [[UInt32]] {
      let model = try Self.model(json, precision, threads: threads)
      model.setTrainable(true)
      return try Self.gradients(model).map { $0.map(\.bitPattern) }
    }
    let one = try gradients(1)
    #expect(one.contains { $0.contains { $0 != 0 } })
    #expect(try gradients(2) == one)
    #expect(try gradients(3) == one)
  }
}
