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
  /// - Parameters:
  ///   - isCancelled: asked between tokens; true ends with `CancellationError`.
  ///   - onGroup: told each request's number and completions as soon as they and those of all requests before it are
  ///     there, so in the requests' order; what it throws ends the call.
  func generate(
    _ requests: [RolloutRequest], _ parameters: SamplingParameters, isCancelled: () -> Bool,
    onGroup: (Int, [Completion]) throws -> Void
  ) throws -> [[Completion]]
}

extension RolloutEngine {
  public func generate(
    _ requests: [RolloutRequest], _ parameters: SamplingParameters, isCancelled: () -> Bool = { false }
  ) throws -> [[Completion]] {
    try generate(requests, parameters, isCancelled: isCancelled) { _, _ in }
  }
}

/// Turns ids into the two texts of a completion; the tokenizer does, and tests may pass their own.
public protocol CompletionDecoder {
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String
}

/// How much the engine may hold and compute at a time. No completion depends on it.
public struct RolloutLimits: Sendable, Equatable {
  /// Bytes of keys and values.
  public var cacheBytes: Int
  /// Sequences that grow at once.
  public var sequences: Int
  /// Prompt tokens of one forward pass; longer prompts are computed in parts.
  public var prefillTokens: Int
  /// Compute common beginnings of prompts once.
  public var sharesPrefixes: Bool
  /// Keep what was computed for later calls, completions included (the turns of a dialogue), until the weights change.
  public var keepsCache: Bool

  public init(
    cacheBytes: Int = 2 << 30, sequences: Int = 256, prefillTokens: Int = 2048, sharesPrefixes: Bool = true,
    keepsCache: Bool = false
  ) {
    precondition(sequences > 0 && prefillTokens > 0, "limits of nothing")
    self.cacheBytes = cacheBytes
    self.sequences = sequences
    self.prefillTokens = prefillTokens
    self.sharesPrefixes = sharesPrefixes
    self.keepsCache = keepsCache
  }
}

/// What one call of `generate` did.
public struct RolloutStatistics: Sendable, Equatable {
  /// Prompt tokens that were computed; those found in the cache are not among them.
  public var prefilledTokens = 0
  public var cachedTokens = 0
  public var sampledTokens = 0
  /// Forward passes.
  public var passes = 0
  /// Sequences that gave up their pages to others and were computed again.
  public var preemptions = 0
  public var peakPages = 0
  public var prefillSeconds = 0.0
  public var decodeSeconds = 0.0
}

/// Samples with a model of this process: prompts are computed once and shared by their groups, a finished sequence's place
/// is taken at once, and what is recorded are the bits that training will compute.
///
/// A completion is a function of the weights, the parameters and (seed, step, prompt, index) alone: not of the batch, the
/// order, the group's size, the memory budget or the threads. Not for use by two threads at once.
public final class LocalEngine: RolloutEngine {
  let model: LanguageModel
  let decoder: any CompletionDecoder
  let randomness: Randomness
  public var limits: RolloutLimits
  public internal(set) var statistics = RolloutStatistics()
  private var kept: (cache: KVCache, tree: PrefixTree, version: Int)?
  /// What tests look at after every step; nil in use.
  var inspectStep: ((RolloutScheduler) throws -> Void)?

  /// - Parameter purpose: what the completions are for; those of two purposes share no randomness.
  public init(
    _ model: LanguageModel, decoder: any CompletionDecoder, seed: UInt64, for purpose: Randomness.Purpose = .sampling,
    limits: RolloutLimits = RolloutLimits()
  ) {
    self.model = model
    self.decoder = decoder
    self.randomness = Randomness(seed: seed, for: purpose)
    self.limits = limits
  }

  public func generate(
    _ requests: [RolloutRequest], _ parameters: SamplingParameters, isCancelled: () -> Bool,
    onGroup: (Int, [Completion]) throws -> Void
  ) throws -> [[Completion]] {
    try parameters.validate()
    try requests.forEach { try $0.guide?.validate(with: parameters) }
    let (cache, tree) = cacheForNow()
    if !limits.keepsCache { kept = nil }
    let scheduler = RolloutScheduler(self, cache: cache, tree: tree, parameters)
    defer { statistics = scheduler.statistics }
    var reported = 0
    func report() throws {
      while reported < requests.count, let group = scheduler.group(reported, of: requests[reported].completions) {
        try onGroup(reported, group)
        reported += 1
      }
    }
    do {
      for (i, request) in requests.enumerated() { try scheduler.add(request, number: i) }
      scheduler.reserve()
      while try scheduler.step() {
        try inspectStep?(scheduler)
        if isCancelled() { throw CancellationError() }
        try report()
      }
      try report()
    } catch {
      kept = nil
      throw error
    }
    return scheduler.results(requests.count)
  }

  /// The cache of the call before if it still stands for these weights and this budget, else an empty one.
  private func cacheForNow() -> (KVCache, PrefixTree) {
    let version = model.weightsVersion
    if let kept, limits.keepsCache, kept.version == version, kept.cache.budget == limits.cacheBytes {
      return (kept.cache, kept.tree)
    }
    kept = nil
    let cache = KVCache(model.configuration.text, budget: limits.cacheBytes, on: model.backend)
    let tree = PrefixTree(cache)
    kept = (cache, tree, version)
    return (cache, tree)
  }
}
