import AttuneTensor
import Core
import Datasets
import Models
import Objectives
import Rewards

extension Trainer {
  /// One step of a reward model: the head's scores of both completions of each pair.
  func scoreStep(
    _ stage: Recipe.Stage, _ objective: any ScoreObjective, _ rates: LearningRates, _ optimizer: Optimizer
  ) throws -> StepRecord {
    let started = monotonicSeconds()
    let (pairs, dropped) = try nextPairs(stage)
    let sums = try score(pairs, stage, objective, recording: true)
    return try finishStep(
      stage, sums, rates, optimizer, since: started,
      more: stage.maxLength > 0 ? [("dropped_pairs", Double(dropped))] : [],
      trainedTokens: pairs.reduce(0) { $0 + $1.tokenCount }, headline: ["loss", "accuracy"])
  }

  /// Loss and metrics of pairs, and what `recording` asks for in the parameters' gradients.
  func score(
    _ pairs: [ScoredPair], _ stage: Recipe.Stage, _ objective: any ScoreObjective, recording: Bool
  ) throws -> StepSums {
    guard let scorer else {
      throw AttuneError.work("stage \(stage.name) trains a reward model, and the run has none")
    }
    return try scorer.pass(recomputesLayers: stage.recomputes).learn(
      pairs, objective, microBatch: stage.microBatch, clock: clock, recording: recording)
  }

  /// The next pairs of a stage's data; those with a sequence that is longer than the stage allows are left out.
  private func nextPairs(_ stage: Recipe.Stage) throws -> (pairs: [ScoredPair], dropped: Int) {
    var pairs: [ScoredPair] = []
    var dropped = 0
    let all = streams[stage.data]?.source.count ?? .max
    while pairs.count < stage.batch {
      let pair = try scoredPair(nextSamples(stage, 1)[0], stage)
      if stage.maxLength > 0, pair.longest > stage.maxLength {
        dropped += 1
        guard pairs.count > 0 || dropped < all else {
          throw AttuneError.request(
            "every pair of data \(stage.data) has a sequence of more than max_length \(stage.maxLength) tokens",
            hint: "raise max_length of stage \(stage.name); one pair has \(pair.longest)")
        }
      } else {
        pairs.append(pair)
      }
    }
    return (pairs, dropped)
  }

  /// A pair's sequences as the saved reward model will be shown them.
  func scoredPair(_ sample: Sample, _ stage: Recipe.Stage) throws -> ScoredPair {
    guard let scorer else {
      throw AttuneError.work("stage \(stage.name) trains a reward model, and the run has none")
    }
    let chosen = try completion(of: sample, stage, "a reward model")
    guard let rejected = sample.rejected else {
      throw AttuneError.request(
        "sample \(sample.id) of data \(stage.data) has no rejected completion, which a reward model needs",
        hint: "name the column with `rejected:` in the data source")
    }
    let sides = [chosen, rejected].map { text in
      var side = RewardSample(prompt: sample.prompt.map(\.text).joined(separator: "\n"), completion: text)
      side.messages = sample.prompt
      side.images = sample.pictures.map { RewardImage($0) }
      return side
    }
    return ScoredPair(trees: try scorer.trees(of: sides), margin: sample.margin)
  }
}
