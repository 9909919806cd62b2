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
  /// Divide positive logits and multiply negative ones of every id in prompt and completion; 1 is off.
  public var repetitionPenalty: Double
  /// Subtract from the logits of every id generated so far, once.
  public var presencePenalty: Double
  /// Subtract from the logits of every id generated so far, once per occurrence.
  public var frequencyPenalty: Double
  public var maxNewTokens: Int
  /// Ids that end a completion; they are part of it.
  public var stopIDs: Set<Int32>
  /// Strings that end a completion; its text is cut before them.
  public var stopStrings: [String]
  /// The recorded log-probabilities are those at this temperature, before any truncation.
  public var logprobTemperature: Double

  public init(
    temperature: Double = 1, topK: Int = 0, topP: Double = 1, minP: Double = 0, repetitionPenalty: Double = 1,
    presencePenalty: Double = 0, frequencyPenalty: Double = 0, maxNewTokens: Int = 512, stopIDs: Set<Int32> = [],
    stopStrings: [String] = [], logprobTemperature: Double = 1
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
    try check(
      repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetition_penalty", repetitionPenalty, "a number above 0")
    try check(presencePenalty.isFinite, "presence_penalty", presencePenalty, "a finite number")
    try check(frequencyPenalty.isFinite, "frequency_penalty", frequencyPenalty, "a finite number")
    try check(maxNewTokens >= 1, "max_new_tokens", maxNewTokens, "1 or more")
    try check(!stopStrings.contains(""), "stop", "an empty string", "some text")
    try check(
      logprobTemperature > 0 && logprobTemperature.isFinite, "logprob temperature", logprobTemperature,
      "a number above 0")
  }

  /// True if the choice needs nothing but probabilities at the temperature.
  var isPlain: Bool {
    topK == 0 && topP == 1 && minP == 0 && repetitionPenalty == 1 && presencePenalty == 0 && frequencyPenalty == 0
  }
}
