import AttuneTensor
import Core

/// Chooses one id per row of logits, with everything that bends their distribution. A row's choice depends on its logits, its history and its place in the run alone.
struct Sampler {
  let parameters: SamplingParameters
  let randomness: Randomness

  /// What a row brings besides its logits.
  struct Row {
    let place: RolloutPlace
    let prompt: [Int32]
    let generated: [Int32]
  }

  /// - Parameter logits: `[rows, vocabulary]`.
  func choose(_ logits: Tensor, _ rows: [Row], on backend: any Backend) -> [Int32] {
    let vocabulary = logits.width
    return backend.withHostBytes(logits) { bytes in
      let values = bytes.bindMemory(to: Float.self)
      return rows.enumerated().map { r, row in
        choose(Array(values[r * vocabulary..<(r + 1) * vocabulary]), row)
      }
    }
  }

  func uniform(_ row: Row) -> Double {
    randomness.uniform(row.place.step, row.place.prompt, row.place.index, row.generated.count)
  }

  /// The id at which the running sum, ids ascending in f64, passes the share `u` of the whole.
  private func invert(_ weights: UnsafeBufferPointer<Float>, _ u: Double) -> Int32 {
    var total = 0.0
    for weight in weights { total += Double(weight) }
    let target = u * total
    var sum = 0.0
    var last = 0
    for (i, weight) in weights.enumerated() where weight > 0 {
      sum += Double(weight)
      last = i
      if sum > target { return Int32(i) }
    }
    return Int32(last)
  }

  private func choose(_ row: [Float], _ place: Row) -> Int32 {
    var logits = row
    let p = parameters
    if p.repetitionPenalty != 1 {
      LogitProcessors.repetitionPenalty(&logits, ids: place.prompt + place.generated, p.repetitionPenalty)
    }
    if p.presencePenalty != 0 || p.frequencyPenalty != 0 {
      LogitProcessors.presenceAndFrequency(
        &logits, generated: place.generated, presence: p.presencePenalty, frequency: p.frequencyPenalty)
    }
    if p.temperature == 0 {
      var best = 0
      for i in logits.indices where logits[i] > logits[best] { best = i }
      return Int32(best)
    }
    LogitProcessors.temperature(&logits, p.temperature)
    LogitProcessors.topK(&logits, p.topK)
    LogitProcessors.topP(&logits, p.topP)
    LogitProcessors.minP(&logits, p.minP)
    let largest = logits.max() ?? 0
    let weights = logits.map { $0 == -.infinity ? 0 : Float(PortableMath.exp(Double($0 - largest))) }
    return weights.withUnsafeBufferPointer { invert($0, uniform(place)) }
  }
}
