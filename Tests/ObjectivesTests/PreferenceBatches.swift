import Core
import Testing

@testable import Objectives

/// Batches and slopes for the tests of preference objectives.
enum PreferenceBatches {
  /// Six ragged rows with every stream, drawn from a counter-based generator; the first tokens of a row and a few others
  /// are masked. Policy logprobs are multiples of 2⁻¹², so that steps of a power of two are exact in float32.
  static func batch(seed: UInt64 = 11, spread: Double = 0.6) -> TokenStreams {
    let lengths = [6, 4, 5, 8, 3, 4]
    let count = lengths.reduce(0, +)
    var state = seed
    func uniform() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(state >> 11) * 0x1p-53
    }
    let policy = (0..<count).map { _ in Float(((-3 * uniform() - 0.05) * 4096).rounded() / 4096) }
    let offsets = TokenStreams.offsets(ofLengths: lengths)
    return TokenStreams(
      rowOffsets: offsets, mask: (0..<count).map { $0 % 7 != 5 && !offsets.contains($0) }, policyLogprobs: policy,
      entropies: (0..<count).map { _ in Float(0.1 + 2 * uniform()) },
      meanLogits: (0..<count).map { _ in Float(2 * uniform() - 1) },
      logSumSquaredProbs: (0..<count).map { _ in Float(((-2 * uniform() - 0.05) * 4096).rounded() / 4096) },
      isTop1: (0..<count).map { _ in uniform() < 0.5 },
      referenceLogprobs: policy.map { $0 + Float(spread * (2 * uniform() - 1)) })
  }

  /// The batch with this at every masked position of every stream.
  static func soiled(_ clean: TokenStreams, with rubbish: Float) -> TokenStreams {
    var dirty = clean
    for t in clean.mask.indices where !clean.mask[t] {
      dirty.policyLogprobs[t] = rubbish
      dirty.referenceLogprobs?[t] = rubbish
      dirty.entropies?[t] = rubbish
      dirty.meanLogits?[t] = rubbish
      dirty.logSumSquaredProbs?[t] = rubbish
      dirty.isTop1?[t].toggle()
    }
    return dirty
  }

  /// Rows `rows` of a batch.
  static func piece(_ whole: TokenStreams, rows: Range<Int>) -> TokenStreams {
    let tokens = whole.rowOffsets[rows.lowerBound]..<whole.rowOffsets[rows.upperBound]
    return TokenStreams(
      rowOffsets: whole.rowOffsets[rows.lowerBound...rows.upperBound].map { $0 - tokens.lowerBound },
      mask: Array(whole.mask[tokens]), policyLogprobs: Array(whole.policyLogprobs[tokens]),
      logSumSquaredProbs: whole.logSumSquaredProbs.map { Array($0[tokens]) },
      referenceLogprobs: whole.referenceLogprobs.map { Array($0[tokens]) })
  }

  /// d loss / d logprob of token `t`, from central differences of two widths whose leading errors cancel. Log Σp² moves
  /// along, so that a weight made of their difference stays the constant that it is to the gradient.
  static func slope(_ streams: TokenStreams, token t: Int, _ loss: (TokenStreams) throws -> Double) rethrows -> Double {
    func difference(_ h: Float) throws -> Double {
      func moved(_ step: Float) throws -> Double {
        var moved = streams
        moved.policyLogprobs[t] += step
        moved.logSumSquaredProbs?[t] += step
        return try loss(moved)
      }
      return (try moved(h) - moved(-h)) / (2 * Double(h))
    }
    return (4 * (try difference(0x1p-12)) - (try difference(0x1p-11))) / 3
  }
}

extension PairObjective {
  /// A step of one micro-batch.
  func evaluate(_ streams: TokenStreams) throws -> ObjectiveResult { try evaluate(streams, StepTotals(of: streams)) }
}

/// The settings are refused with these words.
func expectRefused(
  _ objective: any Objective.Type, _ given: [(String, JSON)], _ fragments: String...,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  do {
    _ = try objective.make(JSON.Object(given))
    Issue.record("nothing was refused for \(fragments)", sourceLocation: sourceLocation)
  } catch {
    for fragment in fragments where !"\(error)".contains(fragment) {
      Issue.record("'\(error)' does not contain '\(fragment)'", sourceLocation: sourceLocation)
    }
  }
}
