import Core
import Foundation
import Rewards

extension Rescoring {
  /// The whole in numbers.
  public struct Summary: Sendable {
    public var samples: Int
    /// Samples whose score or status is another.
    public var changed: Int
    /// Means of the reward's own score, NaN without any.
    public var meanBefore: Double
    public var meanAfter: Double
    /// Between the scores before and after; NaN where one side does not vary.
    public var correlation: Double
    /// Samples whose advantage changed its sign.
    public var turned: Int
    /// Samples whose advantage became 0, or was 0.
    public var woke: Int
    /// Samples without a score because something went wrong.
    public var failed: Int
  }

  public var summary: Summary {
    let (before, after) = (rows.map { $0.before.score ?? .nan }, rows.map { $0.after.score ?? .nan })
    return Summary(
      samples: rows.count, changed: rows.count(where: \.changed), meanBefore: Statistics.mean(before),
      meanAfter: Statistics.mean(after), correlation: Statistics.correlation(before, after),
      turned: rows.count(where: \.turned), woke: rows.count(where: \.woke),
      failed: rows.count(where: \.after.status.isFailure))
  }

  /// For people: the summary, and a page of the samples whose advantage changed its sign.
  ///
  /// - Parameters:
  ///   - limit: rows of the page.
  ///   - page: from 1.
  public func text(limit: Int, page: Int = 1) -> String {
    let summary = summary
    let (before, after) = (Self.number(summary.meanBefore), Self.number(summary.meanAfter))
    var text =
      "\(summary.samples) samples of run \(run), \(replaces ? "with \(name) from" : "with \(name) added from") \(source)\n"
    text += "  scores that changed      \(summary.changed)\(summary.failed > 0 ? ", \(summary.failed) failed" : "")\n"
    text += "  mean score               \(before) before, \(after) after\n"
    if summary.correlation.isFinite {
      text += "  correlation              \(Self.number(summary.correlation)) between the scores before and after\n"
    }
    text +=
      "  advantages               \(summary.turned) change their sign, \(summary.woke) become 0 or cease to be 0\n"
    let turned = rows.filter(\.turned)
    let shown = turned.dropFirst((max(1, page) - 1) * limit).prefix(limit)
    guard !shown.isEmpty else {
      return turned.isEmpty ? text : text + "page \(page) is empty: \(turned.count) samples change their sign\n"
    }
    text +=
      "\n"
      + TerminalTable.render(
        headers: ["stage", "step", "prompt", "index", "score", "→", "advantage", "→", "completion", "log"],
        rows: shown.map { row in
          [
            row.stageName, "\(row.place.step)", "\(row.place.prompt)", "\(row.place.index)", Self.worth(row.before),
            Self.worth(row.after), Self.number(row.before.advantage), Self.number(row.after.advantage),
            Self.excerpt(row.completion, 40), Self.excerpt(row.after.log, 60),
          ]
        })
    if turned.count > shown.count {
      text += "\(shown.count) of \(turned.count); more with --page, --limit or --json\n"
    }
    return text
  }

  public var json: JSON {
    func worth(_ worth: Worth) -> JSON {
      [
        "score": worth.score.map(JSON.double) ?? .null, "status": .string(worth.status.rawValue),
        "log": .string(worth.log), "reward": worth.total.map(JSON.double) ?? .null,
        "advantage": .double(worth.advantage),
      ]
    }
    let summary = summary
    return [
      "run": .string(run),
      "reward": [
        "name": .string(name), "source": .string(source), "weight": .double(weight), "replaces": .bool(replaces),
      ],
      "samples": .int(summary.samples), "changed": .int(summary.changed), "failed": .int(summary.failed),
      "mean_before": .finite(summary.meanBefore), "mean_after": .finite(summary.meanAfter),
      "correlation": .finite(summary.correlation), "sign_changes": .int(summary.turned),
      "from_or_to_zero": .int(summary.woke),
      "rows": .array(
        rows.map { row in
          [
            "stage": .int(row.place.stage), "stage_name": .string(row.stageName), "step": .int(row.place.step),
            "prompt_id": .int(row.place.prompt), "index": .int(row.place.index),
            "completion": .string(row.completion), "changed": .bool(row.changed), "sign_changed": .bool(row.turned),
            "before": worth(row.before), "after": worth(row.after),
          ]
        }),
    ]
  }

  private static func number(_ x: Double) -> String { x.isFinite ? String(format: "%.4g", x) : "–" }
  private static func worth(_ worth: Worth) -> String {
    worth.score.map(number) ?? (worth.status == .notApplicable ? "–" : worth.status.rawValue)
  }
  private static func excerpt(_ text: String, _ limit: Int) -> String {
    text.count > limit ? String(text.prefix(limit - 1)) + "…" : text
  }
}
