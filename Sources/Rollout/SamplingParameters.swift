import Core

/// How the next token is chosen, and when a completion ends.
public struct SamplingParameters: Sendable, Equatable {
  /// Logits are divided by it; 0 takes the likeliest id, the lowest among equals.
  public var temperature: Double
  /// Keep the k largest logits (equal values at the limit all stay); 0 keeps all.
  public var topK: Int
  /// Keep the smallest set of likeliest ids whose probability reaches this; 1 keeps all.
  public var topP: Double
  /// Drop ids less probable than this share of the likeliest; 0 keeps all.
  public var minP: Double
  /// Keep the ids whose surprise is nearest to the entropy until their probability reaches this; 1 keeps all.
  public var typicalP: Double
  /// Drop ids less probable than this; 0 keeps all.
  public var epsilonCutoff: Double
  /// Drop ids less probable than this ε and than √ε · e^(−entropy); 0 keeps all.
  public var etaCutoff: Double
  /// How many of the likeliest ids `topP`, `minP`, `typicalP` and the two cutoffs leave at least.
  public var minTokensToKeep: Int
  /// Divide positive logits and multiply negative ones of every id in prompt and completion; 1 is off.
  public var repetitionPenalty: Double
  /// False: the repetition penalty is over generated ids alone.
  public var penalizesPrompt: Bool
  /// Subtract from the logits of every id generated so far, once.
  public var presencePenalty: Double
  /// Subtract from the logits of every id generated so far, once per occurrence.
  public var frequencyPenalty: Double
  /// No sequence of this many ids appears twice in prompt and completion together; 0 is off.
  public var noRepeatNGramSize: Int
  /// Added to the logits of ids that would complete a sequence.
  public var sequenceBias: [SequenceBias]
  /// Ids that are never chosen.
  public var suppressedIDs: Set<Int32>
  public var maxNewTokens: Int
  /// Until this many tokens are generated, `stopIDs` are not chosen.
  public var minNewTokens: Int
  /// Ids that end a completion; they are part of it.
  public var stopIDs: Set<Int32>
  /// Strings that end a completion; its text is cut before them.
  public var stopStrings: [String]
  /// The recorded log-probabilities are those at this temperature, before any truncation.
  public var logprobTemperature: Double

  public init(
    temperature: Double = 1, topK: Int = 0, topP: Double = 1, minP: Double = 0, repetitionPenalty: Double = 1,
    presencePenalty: Double = 0, frequencyPenalty: Double = 0, maxNewTokens: Int = 512, stopIDs: Set<Int32> = [],
    stopStrings: [String] = [], logprobTemperature: Double = 1, typicalP: Double = 1, epsilonCutoff: Double = 0,
    etaCutoff: Double = 0, minTokensToKeep: Int = 1, penalizesPrompt: Bool = true, noRepeatNGramSize: Int = 0,
    sequenceBias: [SequenceBias] = [], suppressedIDs: Set<Int32> = [], minNewTokens: Int = 0
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repetitionPenalty = repetitionPenalty
    self.presencePenalty = presencePenalty
    self.frequencyPenalty = frequencyPenalty
    self.maxNewTokens = maxNewTokens
    self.stopIDs = stopIDs
    self.stopStrings = stopStrings
    self.logprobTemperature = logprobTemperature
    self.typicalP = typicalP
    self.epsilonCutoff = epsilonCutoff
    self.etaCutoff = etaCutoff
    self.minTokensToKeep = minTokensToKeep
    self.penalizesPrompt = penalizesPrompt
    self.noRepeatNGramSize = noRepeatNGramSize
    self.sequenceBias = sequenceBias
    self.suppressedIDs = suppressedIDs
    self.minNewTokens = minNewTokens
  }

  /// - Throws: `.request` naming the first value out of its range.
  public func validate() throws {
    func check(_ fine: Bool, _ name: String, _ value: some Any, _ expected: String) throws {
      if !fine { throw AttuneError.request("\(name) is \(value), \(expected) was expected") }
    }
    try check(temperature >= 0 && temperature.isFinite, "temperature", temperature, "0 (greedy) or more")
    try check(topK >= 0, "top_k", topK, "0 (off) or more")
    try check(topP > 0 && topP <= 1, "top_p", topP, "a number above 0 and at most 1")
    try check(minP >= 0 && minP <= 1, "min_p", minP, "a number from 0 to 1")
    try check(typicalP > 0 && typicalP <= 1, "typical_p", typicalP, "a number above 0 and at most 1")
    try check(epsilonCutoff >= 0 && epsilonCutoff < 1, "epsilon_cutoff", epsilonCutoff, "0 (off) or a number below 1")
    try check(etaCutoff >= 0 && etaCutoff < 1, "eta_cutoff", etaCutoff, "0 (off) or a number below 1")
    try check(minTokensToKeep >= 1, "min_tokens_to_keep", minTokensToKeep, "1 or more")
    try check(
      repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetition_penalty", repetitionPenalty, "a number above 0")
    try check(presencePenalty.isFinite, "presence_penalty", presencePenalty, "a finite number")
    try check(frequencyPenalty.isFinite, "frequency_penalty", frequencyPenalty, "a finite number")
    try check(noRepeatNGramSize >= 0, "no_repeat_ngram_size", noRepeatNGramSize, "0 (off) or more")
    for bias in sequenceBias {
      try check(!bias.ids.isEmpty, "a sequence of sequence_bias", "empty", "one id or more")
      try check(
        bias.ids.allSatisfy { $0 >= 0 }, "a sequence of sequence_bias", bias.ids, "ids that count from 0")
      try check(
        !bias.bias.isNaN && bias.bias < .infinity, "a bias of sequence_bias", bias.bias,
        "a finite number, or -inf to forbid,")
    }
    try check(
      suppressedIDs.allSatisfy { $0 >= 0 }, "an id of suppress_tokens", suppressedIDs.min() ?? 0, "0 or more")
    try check(maxNewTokens >= 1, "max_new_tokens", maxNewTokens, "1 or more")
    try check(
      minNewTokens >= 0 && minNewTokens <= maxNewTokens, "min_new_tokens", minNewTokens,
      "a number from 0 to max_new_tokens (\(maxNewTokens))")
    try check(!stopStrings.contains(""), "stop", "an empty string", "some text")
    try check(
      logprobTemperature > 0 && logprobTemperature.isFinite, "logprob temperature", logprobTemperature,
      "a number above 0")
  }

  /// True if the choice needs nothing but probabilities at the temperature.
  var isPlain: Bool {
    topK == 0 && topP == 1 && minP == 0 && typicalP == 1 && epsilonCutoff == 0 && etaCutoff == 0 && !editsLogits
  }

  /// True if logits are changed before they are divided by the temperature.
  var editsLogits: Bool {
    repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 || noRepeatNGramSize != 0
      || !sequenceBias.isEmpty || !suppressedIDs.isEmpty || minNewTokens != 0
  }
}
