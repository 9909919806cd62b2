import Core
import Models
import TestSupport
import Testing

@testable import AttuneTensor
@testable import Rollout

/// The engine under thousands of requests: nothing grows, nobody starves, and every completion is the one it is alone.
@Suite struct SoakTests {
  private static let longestPrompt = 300
  private static let largestGroup = 6
  private static let mostNewTokens = 200
  private static let largestCall = 40
  private static let mostPages = 40

  /// One model, its prompts, and what each completes alone.
  private final class World {
    let model: LanguageModel
    let backend: CPUBackend
    let prompts: [EncodedPrompt]
    let pageBytes: Int
    private var alone: [[Completion]?]
    private static let steps = 2

    init(prompts count: Int, _ random: inout Randomness.Stream) throws {
      backend = try CPUBackend(threads: 2)
      model = try LanguageModel(
        ModelConfiguration(json: TinyModels.qwen3, file: "test"),
        from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: .full))
      pageBytes = KVCache.bytesPerPage(model.configuration.text)
      var ids: [[Int32]] = []
      for _ in 0..<count {
        // Two of three begin like one that was there before.
        let length = 1 + random.integer(below: SoakTests.longestPrompt)
        var own: [Int32] = []
        if !ids.isEmpty, random.integer(below: 3) > 0 {
          let base = ids[random.integer(below: ids.count)]
          own = Array(base.prefix(min(length, 1 + random.integer(below: base.count))))
        }
        while own.count < length { own.append(Int32(random.integer(below: 97))) }
        ids.append(own)
      }
      prompts = try ids.map { [model] in try model.encode(ids: $0) }
      alone = Array(repeating: nil, count: count * Self.steps)
    }

    /// What a request gives when there is no other and nothing ends it early.
    func alone(_ request: RolloutRequest) throws -> [Completion] {
      let place = request.promptNumber * Self.steps + request.step
      if let known = alone[place] { return known }
      var whole = request
      whole.completions = SoakTests.largestGroup
      let engine = LocalEngine(
        model, decoder: NumberDecoder(), seed: 3, limits: RolloutLimits(sharesPrefixes: false))
      let made = try engine.generate([whole], SamplingParameters(maxNewTokens: SoakTests.mostNewTokens))[0]
      alone[place] = made
      return made
    }

    func request(_ random: inout Randomness.Stream) -> RolloutRequest {
      let number = random.integer(below: prompts.count)
      return RolloutRequest(
        prompt: prompts[number], completions: 1 + random.integer(below: SoakTests.largestGroup),
        step: random.integer(below: Self.steps), promptNumber: number)
    }

    func limits(_ random: inout Randomness.Stream) -> RolloutLimits {
      let fewest = (SoakTests.longestPrompt + 63) / 64 + (SoakTests.mostNewTokens + 63) / 64
      return RolloutLimits(
        cacheBytes: pageBytes * (fewest + random.integer(below: SoakTests.mostPages - fewest + 1)),
        sequences: 1 + random.integer(below: 40), prefillTokens: 1 + random.integer(below: 400),
        sharesPrefixes: random.integer(below: 4) > 0, keepsCache: random.integer(below: 2) > 0)
    }

    /// The most that a call may hold and compute at once.
    var largestLimits: RolloutLimits {
      RolloutLimits(cacheBytes: pageBytes * SoakTests.mostPages, sequences: 40, prefillTokens: 400)
    }

    /// Where a completion differs from what it is alone, cut at the ends it was given.
    func difference(_ made: Completion, _ alone: Completion, _ p: SamplingParameters) -> String? {
      let stop = alone.ids.prefix(p.maxNewTokens).firstIndex { p.stopIDs.contains($0) }
      let count = stop.map { $0 + 1 } ?? p.maxNewTokens
      let ids = Array(alone.ids.prefix(count))
      if made.ids != ids { return "\(made.ids), alone \(ids)" }
      let bits = alone.logprobs.prefix(count).map(\.bitPattern)
      if made.logprobs.map(\.bitPattern) != bits { return "\(made.logprobs), alone \(alone.logprobs.prefix(count))" }
      return made.finishReason == (stop == nil ? .length : .stop) ? nil : "ended by \(made.finishReason)"
    }
  }

  /// Calls of random numbers of requests, with random limits, ends and interruptions, on one engine.
  private static func soak(_ wanted: Int, prompts: Int) throws {
    var random = Randomness(seed: 31, for: .testing).stream(named: "soak")
    let world = try World(prompts: prompts, &random)
    let engine = LocalEngine(world.model, decoder: NumberDecoder(), seed: 3)
    var heldAtEnd = 0
    var nodesAtEnd = 0
    // Sequences whose prompts were half computed when they were set aside.
    var halfway = 0
    var prefilling: Set<ObjectIdentifier> = []
    engine.inspectStep = { scheduler in
      try scheduler.checkInvariants()
      halfway += scheduler.waiting.flatMap(\.sequences).count { prefilling.contains(ObjectIdentifier($0)) }
      prefilling = Set(scheduler.prefills.flatMap(\.sequences).map(ObjectIdentifier.init))
      #expect(scheduler.cache.limit * world.pageBytes == engine.limits.cacheBytes, "a cache of another budget")
      heldAtEnd = scheduler.cache.heldPages
      nodesAtEnd = Set(scheduler.tree.nodes.map(\.piece.page)).count
    }
    // The weights are packed when they are first used.
    _ = try world.alone(world.request(&random))
    let empty = world.backend.memory.report.inUse
    var tenth = 0
    var half = 0
    var done = 0
    var preemptions = 0
    var cached = 0
    var cancelled = 0
    for call in 0... {
      guard done < wanted else { break }
      let count = min(wanted - done, 1 + random.integer(below: largestCall))
      let requests = (0..<count).map { _ in world.request(&random) }
      // Most calls end soon; in some the sequences outgrow their pages, and the youngest give way.
      let isLong = call % 4 == 0
      let parameters = SamplingParameters(
        maxNewTokens: isLong ? mostNewTokens - random.integer(below: 60) : 1 + random.integer(below: 24),
        stopIDs: Set((0..<random.integer(below: isLong ? 2 : 12)).map { _ in Int32(random.integer(below: 97)) }))
      engine.limits = call == 0 ? world.largestLimits : world.limits(&random)
      // Prompts that are computed in many parts while others outgrow their pages are set aside as well.
      if isLong, call > 0 {
        engine.limits.prefillTokens = 1 + random.integer(below: 4)
        engine.limits.sequences = 8 + random.integer(below: 8)
        engine.limits.cacheBytes = world.pageBytes * (12 + random.integer(below: 12))
      }
      let alone = try requests.map(world.alone)
      // Weights that were set anew make what is kept worthless, whether they changed or not.
      if random.integer(below: 10) == 0 { world.model.parameters[0].setValue(world.model.parameters[0].value) }
      if random.integer(below: 5) == 0 {
        var left = random.integer(below: 30)
        prefilling = []
        do {
          _ = try engine.generate(requests, parameters) {
            left -= 1
            return left < 0
          }
        } catch is CancellationError {
          cancelled += 1
          #expect(world.backend.memory.report.inUse == empty, "a call that was interrupted leaves something")
        }
      }
      prefilling = []
      let groups = try engine.generate(requests, parameters)
      for (i, request) in requests.enumerated() {
        #expect(groups[i].count == request.completions)
        for (made, alone) in zip(groups[i], alone[i]) {
          if let difference = world.difference(made, alone, parameters) {
            Issue.record("call \(call), request \(i): \(difference); \(engine.limits)")
          }
        }
      }
      // The oldest sequence moves on in every pass, so all have ended after as many passes as they take one by one.
      let most = requests.reduce(0) {
        let passes =
          ($1.prompt.ids.count + parameters.maxNewTokens) / engine.limits.prefillTokens + 1 + parameters.maxNewTokens
        return $0 + $1.completions * passes
      }
      #expect(engine.statistics.passes <= most, "\(engine.statistics.passes) passes, one by one \(most)")
      #expect(heldAtEnd == nodesAtEnd, "pages are held by nobody")
      if !engine.limits.keepsCache {
        #expect(world.backend.memory.report.inUse == empty, "the call leaves something")
      }
      done += requests.count
      preemptions += engine.statistics.preemptions
      cached += engine.statistics.cachedTokens
      if done <= wanted / 10 { tenth = world.backend.memory.report.highWater }
      if done <= wanted / 2 { half = world.backend.memory.report.highWater }
    }
    #expect(
      preemptions > 0 && halfway > 0 && cached > 0 && cancelled > 0,
      "\(preemptions) set aside, \(halfway) halfway; \(cached) tokens found; \(cancelled) calls interrupted")
    // Sizes are random, so blocks fall into other places now and then; what grew with the requests would grow tenfold.
    let memory = world.backend.memory.report
    #expect(memory.highWater < memory.peak * 3 / 2, "blocks are scattered: \(memory)")
    if wanted >= 10_000 {
      #expect(memory.highWater <= tenth + tenth / 10, "\(tenth) bytes after the first tenth, \(memory) in the end")
      #expect(memory.highWater == half, "\(half) bytes after the first half, \(memory) in the end")
    }
  }

  /// A budget that changes between calls counts from the next one, also where the cache is kept.
  @Test func budgetsMayChange() throws {
    var random = Randomness(seed: 32, for: .testing).stream()
    let world = try World(prompts: 1, &random)
    let engine = LocalEngine(world.model, decoder: NumberDecoder(), seed: 3)
    var limit = 0
    engine.inspectStep = { limit = $0.cache.limit }
    for pages in [20, 20, 7, 30] {
      engine.limits = RolloutLimits(cacheBytes: pages * world.pageBytes, keepsCache: true)
      _ = try engine.generate([world.request(&random)], SamplingParameters(maxNewTokens: 1))
      #expect(limit == pages)
    }
  }

  /// A small part of what follows.
  @Test func hundredsOfRequests() throws { try Self.soak(400, prompts: 40) }

  /// About two minutes on two cores; 35,000 completions.
  @Test(.enabled(if: LongTests.areWanted)) func tenThousandRequests() throws { try Self.soak(10_000, prompts: 500) }
}
