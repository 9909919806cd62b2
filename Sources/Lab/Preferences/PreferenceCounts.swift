import Core

/// What was made of sampled prompts, and why some gave nothing.
public struct PreferenceCounts: Sendable, Equatable {
  /// Why a completion, or with too few left a whole prompt, gave nothing.
  public enum Reason: String, Sendable, CaseIterable {
    /// It hit the length limit.
    case truncated
    /// No reward with a weight had an opinion.
    case unscored
    /// It ended at once.
    case empty
    /// Training on its text would not train on its tokens.
    case otherTokens = "other_tokens"
    /// An earlier completion of the prompt is the same text.
    case repeated
    /// All rewards of the prompt are equal.
    case equal
    /// The largest difference is smaller than was asked for.
    case belowMargin = "below_margin"

    var words: String {
      switch self {
      case .truncated: "hit the length limit"
      case .unscored: "no reward had an opinion"
      case .empty: "ended at once"
      case .otherTokens: "text of other tokens"
      case .repeated: "same text as another"
      case .equal: "all rewards equal"
      case .belowMargin: "difference below the margin"
      }
    }
  }

  public var kind: PreferenceSettings.Kind
  public var prompts: Int = 0
  public var completions: Int = 0
  /// Pairs, or labelled completions.
  public var rows: Int = 0
  /// Labelled completions that are desirable.
  public var desirable: Int = 0
  /// Completions that were left out, by what was found first.
  public var leftOut: [Reason: Int] = [:]
  /// Prompts that gave nothing, by what left too few completions.
  public var nothing: [Reason: Int] = [:]

  public init(kind: PreferenceSettings.Kind) { self.kind = kind }

  /// Prompts with at least one row.
  public var usedPrompts: Int { prompts - nothing.values.reduce(0, +) }

  public var json: JSON {
    func object(_ counts: [Reason: Int]) -> JSON {
      .object(Reason.allCases.compactMap { reason in counts[reason].map { (reason.rawValue, .int($0)) } })
    }
    var entries: [(String, JSON)] = [
      ("kind", .string(kind.rawValue)), ("rows", .int(rows)), ("prompts", .int(prompts)),
      ("prompts_used", .int(usedPrompts)), ("completions", .int(completions)),
    ]
    if kind == .labels { entries += [("desirable", .int(desirable)), ("undesirable", .int(rows - desirable))] }
    return .object(entries + [("completions_left_out", object(leftOut)), ("prompts_without_rows", object(nothing))])
  }

  /// One line: `312 pairs of 512 prompts (4096 completions)`.
  public var summary: String {
    let shares = kind == .labels ? ", \(desirable) desirable and \(rows - desirable) not," : ""
    return "\(rows) \(kind.rawValue)\(shares) of \(prompts) prompts (\(completions) completions)"
  }

  /// `all rewards equal: 4, hit the length limit: 1`: prompts that gave nothing.
  private var reasons: String {
    Reason.allCases.compactMap { reason in nothing[reason].map { "\(reason.words): \($0)" } }.joined(separator: ", ")
  }

  /// The summary, and on the same line how many prompts gave nothing and why.
  public var line: String {
    nothing.isEmpty ? summary : summary + "; none of \(prompts - usedPrompts) prompts (\(reasons))"
  }

  /// The summary and a table of what gave nothing.
  public var text: String {
    let rows = Reason.allCases.compactMap { reason -> [String]? in
      let (completions, prompts) = (leftOut[reason] ?? 0, nothing[reason] ?? 0)
      if completions == 0, prompts == 0 { return nil }
      return [reason.words, completions > 0 ? String(completions) : "", prompts > 0 ? String(prompts) : ""]
    }
    guard !rows.isEmpty else { return summary + "\n" }
    return summary + "\n"
      + TerminalTable.render(headers: ["left out", "completions", "prompts without rows"], rows: rows)
  }

  /// What to do if nothing came of it.
  var refusal: AttuneError {
    // Of the tokens that a policy chooses nobody can say how to get others.
    let causes = Reason.allCases.filter { $0 != .otherTokens }
    let most = causes.max { (nothing[$0] ?? 0, $1.rawValue) < (nothing[$1] ?? 0, $0.rawValue) }
    let hint =
      switch most {
      case .truncated: "raise max_new_tokens, or keep such completions with drop_truncated: false"
      case .unscored: "add a reward that has an opinion on such completions"
      case .belowMargin: "lower the margin"
      default: "raise the temperature or the number of completions, or begin with a policy that is sometimes right"
      }
    return .work("\(prompts) prompts gave no \(kind.rawValue) (\(reasons))", hint: hint)
  }
}
