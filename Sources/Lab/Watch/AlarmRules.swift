import Foundation

/// What one rule finds: an alarm is raised at level 1 and cleared below `AlarmRules.cleared`.
struct AlarmReading {
  var kind: RewardAlarm.Kind
  var subject: String
  /// How much of what it takes; NaN says nothing.
  var level: Double
  var numbers: [RewardAlarm.Number]
  var text: String
  var meaning: String
}

/// The rules behind alarms: pure functions of the metrics so far.
struct AlarmRules {
  /// Columns of the reward table, with their weights.
  var rewards: [(name: String, weight: Double)]
  var settings: Recipe.Watch
  /// Parameters of the stage's objective: what a person can turn.
  var parameters: Set<String> = []

  /// An alarm ends when its level falls below this, so that it does not flicker.
  static let cleared = 0.75

  /// All readings after a step.
  ///
  /// - Parameter samples: completions in the step.
  func readings(_ history: MetricHistory, samples: Int) -> [AlarmReading] {
    let weighted = rewards.filter { $0.weight != 0 }
    var readings = flatness(history) + [length(history), entropy(history), kl(history)]
    for reward in rewards {
      readings += [
        jump(reward.name, history, samples: samples), failing(reward.name, history), slow(reward.name, history),
      ]
      if reward.weight != 0 {
        readings.append(collapse(reward.name, history))
        if weighted.count > 1 { readings.append(dominance(reward.name, history)) }
      } else {
        readings.append(opposition(reward.name, history))
      }
    }
    return readings.compactMap { $0 }
  }

  // MARK: One reward

  /// How far the last mean lies from the window before it, in robust deviations; NaN before half a window is there.
  ///
  /// The scale is at least the mean's own standard error, of this step or of the widest before it, so that neither a quiet
  /// past nor a step in which all completions agree makes noise of sampling a jump.
  static func drift(of reward: String, _ history: MetricHistory, samples: Int) -> Double {
    let track = history["rewards/\(reward)/mean"]
    let before = track.before
    guard track.last.isFinite, before.count >= max(5, history.window / 2) else { return .nan }
    let center = Statistics.median(before)
    let spreads = history["rewards/\(reward)/std"]
    let spread = (spreads.before + [spreads.last]).filter(\.isFinite).max() ?? 0
    let error = samples > 0 ? spread / Double(samples).squareRoot() : 0
    return (track.last - center) / max(Statistics.robustDeviation(before), error, 1e-9 * max(1, abs(center)))
  }

  private func jump(_ name: String, _ history: MetricHistory, samples: Int) -> AlarmReading? {
    let drift = Self.drift(of: name, history, samples: samples)
    guard drift.isFinite else { return nil }
    let track = history["rewards/\(name)/mean"]
    let center = Statistics.median(track.before)
    return AlarmReading(
      kind: .jump, subject: name, level: abs(drift) / settings.jump,
      numbers: [
        .init(name: "mean", value: track.last), .init(name: "before", value: center),
        .init(name: "drift", value: drift),
      ],
      text:
        "the mean of \(name) jumped from \(shown(center)) to \(shown(track.last)), \(shown(abs(drift))) deviations from the \(history.window) steps before.",
      meaning: drift > 0
        ? "The policy may have found a way around the reward, or the reward or its data changed."
        : "The policy may have lost something it could do, or the reward or its data changed.")
  }

  private func collapse(_ name: String, _ history: MetricHistory) -> AlarmReading? {
    let track = history["rewards/\(name)/std"]
    guard history.steps >= 2 * history.recentCount, track.recent.count == history.recentCount,
      track.highestMedian > 0
    else { return nil }
    let now = Statistics.median(track.recent)
    let isDone = height(mean: "rewards/\(name)/mean", "rewards/\(name)", history) >= 0.98
    return AlarmReading(
      kind: .collapse, subject: name,
      level: isDone ? 0 : now > 0 ? settings.spread * track.highestMedian / now : 100,
      numbers: [.init(name: "std", value: now), .init(name: "highest", value: track.highestMedian)],
      text: "the spread of \(name) fell from \(shown(track.highestMedian)) to \(shown(now)).",
      meaning:
        "It hardly tells completions apart any more, so little is learnt from it; its mean is not at its maximum.")
  }

  private func dominance(_ name: String, _ history: MetricHistory) -> AlarmReading? {
    let share = history.level("rewards/\(name)/advantage_share")
    // What others would say is heard only if they say different things within groups.
    let others = rewards.filter { $0.weight != 0 && $0.name != name }
    guard share.isFinite else { return nil }
    let other = others.first { history.level("rewards/\($0.name)/zero_spread") < 0.5 }
    let percent = Int((share * 100).rounded())
    return AlarmReading(
      kind: .dominance, subject: name, level: other == nil ? 0 : share / settings.dominance,
      numbers: [.init(name: "advantage_share", value: share)],
      text: "\(name) explains \(percent) % of what completions are told apart by.",
      meaning:
        "\(other?.name ?? "") is hardly heard; weigh them anew, or normalize each first (multi_objective: normalize_then_sum)."
    )
  }

  private func failing(_ name: String, _ history: MetricHistory) -> AlarmReading? {
    let track = history["rewards/\(name)/failed"]
    let recent = track.recent
    guard !recent.isEmpty else { return nil }
    // A few steps make sure of a level, unless half of the samples fail at once.
    let share = recent.count == history.recentCount ? Statistics.mean(recent) : track.last >= 0.5 ? track.last : 0
    return AlarmReading(
      kind: .failing, subject: name, level: share / max(settings.failed, 1e-9),
      numbers: [.init(name: "failed", value: share)],
      text: "\(name) failed on \(Int((share * 100).rounded())) % of the samples.",
      meaning: "Its log lines say why; samples without a score are learnt from less, or not at all.")
  }

  private func slow(_ name: String, _ history: MetricHistory) -> AlarmReading? {
    let track = history["rewards/\(name)/seconds"]
    guard track.opening.count == history.recentCount, history.steps >= 2 * history.recentCount else { return nil }
    let (first, now) = (Statistics.median(track.opening), Statistics.median(track.recent))
    // Below a millisecond nobody waits.
    return AlarmReading(
      kind: .slow, subject: name, level: min(now / max(first * settings.slow, 1e-12), now / 1e-3),
      numbers: [.init(name: "seconds", value: now), .init(name: "at_first", value: first)],
      text: "\(name) takes \(shown(now * 1000)) ms a sample, \(shown(first * 1000)) ms at the beginning.",
      meaning: "Completions may have grown, a service behind it may be slow, or the plugin may leak.")
  }

  /// A reward that is only looked at falls while the total rises.
  private func opposition(_ name: String, _ history: MetricHistory) -> AlarmReading? {
    let (up, down) = (rise("reward", history), rise("rewards/\(name)/mean", history))
    guard up.isFinite, down.isFinite else { return nil }
    let (before, now) = history["rewards/\(name)/mean"].halves
    return AlarmReading(
      kind: .opposition, subject: name, level: min(up, -down) / settings.opposition,
      numbers: [
        .init(name: "before", value: Statistics.mean(before)), .init(name: "now", value: Statistics.mean(now)),
        .init(name: "reward_rise", value: up), .init(name: "fall", value: -down),
      ],
      text:
        "\(name), which is not trained on, fell from \(shown(Statistics.mean(before))) to \(shown(Statistics.mean(now))) over \(history.window) steps while the reward rose.",
      meaning: "What is rewarded and what is wanted may have parted: reward hacking looks like this.")
  }

  /// By how many standard errors the last window's mean lies above that of the window before (Welch's statistic).
  private func rise(_ metric: String, _ history: MetricHistory) -> Double {
    let (before, now) = history[metric].halves
    guard before.count > 2, now.count > 2 else { return .nan }
    let (a, b) = (Statistics.deviation(before), Statistics.deviation(now))
    let error = (a * a / Double(before.count) + b * b / Double(now.count)).squareRoot()
    let change = Statistics.mean(now) - Statistics.mean(before)
    return change / max(error, 1e-9 * max(1, abs(Statistics.mean(before))))
  }

  // MARK: The total and the policy

  /// No group tells its completions apart: at the maximum there is nothing left to learn, below it nothing is learnt.
  private func flatness(_ history: MetricHistory) -> [AlarmReading] {
    // Dynamic sampling trains on groups with spread alone: what it left out decides, and what it saw in all.
    let isDynamic = history.level("dynamic_sampling/flat_share").isFinite
    let flat = history.level(isDynamic ? "dynamic_sampling/flat_share" : "frac_reward_zero_std")
    guard flat.isFinite else { return [] }
    let total = isDynamic ? "dynamic_sampling/reward" : "reward"
    let height = height(mean: total, "reward", history)
    let isDone = height >= 0.9
    let mean = history.level(total)
    var reading = AlarmReading(
      kind: isDone ? .saturation : .collapse, subject: "reward", level: flat / settings.flat,
      numbers: [.init(name: "flat_groups", value: flat), .init(name: "reward", value: mean)],
      text:
        "in \(Int((flat * 100).rounded())) % of the groups all completions have the same reward\(isDone ? ", close to the highest there is" : ""); its mean is \(shown(mean)).",
      meaning: isDone
        ? "Nothing is left to learn here: take harder data, or end the stage."
        : "Nothing is learnt from such groups: raise temperature or generations, take easier data, or look at the reward."
    )
    let found = reading
    // The other of the two is over.
    reading.kind = isDone ? .collapse : .saturation
    reading.level = 0
    return [found, reading]
  }

  /// Where the mean of the last steps lies between the lowest and the highest value ever seen, 0 to 1; 0 if unknown.
  private func height(mean: String, _ column: String, _ history: MetricHistory) -> Double {
    let separator = column == "reward" ? "_" : "/"
    let (high, low) = (history[column + separator + "max"].highest, history[column + separator + "min"].lowest)
    let mean = history.level(mean)
    guard mean.isFinite, high.isFinite, low.isFinite, high > low else { return 0 }
    return (mean - low) / (high - low)
  }

  private func length(_ history: MetricHistory) -> AlarmReading? {
    let (now, first) = (history.level("reward_length_correlation"), history.opening("reward_length_correlation"))
    let (length, firstLength) = (history.level("completions/mean_length"), history.opening("completions/mean_length"))
    guard now.isFinite, first.isFinite, length.isFinite, firstLength > 0 else { return nil }
    // Lengths must have followed: a right answer is often a little longer or shorter than a wrong one.
    let growth = (length / firstLength - 1) * (now > 0 ? 1 : -1)
    return AlarmReading(
      kind: .length, subject: "reward",
      level: min(abs(now) / settings.length, (abs(now) - abs(first)) / (settings.length / 2), growth / 0.2),
      numbers: [
        .init(name: "length_correlation", value: now), .init(name: "at_first", value: first),
        .init(name: "length", value: length), .init(name: "length_at_first", value: firstLength),
      ],
      text:
        "the reward follows the completions' length: correlation \(shown(now)) within groups, \(shown(first)) at the beginning, and completions went from \(shown(firstLength)) to \(shown(length)) tokens.",
      meaning: "\(now > 0 ? "Longer" : "Shorter") answers may have become an end in themselves.")
  }

  private func entropy(_ history: MetricHistory) -> AlarmReading? {
    let (now, first) = (history.level("entropy"), history.opening("entropy"))
    guard now.isFinite, first.isFinite, first > 0 else { return nil }
    // A policy that earns most of what there is need not try anything new.
    let isDone = height(mean: "reward", "reward", history) >= 0.5
    return AlarmReading(
      kind: .entropy, subject: "entropy", level: isDone ? 0 : now > 0 ? settings.entropy * first / now : 100,
      numbers: [.init(name: "entropy", value: now), .init(name: "at_first", value: first)],
      text:
        "the policy's entropy fell from \(shown(first)) to \(shown(now)) nats a token, with a mean reward of \(shown(history.level("reward"))).",
      meaning: "It hardly tries anything new: lower the learning rate"
        + remedies(("entropy_coef", "an entropy bonus"), ("beta", "a KL term"), ("kl_coef", "a KL term")) + "."
    )
  }

  /// A policy that writes what its reference would not: where the KL stands.
  private func kl(_ history: MetricHistory) -> AlarmReading? {
    let track = history["kl"]
    // It may be measured seldom; twice running makes sure that no single token did it.
    let lastTwo = track.known.suffix(2)
    guard lastTwo.count == 2, let now = lastTwo.min(), let first = track.opening.first else { return nil }
    return AlarmReading(
      kind: .kl, subject: "kl", level: now / settings.kl,
      numbers: [.init(name: "kl", value: now), .init(name: "at_first", value: first)],
      text:
        "the policy has moved \(shown(now)) nats a token away from its reference, \(shown(first)) when it was first measured.",
      meaning:
        "It writes what the reference would hardly write; read its completions before the reward is trusted, and lower the learning rate or iterations"
        + remedies(("beta", "a KL term"), ("kl_coef", "the KL term")) + ".")
  }

  /// What of the objective's parameters helps: `, or raise an entropy bonus (entropy_coef)`.
  private func remedies(_ known: (parameter: String, what: String)...) -> String {
    let own = known.filter { parameters.contains($0.parameter) }.map { "\($0.what) (\($0.parameter))" }
    return own.isEmpty ? "" : ", or add or raise " + own.joined(separator: " or ")
  }

  // MARK: Evaluations

  /// A value on held-out data, and the mean reward at that time.
  struct Evaluated {
    var value: Double
    /// Samples behind it.
    var count: Int
    var reward: Double
  }

  /// A held-out value that fell from its best while the reward rose.
  func opposition(metric: String, _ past: [Evaluated]) -> AlarmReading? {
    guard let now = past.last, let best = past.dropLast().max(by: { $0.value < $1.value }), now.reward > best.reward
    else { return nil }
    // The standard error of a share; what is none is taken to be known to a twentieth.
    let isShare = (0...1).contains(best.value) && best.count > 0
    let n = Double(max(1, best.count))
    let error =
      isShare ? (max(best.value * (1 - best.value), 0.25 / n) / n).squareRoot() : 0.05 * max(abs(best.value), 1e-9)
    return AlarmReading(
      kind: .opposition, subject: metric, level: (best.value - now.value) / (settings.opposition * error),
      numbers: [
        .init(name: "best", value: best.value), .init(name: "now", value: now.value),
        .init(name: "reward_then", value: best.reward), .init(name: "reward", value: now.reward),
      ],
      text:
        "\(metric) fell from \(shown(best.value)) to \(shown(now.value)) while the reward rose from \(shown(best.reward)) to \(shown(now.reward)).",
      meaning: "What is rewarded and what is wanted may have parted: reward hacking and overfitting look like this.")
  }

  /// Three digits that matter.
  private func shown(_ x: Double) -> String { String(format: "%.3g", x) }
}
