import AttuneTensor
import Core
import Models
import Text

/// A prompt and how many completions of it are wanted.
public struct RolloutRequest: Sendable {
  public var prompt: EncodedPrompt
  public var completions: Int
  /// Optimizer step and the prompt's number; with the completion's index they fix its randomness.
  public var step: Int
  public var promptNumber: Int
  /// What the completions' texts are held to; nil is anything.
  public var guide: Guide?

  public init(
    prompt: EncodedPrompt, completions: Int, step: Int = 0, promptNumber: Int, guide: Guide? = nil
  ) {
    self.prompt = prompt
    self.completions = completions
    self.step = step
    self.promptNumber = promptNumber
    self.guide = guide
  }
}

/// Makes completions. The local engine is one implementation; a scripted twin in tests or an outside service are others.
public protocol RolloutEngine {
  /// One group of completions per request, in order.
  ///
  /// - Parameter isCancelled: asked between tokens; true ends with `CancellationError`.
  func generate(
    _ requests: [RolloutRequest], _ parameters: SamplingParameters, isCancelled: () -> Bool
  ) throws -> [[Completion]]
}

/// Turns ids into the two texts of a completion; the tokenizer does, and tests may pass their own.
public protocol CompletionDecoder {
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String
}

/// Samples with a model of this process: prompts are computed once and shared by their groups, finished sequences leave
/// the batch at once, and what is recorded are the bits that training will compute.
public final class LocalEngine: RolloutEngine {
  private let model: LanguageModel
  private let decoder: any CompletionDecoder
  private let randomness: Randomness
  /// Bytes that keys and values may take; requests beyond wait for the next wave.
  private let cacheBudget: Int

  public init(
    _ model: LanguageModel, decoder: any CompletionDecoder, seed: UInt64, cacheBudget: Int = 2 << 30
  ) {
    self.model = model
    self.decoder = decoder
    self.randomness = Randomness(seed: seed, for: .sampling)
    self.cacheBudget = cacheBudget
  }

  public func generate(
    _ requests: [RolloutRequest], _ parameters: SamplingParameters, isCancelled: () -> Bool = { false }
  ) throws -> [[Completion]] {
    try parameters.validate()
    try requests.forEach { try $0.guide?.validate(with: parameters) }
    let budget = cacheBudget / KVCache.bytesPerRow(model.configuration.text)
    var results: [[Completion]] = []
    var wave: [RolloutRequest] = []
    var rows = 0
    for request in requests {
      let own = request.prompt.ids.count + request.completions * parameters.maxNewTokens
      if !wave.isEmpty, rows + own > budget {
        results += try run(wave, rows, parameters, isCancelled)
        wave = []
        rows = 0
      }
      wave.append(request)
      rows += own
    }
    if !wave.isEmpty { results += try run(wave, rows, parameters, isCancelled) }
    return results
  }

  /// A sequence that is still growing, or has ended.
  private struct Sequence {
    let place: RolloutPlace
    let request: Int
    let prompt: [Int32]
    /// Cache rows of its own tokens.
    let firstRow: Int
    var cursor: GuideCursor?
    var ids: [Int32] = []
    var logprobs: [Float] = []
    var finish: FinishReason?
    var stopText: String?
  }

  private func run(
    _ requests: [RolloutRequest], _ rows: Int, _ parameters: SamplingParameters, _ isCancelled: () -> Bool
  ) throws -> [[Completion]] {
    let backend = model.backend
    let cache = KVCache(model.configuration.text, capacity: rows, on: backend)
    let sampler = Sampler(parameters: parameters, randomness: randomness)
    let tape = Tape(backend, recording: false)

    // Prefill: all prompts as one packed batch of roots.
    var forest = Forest()
    var ids: [Int32] = []
    var positions: [TokenPosition] = []
    var pictures: [PictureInput] = []
    var pictureRows: [Int32] = []
    var promptRow: [Int] = []
    for request in requests {
      let segment = forest.append(count: request.prompt.ids.count)
      let start = Int32(forest.segments[segment].start)
      ids += request.prompt.ids
      positions += request.prompt.positions
      pictures += request.prompt.pictures
      pictureRows += request.prompt.pictureRows.map { $0 + start }
      promptRow.append(cache.reserve(request.prompt.ids.count))
    }
    cache.destinations = (0..<Int32(ids.count)).map { $0 }
    let hidden = model.hidden(
      tape,
      PackedBatch(
        ids: ids, positions: positions, plan: forest.attentionPlan, pictures: pictures, pictureRows: pictureRows),
      cache: cache)
    var sequences: [Sequence] = []
    var predicting: [Int32] = []
    for (r, request) in requests.enumerated() {
      let last = Int32(forest.segments[r].start + forest.segments[r].count - 1)
      for index in 0..<request.completions {
        sequences.append(
          Sequence(
            place: RolloutPlace(step: request.step, prompt: request.promptNumber, index: index), request: r,
            prompt: request.prompt.ids, firstRow: cache.reserve(parameters.maxNewTokens),
            cursor: request.guide.map(GuideCursor.init)))
        predicting.append(last)
      }
    }
    var active = Array(sequences.indices)
    var states = tape.gatherRows(hidden, predicting)

    while !active.isEmpty {
      if isCancelled() { throw CancellationError() }
      try extend(&sequences, active, states, sampler, parameters, tape)
      active.removeAll { sequences[$0].finish != nil }
      if active.isEmpty { break }
      states = decode(requests, sequences, active, promptRow, cache, tape)
    }
    var groups = requests.map { _ in [Completion]() }
    for sequence in sequences {
      groups[sequence.request].append(
        Completion(
          ids: sequence.ids, text: sequence.stopText ?? decoder.decode(sequence.ids, skipSpecialTokens: true),
          rawText: decoder.decode(sequence.ids, skipSpecialTokens: false), logprobs: sequence.logprobs,
          finishReason: sequence.finish!))
    }
    return groups
  }

  /// Samples one token for every active sequence from its hidden state, and records its log-probability.
  private func extend(
    _ sequences: inout [Sequence], _ active: [Int], _ states: Tensor, _ sampler: Sampler,
    _ parameters: SamplingParameters, _ tape: Tape
  ) throws {
    let backend = model.backend
    for block in stride(from: 0, to: active.count, by: 256).map({ $0..<min($0 + 256, active.count) }) {
      let logits = tape.logits(states.rowRange(block), model.head)
      let chosen = sampler.choose(
        logits,
        try active[block].map {
          Sampler.Row(
            place: sequences[$0].place, prompt: sequences[$0].prompt, generated: sequences[$0].ids,
            allowed: try sequences[$0].cursor?.allowed())
        },
        on: backend)
      let streams = backend.empty([HeadStream.allCases.count, chosen.count], .f32)
      backend.head(streams, firstRow: 0, logits, chosen[...], parameters.logprobTemperature, [.logprob])
      let logprobs = backend.floats(streams.rowRange(0..<1))
      for (i, s) in active[block].enumerated() {
        sequences[s].ids.append(chosen[i])
        sequences[s].logprobs.append(logprobs[i])
        finish(&sequences[s], parameters)
        if try sequences[s].cursor?.advance(chosen[i]) == true { sequences[s].finish = .stop }
      }
    }
  }

  /// Decides whether the sequence ends with the token just appended.
  private func finish(_ sequence: inout Sequence, _ parameters: SamplingParameters) {
    if parameters.stopIDs.contains(sequence.ids.last!) {
      sequence.finish = .stop
    } else if sequence.ids.count >= parameters.maxNewTokens {
      sequence.finish = .length
    }
    guard !parameters.stopStrings.isEmpty else { return }
    let text = decoder.decode(sequence.ids, skipSpecialTokens: true)
    let found = parameters.stopStrings.compactMap { firstRange(of: $0, in: text) }.min()
    if let found {
      sequence.finish = .stopString
      sequence.stopText = String(text[..<found])
    }
  }

  private func firstRange(of stop: String, in text: String) -> String.Index? {
    let wanted = Array(stop.utf8)
    let utf8 = text.utf8
    var start = utf8.startIndex
    while start != utf8.endIndex {
      if utf8[start...].starts(with: wanted) { return start }
      start = utf8.index(after: start)
    }
    return nil
  }

  /// Hidden states after the newest token of every active sequence, one row each.
  private func decode(
    _ requests: [RolloutRequest], _ sequences: [Sequence], _ active: [Int], _ promptRow: [Int], _ cache: KVCache,
    _ tape: Tape
  ) -> Tensor {
    var plan = AttentionPlan(causal: true)
    var ids: [Int32] = []
    var positions: [TokenPosition] = []
    var destinations: [Int32] = []
    var tree: (request: Int, span: Int)?
    for (row, s) in active.enumerated() {
      let sequence = sequences[s]
      let request = requests[sequence.request]
      if tree?.request != sequence.request {
        if tree != nil { plan.endTree() }
        tree = (sequence.request, plan.addSpan(row: promptRow[sequence.request], count: request.prompt.ids.count))
      }
      let count = sequence.ids.count
      ids.append(sequence.ids[count - 1])
      positions.append(TokenPosition(request.prompt.nextPosition + count - 1))
      destinations.append(Int32(sequence.firstRow + count - 1))
      let own = plan.addSpan(row: sequence.firstRow, count: count)
      plan.addRun(query: row, rows: 1, offset: count - 1, path: [tree!.span, own])
    }
    plan.endTree()
    cache.destinations = destinations
    return model.hidden(tape, PackedBatch(ids: ids, positions: positions, plan: plan), cache: cache)
  }
}
