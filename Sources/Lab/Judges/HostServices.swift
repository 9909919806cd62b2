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
