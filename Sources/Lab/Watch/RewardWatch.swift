import Core
import Rewards

/// Looks at every step's rewards: adds statistics to its metrics and raises alarms.
///
/// Alarms are a function of the metrics of the stage so far, so a run that is gone on with raises the very alarms that it
/// would have raised.
final class RewardWatch {
  private struct Key: Hashable {
    var kind: RewardAlarm.Kind
    var subject: String
  }

  private let recipe: Recipe
  private let scoring: [ScoringRule]
  private var rules: AlarmRules
  /// How commands name the run.
  private let run: String
  private var history: MetricHistory
  private var evaluations: [String: [AlarmRules.Evaluated]] = [:]
  private var active: Set<Key> = []
  private var stage: (index: Int, name: String) = (0, "")

  init(_ recipe: Recipe, run: String) {
    self.recipe = recipe
    self.run = run
    scoring = recipe.rewards.map(ScoringRule.init)
    rules = AlarmRules(
      rewards: RewardMatrix.columns(of: scoring).map { ($0.name, $0.weight) }, settings: recipe.watch)
    history = MetricHistory(window: recipe.watch.window)
  }

  /// Turns to a stage; what was recorded of it before is looked at again, without raising anything anew.
  ///
  /// - Parameter stepsDone: steps of the stage that are done already.
  func begin(stage index: Int, stepsDone: Int, store: RunStore) throws {
    stage = (index, recipe.stages[index].name)
    rules.parameters = Set(recipe.stages[index].entry.objective.parameters.map(\.name))
    history = MetricHistory(window: recipe.watch.window)
    evaluations = [:]
    active = []
    guard stepsDone > 0, let settings = recipe.stages[index].rollouts else { return }
    let samples = settings.prompts * settings.generations
    let known = try store.evaluationCounts(stage: index)
    for (step, metrics) in try store.metricsByStep(stage: index) where step < stepsDone {
      _ = raise(after: step, metrics.filter { !$0.key.hasPrefix("eval/") }, samples: samples)
      let held = metrics.filter { $0.key.hasPrefix("eval/") }
      if !held.isEmpty { _ = raise(evaluation: held, count: known[step] ?? 0, step: step) }
    }
  }

  /// Adds what the step's rewards say together to its metrics, and returns the alarms that they raise.
  func observe(_ record: inout StepRecord) throws -> [RewardAlarm] {
    let stage = recipe.stages[record.stage]
    guard stage.rollouts != nil, !record.prompts.isEmpty else { return [] }
    let batch = try batch(record, stage)
    record.metrics += Self.metrics(batch).filter(\.value.isFinite)
    let samples = batch.lengths.count
    // The drift belongs to the step, and is known only with the steps before it.
    var metrics = Dictionary(record.metrics.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    var ahead = history
    ahead.append(metrics)
    for column in batch.columns {
      let drift = AlarmRules.drift(of: column.name, ahead, samples: samples)
      guard drift.isFinite else { continue }
      record.metrics.append(("rewards/\(column.name)/drift", drift))
      metrics["rewards/\(column.name)/drift"] = drift
    }
    return raise(after: record.step, metrics, samples: samples)
  }

  /// The alarms that an evaluation raises.
  func observe(_ record: EvaluationRecord) -> [RewardAlarm] {
    guard record.stage == stage.index, history.steps > 0 else { return [] }
    let metrics = Dictionary(record.metrics.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    return raise(evaluation: metrics, count: record.answers.count, step: record.step)
  }

  private func batch(_ record: StepRecord, _ stage: Recipe.Stage) throws -> RewardBatch {
    let rollouts = record.prompts.flatMap(\.rollouts)
    let outcomes = scoring.indices.map { k in rollouts.map { $0.outcomes[k].outcome } }
    let matrix = try RewardMatrix(
      scoring, outcomes: outcomes, finishReasons: rollouts.map(\.completion.finishReason))
    return RewardBatch(matrix, outcomes: outcomes, lengths: rollouts.map(\.completion.ids.count), stage)
  }

  /// What the watch adds to what `RewardStatistics` says in a step's metrics.
  static func metrics(_ batch: RewardBatch) -> [(name: String, value: Double)] {
    let total = batch.totalSummary()
    return batch.summaries().flatMap { summary in
      summary.additions.map { ("rewards/\(summary.name)/\($0.name)", $0.value) }
    } + [
      ("reward_min", total.lowest), ("reward_max", total.highest),
      ("reward_length_correlation", total.lengthCorrelation),
    ]
  }

  // MARK: Alarms

  func raise(after step: Int, _ metrics: [String: Double], samples: Int) -> [RewardAlarm] {
    history.append(metrics)
    return settle(rules.readings(history, samples: samples), step)
  }

  func raise(evaluation metrics: [String: Double], count: Int, step: Int) -> [RewardAlarm] {
    let reward = Statistics.mean(history["reward"].recent)
    return metrics.sorted { $0.key < $1.key }.flatMap { name, value -> [RewardAlarm] in
      // Of what is measured on held-out data, less is worse for shares of right answers and for rewards.
      guard value.isFinite, name == "eval/exact_match" || name.hasSuffix("/mean") else { return [] }
      evaluations[name, default: []].append(.init(value: value, count: count, reward: reward))
      return settle([rules.opposition(metric: name, evaluations[name] ?? [])].compactMap { $0 }, step)
    }
  }

  /// An alarm is raised once, until its reading has fallen.
  private func settle(_ readings: [AlarmReading], _ step: Int) -> [RewardAlarm] {
    guard recipe.watch.alarms else { return [] }
    var raised: [RewardAlarm] = []
    for reading in readings {
      let key = Key(kind: reading.kind, subject: reading.subject)
      if reading.level < AlarmRules.cleared { active.remove(key) }
      guard reading.level >= 1, active.insert(key).inserted else { continue }
      raised.append(
        RewardAlarm(
          kind: reading.kind, subject: reading.subject, stage: stage.index, stageName: stage.name, step: step,
          numbers: reading.numbers,
          text: reading.text, meaning: reading.meaning,
          look: "attune runs samples \(run) --stage \(stage.name) --step \(step) --sort reward"))
    }
    return raised
  }
}
