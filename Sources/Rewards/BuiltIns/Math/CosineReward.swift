import CRewardABI
import Core
import Foundation

/// A right answer earns less the longer it is, a wrong one loses less.
///
/// With the length `n` and the limit `T`, `r = hi - (hi - lo) (1 - cos(π min(n, T) / T)) / 2`, where `hi` is the value at
/// no length and `lo` that at the limit, for right and for wrong answers. Source: Yeo et al., Demystifying Long
/// Chain-of-Thought Reasoning in LLMs (2025); the default values are those of ms-swift.
struct CosineReward: BuiltInReward {
  static let name = "cosine"
  static let summary = "right answers score more when short, wrong ones when long, on a cosine between two values"
  static let parameters: [RewardParameter] = [
    .number("max_length", default: nil, in: 1...1e9, "the length T from which on the score stays the same"),
    .string("unit", default: "tokens", "what length counts: tokens (the policy's own), characters or words"),
    .number("min_len_value_correct", default: 1, "the score of a right answer of no length"),
    .number("max_len_value_correct", default: 0.5, "the score of a right answer of the greatest length"),
    .number("min_len_value_wrong", default: -0.5, "the score of a wrong answer of no length"),
    .number("max_len_value_wrong", default: 0, "the score of a wrong answer of the greatest length"),
    .string(
      "correctness", default: "math", "math, exact_match, or column.NAME: right if that column is true, or 1 or more"),
    .answerSpan,
  ]
  static let range: ClosedRange<Double>? = nil
  static let needs = UInt32(ATTUNE_NEEDS_TOKENS)

  enum Unit: String, CaseIterable { case tokens, characters, words }

  private let limit: Double
  private let unit: Unit
  private let right: (short: Double, long: Double)
  private let wrong: (short: Double, long: Double)
  private let judge: CorrectnessJudge

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    limit = reader.number("max_length")
    unit = try reader.choice("unit", Unit.self)
    right = (reader.number("min_len_value_correct"), reader.number("max_len_value_correct"))
    wrong = (reader.number("min_len_value_wrong"), reader.number("max_len_value_wrong"))
    judge = try CorrectnessJudge(reader)
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let length: Int
    switch unit {
    case .tokens:
      guard !sample.tokenIDs.isEmpty || sample.completion.isEmpty else {
        return .none(.invalid, "the sample has no token ids, and the unit of length is tokens")
      }
      length = sample.policyMask?.count { $0 } ?? sample.tokenIDs.count
    case .characters: length = sample.completion.count
    case .words: length = sample.completion.split(whereSeparator: \.isWhitespace).count
    }
    let verdict: CorrectnessJudge.Verdict
    switch try judge.verdict(sample) {
    case .success(let value): verdict = value
    case .failure(let none): return .none(none.status, none.words)
    }
    let values = verdict.isRight ? right : wrong
    let progress = min(Double(length), limit) / limit
    let score = values.short - (values.short - values.long) * (1 - cos(.pi * progress)) / 2
    return RewardOutcome(
      score: score, status: .ok,
      components: [("correct", verdict.isRight ? 1 : 0), ("length", Double(length))],
      log: "\(verdict.isRight ? "right" : "wrong") (\(verdict.log)), \(length) \(unit.rawValue) of \(Int(limit))")
  }
}

/// Whether an answer is right, for rewards that depend on it.
struct CorrectnessJudge: Sendable {
  struct Verdict {
    var isRight: Bool
    var log: String
  }

  /// Why nothing is known.
  struct Unknown: Error {
    var status: RewardStatus
    var words: String
  }

  private enum Method {
    case math(MathVerifier)
    case exactMatch(MathVerifier)
    case column(String)
  }

  private let method: Method

  /// Reads `correctness` and `answer_span`.
  init(_ reader: ParameterReader) throws {
    let verifier = MathVerifier(answerSpan: try reader.choice("answer_span", MathVerifier.AnswerSpan.self))
    let name = reader.text("correctness")
    switch name {
    case "math": method = .math(verifier)
    case "exact_match": method = .exactMatch(verifier)
    default:
      guard name.hasPrefix("column."), name.utf8.count > 7 else {
        let near = nearestName(to: name, among: ["math", "exact_match"])
        throw reader.wrong(
          "correctness", "is '\(name)', math, exact_match or column.NAME was expected",
          hint: near.map { "did you mean '\($0)'?" })
      }
      method = .column(String(name.dropFirst(7)))
    }
  }

  func verdict(_ sample: RewardSample) throws -> Result<Verdict, Unknown> {
    switch method {
    case .math(let verifier):
      guard let verdict = try verifier.verdict(of: sample) else {
        let outcome = RewardOutcome.notMathematics(sample)
        return .failure(Unknown(status: outcome.status, words: outcome.log))
      }
      return .success(Verdict(isRight: verdict.isRight, log: verdict.log))
    case .exactMatch(let verifier):
      guard let first = sample.reference else {
        return .failure(Unknown(status: .notApplicable, words: "the sample has no reference"))
      }
      let answer = verifier.span(sample.generationPrefix + sample.completion) ?? sample.completion
      let found = Self.plain(answer)
      let match = sample.references.first { Self.plain($0) == found }
      return .success(
        Verdict(
          isRight: match != nil, log: "\(answer.quoted()) is \(match == nil ? "not " : "")\((match ?? first).quoted())")
      )
    case .column(let name):
      guard let value = sample.columns[name], !value.isNull else {
        return .failure(Unknown(status: .notApplicable, words: "the sample has no column '\(name)'"))
      }
      guard let number = value.bool.map({ $0 ? 1 : 0 }) ?? value.double else {
        return .failure(
          Unknown(
            status: .invalid, words: "the column '\(name)' is \(value.kind), a number or true or false was expected"))
      }
      return .success(Verdict(isRight: number >= 1, log: "\(name) is \(value.text())"))
    }
  }

  /// Lower case, without punctuation and articles, single spaces.
  static func plain(_ text: String) -> String {
    let kept = text.lowercased().filter { !($0.isASCII && $0.isPunctuation || $0.isASCII && $0.isSymbol) }
    return kept.split(whereSeparator: \.isWhitespace).filter { $0 != "a" && $0 != "an" && $0 != "the" }
      .joined(separator: " ")
  }
}
