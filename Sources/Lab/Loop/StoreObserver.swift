import AttuneVision
import Core
import Rewards

/// Writes what happens into the run's store.
final class StoreObserver: RunObserver {
  private let store: RunStore
  private let started: Double
  /// Seconds that earlier sittings of the run took.
  private let before: Double
  private var stageStarted: Double
  private var stageBefore = 0.0
  /// PNG files by sample, since evaluations show the same pictures again and again.
  private var encoded: [String: [UInt8]] = [:]

  init(_ store: RunStore, secondsBefore: Double) {
    self.store = store
    before = secondsBefore
    started = monotonicSeconds()
    stageStarted = started
  }

  var runSeconds: Double { before + monotonicSeconds() - started }

  func handle(_ event: RunEvent) throws {
    switch event {
    case .stageStarted(let index, let stage):
      stageStarted = monotonicSeconds()
      stageBefore = try store.show()["stages"]?[index]?["seconds"]?.double ?? 0
      try store.log(.info, "stage \(stage.name) starts")
    case .step(let record):
      try store.write(
        RunStore.Step(
          stage: record.stage, step: record.step,
          metrics: Dictionary(record.metrics.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
          prompts: try record.prompts.map(prompt), stageSeconds: stageSeconds, runSeconds: runSeconds))
    case .evaluated(let record):
      try store.write(
        RunStore.Evaluation(
          stage: record.stage, step: record.step,
          metrics: Dictionary(record.metrics.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
          samples: try record.answers.map { answer in
            RunStore.EvaluatedSample(
              sample: answer.sample, prompt: answer.prompt, completion: answer.completion.rawText,
              answer: answer.answer,
              reference: answer.reference, correct: answer.isCorrect, finishReason: answer.completion.finishReason,
              scores: answer.scores, pictures: try answer.pictures.map(png))
          }))
    case .surveyed(let survey): try store.write(survey)
    case .alarm(let alarm):
      try store.write(alarm)
      try store.log(.warning, alarm.line)
    case .checkpointBegins: try store.flush()
    case .checkpoint(let folder): try store.recordCheckpoint(folder)
    case .stageFinished(let index):
      let steps = try store.show()["stages"]?[index]?["steps"]?.int ?? 0
      try store.progress(stage: index, stepsDone: steps, stageSeconds: stageSeconds, runSeconds: runSeconds)
    case .memory: break
    case .note(let text): try store.log(.warning, text)
    case .paused:
      try store.log(.info, "paused")
      try store.mark(.paused)
    case .continued:
      try store.log(.info, "goes on")
      try store.mark(.running)
    case .rewardReloaded(let old, let new, let stage, let step):
      try store.record([RunStore.RewardVersion(new, stage: stage, step: step)])
      try store.log(.warning, Self.words(old, new, stage: stage, step: step))
    }
  }

  static func words(_ old: RewardIdentity, _ new: RewardIdentity, stage: Int, step: Int) -> String {
    "reward \(new.name) was loaded anew before step \(step) of stage \(stage): \(old.fingerprint) became \(new.fingerprint)"
  }

  private var stageSeconds: Double { stageBefore + monotonicSeconds() - stageStarted }

  private func prompt(_ record: PromptRecord) throws -> RunStore.Prompt {
    RunStore.Prompt(
      prompt: record.number, text: record.text, messages: record.messages, reference: record.reference,
      columns: record.columns, pictures: try record.pictures.map(png),
      rollouts: record.rollouts.map { rollout in
        RunStore.Rollout(
          completion: rollout.completion, reward: rollout.reward, advantage: rollout.advantage,
          scores: rollout.outcomes.map { name, outcome in
            RunStore.Score(
              name: name, score: outcome.score, status: outcome.status.rawValue,
              log: outcome.log.isEmpty ? nil : outcome.log,
              components: Dictionary(outcome.components.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }))
          }, facts: rollout.facts)
      }, facts: record.facts)
  }

  private func png(_ picture: Picture) throws -> [UInt8] { try PNGEncoder.encode(picture) }
}

extension RunStore.RewardVersion {
  init(_ identity: RewardIdentity, stage: Int, step: Int) {
    self.init(
      name: identity.name, stage: stage, step: step, kind: identity.kind.rawValue, source: identity.source,
      hash: identity.hash, abi: identity.abi, version: identity.version, reward: identity.reward,
      parameters: identity.parameters)
  }

  /// nil for a kind that this version of the program does not know.
  var identity: RewardIdentity? {
    RewardIdentity.Kind(rawValue: kind).map {
      RewardIdentity(
        name: name, kind: $0, source: source, hash: hash, abi: abi, version: version, reward: reward,
        parameters: parameters)
    }
  }
}
