import Core
import Foundation
import Rewards

/// What rewards say about a few groups that were sampled before a stage begins: whether there is anything to learn.
public struct RewardSurvey: Sendable, Equatable {
  public enum Verdict: String, Sendable {
    case learnable
    /// No reward with a weight says anything about any completion.
    case nothingApplies = "nothing_applies"
    /// In no group do two completions differ in reward.
    case noSpread = "no_spread"
  }

  /// A completion at one end of the scale.
  public struct Example: Sendable, Equatable {
    public var prompt: String
    public var completion: String
    public var reward: Double
    /// Each reward's name, score (nil: none), status and log line.
    public var outcomes: [Outcome]

    public struct Outcome: Sendable, Equatable {
      public var name: String
      public var score: Double?
      public var status: String
      public var log: String
    }
  }

  public var stage: Int
  public var stageName: String
  public var groups: Int
  public var generations: Int
  public var verdict: Verdict
  public var rewards: [RewardSummary]
  public var total: RewardSummary
  public var worst: Example?
  public var best: Example?
  /// What was most often said where no reward applied.
  public var commonestLog: String

  var samples: Int { groups * generations }
}

extension RewardSurvey {
  /// For people: a table, how rewards go together, and the two ends of the scale.
  public var text: String { Self.text(json) }

  /// The same of a survey that a store kept.
  public static func text(_ json: JSON) -> String {
    let rewards = json["rewards"]?.array ?? []
    let (groups, generations) = (json["groups"]?.int ?? 0, json["generations"]?.int ?? 0)
    func number(_ row: JSON, _ key: String) -> String { Self.number(row[key]?.double ?? .nan) }
    func percent(_ row: JSON, _ key: String) -> String { Self.percent(row[key]?.double ?? .nan) }
    let rows = rewards + (rewards.count > 1 ? [json["total"] ?? .null] : [])
    var text =
      "before stage \(json["stage"]?.string ?? ""): \(groups * generations) completions of \(groups) prompts\n"
      + TerminalTable.render(
        headers: ["reward", "weight", "mean", "std", "applicable", "failed", "flat groups", "with length"],
        rows: rows.enumerated().map { i, row in
          [
            row["name"]?.string ?? "", i < rewards.count ? number(row, "weight") : "", number(row, "mean"),
            number(row, "std"), percent(row, "applicable"), percent(row, "failed"), percent(row, "zero_spread"),
            number(row, "length_correlation"),
          ]
        })
    for row in rewards {
      for (other, pair) in row["correlations"]?.object?.entries.map({ ($0, $1) }) ?? []
      where pair["correlation"]?.double != nil {
        text +=
          "\(row["name"]?.string ?? "") with \(other): correlation \(number(pair, "correlation")), of ranks \(number(pair, "rank_correlation"))\n"
      }
    }
    for end in ["best", "worst"] {
      guard let example = json[end], let completion = example["completion"]?.string else { continue }
      text += "\(end) (\(number(example, "reward"))): \(excerpt(completion))\n"
    }
    return text
  }

  /// Why the stage cannot begin; nil if it can.
  ///
  /// - Parameters:
  ///   - comparesGroups: whether completions are compared with those of their prompt alone.
  ///   - run: how commands name the run.
  func refusal(temperature: Double, comparesGroups: Bool, run: String) -> AttuneError? {
    let what: String
    switch verdict {
    case .learnable: return nil
    case .nothingApplies:
      what =
        "no reward says anything about any of \(samples) completions of \(groups) prompts\(commonestLog.isEmpty ? "" : "; most often: \(commonestLog)")"
    case .noSpread:
      let place =
        comparesGroups
        ? "in none of \(groups) groups of \(generations) completions is one"
        : "of \(samples) completions of \(groups) prompts none is"
      what =
        "\(place) rewarded above another (mean reward \(Self.number(total.mean)), highest \(Self.number(total.highest)))"
    }
    return .work(
      "stage \(stageName) has nothing to learn from: \(what)",
      hint: """
        raise its temperature (\(Self.number(temperature))) or generations (\(generations)), train with sft first, take easier data, or look at \
        what the reward said: attune runs show \(run)
          to go on all the same: attune run --resume \(run), or watch.override: true in the recipe
        """)
  }

  public var json: JSON {
    func example(_ example: Example?) -> JSON {
      guard let example else { return .null }
      return [
        "prompt": .string(example.prompt), "completion": .string(example.completion),
        "reward": .double(example.reward),
        "rewards": .object(
          example.outcomes.map {
            (
              $0.name,
              [
                "score": $0.score.map { .double($0) } ?? .null, "status": .string($0.status), "log": .string($0.log),
              ]
            )
          }),
      ]
    }
    return [
      "stage": .string(stageName), "groups": .int(groups), "generations": .int(generations),
      "verdict": .string(verdict.rawValue), "rewards": .array(rewards.map(\.json)), "total": total.json,
      "best": example(best), "worst": example(worst), "commonest_log": .string(commonestLog),
    ]
  }

  private static func number(_ x: Double) -> String { x.isFinite ? String(format: "%.3g", x) : "–" }
  private static func percent(_ x: Double) -> String { x.isFinite ? "\(Int((x * 100).rounded())) %" : "–" }

  /// One line, shown as it is written in code.
  private static func excerpt(_ text: String) -> String {
    let line = JSON.string(text).text()
    return line.count > 160 ? String(line.prefix(159)) + "…" : line
  }
}

extension RewardSurvey {
  /// - Parameters:
  ///   - generations: completions of each prompt.
  ///   - outcomes: `[reward][completion]`.
  ///   - moves: whether training on these completions would have moved anything.
  ///   - texts: prompt and completion of each.
  init(
    stage: Int, name: String, _ batch: RewardBatch, generations: Int, outcomes: [[RewardOutcome]],
    rewardNames: [String],
    moves: Bool, texts: [(prompt: String, completion: String)]
  ) {
    let total = batch.totalSummary()
    func example(_ row: Int?) -> Example? {
      row.map { row in
        Example(
          prompt: texts[row].prompt, completion: texts[row].completion, reward: batch.totals[row],
          outcomes: zip(rewardNames, outcomes).map {
            .init(name: $0, score: $1[row].score, status: $1[row].status.rawValue, log: $1[row].log)
          })
      }
    }
    self.init(
      stage: stage, stageName: name, groups: batch.lengths.count / generations, generations: generations,
      verdict: moves ? .learnable : total.applicable == 0 ? .nothingApplies : .noSpread,
      rewards: batch.summaries(), total: total, worst: example(total.worst), best: example(total.best),
      commonestLog: total.applicable == 0
        ? Lab.commonestLog(of: outcomes.flatMap { $0 }.filter { $0.status != .ok && !$0.log.isEmpty }) : "")
  }
}
