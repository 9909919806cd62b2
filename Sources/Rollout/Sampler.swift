import AttuneTensor
import Core

/// Chooses one id per row of logits. A row's choice depends on its logits, its history and its place in the run alone.
struct Sampler {
  let parameters: SamplingParameters
  let randomness: Randomness

  /// What a row brings besides its logits.
  struct Row {
    let place: RolloutPlace
    let prompt: [Int32]
    let generated: [Int32]
    /// What its guide allows; nil allows all.
    var allowed: TokenMask?
  }

  /// One id for each row of logits `[rows, vocabulary]`, and its log-probability before anything bent the distribution.
  func choose(_ logits: Tensor, _ rows: [Row], on backend: any Backend) -> (ids: [Int32], logprobs: [Float]) {
    var chosen: [Int32]
    // Rows without a guide take the plain way whatever stands beside them.
    let isPlain = parameters.isPlain
    if isPlain, parameters.temperature > 0 {
      let drawn = backend.sample(logits, rows.map(uniform), parameters.temperature)
      let isSame = parameters.temperature == parameters.logprobTemperature
      if isSame, rows.allSatisfy({ $0.allowed == nil }) { return drawn }
      chosen = drawn.ids
    } else {
      chosen = isPlain ? backend.likeliest(logits) : [Int32](repeating: 0, count: rows.count)
    }
    if !isPlain || rows.contains(where: { $0.allowed != nil }) { bend(&chosen, logits, rows, on: backend) }
    let streams = backend.empty([HeadStream.allCases.count, rows.count], .f32)
    backend.head(streams, firstRow: 0, logits, chosen[...], parameters.logprobTemperature, [.logprob])
    return (chosen, backend.floats(streams.rowRange(0..<1)))
  }

  /// Chooses anew for the rows whose distribution is bent by parameters or a guide.
  private func bend(_ chosen: inout [Int32], _ logits: Tensor, _ rows: [Row], on backend: any Backend) {
    let vocabulary = logits.width
    let isPlain = parameters.isPlain
    backend.withHostBytes(logits) { bytes in
      let values = bytes.bindMemory(to: Float.self)
      var candidates = Candidates(on: backend)
      var edited: [Float] = []
      for (r, row) in rows.enumerated() where !isPlain || row.allowed != nil {
        let own = UnsafeBufferPointer(rebasing: values[r * vocabulary..<(r + 1) * vocabulary])
        chosen[r] = choose(own, row, &candidates, &edited)
      }
    }
  }

  private func uniform(_ row: Row) -> Double {
    randomness.uniform(row.place.step, row.place.prompt, row.place.index, row.generated.count)
  }

  /// - Parameters:
  ///   - candidates: filled anew; passed in for its storage.
  ///   - edited: the same, for a row that penalties change.
  private func choose(
    _ logits: UnsafeBufferPointer<Float>, _ row: Row, _ candidates: inout Candidates, _ edited: inout [Float]
  ) -> Int32 {
    let p = parameters
    let divisor = p.temperature > 0 ? p.temperature : 1
    if p.editsLogits {
      if edited.isEmpty { edited = Array(logits) } else { edited.replaceSubrange(edited.indices, with: logits) }
      edit(&edited, row)
      edited.withUnsafeBufferPointer { candidates.fill($0, temperature: divisor, allowed: row.allowed) }
    } else {
      candidates.fill(logits, temperature: divisor, allowed: row.allowed)
    }
    // Bans that leave nothing are set aside for this token; a guide never is.
    if candidates.ids.isEmpty { candidates.fill(logits, temperature: divisor, allowed: row.allowed) }
    if p.temperature == 0 { return candidates.likeliest ?? row.allowed?.first ?? 0 }
    candidates.topK(p.topK)
    candidates.topP(p.topP, keeping: p.minTokensToKeep)
    candidates.minP(p.minP, keeping: p.minTokensToKeep)
    candidates.typicalP(p.typicalP, keeping: p.minTokensToKeep)
    candidates.epsilonCutoff(p.epsilonCutoff, keeping: p.minTokensToKeep)
    candidates.etaCutoff(p.etaCutoff, keeping: p.minTokensToKeep)
    return candidates.draw(uniform(row)) ?? row.allowed?.first ?? 0
  }

  private func edit(_ logits: inout [Float], _ row: Row) {
    let p = parameters
    let history = TokenHistory(prompt: row.prompt, generated: row.generated)
    LogitProcessors.sequenceBias(&logits, history, p.sequenceBias)
    if p.repetitionPenalty != 1 {
      if p.penalizesPrompt {
        LogitProcessors.repetitionPenalty(&logits, ids: history, p.repetitionPenalty)
      } else {
        LogitProcessors.repetitionPenalty(&logits, ids: row.generated, p.repetitionPenalty)
      }
    }
    if p.presencePenalty != 0 || p.frequencyPenalty != 0 {
      LogitProcessors.presenceAndFrequency(
        &logits, generated: row.generated, presence: p.presencePenalty, frequency: p.frequencyPenalty)
    }
    LogitProcessors.noRepeatNGram(&logits, history, size: p.noRepeatNGramSize)
    if row.generated.count < p.minNewTokens { LogitProcessors.suppress(&logits, p.stopIDs) }
    LogitProcessors.suppress(&logits, p.suppressedIDs)
  }
}
