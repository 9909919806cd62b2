import Core
import Rewards
import Synchronization
import Text

/// What rewards may call on in a run: the policy's tokenizer, the log, and the step's metrics.
final class RunServices: RewardServices {
  private struct Collected {
    var metrics: [String: [String: (sum: Double, count: Int)]] = [:]
    /// By reward: texts in order of appearance, with how often each came.
    var texts: [String: [(level: Int, text: String, count: Int)]] = [:]
  }

  /// Different texts of one reward that a step keeps.
  private static let mostTexts = 20
  private let tokenizer: Tokenizer
  private let collected = Mutex(Collected())

  init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

  func log(reward: String, level: Int, text: String) {
    collected.withLock { collected in
      var texts = collected.texts[reward] ?? []
      if let i = texts.firstIndex(where: { $0.level == level && $0.text == text }) {
        texts[i].count += 1
      } else if texts.count < Self.mostTexts {
        texts.append((level, text, 1))
      }
      collected.texts[reward] = texts
    }
  }

  func metric(reward: String, name: String, value: Double) {
    guard value.isFinite else { return }
    collected.withLock {
      let old = $0.metrics[reward]?[name] ?? (0, 0)
      $0.metrics[reward, default: [:]][name] = (old.sum + value, old.count + 1)
    }
  }

  func decode(_ ids: [Int32]) -> String? { tokenizer.decode(ids, skipSpecialTokens: false) }
  func encode(_ text: String) -> [Int32]? { tokenizer.encode(text) }

  /// What came since the last call: each metric's mean, as `plugin/REWARD/NAME`, and lines of the log.
  func drain() -> (metrics: [(name: String, value: Double)], texts: [(level: Int, text: String)]) {
    let all = collected.withLock { collected in
      defer { collected = Collected() }
      return collected
    }
    let metrics = all.metrics.sorted { $0.key < $1.key }.flatMap { reward, named in
      named.sorted { $0.key < $1.key }.map { ("plugin/\(reward)/\($0.key)", $0.value.sum / Double($0.value.count)) }
    }
    let texts = all.texts.sorted { $0.key < $1.key }.flatMap { reward, texts in
      texts.map { ($0.level, "\(reward): \($0.text)" + ($0.count > 1 ? " (\($0.count) times)" : "")) }
    }
    return (metrics, texts)
  }
}
