import AttuneTensor
import Core
import Models
import Rollout
import TestSupport
import Testing

@Suite struct SamplingTests {
  /// The transforms against transformers' logits processors.
  @Test func processorsEqualTheReference() throws {
    let tensors = try SafeTensors(Fixtures.path("sampling/sampling.safetensors"))
    let json = try Fixtures.json("sampling/sampling.json")
    let known: Set = [
      "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
    ]
    var compared = 0
    for item in json["cases"]!.array! {
      let steps: [(name: String, value: Double)] = item["steps"]!.array!.compactMap { step in
        guard let name = step[0]?.string, let value = step[1]?.double else { return nil }
        return (name, value)
      }
      guard steps.count == item["steps"]!.array!.count, steps.allSatisfy({ known.contains($0.name) }) else { continue }
      let set = item["input"]!.string!
      let entry = try tensors.require("\(set).logits")
      let vocabulary = entry.shape[1]
      let logits = try tensors.floats("\(set).logits")
      let ids = try tensors.integers("\(set).input_ids")
      let perRow = try tensors.require("\(set).input_ids").shape[1]
      let prompt =
        json["prompt_length"]?.int ?? item["prompt_length"]?.int ?? json["sets"]?[set]?["prompt_length"]?.int ?? 0
      let expected = try tensors.floats("\(item["key"]!.string!).out")
      for row in 0..<entry.shape[0] {
        var values = Array(logits[row * vocabulary..<(row + 1) * vocabulary])
        let own = ids[row * perRow..<(row + 1) * perRow].map { Int32($0) }
        for step in steps {
          switch step.name {
          case "temperature": LogitProcessors.temperature(&values, step.value)
          case "top_k": LogitProcessors.topK(&values, Int(step.value))
          case "top_p": LogitProcessors.topP(&values, step.value)
          case "min_p": LogitProcessors.minP(&values, step.value)
          case "repetition_penalty": LogitProcessors.repetitionPenalty(&values, ids: own, step.value)
          case "presence_penalty":
            LogitProcessors.presenceAndFrequency(&values, generated: own[prompt...], presence: step.value, frequency: 0)
          default:
            LogitProcessors.presenceAndFrequency(&values, generated: own[prompt...], presence: 0, frequency: step.value)
          }
        }
        let wanted = Array(expected[row * vocabulary..<(row + 1) * vocabulary])
        #expect(values.map { $0 == -.infinity } == wanted.map { $0 == -.infinity }, "\(item["key"]!.text()) row \(row)")
        expectClose(
          zip(values, wanted).filter { $0.1 != -.infinity }.map(\.0), wanted.filter { $0 != -.infinity },
          absolute: 1e-5,
          "\(item["key"]!.text()) row \(row)")
      }
      compared += 1
    }
    #expect(compared >= 20, "compared \(compared) cases")
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
