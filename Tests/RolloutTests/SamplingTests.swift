import AttuneTensor
import Core
import Models
import Rollout
import TestSupport
import Testing

@Suite struct SamplingTests {
  /// Every transform against transformers' logits processors.
  @Test func processorsEqualTheReference() throws {
    let tensors = try SafeTensors(Fixtures.path("sampling/sampling.safetensors"))
    let json = try Fixtures.json("sampling/sampling.json")
    let promptLength = try #require(json["prompt_length"]?.int)
    let end = Int32(try #require(json["eos_token_id"]?.int))
    let cases = try #require(json["cases"]?.array)
    for item in cases {
      let set = item["input"]!.string!
      let entry = try tensors.require("\(set).logits")
      let vocabulary = entry.shape[1]
      let logits = try tensors.floats("\(set).logits")
      let ids = try tensors.integers("\(set).input_ids").map { Int32($0) }
      let perRow = try tensors.require("\(set).input_ids").shape[1]
      let expected = try tensors.floats("\(item["key"]!.string!).out")
      for row in 0..<entry.shape[0] {
        var values = Array(logits[row * vocabulary..<(row + 1) * vocabulary])
        let own = ids[row * perRow..<(row + 1) * perRow]
        let history = TokenHistory(
          prompt: Array(own.prefix(promptLength)), generated: Array(own.dropFirst(promptLength)))
        for step in item["steps"]!.array! { try Self.apply(step[0]!.string!, step[1]!, &values, history, end: end) }
        let wanted = Array(expected[row * vocabulary..<(row + 1) * vocabulary])
        #expect(values.map { $0 == -.infinity } == wanted.map { $0 == -.infinity }, "\(item["key"]!.text()) row \(row)")
        expectClose(
          zip(values, wanted).filter { $0.1 != -.infinity }.map(\.0), wanted.filter { $0 != -.infinity },
          absolute: 1e-5, "\(item["key"]!.text()) row \(row)")
      }
    }
    #expect(cases.count == 239)
  }

  private static func apply(
    _ name: String, _ value: JSON, _ values: inout [Float], _ history: TokenHistory, end: Int32
  ) throws {
    func truncate(_ body: (inout Candidates) -> Void) {
      var candidates = Candidates()
      values.withUnsafeBufferPointer { candidates.fill($0) }
      body(&candidates)
      values = [Float](repeating: -.infinity, count: values.count)
      for (id, logit) in zip(candidates.ids, candidates.logits) { values[Int(id)] = logit }
    }
    let number = value.double ?? 0
    switch name {
    case "temperature": LogitProcessors.temperature(&values, number)
    case "top_k": truncate { $0.topK(Int(number)) }
    case "top_p": truncate { $0.topP(number) }
    case "top_p_keep3": truncate { $0.topP(number, keeping: 3) }
    case "min_p": truncate { $0.minP(number) }
    case "typical_p": truncate { $0.typicalP(number) }
    case "epsilon_cutoff": truncate { $0.epsilonCutoff(number) }
    case "eta_cutoff": truncate { $0.etaCutoff(number) }
    case "repetition_penalty": LogitProcessors.repetitionPenalty(&values, ids: history, number)
    case "repetition_penalty_generated_only":
      LogitProcessors.repetitionPenalty(&values, ids: history.generated, number)
    case "presence_penalty":
      LogitProcessors.presenceAndFrequency(&values, generated: history.generated, presence: number, frequency: 0)
    case "frequency_penalty":
      LogitProcessors.presenceAndFrequency(&values, generated: history.generated, presence: 0, frequency: number)
    case "no_repeat_ngram_size": LogitProcessors.noRepeatNGram(&values, history, size: Int(number))
    case "suppress_tokens": LogitProcessors.suppress(&values, value.array!.map { Int32($0.int!) })
    case "min_new_tokens":
      if history.generated.count < Int(number) { LogitProcessors.suppress(&values, [end]) }
    case "sequence_bias":
      LogitProcessors.sequenceBias(
        &values, history,
        value.array!.map { SequenceBias(ids: $0[0]!.array!.map { Int32($0.int!) }, bias: $0[1]!.double!) })
    default: throw AttuneError.request("the fixture has an unknown step \(name)")
    }
  }

  /// The selections without sorting against plain sorting, on rows with ties, and the exponentials of a backend.
  @Test(arguments: 0..<12) func truncationsEqualSorting(seed: Int) throws {
    var random = Randomness(seed: 31, for: .testing).stream(seed)
    let coarse = seed % 3 == 0
    let row = (0..<3000).map { _ -> Float in
      let value = Float(random.normal() * 2.5)
      return random.uniform() < 0.1 ? -.infinity : coarse ? (value * 4).rounded() / 4 : value
    }
    let backend = try CPUBackend(threads: 1)
    func kept(_ body: (inout Candidates) -> Void) -> [Int] {
      var candidates = Candidates(on: seed % 2 == 0 ? backend : nil)
      row.withUnsafeBufferPointer { candidates.fill($0) }
      body(&candidates)
      return candidates.ids.map(Int.init)
    }
    let order = row.indices.filter { row[$0] > -.infinity }.sorted { (row[$1], $0) < (row[$0], $1) }
    let largest = row[order[0]]
    let weights = order.map { PortableMath.exp(Double(row[$0] - largest)) }
    let total = weights.reduce(0, +)
    for k in [1, 7, 500, 5000] {
      let limit = row[order[min(k, order.count) - 1]]
      #expect(kept { $0.topK(k) } == order.filter { row[$0] >= limit }.sorted(), "top-k \(k)")
    }
    for (p, minimum) in [(0.9, 1), (0.3, 1), (0.001, 4), (0.99, 2)] {
      // Descending: the set before which the sum is still below p. Rounding may move the border by one id.
      var sum = 0.0
      var count = 0
      while count < order.count, sum < p * total {
        sum += weights[count]
        count += 1
      }
      let found = kept { $0.topP(p, keeping: minimum) }
      let wanted = max(count, minimum)
      #expect(abs(found.count - wanted) <= 1 && found == order.prefix(found.count).sorted(), "top-p \(p)")
    }
    for (share, minimum) in [(0.05, 1), (0.9, 5), (1.0, 1)] {
      let limit = row[order[minimum - 1]]
      let wanted = zip(order, weights).filter { $1 >= share || row[$0] >= limit }.map(\.0).sorted()
      let found = kept { $0.minP(share, keeping: minimum) }
      #expect(abs(found.count - wanted.count) <= 1, "min-p \(share)")
    }
  }

  /// A choice depends on the row alone, not on what is sampled beside it, and obeys every ban.
  @Test func transformsActInsideTheEngine() throws {
    let model = try LanguageModel(
      ModelConfiguration(json: TinyModels.qwen3, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: CPUBackend(threads: 2), precision: .full))
    let prompt = try model.encode(ids: [1, 2, 3, 1, 2])
    let engine = LocalEngine(model, decoder: NumberDecoder(), seed: 1)
    func sample(_ parameters: SamplingParameters, _ count: Int = 12) throws -> [Completion] {
      try engine.generate([RolloutRequest(prompt: prompt, completions: count, promptNumber: 0)], parameters)[0]
    }
    let banned: Set<Int32> = Set(0..<80)
    for completion in try sample(SamplingParameters(maxNewTokens: 9, suppressedIDs: banned)) {
      #expect(banned.isDisjoint(with: completion.ids))
    }
    for completion in try sample(SamplingParameters(maxNewTokens: 40, noRepeatNGramSize: 2, suppressedIDs: banned)) {
      let ids = prompt.ids + completion.ids
      let pairs = zip(ids, ids.dropFirst()).map { [$0, $1] }
      #expect(Set(pairs).count == pairs.count - 1, "the prompt's own pair is the only one twice")
    }
    let stops: Set<Int32> = Set(0..<60)
    for completion in try sample(SamplingParameters(maxNewTokens: 20, stopIDs: stops, minNewTokens: 5)) {
      #expect(completion.ids.count >= 6 || completion.finishReason == .length)
    }
    let biased = SamplingParameters(
      maxNewTokens: 4,
      sequenceBias: [.init(ids: [7], bias: 100), .init(ids: [7, 8], bias: 200), .init(ids: [8, 9], bias: 300)])
    #expect(try sample(biased, 1)[0].ids == [7, 8, 9, 7])
    let forbidden = SamplingParameters(
      maxNewTokens: 4, sequenceBias: [.init(ids: [7], bias: 100), .init(ids: [7, 7], bias: -.infinity)])
    let ids = try sample(forbidden, 1)[0].ids
    #expect(ids[0] == 7 && ids[1] != 7 && ids[2] == 7 && ids[3] != 7)
    // Bans that leave nothing are set aside.
    #expect(try sample(SamplingParameters(maxNewTokens: 3, suppressedIDs: Set(0..<97)), 1)[0].ids.count == 3)
    let rich = SamplingParameters(
      temperature: 1.2, topK: 60, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1, maxNewTokens: 8, typicalP: 0.97,
      epsilonCutoff: 1e-4, etaCutoff: 1e-3, penalizesPrompt: false)
    #expect(try sample(rich, 12).prefix(3).map(\.ids) == sample(rich, 3).map(\.ids))
    #expect(Set(try sample(rich, 12).map(\.ids)).count > 6)
  }

  @Test func parametersOutOfRangeAreNamed() {
    for (parameters, message) in [
      (SamplingParameters(typicalP: 0), "typical_p is 0.0"),
      (SamplingParameters(epsilonCutoff: 1), "epsilon_cutoff is 1"),
      (SamplingParameters(etaCutoff: -1), "eta_cutoff is -1"), (SamplingParameters(minTokensToKeep: 0), "1 or more"),
      (SamplingParameters(noRepeatNGramSize: -2), "no_repeat_ngram_size is -2"),
      (
        SamplingParameters(maxNewTokens: 4, minNewTokens: 5),
        "min_new_tokens is 5, a number from 0 to max_new_tokens (4)"
      ),
      (SamplingParameters(sequenceBias: [.init(ids: [], bias: 1)]), "empty"),
      (SamplingParameters(sequenceBias: [.init(ids: [1], bias: .nan)]), "a finite number"),
      (SamplingParameters(suppressedIDs: [-1]), "suppress_tokens is -1"),
    ] {
      expectAttuneError(containing: message) { try parameters.validate() }
    }
  }

  /// 4,000 draws from a known distribution stay within five standard deviations of every probability.
  @Test func frequenciesFollowTheDistribution() throws {
    let backend = try CPUBackend(threads: 1)
    let model = try LanguageModel(
      ModelConfiguration(json: TinyModels.qwen3, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: .full))
    let prompt = try model.encode(ids: [1, 2, 3])
    let engine = LocalEngine(model, decoder: NumberDecoder(), seed: 1)
    let draws = 4000
    let group = try engine.generate(
      [RolloutRequest(prompt: prompt, completions: draws, promptNumber: 0)], SamplingParameters(maxNewTokens: 1))[0]
    var counts: [Int32: Int] = [:]
    var probability: [Int32: Double] = [:]
    for completion in group {
      counts[completion.ids[0], default: 0] += 1
      probability[completion.ids[0]] = PortableMath.exp(Double(completion.logprobs[0]))
    }
    for (id, p) in probability {
      let deviation = (p * (1 - p) * Double(draws)).squareRoot()
      #expect(abs(Double(counts[id]!) - p * Double(draws)) < 5 * deviation + 1, "id \(id)")
    }
    #expect(probability.values.reduce(0, +) > 0.9)
  }

  @Test func endings() throws {
    let backend = try CPUBackend(threads: 1)
    let model = try LanguageModel(
      ModelConfiguration(json: TinyModels.qwen2, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: .full))
    let prompt = try model.encode(ids: [1, 2, 3])
    let engine = LocalEngine(model, decoder: NumberDecoder(), seed: 1)
    func one(_ parameters: SamplingParameters) throws -> Completion {
      try engine.generate([RolloutRequest(prompt: prompt, completions: 1, promptNumber: 0)], parameters)[0][0]
    }
    let long = try one(SamplingParameters(temperature: 0, maxNewTokens: 8))
    #expect(long.finishReason == .length && long.ids.count == 8)
    let stopped = try one(SamplingParameters(temperature: 0, maxNewTokens: 8, stopIDs: [long.ids[2]]))
    #expect(
      stopped.finishReason == .stop && stopped.ids.last == long.ids[2] && stopped.logprobs.count == stopped.ids.count)
    let text = try one(SamplingParameters(temperature: 0, maxNewTokens: 8, stopStrings: ["\(long.ids[1]) "]))
    #expect(text.finishReason == .stopString && !text.text.contains("\(long.ids[1]) "))
    #expect(throws: CancellationError.self) {
      try engine.generate([RolloutRequest(prompt: prompt, completions: 1, promptNumber: 0)], SamplingParameters()) {
        true
      }
    }
    expectAttuneError(containing: "top_p is 1.5") { _ = try one(SamplingParameters(topP: 1.5)) }
  }
}
