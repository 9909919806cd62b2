import Core
import Rewards
import Synchronization
import Text

/// What a run offers to its rewards beside samples: the policy's tokenizer, judges, lines and numbers for the record.
public final class HostServices: RewardServices {
  /// What rewards said since it was last asked.
  public struct Record: Sendable {
    public struct Line: Sendable, Equatable {
      public var reward: String
      /// 0 (debug) to 3 (error).
      public var level: Int
      public var text: String
    }
    public var lines: [Line] = []
    /// Lines that did not fit.
    public var droppedLines = 0
    /// Means over what was given under one name, in the order of first appearance.
    public var metrics: [(name: String, value: Double)] = []

    /// The lines for a person, each once, debug lines left out, and how many more there were.
    var notes: [String] {
      var counts: [String: Int] = [:]
      var lines: [String] = []
      for line in self.lines where line.level > 0 {
        let text = "\(line.reward): \(line.text)"
        if counts[text] == nil { lines.append(text) }
        counts[text, default: 0] += 1
      }
      let shown = lines.prefix(20).map { line in
        let count = counts[line] ?? 1
        return line + (count > 1 ? " (\(count) times)" : "")
      }
      let more = lines.count - shown.count + droppedLines
      return more > 0 ? shown + ["and \(more) more lines of rewards"] : shown
    }
  }

  private struct State {
    var lines: [Record.Line] = []
    var dropped = 0
    var metrics = MetricMeans()
  }

  private let tokenizer: Tokenizer?
  private let judges: JudgeService
  private let state = Mutex(State())
  private static let mostLines = 200

  public init(tokenizer: Tokenizer?, judges: JudgeService) {
    self.tokenizer = tokenizer
    self.judges = judges
  }

  public func log(reward: String, level: Int, text: String) {
    state.withLock { state in
      if state.lines.count < Self.mostLines {
        state.lines.append(Record.Line(reward: reward, level: level, text: text))
      } else {
        state.dropped += 1
      }
    }
  }

  public func metric(reward: String, name: String, value: Double) {
    guard value.isFinite else { return }
    state.withLock { $0.metrics.add("\(reward)/\(name)", value) }
  }

  public func decode(_ ids: [Int32]) -> String? { tokenizer?.decode(ids, skipSpecialTokens: false) }
  public func encode(_ text: String) -> [Int32]? { tokenizer?.encode(text) }
  public func judge(_ request: JudgeRequest, reward: String) -> JudgeReply { judges.answer(request) }
  public func concurrency(ofJudge name: String?) -> Int { judges.concurrency(of: name) }

  /// What rewards said since the last call.
  public func takeRecord() -> Record {
    state.withLock { state in
      defer { state = State() }
      return Record(lines: state.lines, droppedLines: state.dropped, metrics: state.metrics.values)
    }
  }
}
