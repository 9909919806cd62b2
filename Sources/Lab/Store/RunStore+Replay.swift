import Core
import Rewards

extension RunStore {
  /// A prompt of a step as it was recorded, with its completions.
  struct RecordedPrompt: Sendable {
    var prompt: Int
    var text: String
    var messages: JSON
    var reference: String?
    var columns: JSON
    /// What rewards saw beside this; an empty mapping in runs of older versions.
    var facts: JSON
    /// Content hashes.
    var pictures: [String]
    var rollouts: [RecordedRollout]
  }

  /// A completion as it was recorded.
  struct RecordedRollout: Sendable {
    var place: Place
    var completion: Completion
    var reward: Double?
    var advantage: Double?
    var facts: JSON
    /// By reward, with its components.
    var scores: [String: Score]
  }

  /// The steps of a stage that have rollouts, in order.
  func stepsWithRollouts(stage: Int) throws -> [Int] {
    try withDatabase { database in
      try database.rows(
        "SELECT DISTINCT step FROM rollouts WHERE stage = ? ORDER BY step", .int(stage), for: "list the run's steps"
      ) { $0.int(0) }
    }
  }

  /// Everything that was recorded of a step's rollouts, in the order in which they were scored.
  func recorded(stage: Int, step: Int) throws -> [RecordedPrompt] {
    let purpose = "read step \(step) of stage \(stage)"
    let here = [SQLValue.int(stage), .int(step)]
    return try withDatabase { database in
      var components: [Place: [String: [String: Double]]] = [:]
      for (place, reward, name, value) in try database.rows(
        "SELECT prompt, place, reward, name, value FROM components WHERE stage = ? AND step = ?", here[0], here[1],
        for: purpose,
        { row in
          (
            Place(stage: stage, step: step, prompt: row.int(0), index: row.int(1)), row.text(2), row.text(3),
            row.optionalDouble(4) ?? .nan
          )
        })
      { components[place, default: [:]][reward, default: [:]][name] = value }
      var scores: [Place: [String: Score]] = [:]
      for (place, score) in try database.rows(
        "SELECT prompt, place, name, score, status, log FROM rewards WHERE stage = ? AND step = ?", here[0], here[1],
        for: purpose,
        { row in
          (
            Place(stage: stage, step: step, prompt: row.int(0), index: row.int(1)),
            Score(name: row.text(2), score: row.optionalDouble(3), status: row.text(4), log: row.optionalText(5))
          )
        })
      {
        var score = score
        score.components = components[place]?[score.name] ?? [:]
        scores[place, default: [:]][score.name] = score
      }
      var rollouts: [Int: [RecordedRollout]] = [:]
      for rollout in try database.rows(
        """
        SELECT prompt, place, ids, completion, raw, logprobs, finish_reason, reward, advantage, facts FROM rollouts
        WHERE stage = ? AND step = ? ORDER BY prompt, place
        """, here[0], here[1], for: purpose,
        { row in
          let place = Place(stage: stage, step: step, prompt: row.int(0), index: row.int(1))
          return RecordedRollout(
            place: place,
            completion: Completion(
              ids: LittleEndian.int32s(row.blob(2)), text: row.text(3), rawText: row.text(4),
              logprobs: LittleEndian.floats(row.blob(5)), finishReason: FinishReason(rawValue: row.text(6)) ?? .stop),
            reward: row.optionalDouble(7), advantage: row.optionalDouble(8), facts: row.storedJSON(9),
            scores: scores[place] ?? [:])
        })
      { rollouts[rollout.place.prompt, default: []].append(rollout) }
      var pictures: [Int: [String]] = [:]
      for (prompt, hash) in try database.rows(
        "SELECT prompt, hash FROM prompt_pictures WHERE stage = ? AND step = ? ORDER BY prompt, place", here[0],
        here[1], for: purpose, { ($0.int(0), $0.text(1)) })
      { pictures[prompt, default: []].append(hash) }
      return try database.rows(
        """
        SELECT prompt, text, messages, reference, columns, facts FROM prompts WHERE stage = ? AND step = ?
        ORDER BY prompt
        """, here[0], here[1], for: purpose
      ) { row in
        RecordedPrompt(
          prompt: row.int(0), text: row.text(1), messages: row.storedJSON(2), reference: row.optionalText(3),
          columns: row.storedJSON(4), facts: row.storedJSON(5), pictures: pictures[row.int(0)] ?? [],
          rollouts: rollouts[row.int(0)] ?? [])
      }
    }
  }
}

extension RunStore.RecordedRollout {
  /// What a reward said; no opinion if it was not asked.
  func outcome(of reward: String) -> RewardOutcome {
    guard let score = scores[reward] else { return .none(.notApplicable, "") }
    return RewardOutcome(
      score: score.score, status: RewardStatus(rawValue: score.status) ?? .invalid,
      components: score.components.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, log: score.log ?? "")
  }
}
