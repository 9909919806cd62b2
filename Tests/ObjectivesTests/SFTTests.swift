import Core
import TestSupport
import Testing

@testable import Objectives

@Suite struct SFTTests {
  /// Two rows of 3 and 2 tokens; the first token of each is no target and holds rubbish.
  static let streams = TokenStreams(
    rowOffsets: [0, 3, 5], mask: [false, true, true, false, true],
    policyLogprobs: [.nan, -1, -2, -.infinity, -0.5], entropies: [.nan, 0.25, 0.5, .infinity, 0.75],
    logSumExps: [.infinity, 3, 2.5, .nan, 1], meanLogits: [.nan, 0.5, -0.5, .nan, -1],
    isTop1: [true, true, false, true, true])

  /// −(−1 − 2 − 0.5) / 3 = 7/6.
  @Test func negativeLogLikelihood() throws {
    let result = try SFT().evaluate(Self.streams, attendedTokenCount: 5)
    #expect(abs(result.loss - 7.0 / 6) < 1e-15)
    #expect(result.gradients.logprob == [0, Float(-1.0 / 3), Float(-1.0 / 3), 0, Float(-1.0 / 3)])
    #expect(result.gradients.entropy == nil)
    #expect(result.gradients.logSumExp == nil)
    #expect(
      result.metrics == [.init("entropy", 0.5), .init("mean_token_accuracy", 2.0 / 3), .init("num_tokens", 5)])
  }

  /// Divided by the targets of the whole step, multiplied by the ranks: 3.5 · 2 / 10.
  @Test func divisorOfTheWholeStep() throws {
    let result = try SFT().evaluate(Self.streams, targetCount: 10, processCount: 2)
    #expect(abs(result.loss - 0.7) < 1e-15)
    #expect(result.gradients.logprob[1] == Float(-0.2))
  }

  /// 0.9 · 3.5/3 + 0.1 · (2.5 + 3 + 2)/3.
  @Test func labelSmoothing() throws {
    let result = try SFT(.init(labelSmoothing: 0.1)).evaluate(Self.streams)
    #expect(abs(result.loss - (0.9 * 3.5 + 0.1 * 7.5) / 3) < 1e-15)
    #expect(result.gradients.logprob == [0, -0.3, -0.3, 0, -0.3])
    let smoothing = Float(0.1 / 3)
    #expect(result.gradients.logSumExp == [0, smoothing, smoothing, 0, smoothing])
    #expect(result.gradients.meanLogit == [0, -smoothing, -smoothing, 0, -smoothing])
  }

  @Test func dynamicFineTuning() throws {
    let result = try SFT(.init(lossType: .dft)).evaluate(Self.streams)
    let p = [-1.0, -2.0, -0.5].map { PortableMath.exp($0) }
    #expect(abs(result.loss - (p[0] + 2 * p[1] + 0.5 * p[2]) / 3) < 1e-15)
    #expect(result.gradients.logprob[2] == Float(-p[1] / 3))
  }

  @Test func noTargetsGiveZero() throws {
    var streams = Self.streams
    streams.mask = [Bool](repeating: false, count: 5)
    let result = try SFT().evaluate(streams)
    #expect(result.loss == 0)
    #expect(result.gradients.logprob.allSatisfy { $0 == 0 })
    #expect(result[metric: "entropy"] == 0)
  }

  @Test func refusals() throws {
    expectRefused(SFT.self, [("label_smoothing_factor", 1)], "label_smoothing_factor is 1", "0 ≤ x < 1")
    expectRefused(SFT.self, [("loss_type", "dft"), ("label_smoothing_factor", 0.1)], "'dft'", "'nll'")
    expectAttuneError(containing: "mean logits", "label smoothing") {
      var streams = Self.streams
      streams.meanLogits = nil
      _ = try SFT(.init(labelSmoothing: 0.1)).evaluate(streams)
    }
    expectAttuneError(containing: "entropies", "4 values for 5 tokens") {
      var streams = Self.streams
      streams.entropies = [0, 0, 0, 0]
      _ = try SFT().evaluate(streams)
    }
    expectAttuneError(containing: "rows") {
      var streams = Self.streams
      streams.rowOffsets = [0, 4, 3]
      _ = try SFT().evaluate(streams)
    }
  }
}
