import Core
import TestSupport
import Testing

@testable import Objectives

@Suite struct KTOTests {
  static let labels = [true, false, false, true, false, true]
  static let mismatched = PreferenceBatches.batch(seed: 5)

  static let configurations: [KTO.Configuration] = [
    .init(), .init(beta: 0.7, desirableWeight: 1.5, undesirableWeight: 0.8),
    .init(lossType: .apoZeroUnpaired, beta: 0.7, desirableWeight: 1.5, undesirableWeight: 0.8),
  ]

  /// While the policy is the reference, σ(0) = ½ of each weight: (1.5 · 3 + 0.5 · 3) / 2 / 6.
  @Test func firstLoss() throws {
    var streams = PreferenceBatches.batch()
    streams.referenceLogprobs = streams.policyLogprobs
    let kto = KTO(.init(beta: 0.2, desirableWeight: 1.5, undesirableWeight: 0.5))
    let result = try kto.evaluate(streams, desirable: Self.labels, mismatched: streams)
    #expect(abs(result.loss - 0.5) < 1e-15)
    #expect(result[metric: "kl"] == 0)
    for i in 0..<6 {
      // w·β·¼/6.
      let weight: Double = Self.labels[i] ? -1.5 : 0.5
      let slope = Float(weight * 0.2 * 0.25 / 6)
      for t in streams.row(i) { #expect(result.gradients.logprob[t] == (streams.mask[t] ? slope : 0)) }
    }
  }

  /// u = (0.5, −1); mismatched u = (1, 0.5), so z0 = 0.75.
  @Test func valuesByHand() throws {
    let streams = TokenStreams(
      rowOffsets: [0, 2, 3], mask: [true, true, true], policyLogprobs: [-1, -0.5, -2],
      referenceLogprobs: [-1.25, -0.75, -1])
    let other = TokenStreams(
      rowOffsets: [0, 2, 4], mask: [true, true, false, true], policyLogprobs: [-1, -1, .nan, -1],
      referenceLogprobs: [-1.5, -1.5, .nan, -1.5])
    #expect(try KTO.klEstimate(other) == 0.75)
    let kto = KTO(.init(beta: 0.5, desirableWeight: 2))
    let s = PortableMath.sigmoid
    let result = try kto.evaluate(streams, desirable: [true, false], mismatched: other)
    #expect(abs(result.loss - (2 * (1 - s(-0.125)) + (1 - s(0.875))) / 2) < 1e-15)
    #expect(
      result.metrics == [
        .init("kl", 0.75, weight: 2), .init("rewards/chosen", 0.25, weight: 1), .init("logps/chosen", -1.5, weight: 1),
        .init("rewards/rejected", -0.5, weight: 1), .init("logps/rejected", -2, weight: 1),
        .init("rewards/margins", 0.75, weight: 2),
      ])
    // A negative estimate is no divergence.
    let below = try kto.evaluate(streams, desirable: [true, false], klEstimate: -3)
    #expect(below[metric: "kl"] == 0)
    let apo = try KTO(.init(lossType: .apoZeroUnpaired, beta: 0.5, desirableWeight: 2))
      .evaluate(streams, desirable: [true, false], klEstimate: 9)
    #expect(apo.loss == below.loss)
    #expect(apo.gradients.logprob == below.gradients.logprob)
    #expect(try kto.evaluate(streams, desirable: [true, false], klEstimate: .nan).loss.isNaN)
  }

  /// A label that no row has leaves no metrics, and no margin.
  @Test func oneLabelAlone() throws {
    let streams = PreferenceBatches.batch()
    for (label, name, other) in [(true, "chosen", "rejected"), (false, "rejected", "chosen")] {
      let labels = [Bool](repeating: label, count: 6)
      let result = try KTO().evaluate(streams, desirable: labels, mismatched: Self.mismatched)
      for part in ["rewards", "logps", "logits"] {
        #expect(result[metric: "\(part)/\(name)"] != nil)
        #expect(result[metric: "\(part)/\(other)"] == nil)
      }
      #expect(result[metric: "rewards/margins"] == nil)
    }
  }

  @Test func gradientsAreSlopes() throws {
    let streams = PreferenceBatches.batch()
    for c in Self.configurations {
      func evaluate(_ streams: TokenStreams) throws -> ObjectiveResult {
        try KTO(c).evaluate(streams, desirable: Self.labels, mismatched: Self.mismatched)
      }
      let slopes = try (0..<streams.tokenCount).map { t in
        try PreferenceBatches.slope(streams, token: t) { try evaluate($0).loss }
      }
      let gradient = try evaluate(streams).gradients.logprob.map(Double.init)
      expectClose(gradient, slopes, absolute: 2e-8, relative: 1e-6, "\(c)")
    }
  }

  /// Nothing at a masked position reaches any output, of the completions as of the mismatched ones.
  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func maskedPositionsAreNeverRead(rubbish: Float) throws {
    let clean = PreferenceBatches.batch()
    for c in Self.configurations {
      let a = try KTO(c).evaluate(clean, desirable: Self.labels, mismatched: Self.mismatched)
      let b = try KTO(c).evaluate(
        PreferenceBatches.soiled(clean, with: rubbish), desirable: Self.labels,
        mismatched: PreferenceBatches.soiled(Self.mismatched, with: rubbish))
      #expect(a.loss == b.loss && a.loss.isFinite)
      #expect(a.gradients.logprob == b.gradients.logprob)
      #expect(a.metrics == b.metrics)
      for t in clean.mask.indices where !clean.mask[t] { #expect(b.gradients.logprob[t] == 0) }
    }
  }

  @Test func piecesHaveTheBitsOfTheWhole() throws {
    let whole = PreferenceBatches.batch()
    let kto = KTO()
    let all = try kto.evaluate(whole, desirable: Self.labels, mismatched: Self.mismatched)
    let estimate = try KTO.klEstimate(Self.mismatched)
    let parts = try [0..<1, 1..<6].map {
      try kto.evaluate(
        PreferenceBatches.piece(whole, rows: $0), desirable: Array(Self.labels[$0]), klEstimate: estimate, rowCount: 6)
    }
    #expect(parts.flatMap(\.gradients.logprob) == all.gradients.logprob)
    #expect(abs(parts[0].loss + parts[1].loss - all.loss) < 1e-15)
  }

  /// Blocks of 3 turn by one; the last block has two samples, or keeps its only one.
  @Test func mismatchedCompletions() throws {
    #expect(try KTO.mismatchedCompletions(count: 8, batchSize: 3) == [2, 0, 1, 5, 3, 4, 7, 6])
    #expect(try KTO.mismatchedCompletions(count: 4, batchSize: 3) == [2, 0, 1, 3])
    #expect(try KTO.mismatchedCompletions(count: 0, batchSize: 2).isEmpty)
    expectAttuneError(containing: "the batch has 1", "apo_zero_unpaired") {
      _ = try KTO.mismatchedCompletions(count: 4, batchSize: 1)
    }
  }

  @Test func refusals() throws {
    expectRefused(KTO.self, [("beta", 0)], "beta is 0", "> 0")
    expectRefused(KTO.self, [("undesirable_weight", -1)], "undesirable_weight is -1", "≥ 0")
    expectAttuneError(containing: "'kto'", "mismatched", "apo_zero_unpaired") {
      _ = try KTO().evaluate(Self.mismatched, desirable: Self.labels)
    }
    expectAttuneError(containing: "2 labels for 6 completions") {
      _ = try KTO().evaluate(Self.mismatched, desirable: [true, false], klEstimate: 0)
    }
    expectAttuneError(containing: "reference logprobs", "KTO") {
      var streams = Self.mismatched
      streams.referenceLogprobs = nil
      _ = try KTO.klEstimate(streams)
    }
    expectAttuneError(containing: "there are none") {
      _ = try KTO.klEstimate(TokenStreams(rowOffsets: [0], mask: [], policyLogprobs: [], referenceLogprobs: []))
    }
    expectAttuneError(containing: "loss_type is 'kot'", "did you mean 'kto'?") {
      _ = try KTO.LossType.named("kot", key: "loss_type")
    }
  }
}
