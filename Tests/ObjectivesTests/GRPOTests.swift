import Core
import TestSupport
import Testing

@testable import Objectives

@Suite struct GRPOTests {
  /// Four ragged completions with every stream, drawn from a counter-based generator.
  static func batch(seed: UInt64 = 7, spread: Double = 0.4) -> TokenStreams {
    let offsets = TokenStreams.offsets(ofLengths: [5, 3, 7, 4])
    let count = 19
    var state = seed
    func uniform() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(state >> 11) * 0x1p-53
    }
    let policy = (0..<count).map { _ in Float(-3 * uniform() - 0.05) }
    func near() -> [Float] { policy.map { $0 + Float(spread * (2 * uniform() - 1)) } }
    let mask = (0..<count).map { $0 % 6 != 4 }
    return TokenStreams(
      rowOffsets: offsets, mask: mask, policyLogprobs: policy,
      entropies: (0..<count).map { _ in Float(0.1 + 2 * uniform()) }, oldLogprobs: near(), samplingLogprobs: near(),
      referenceLogprobs: near())
  }

  static let advantages = [0.8, -1.1, 0, -0.3]

  /// One configuration for every branch of the loss.
  static let configurations: [(String, GRPO.Configuration)] = {
    var all: [(String, GRPO.Configuration)] = []
    for type in GRPO.LossType.allCases where type != .gmpo {
      for level in GRPO.ImportanceLevel.allCases {
        var c = GRPO.Configuration(lossType: type)
        c.importanceLevel = level
        c.beta = 0.07
        c.delta = 1.4
        c.epsilonHigh = 0.28
        all.append(("\(type) \(level)", c))
        c.biasCorrectedKL = false
        c.delta = nil
        c.samplerCorrection = SamplerCorrection(mode: .tokenTruncate, clipMax: 1.2)
        c.topEntropyQuantile = 0.6
        c.entropyCoefficient = 0.03
        c.offPolicyMaskThreshold = 0.01
        all.append(("\(type) \(level), everything on", c))
      }
    }
    var gmpo = GRPO.Configuration(lossType: .gmpo)
    gmpo.beta = 0.05
    gmpo.topEntropyQuantile = 0.7
    return all + [("gmpo", gmpo)]
  }()

  static let normalization = GRPO.Normalization(itemCount: 40, accumulationSteps: 2, stepsPerGeneration: 4)

  /// The closed-form gradient of the policy logprobs is the slope of the loss wherever the loss is differentiated
  /// through its value; the types that stop gradients are compared with the loss that remains.
  @Test func gradientsAreSlopes() throws {
    for (name, c) in Self.configurations where c.lossType != .vespo {
      // GSPO-token stops the sequence's part of the gradient, CISPO its weight.
      if c.importanceLevel == .sequenceToken || c.lossType == .cispo { continue }
      let grpo = GRPO(c)
      let streams = Self.batch()
      let result = try grpo.evaluate(streams, advantages: .perRow(Self.advantages), normalization: Self.normalization)
      for t in 0..<streams.tokenCount {
        let h: Float = 1 / 1024
        var (up, down) = (streams, streams)
        up.policyLogprobs[t] += h
        down.policyLogprobs[t] -= h
        // The off-policy mask reads the policy but is no path for a gradient; keep it out of the comparison.
        let high = try grpo.evaluate(up, advantages: .perRow(Self.advantages), normalization: Self.normalization).loss
        let low = try grpo.evaluate(down, advantages: .perRow(Self.advantages), normalization: Self.normalization).loss
        let width = Double(up.policyLogprobs[t]) - Double(down.policyLogprobs[t])
        let slope = (high - low) / width
        #expect(
          abs(slope - Double(result.gradients.logprob[t])) < 2e-6,
          "\(name), token \(t): \(result.gradients.logprob[t]), slope \(slope)")
        if let entropy = result.gradients.entropy {
          #expect(entropy[t] == 0 || streams.mask[t])
        }
      }
    }
  }

  /// Nothing at a masked position reaches any output, not even infinities and NaN.
  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func maskedPositionsAreNeverRead(rubbish: Float) throws {
    for (name, c) in Self.configurations {
      let clean = Self.batch()
      var dirty = clean
      for t in clean.mask.indices where !clean.mask[t] {
        dirty.policyLogprobs[t] = rubbish
        dirty.oldLogprobs?[t] = rubbish
        dirty.samplingLogprobs?[t] = rubbish
        dirty.referenceLogprobs?[t] = rubbish
        dirty.entropies?[t] = rubbish
      }
      let a = try GRPO(c).evaluate(clean, advantages: .perRow(Self.advantages), normalization: Self.normalization)
      let b = try GRPO(c).evaluate(dirty, advantages: .perRow(Self.advantages), normalization: Self.normalization)
      #expect(a.loss == b.loss, "\(name)")
      #expect(a.loss.isFinite)
      #expect(a.gradients.logprob == b.gradients.logprob, "\(name)")
      #expect(a.gradients.entropy == b.gradients.entropy, "\(name)")
      #expect(a.metrics == b.metrics, "\(name)")
      for t in clean.mask.indices where !clean.mask[t] { #expect(b.gradients.logprob[t] == 0, "\(name)") }
    }
  }

  /// A micro-batch in two pieces has the gradients of the whole, bit for bit.
  @Test func piecesHaveTheBitsOfTheWhole() throws {
    for type in [GRPO.LossType.grpo, .dapo, .drGRPO, .luspo, .sapo, .cispo, .vespo, .gmpo] {
      var c = GRPO.Configuration(lossType: type)
      c.beta = 0.03
      let whole = Self.batch()
      var normalization = Self.normalization
      normalization.rowCount = 4
      let all = try GRPO(c).evaluate(whole, advantages: .perRow(Self.advantages), normalization: normalization)
      var pieces: [Float] = []
      for rows in [0..<1, 1..<4] {
        let tokens = whole.rowOffsets[rows.lowerBound]..<whole.rowOffsets[rows.upperBound]
        let piece = TokenStreams(
          rowOffsets: whole.rowOffsets[rows.lowerBound...rows.upperBound].map { $0 - tokens.lowerBound },
          mask: Array(whole.mask[tokens]), policyLogprobs: Array(whole.policyLogprobs[tokens]),
          oldLogprobs: whole.oldLogprobs.map { Array($0[tokens]) },
          referenceLogprobs: whole.referenceLogprobs.map { Array($0[tokens]) })
        let part = try GRPO(c).evaluate(
          piece, advantages: .perRow(Array(Self.advantages[rows])), normalization: normalization)
        pieces += part.gradients.logprob
      }
      #expect(pieces == all.gradients.logprob, "\(type)")
    }
  }

  /// On-policy the ratio is exactly 1: the same bits with old logprobs equal to the policy's and without any, and under
  /// DAPO the gradient of a token is −A / N.
  @Test func onPolicy() throws {
    var streams = Self.batch()
    streams.oldLogprobs = streams.policyLogprobs
    let given = try GRPO().evaluate(streams, advantages: .perRow(Self.advantages))
    streams.oldLogprobs = nil
    let absent = try GRPO().evaluate(streams, advantages: .perRow(Self.advantages))
    #expect(given.loss == absent.loss)
    #expect(given.gradients.logprob == absent.gradients.logprob)
    let count = Double(streams.maskedCount)
    for i in 0..<streams.rowCount {
      for t in streams.row(i) where streams.mask[t] {
        #expect(absent.gradients.logprob[t] == Float(-Self.advantages[i] / count))
      }
    }
    #expect(absent[metric: "clip_ratio/region_mean"] == 0)
  }

  /// One token, A = −1, w = e: clipping does not bound it, delta does.
  @Test func deltaBoundsNegativeAdvantages() throws {
    let streams = TokenStreams(rowOffsets: [0, 1], mask: [true], policyLogprobs: [-1], oldLogprobs: [-2])
    let free = try GRPO().evaluate(streams, advantages: .perRow([-1]))
    #expect(abs(free.loss - 2.718281828459045) < 1e-15)
    #expect(free.gradients.logprob == [Float(2.718281828459045)])
    var c = GRPO.Configuration()
    c.delta = 2
    let bound = try GRPO(c).evaluate(streams, advantages: .perRow([-1]))
    #expect(bound.loss == 2)
    #expect(bound.gradients.logprob == [0])
  }

  /// A ratio beyond every double times no advantage is no loss.
  @Test func overflowWithZeroAdvantage() throws {
    let streams = TokenStreams(rowOffsets: [0, 1], mask: [true], policyLogprobs: [0], oldLogprobs: [-1000])
    for type in GRPO.LossType.allCases where type != .gmpo {
      let result = try GRPO(.init(lossType: type)).evaluate(streams, advantages: .perRow([0]))
      #expect(result.loss == 0, "\(type)")
      #expect(result.gradients.logprob == [0], "\(type)")
    }
  }

  /// NaN in a live stream must be seen, not clipped away.
  @Test func nanPropagates() throws {
    for (name, c) in Self.configurations {
      var streams = Self.batch()
      streams.policyLogprobs[0] = .nan
      let result = try GRPO(c).evaluate(streams, advantages: .perRow(Self.advantages))
      #expect(result.loss.isNaN, "\(name)")
    }
  }

  @Test func samplerCorrection() throws {
    // Differences of one row: 0.5 and −0.1; the last sampling logprob is unknown.
    let streams = TokenStreams(
      rowOffsets: [0, 3], mask: [true, true, true], policyLogprobs: [-1, -1, -1], oldLogprobs: [-1, -1, -1],
      samplingLogprobs: [-1.5, -0.9, .nan])
    func weights(_ mode: SamplerCorrection.Mode, _ high: Double?, _ low: Double? = nil) throws -> [Double] {
      try SamplerCorrection(mode: mode, clipMax: high, clipMin: low).weights(streams).perToken
    }
    let exact = [0.5, Double(Float(-0.9)) * -1 - 1].map { PortableMath.exp($0) }
    #expect(try weights(.tokenTruncate, 1.2) == [1.2, exact[1], 1])
    #expect(try weights(.tokenMask, 1.2, 0.95) == [0, 0, 1])
    let product = PortableMath.exp(0.5 + (Double(Float(-0.9)) * -1 - 1))
    #expect(try weights(.sequenceMask, 3) == [product, product, product])
    #expect(try weights(.sequenceMask, 1.2) == [0, 0, 0])
    #expect(try weights(.sequenceTruncate, 1.2) == [1.2, 1.2, 1.2])
  }

  @Test func entropyQuantile() {
    let entropies: [Float] = [0.1, 9, 0.2, 0.3, 0.3, 0.4]
    let mask = [true, false, true, true, true, true]
    #expect(
      EntropyQuantile.topTokens(share: 0.5, entropies: entropies, mask: mask) == [
        false, false, false, true, true, true,
      ])
    #expect(
      EntropyQuantile.topTokens(share: 0, entropies: entropies, mask: mask) == [
        false, false, false, false, false, true,
      ])
    #expect(EntropyQuantile.topTokens(share: 1, entropies: entropies, mask: mask) == mask)
    let none = [Bool](repeating: false, count: 6)
    #expect(EntropyQuantile.topTokens(share: 0.5, entropies: entropies, mask: none) == none)
  }

  @Test func adaptiveEntropy() throws {
    var controller = AdaptiveEntropy(.init(initial: 0.01, delta: 0.5, maximum: 0.6, target: 1))
    #expect(controller.appliedCoefficient == 0)
    controller.observe(entropySum: 2, count: 4)
    controller.observe(entropySum: 1, count: 2)
    controller.finishStep()
    #expect(controller.lastEntropy == 0.5)
    #expect(controller.appliedCoefficient == 0.51)
    controller.observe(entropySum: 1, count: 1)
    controller.finishStep()
    #expect(controller.appliedCoefficient == 0.6)
    controller.observe(entropySum: 3, count: 1)
    controller.finishStep()
    #expect(controller.appliedCoefficient == 0)
    #expect(abs(controller.coefficient - 0.1) < 1e-15)
    let resumed = AdaptiveEntropy(controller.configuration, coefficient: controller.coefficient, lastEntropy: 3)
    #expect(resumed == controller)
  }

  @Test func refusals() throws {
    func refused(_ fragments: String..., change: (inout GRPO.Configuration) -> Void) {
      var c = GRPO.Configuration()
      change(&c)
      do {
        try c.validate()
        Issue.record("nothing was refused for \(fragments)")
      } catch {
        for fragment in fragments where !"\(error)".contains(fragment) {
          Issue.record("'\(error)' does not contain '\(fragment)'")
        }
      }
    }
    expectRefused(GRPO.self, [("epsilon", -0.1)], "epsilon is -0.1", "0 ≤ x < 1")
    expectRefused(GRPO.self, [("epsilon_high", "nan")], "epsilon_high is", "nan")
    expectRefused(GRPO.self, [("beta", "inf")], "beta is", "inf")
    expectRefused(GRPO.self, [("delta", 0)], "delta is 0", "> 1")
    expectRefused(GRPO.self, [("top_entropy_quantile", 1.5)], "top_entropy_quantile is 1.5", "0 ≤ x ≤ 1")
    expectRefused(GRPO.self, [("sapo_temperature_neg", 0)], "sapo_temperature_neg", "> 0")
    expectRefused(GRPO.self, [("scale_rewards", "groups")], "scale_rewards", "did you mean 'group'?")
    refused("sampler_correction_clip_min 3.0") { $0.samplerCorrection = SamplerCorrection(clipMax: 3, clipMin: 3) }
    refused("no bound") { $0.samplerCorrection = SamplerCorrection(mode: .tokenTruncate, clipMax: nil) }
    refused("vespo", "sequence_mask", "token_truncate") {
      $0.lossType = .vespo
      $0.samplerCorrection = SamplerCorrection()
    }
    refused("gmpo", "entropy_coef") {
      $0.lossType = .gmpo
      $0.entropyCoefficient = 0.1
    }
    refused("entropy_coef_min 2.0") { $0.adaptiveEntropy = .init(minimum: 2) }
    expectAttuneError(containing: "loss_type is 'dr_gpro'", "bnpo", "did you mean 'dr_grpo'?") {
      _ = try GRPO.LossType.named("dr_gpro", key: "loss_type")
    }
    expectAttuneError(containing: "reference logprobs", "beta") {
      var (streams, c) = (Self.batch(), GRPO.Configuration())
      streams.referenceLogprobs = nil
      c.beta = 0.1
      _ = try GRPO(c).evaluate(streams, advantages: .perRow(Self.advantages))
    }
    expectAttuneError(containing: "adaptive entropy", "controller") {
      var c = GRPO.Configuration()
      c.adaptiveEntropy = .init()
      _ = try GRPO(c).evaluate(Self.batch(), advantages: .perRow(Self.advantages))
    }
    expectAttuneError(containing: "3 advantages for 4 completions") {
      _ = try GRPO().evaluate(Self.batch(), advantages: .perRow([1, 2, 3]))
    }
    expectAttuneError(containing: "accumulation steps") {
      _ = try GRPO().evaluate(
        Self.batch(), advantages: .perRow(Self.advantages), normalization: .init(accumulationSteps: 0))
    }
  }
}
