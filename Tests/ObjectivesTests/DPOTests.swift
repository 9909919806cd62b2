import Core
import TestSupport
import Testing

@testable import Objectives

@Suite struct DPOTests {
  /// A configuration of one loss type that is legal.
  static func configuration(_ type: DPO.LossType, beta: Double = 0.3) -> DPO.Configuration {
    var c = DPO.Configuration(type)
    c.beta = beta
    if type.takesLabelSmoothing { c.labelSmoothing = 0.1 }
    return c
  }

  /// One configuration for every branch of the loss.
  static let configurations: [(String, DPO.Configuration)] = {
    var all: [(String, DPO.Configuration)] = []
    for type in DPO.LossType.allCases {
      var c = configuration(type)
      all.append(("\(type)", c))
      c.lengthDesensitization = 0.25
      all.append(("\(type), LD", c))
      if !type.sorts, type != .sft {
        c.usesWeighting = true
        all.append(("\(type), LD and WPO", c))
      }
      for divergence in DPO.Divergence.allCases where type.takesDivergence {
        c.divergence = divergence
        all.append(("\(type), LD, \(divergence)", c))
      }
    }
    var mixture = DPO.Configuration(.sigmoid, .bcoPair, .sft)
    mixture.lossWeights = [0.8, 0.2, 1]
    return all + [("mixture", mixture)]
  }()

  // MARK: Values

  /// While the policy still is the reference every log-ratio is 0: the first loss is known, and that of `sigmoid` is
  /// log 2 with the gradient ∓β/(2N).
  @Test func firstLoss() throws {
    var streams = PreferenceBatches.batch()
    streams.referenceLogprobs = streams.policyLogprobs
    let log2 = 0.6931471805599453
    let (log9, log1) = (PortableMath.log(0.9), PortableMath.log(0.1))
    let beta = 0.3
    let expected: [DPO.LossType: Double] = [
      .sigmoid: log2, .hinge: 1, .ipo: 1 / (4 * beta * beta), .exoPair: -log2 - 0.5 * log9 - 0.5 * log1,
      .ncaPair: 2 * log2, .robust: log2, .bcoPair: 2 * log2, .sppoHard: 1 / (2 * beta * beta), .aot: log2,
      .aotUnpaired: log2, .apoZero: 1, .apoDown: 1, .discopop: 0.5 * log2 + 0.5, .sigmoidNorm: log2,
    ]
    for (type, loss) in expected {
      let result = try DPO(Self.configuration(type)).evaluate(streams)
      #expect(abs(result.loss - loss) < 1e-15 * max(1, loss), "\(type): \(result.loss)")
      #expect(result[metric: "rewards/margins"] == 0)
      #expect(result[metric: "rewards/accuracies"] == 0)
    }
    #expect(Set(expected.keys) == Set(DPO.LossType.allCases).subtracting([.sft]))
    let gradient = try DPO().evaluate(streams).gradients.logprob
    for i in 0..<streams.rowCount {
      let sign: Double = i % 2 == 0 ? -1 : 1
      let slope = Float(sign * 0.1 / 2 / 3)
      for t in streams.row(i) { #expect(gradient[t] == (streams.mask[t] ? slope : 0)) }
    }
  }

  /// Two pairs: u = (1, −1), so d = 2, and u = (0, 0.5), so d = −0.5. All sums are exact.
  static let byHand = TokenStreams(
    rowOffsets: [0, 3, 4, 5, 7], mask: [true, true, true, true, true, true, true],
    policyLogprobs: [-1, -0.5, -0.5, -2, -1, -1.5, -1], referenceLogprobs: [-1.5, -0.75, -0.75, -1, -1, -1.5, -1.5])

  @Test func valuesByHand() throws {
    func loss(_ type: DPO.LossType, beta: Double) throws -> Double {
      try DPO(Self.configuration(type, beta: beta)).evaluate(Self.byHand).loss
    }
    let f = PortableMath.logSigmoid
    #expect(abs(try loss(.sigmoid, beta: 0.5) + (f(1) + f(-0.25)) / 2) < 1e-15)
    // max(0, 1 − 2) and 1 + 0.5.
    #expect(try loss(.hinge, beta: 1) == 0.75)
    // 1/3 + 1 − 1 and 0 − 0.25 − 1.
    #expect(abs(try loss(.ipo, beta: 0.5) - (1.0 / 9 + 1.5625) / 2) < 1e-15)
    #expect(abs(try loss(.sigmoidNorm, beta: 1) + (f(4.0 / 3) + f(-0.25)) / 2) < 1e-15)
    // (1 − 1)² + (−1 + 1)² and (0 − 1)² + (0.5 + 1)².
    #expect(try loss(.sppoHard, beta: 0.5) == 1.625)
    // Paired: X_c − X_r = (0, 1.5), R_c − R_r = (−2, 2): sorted differences 2 and −0.5.
    let aot = 0.9 * (f(2) + f(-0.5)) + 0.1 * (f(-2) + f(0.5))
    #expect(abs(try loss(.aot, beta: 1) + aot / 2) < 1e-15)
    // Unpaired: u_c = (1, 0), u_r = (−1, 0.5): sorted, 0 meets −1 and 1 meets 0.5.
    let unpaired = 0.9 * (f(1) + f(0.5)) + 0.1 * (f(-1) + f(-0.5))
    #expect(abs(try loss(.aotUnpaired, beta: 1) + unpaired / 2) < 1e-15)
    // Chosen tokens: −1 − 0.5 − 0.5 − 1 over 4.
    #expect(try loss(.sft, beta: 1) == 0.75)
    #expect(try DPO(.init(.sft)).evaluate(Self.byHand).gradients.logprob == [-0.25, -0.25, -0.25, 0, -0.25, 0, 0])

    let result = try DPO(Self.configuration(.sigmoid, beta: 0.5)).evaluate(Self.byHand)
    #expect(
      result.metrics == [
        .init("rewards/chosen", 0.25, weight: 2), .init("rewards/rejected", -0.125, weight: 2),
        .init("rewards/margins", 0.375, weight: 2), .init("rewards/accuracies", 0.5, weight: 2),
        .init("logps/chosen", -1.5, weight: 2), .init("logps/rejected", -2.25, weight: 2),
      ])
  }

  /// In the first pair the chosen completion has two tokens more than the rejected one, in the second one fewer.
  @Test func lengthDesensitization() throws {
    var c = DPO.Configuration()
    c.lengthDesensitization = 0.5
    let half = try DPO(c).evaluate(Self.byHand)
    #expect(half[metric: "logps/chosen"] == -1.25)
    #expect(half[metric: "logps/rejected"] == -2.0)
    #expect(half.gradients.logprob[1] == half.gradients.logprob[0] / 2)
    #expect(half.gradients.logprob[6] == half.gradients.logprob[5] / 2)
    c.lengthDesensitization = 1
    let (whole, plain) = (try DPO(c).evaluate(Self.byHand), try DPO().evaluate(Self.byHand))
    #expect(whole.gradients.logprob == plain.gradients.logprob)
    // At 0 the tail isn't even read.
    c.lengthDesensitization = 0
    var streams = Self.byHand
    streams.policyLogprobs[2] = -.infinity
    streams.referenceLogprobs?[2] = -.infinity
    let none = try DPO(c).evaluate(streams)
    #expect(none.loss.isFinite)
    #expect(none.gradients.logprob[2] == 0)
  }

  /// Weights exp(mean(x − log Σp²)): x − log Σp² is −0.5 on every token of the first pair, 0 in the second.
  @Test func weighting() throws {
    var streams = Self.byHand
    streams.logSumSquaredProbs = streams.policyLogprobs.indices.map { streams.policyLogprobs[$0] + ($0 < 4 ? 0.5 : 0) }
    var c = DPO.Configuration()
    c.beta = 0.5
    c.usesWeighting = true
    let f = PortableMath.logSigmoid
    let result = try DPO(c).evaluate(streams)
    #expect(abs(result.loss + (PortableMath.exp(-1) * f(1) + f(-0.25)) / 2) < 1e-15)
  }

  @Test func mixtureIsTheWeightedSum() throws {
    let streams = PreferenceBatches.batch()
    var c = DPO.Configuration(.sigmoid, .bcoPair, .sft)
    c.lossWeights = [0.8, 0.2, 1]
    let mixed = try DPO(c).evaluate(streams)
    var loss = 0.0
    var gradient = [Double](repeating: 0, count: streams.tokenCount)
    for (type, weight) in c.mixture {
      let part = try DPO(.init(type)).evaluate(streams)
      loss += weight * part.loss
      for t in gradient.indices { gradient[t] += weight * Double(part.gradients.logprob[t]) }
    }
    #expect(abs(mixed.loss - loss) < 1e-14)
    expectClose(mixed.gradients.logprob.map(Double.init), gradient, absolute: 1e-7)
  }

  /// Of a single pair there is nothing to sort.
  @Test func sortingOnePair() throws {
    let streams = PreferenceBatches.piece(PreferenceBatches.batch(), rows: 2..<4)
    let plain = try DPO().evaluate(streams)
    for type in [DPO.LossType.aot, .aotUnpaired] {
      let sorted = try DPO(.init(type)).evaluate(streams)
      #expect(abs(sorted.loss - plain.loss) < 1e-15)
      expectClose(sorted.gradients.logprob, plain.gradients.logprob, absolute: 0, relative: 1e-6)
    }
  }

  // MARK: Gradients

  /// The partial derivatives of every pair loss under every divergence, in Double.
  @Test func pairTermsAreSlopes() throws {
    func completion(_ dpo: DPO, _ x: Double, length: Int) -> DPO.Completion {
      let (score, slope) = dpo.score(x + 7)
      return DPO.Completion(
        tokens: Array(0..<length), weights: [Double](repeating: 1, count: length), policy: x, reference: -7,
        score: score, scoreSlope: slope)
    }
    for type in DPO.LossType.allCases where !type.sorts && type != .sft {
      for divergence in DPO.Divergence.allCases where type.takesDivergence || divergence == .reverseKL {
        for alpha in divergence == .alpha ? [-0.5, 0.5, 1, 2] : [0.5] {
          var c = Self.configuration(type)
          c.divergence = divergence
          c.alpha = alpha
          let dpo = DPO(c)
          func term(_ chosen: Double, _ rejected: Double) -> DPO.PairTerm {
            dpo.term(
              type,
              .init(
                chosen: completion(dpo, chosen, length: 3), rejected: completion(dpo, rejected, length: 5), weight: 1)
            )
          }
          for chosen in [-9.1, -7.4, -7, -6.2, -4.3] {
            for rejected in [-8.7, -7.2, -6.5, -5.1] {
              let h = 0x1p-20
              let exact = term(chosen, rejected)
              let byChosen = (term(chosen + h, rejected).loss - term(chosen - h, rejected).loss) / (2 * h)
              let byRejected = (term(chosen, rejected + h).loss - term(chosen, rejected - h).loss) / (2 * h)
              expectClose(
                [exact.byChosen, exact.byRejected], [byChosen, byRejected], absolute: 1e-7, relative: 1e-7,
                "\(type), \(divergence) \(alpha), at \(chosen), \(rejected)")
            }
          }
        }
      }
    }
  }

  /// From the streams to the loss, through lengths, tails, weights and mixtures.
  @Test func gradientsAreSlopes() throws {
    let streams = PreferenceBatches.batch()
    for (name, c) in Self.configurations {
      let dpo = DPO(c)
      let gradient = try dpo.evaluate(streams).gradients.logprob.map(Double.init)
      let slopes = try (0..<streams.tokenCount).map { t in
        try PreferenceBatches.slope(streams, token: t) { try dpo.evaluate($0).loss }
      }
      expectClose(gradient, slopes, absolute: 2e-7, relative: 1e-6, name)
    }
  }

  /// Nothing at a masked position reaches any output, not even infinities and NaN.
  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func maskedPositionsAreNeverRead(rubbish: Float) throws {
    let clean = PreferenceBatches.batch()
    let dirty = PreferenceBatches.soiled(clean, with: rubbish)
    for (name, c) in Self.configurations {
      let (a, b) = (try DPO(c).evaluate(clean), try DPO(c).evaluate(dirty))
      #expect(a.loss == b.loss, "\(name)")
      #expect(a.loss.isFinite, "\(name)")
      #expect(a.gradients.logprob == b.gradients.logprob, "\(name)")
      #expect(a.metrics == b.metrics, "\(name)")
      #expect(a.metrics.count == 10)
      for t in clean.mask.indices where !clean.mask[t] { #expect(b.gradients.logprob[t] == 0, "\(name)") }
    }
  }

  /// Log-ratios far beyond what a trained model shows: the loss stays a number, and so does its gradient.
  @Test func saturatedPairs() throws {
    for type in DPO.LossType.allCases {
      for (x, r) in [(-2000, -1), (-1, -2000)] as [(Float, Float)] {
        let streams = TokenStreams(
          rowOffsets: [0, 1, 2], mask: [true, true], policyLogprobs: [x, r], referenceLogprobs: [r, x])
        let result = try DPO(Self.configuration(type)).evaluate(streams)
        #expect(result.loss.isFinite, "\(type)")
        #expect(result.gradients.logprob.allSatisfy { $0.isFinite }, "\(type)")
      }
    }
  }

  /// A batch in two pieces has the gradients of the whole, bit for bit.
  @Test func piecesHaveTheBitsOfTheWhole() throws {
    let whole = PreferenceBatches.batch()
    for (name, c) in Self.configurations where !c.lossTypes.contains(where: \.sorts) {
      let all = try DPO(c).evaluate(whole)
      let parts = try [0..<2, 2..<6].map {
        try DPO(c).evaluate(PreferenceBatches.piece(whole, rows: $0), StepTotals(of: whole))
      }
      #expect(parts.flatMap(\.gradients.logprob) == all.gradients.logprob, "\(name)")
      #expect(abs(parts[0].loss + parts[1].loss - all.loss) < 1e-12, "\(name)")
    }
  }

  /// NaN in a live stream must be seen, not clipped away.
  @Test func nanPropagates() throws {
    for (name, c) in Self.configurations {
      var streams = PreferenceBatches.batch()
      streams.policyLogprobs[1] = .nan
      #expect(try DPO(c).evaluate(streams).loss.isNaN, "\(name)")
    }
  }

  @Test func emptyCompletions() throws {
    var streams = PreferenceBatches.batch()
    streams.mask = streams.mask.map { _ in false }
    for (name, c) in Self.configurations {
      let result = try DPO(c).evaluate(streams)
      #expect(result.loss.isFinite, "\(name)")
      #expect(result.gradients.logprob.allSatisfy { $0 == 0 }, "\(name)")
    }
    let none = TokenStreams(rowOffsets: [0], mask: [], policyLogprobs: [], referenceLogprobs: [])
    #expect(try DPO().evaluate(none).loss == 0)
  }

  // MARK: Refusals

  @Test func refusals() throws {
    func refused(_ fragments: String..., given: [(String, JSON)]) {
      for fragment in fragments { expectRefused(DPO.self, given, fragment) }
    }
    for type in DPO.LossType.allCases where !type.takesDivergence {
      refused(
        "f_divergence_type 'js_divergence'", "loss_type '\(type.rawValue)'", "reverse_kl", "sigmoid_norm",
        given: [("loss_type", .string(type.rawValue)), ("f_divergence_type", "js_divergence")])
    }
    refused("'exo_pair'", "label_smoothing above 0", given: [("loss_type", "exo_pair")])
    refused(
      "'robust'", "below 0.5", "it is 0.5", given: [("loss_type", "robust"), ("label_smoothing", 0.5)])
    for type in ["aot", "aot_unpaired", "sft"] {
      refused(
        "use_weighting", "'\(type)'",
        given: [("loss_type", ["sigmoid", .string(type)]), ("use_weighting", true)])
    }
    refused(
      "loss_weights has 1 values for 2 entries of loss_type",
      given: [("loss_type", ["sigmoid", "sft"]), ("loss_weights", [1])])
    refused("loss_weights is", "nan", given: [("loss_weights", ["nan"])])
    refused("ld_alpha is 1.5", "0 ≤ x ≤ 1", given: [("ld_alpha", 1.5)])
    refused("loss_type is []", given: [("loss_type", [])])
    refused("beta is 0", "> 0", given: [("beta", 0)])
    refused("discopop_tau is -1", given: [("discopop_tau", -1)])
    refused("f_alpha_divergence_coef is", "inf", given: [("f_alpha_divergence_coef", "inf")])
    refused("label_smoothing is 1", given: [("label_smoothing", 1)])
    refused("label_smoothing 0.1", "'sigmoid'", "robust", given: [("label_smoothing", 0.1)])
    // The reference passes it over, and so do its cases.
    _ = try DPO.make(JSON.Object([("label_smoothing", 0.1)]), isLenient: true)
    expectAttuneError(containing: "loss_type is 'exo'", "did you mean") {
      _ = try DPO.LossType.named("exo", key: "loss_type")
    }
    expectAttuneError(containing: "reference logprobs", "DPO") {
      var streams = Self.byHand
      streams.referenceLogprobs = nil
      _ = try DPO().evaluate(streams)
    }
    expectAttuneError(containing: "log Σp²", "use_weighting") {
      var c = DPO.Configuration()
      c.usesWeighting = true
      _ = try DPO(c).evaluate(Self.byHand)
    }
    expectAttuneError(containing: "3 rows", "chosen and rejected") {
      _ = try DPO().evaluate(PreferenceBatches.piece(PreferenceBatches.batch(), rows: 0..<3))
    }
    expectAttuneError(containing: "'aot'", "2 of its 3 pairs") {
      _ = try DPO(.init(.aot)).evaluate(Self.byHand, StepTotals(rows: 6, tokens: 9))
    }
  }
}
