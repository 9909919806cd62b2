import Core
import TestSupport
import Testing

@testable import Objectives

/// What every objective keeps, under every name that a recipe can give it.
@Suite struct ObjectiveContractTests {
  static let pairs = ObjectiveRegistry.names(of: .pairs)
  static let unpaired = ObjectiveRegistry.names(of: .unpaired)
  static let rollouts = ObjectiveRegistry.names(of: .rollouts)
  static let labels = [true, false, false, true, false, true]

  static func make(_ name: String, _ given: [(String, JSON)] = []) throws -> any Objective {
    try #require(ObjectiveRegistry.named(name)).make(JSON.Object(given))
  }

  /// The pairs of `PreferenceBatches` with their prompts' tokens.
  static func pairStreams() -> TokenStreams {
    var streams = PreferenceBatches.batch()
    streams.prompts = PromptStreams(
      rowOffsets: [0, 2, 5, 6], mask: [true, false, true, true, true, true],
      policyLogprobs: [-0.5, .nan, -1.25, -0.125, -2, -0.75])
    return streams
  }

  static func piece(_ whole: TokenStreams, pairs: Range<Int>) throws -> TokenStreams {
    var piece = PreferenceBatches.piece(whole, rows: 2 * pairs.lowerBound..<2 * pairs.upperBound)
    let prompts = try #require(whole.prompts)
    let tokens = prompts.rowOffsets[pairs.lowerBound]..<prompts.rowOffsets[pairs.upperBound]
    piece.prompts = PromptStreams(
      rowOffsets: prompts.rowOffsets[pairs.lowerBound...pairs.upperBound].map { $0 - tokens.lowerBound },
      mask: Array(prompts.mask[tokens]), policyLogprobs: Array(prompts.policyLogprobs[tokens]))
    return piece
  }

  /// Metrics of a step from those of its micro-batches, by the weights that they carry.
  static func joined(_ parts: [(ObjectiveResult, TokenStreams)]) -> [String: Double] {
    var sums: [String: (value: Double, weight: Double)] = [:]
    for (result, streams) in parts {
      for metric in result.metrics where metric.reduction == .mean && !metric.value.isNaN {
        let weight = metric.weight ?? Double(streams.maskedCount)
        sums[metric.name, default: (0, 0)].value += weight * metric.value
        sums[metric.name, default: (0, 0)].weight += weight
      }
    }
    return sums.mapValues { $0.value / $0.weight }
  }

  static func expectJoined(_ parts: [(ObjectiveResult, TokenStreams)], _ all: ObjectiveResult, _ name: String) {
    let joined = joined(parts)
    // A difference of two means is no mean.
    for metric in all.metrics where metric.reduction == .mean && metric.name != "rewards/margins" {
      if let value = joined[metric.name] {
        #expect(abs(value - metric.value) < 1e-12 * max(1, abs(metric.value)), "\(name): \(metric.name)")
      }
    }
  }

  // MARK: Pairs

  @Test(arguments: pairs) func gradientsOfPairsAreSlopes(name: String) throws {
    let objective = try #require(Self.make(name) as? any PairObjective)
    let streams = Self.pairStreams()
    let result = try objective.evaluate(streams)
    let slopes = try (0..<streams.tokenCount).map { t in
      try PreferenceBatches.slope(streams, token: t) { try objective.evaluate($0).loss }
    }
    expectClose(result.gradients.logprob.map(Double.init), slopes, absolute: 2e-7, relative: 1e-6, name)
    #expect(objective.scoresPrompts == (result.gradients.promptLogprob != nil))
    for (t, gradient) in (result.gradients.promptLogprob ?? []).enumerated() {
      func moved(_ step: Float) throws -> Double {
        var moved = streams
        moved.prompts?.policyLogprobs[t] += step
        return try objective.evaluate(moved).loss
      }
      let slope = try (moved(0x1p-10) - moved(-0x1p-10)) / 0x1p-9
      #expect(abs(slope - Double(gradient)) < 1e-7, "\(name), prompt token \(t)")
    }
  }

  /// Micro-batches add up to the step: the same gradient bits, the same loss and metrics but for rounding.
  @Test(arguments: pairs) func pairsMayBeCut(name: String) throws {
    let objective = try #require(Self.make(name) as? any PairObjective)
    let whole = Self.pairStreams()
    let totals = StepTotals(of: whole)
    let all = try objective.evaluate(whole, totals)
    let pieces = try [0..<1, 1..<3].map { try Self.piece(whole, pairs: $0) }
    let parts = try pieces.map { try objective.evaluate($0, totals) }
    #expect(parts.flatMap(\.gradients.logprob) == all.gradients.logprob)
    #expect(parts.flatMap { $0.gradients.promptLogprob ?? [] } == all.gradients.promptLogprob ?? [])
    #expect(abs(parts[0].loss + parts[1].loss - all.loss) < 1e-12)
    Self.expectJoined(Array(zip(parts, pieces)), all, name)
  }

  @Test(arguments: pairs, [Float.nan, .infinity, -.infinity])
  func pairsReadNothingMasked(name: String, rubbish: Float) throws {
    let objective = try #require(Self.make(name) as? any PairObjective)
    let clean = Self.pairStreams()
    let (a, b) = (
      try objective.evaluate(clean), try objective.evaluate(PreferenceBatches.soiled(clean, with: rubbish))
    )
    #expect(a.loss == b.loss && a.loss.isFinite)
    #expect(a.gradients.logprob == b.gradients.logprob)
    #expect(a.metrics == b.metrics)
  }

  // MARK: Labels

  @Test(arguments: unpaired) func gradientsOfLabelsAreSlopes(name: String) throws {
    let objective = try #require(Self.make(name) as? any UnpairedObjective)
    let streams = PreferenceBatches.batch()
    func evaluate(_ streams: TokenStreams) throws -> ObjectiveResult {
      // The running mean carries no gradient: a memory so long that one batch does not move it.
      try objective.evaluate(
        streams, desirable: Self.labels, mismatchedLogRatios: [0.5, 1], StepTotals(of: streams),
        ["reward_mean": 0.02, "reward_count": 1e18])
    }
    let slopes = try (0..<streams.tokenCount).map { t in
      try PreferenceBatches.slope(streams, token: t) { try evaluate($0).loss }
    }
    expectClose(
      try evaluate(streams).gradients.logprob.map(Double.init), slopes, absolute: 2e-8, relative: 1e-6, name)
    expectAttuneError(containing: "2 labels for 6 completions") {
      _ = try objective.evaluate(
        streams, desirable: [true, false], mismatchedLogRatios: [0], StepTotals(of: streams), [:])
    }
  }

  /// δ of two steps by hand: the mean of the first, then the mean of both.
  @Test func runningMeanOfBCO() throws {
    let bco = try BCO.make(JSON.Object([("beta", 0.5)]))
    func step(_ ratios: [Float], _ memory: inout [String: Double]) throws -> ObjectiveResult {
      let streams = TokenStreams(
        rowOffsets: Array(0...ratios.count), mask: ratios.map { _ in true }, policyLogprobs: ratios.map { $0 - 1 },
        referenceLogprobs: ratios.map { _ in -1 })
      let result = try bco.evaluate(
        streams, desirable: ratios.indices.map { $0 % 2 == 0 }, mismatchedLogRatios: [], StepTotals(of: streams),
        memory)
      bco.finishStep(result.tallies, &memory)
      return result
    }
    var memory: [String: Double] = [:]
    let first = try step([1, -3], &memory)
    #expect(first[metric: "delta"] == -0.5)
    let s = PortableMath.logSigmoid
    #expect(abs(first.loss - (-s(0.5 + 0.5) - s(-0.5 + 1.5)) / 2) < 1e-15)
    #expect(try step([2, 2, 2, 2], &memory)[metric: "delta"] == 0.5)
    #expect(memory == ["reward_mean": 0.5, "reward_count": 6])
    #expect(try step([], &memory).loss == 0)
    #expect(memory == ["reward_mean": 0.5, "reward_count": 6])
  }

  // MARK: Scores

  @Test func rewardModel() throws {
    let scores = [1.5, 0.25, -0.5, 0.75, 0, 0]
    for (given, margins) in [([], nil), ([("center_rewards_coefficient", 0.1)], [0.5, 0, 1])]
      as [([(String, JSON)], [Double]?)]
    {
      let objective = try RewardModelObjective.make(JSON.Object(given))
      let result = try objective.evaluate(scores: scores, margins: margins, pairs: 3)
      let slopes = try scores.indices.map { i in
        func moved(_ step: Double) throws -> Double {
          var moved = scores
          moved[i] += step
          return try objective.evaluate(scores: moved, margins: margins, pairs: 3).loss
        }
        return (try moved(0x1p-20) - moved(-0x1p-20)) / 0x1p-19
      }
      expectClose(result.gradients, slopes, absolute: 1e-9)
      let parts = try [0..<1, 1..<3].map { k in
        try objective.evaluate(
          scores: Array(scores[2 * k.lowerBound..<2 * k.upperBound]), margins: margins.map { Array($0[k]) }, pairs: 3)
      }
      #expect(parts.flatMap(\.gradients) == result.gradients)
      #expect(abs(parts[0].loss + parts[1].loss - result.loss) < 1e-15)
    }
    // A tie is no win.
    let accuracy = try RewardModelObjective.make().evaluate(scores: scores, margins: nil, pairs: 3).metrics
      .first { $0.name == "accuracy" }
    #expect(accuracy?.value == 1.0 / 3)
    expectAttuneError(containing: "3 scores") {
      _ = try RewardModelObjective.make().evaluate(scores: [1, 2, 3], margins: nil, pairs: 1)
    }
  }

  // MARK: Rollouts

  /// Credit of four completions in two groups, and what the policy says of them now. Logprobs are multiples of 2⁻¹², so that
  /// steps of a power of two are exact in float32.
  static func scored(_ objective: any PolicyObjective) throws -> (credit: Credit, now: TokenStreams) {
    var now = GRPOTests.batch()
    now.policyLogprobs = now.policyLogprobs.map { ($0 * 4096).rounded() / 4096 }
    now.samplingLogprobs = nil
    now.values = now.policyLogprobs.map { $0 / 4 }
    var then = now
    then.policyLogprobs = now.oldLogprobs ?? []
    then.values = now.policyLogprobs.map { $0 / 4 + 0.0625 }
    let credit = try objective.credit(
      ScoredRollouts(
        groupSize: 2, rewards: [[1], [0.25], [-0.5], [0.75]], names: ["a"], terminated: [true, false, true, true],
        streams: then))
    return (credit, now)
  }

  @Test(arguments: rollouts) func gradientsOfRolloutsAreSlopes(name: String) throws {
    let objective = try #require(Self.make(name) as? any PolicyObjective)
    let (credit, now) = try Self.scored(objective)
    // Where weights are constants to the gradient, the ratio must not move along.
    let isWeighted = ["cispo"].contains(name)
    func loss(_ streams: TokenStreams) throws -> Double {
      try objective.evaluate(streams, credit, StepTotals(of: streams), [:]).loss
    }
    let result = try objective.evaluate(now, credit, StepTotals(of: now), [:])
    func slope(_ t: Int, _ move: (inout TokenStreams, Float) -> Void) throws -> Double {
      func difference(_ h: Float) throws -> Double {
        var (up, down) = (now, now)
        move(&up, h)
        move(&down, -h)
        return (try loss(up) - loss(down)) / (2 * Double(h))
      }
      return (4 * (try difference(0x1p-12)) - (try difference(0x1p-11))) / 3
    }
    let slopes = try (0..<now.tokenCount).map { t in
      try slope(t) {
        $0.policyLogprobs[t] += $1
        if isWeighted { $0.oldLogprobs?[t] += $1 }
      }
    }
    expectClose(result.gradients.logprob.map(Double.init), slopes, absolute: 1e-6, relative: 1e-5, name)
    #expect(objective.usesValues == (result.gradients.value != nil))
    if let gradient = result.gradients.value {
      let slopes = try (0..<now.tokenCount).map { t in try slope(t) { $0.values?[t] += $1 } }
      expectClose(gradient.map(Double.init), slopes, absolute: 1e-6, relative: 1e-5, name)
    }
  }

  @Test(arguments: rollouts) func rolloutsMayBeCut(name: String) throws {
    let objective = try #require(Self.make(name) as? any PolicyObjective)
    let (credit, now) = try Self.scored(objective)
    let totals = StepTotals(of: now)
    let all = try objective.evaluate(now, credit, totals, [:])
    let pieces = [0..<1, 1..<4].map { rows in
      var piece = PreferenceBatches.piece(now, rows: rows)
      let tokens = now.rowOffsets[rows.lowerBound]..<now.rowOffsets[rows.upperBound]
      piece.oldLogprobs = now.oldLogprobs.map { Array($0[tokens]) }
      piece.values = now.values.map { Array($0[tokens]) }
      piece.entropies = now.entropies.map { Array($0[tokens]) }
      return (rows, piece)
    }
    let parts = try pieces.map { rows, piece in
      try objective.evaluate(piece, credit.of(rows: Array(rows), offsets: now.rowOffsets), totals, [:])
    }
    #expect(parts.flatMap(\.gradients.logprob) == all.gradients.logprob)
    #expect(parts.flatMap { $0.gradients.value ?? [] } == all.gradients.value ?? [])
    #expect(abs(parts[0].loss + parts[1].loss - all.loss) < 1e-12)
    Self.expectJoined(Array(zip(parts, pieces.map(\.1))), all, name)
  }

  /// The groups of a step may come in any order.
  @Test(arguments: rollouts) func orderOfGroupsDoesNotMatter(name: String) throws {
    let objective = try #require(Self.make(name) as? any PolicyObjective)
    let (credit, now) = try Self.scored(objective)
    let order = [2, 3, 0, 1]
    let tokens = order.flatMap { Array(now.row($0)) }
    func arranged<T>(_ values: [T]?) -> [T]? { values.map { values in tokens.map { values[$0] } } }
    var other = now
    other.rowOffsets = TokenStreams.offsets(ofLengths: order.map { now.row($0).count })
    other.mask = arranged(now.mask) ?? []
    other.policyLogprobs = arranged(now.policyLogprobs) ?? []
    other.oldLogprobs = arranged(now.oldLogprobs)
    other.referenceLogprobs = arranged(now.referenceLogprobs)
    other.entropies = arranged(now.entropies)
    other.values = arranged(now.values)
    let a = try objective.evaluate(now, credit, StepTotals(of: now), [:])
    let b = try objective.evaluate(
      other, credit.of(rows: order, offsets: now.rowOffsets), StepTotals(of: other), [:])
    #expect(abs(a.loss - b.loss) < 1e-12)
    #expect(arranged(a.gradients.logprob) == b.gradients.logprob)
  }

  // MARK: Credit

  /// Leave-one-out of (1, 0.25) and (−0.5, 0.75) without KL: ±0.75 and ∓1.25.
  @Test func leaveOneOut() throws {
    let rloo = try #require(Self.make("rloo", [("beta", 0)]) as? RLOO)
    let (credit, _) = try Self.scored(rloo)
    guard case .perRow(let advantages) = credit.advantages else {
      Issue.record("RLOO's advantages are of rows")
      return
    }
    expectClose(advantages, [0.75, -0.75, -1.25, 1.25], absolute: 1e-15)
    #expect(Spread.leftOneOut([1, .nan, 3, .nan], size: 2).map { $0.isNaN } == [true, true, true, true])
    #expect(Spread.leftOneOut([2.1, 2.1, 2.1], size: 3) == [0, 0, 0])
    let range: JSON = [0, 0.5]
    let clipped = try #require(Self.make("rloo", [("beta", 0), ("reward_clip_range", range)]) as? RLOO)
    guard case .perRow(let bounded) = try Self.scored(clipped).credit.advantages else { return }
    expectClose(bounded, [0.25, -0.25, -0.5, 0.5], absolute: 1e-15)
    expectRefused(RLOO.self, [("reward_clip_range", [1, 0])], "reward_clip_range", "ascending")
    expectRefused(RLOO.self, [("kl_in", "los")], "kl_in", "did you mean 'loss'?")
  }

  /// With γ = λ = 1 and without critic the advantage of a token is the sum of what comes from it on.
  @Test func advantagesLookAhead() {
    let streams = TokenStreams(
      rowOffsets: [0, 3, 5], mask: [true, true, true, true, false], policyLogprobs: [0, 0, 0, 0, 0])
    let rewards: [Double] = [1, 2, 4, 8, 99]
    #expect(
      TokenCredit.advantages(streams, rewards: rewards, values: nil, gamma: 1, lambda: 1) == [7, 6, 4, 8, 0])
    #expect(
      TokenCredit.advantages(streams, rewards: rewards, values: nil, gamma: 0.5, lambda: 1) == [3, 4, 4, 8, 0])
    // λ = 0: one step, r + γV' − V.
    #expect(
      TokenCredit.advantages(streams, rewards: rewards, values: [1, 3, 5, 7, .nan], gamma: 1, lambda: 0)
        == [3, 4, -1, 1, 0])
  }

  @Test func whiteningKeepsOneTokenAlone() {
    // 1/√(2 + 1e-8).
    let white = TokenCredit.whitened([1, 3, 9], mask: [true, true, false])
    expectClose(white, [-0.7071067794187805, 0.7071067794187805, 0], absolute: 1e-15)
    #expect(TokenCredit.whitened([4, 9], mask: [true, false]) == [4, 0])
    expectClose(TokenCredit.whitened([1, 3], mask: [true, true], isUnbiased: false), [-1, 1], absolute: 1e-12)
  }

  @Test(arguments: KLEstimator.allCases) func estimatesHaveSlopes(estimator: KLEstimator) {
    for d in [-2.0, -0.3, 0.01, 1.7] {
      let slope = (estimator.value(d + 0x1p-20) - estimator.value(d - 0x1p-20)) / 0x1p-19
      #expect(abs(slope - estimator.slope(d)) < 1e-9, "\(estimator) at \(d)")
    }
    #expect(estimator.value(0) == 0)
  }
}
