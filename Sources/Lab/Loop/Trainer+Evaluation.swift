import Core
import Datasets
import Rewards
import Rollout

extension Trainer {
  /// Greedy answers on the evaluation data with what rewards say about them, and what held-out pairs say.
  func evaluate(stage: Int, step: Int, label: String) throws {
    let preferences = try evaluatePreferences()
    let greedy = try evaluateGreedily(label)
    let metrics = (greedy?.metrics ?? []) + preferences
    guard !metrics.isEmpty else { return }
    let record = EvaluationRecord(
      stage: stage, step: step, label: label, metrics: metrics, answers: greedy?.answers ?? [])
    try emit(.evaluated(record))
    for alarm in watch.observe(record) { try emit(.alarm(alarm)) }
  }

  private func evaluateGreedily(
    _ label: String
  ) throws -> (metrics: [(name: String, value: Double)], answers: [AnswerRecord])? {
    guard let name = recipe.evaluation.data, let stream = streams[name] else { return nil }
    let available = stream.source.count ?? 512
    let count = recipe.evaluation.count > 0 ? min(recipe.evaluation.count, available) : available
    let parameters = SamplingParameters(
      temperature: 0, maxNewTokens: recipe.evaluation.maxNewTokens, stopIDs: Set(policy.stopIDs))
    let scored = recipe.evaluation.rewards ? rewards.entries : []
    let lanes = RewardLanes(
      scored.map(\.reward), score: { [context = rewardContext(.eval)] in try scored[$0].score($2, context) })
    var answers: [AnswerRecord] = []
    do {
      for start in stride(from: 0, to: count, by: 128) {
        let samples = try (start..<min(start + 128, count)).map { try stream.source.sample(at: $0) }
        let prompts = try samples.map { try encode($0) }
        let requests = zip(samples, prompts).map {
          RolloutRequest(prompt: $1.encoded, completions: 1, promptNumber: $0.id)
        }
        // A cancelled evaluation is not worth half an answer: the run stops before its next step.
        let groups = try clock.measure("evaluation") { try engine.generate(requests, parameters) }
        var inputs: [RewardSample] = []
        for (i, sample) in samples.enumerated() {
          let completion = groups[i][0]
          let given = answer(in: completion.text)
          let wanted = sample.reference ?? sample.completion.map { answer(in: $0) } ?? ""
          answers.append(
            AnswerRecord(
              sample: sample.id, prompt: prompts[i].text, reference: wanted, completion: completion, answer: given,
              isCorrect: given == wanted, pictures: sample.pictures))
          if !scored.isEmpty {
            // Unlike any number of a training sample.
            let id = 1 << 63 | UInt64(position.globalStep) << 32 | UInt64(start + i)
            inputs += rewardInputs.group(
              sample, prompts[i], [completion], at: .init(dataset: name, groupID: id, firstID: id))
          }
        }
        lanes.add(inputs)
      }
    } catch {
      lanes.abandon()
      throw error
    }
    let results = try lanes.finish()
    let said = services.takeRecord()
    try noteLines(said)
    let exact = answers.isEmpty ? 0 : Double(answers.filter(\.isCorrect).count) / Double(answers.count)
    var metrics = [(name: "eval/exact_match", value: exact)]
    if !scored.isEmpty {
      let matrix = try combine(
        results.outcomes, answers.map(\.completion.finishReason), occasion: "the evaluation \(label)")
      metrics += RewardStatistics.evaluationMetrics(matrix, outcomes: results.outcomes)
      for row in answers.indices {
        for (k, column) in matrix.columns.enumerated() where !matrix.values[row][k].isNaN {
          answers[row].scores[column.name] = matrix.values[row][k]
        }
      }
    }
    metrics += said.metrics.map { ("eval/plugin/\($0.name)", $0.value) }
    return (metrics, answers)
  }
}
