import Core
import Foundation

extension RunStore {
  /// Records one optimizer step, and replaces what was recorded of it before.
  public func write(_ step: Step) throws {
    try transaction("record step \(step.step) of stage \(step.stage)") { database, purpose in
      for table in ["components", "rewards", "rollouts", "prompt_pictures", "prompts"] {
        try database.run(
          "DELETE FROM \(table) WHERE stage = ? AND step = ?", .int(step.stage), .int(step.step), for: purpose)
      }
      try RunStore.write(step.metrics, replacing: "name NOT LIKE 'eval/%'", step.stage, step.step, database, purpose)
      for prompt in step.prompts { try RunStore.write(prompt, of: step, database, purpose) }
      try database.run(
        "UPDATE stages SET steps_done = ?, seconds = coalesce(?, seconds) WHERE stage = ?",
        .int(step.stepsDone ?? step.step + 1), .optional(step.stageSeconds), .int(step.stage), for: purpose)
      try database.run("UPDATE run SET seconds = coalesce(?, seconds)", .optional(step.runSeconds), for: purpose)
    }
  }

  /// Records one evaluation, and replaces what was recorded of it before.
  public func write(_ evaluation: Evaluation) throws {
    let (stage, step) = (evaluation.stage, evaluation.step)
    try transaction("record the evaluation at step \(step) of stage \(stage)") { database, purpose in
      for table in ["evaluations", "evaluation_pictures"] {
        try database.run("DELETE FROM \(table) WHERE stage = ? AND step = ?", .int(stage), .int(step), for: purpose)
      }
      try RunStore.write(evaluation.metrics, replacing: "name LIKE 'eval/%'", stage, step, database, purpose)
      for sample in evaluation.samples {
        let scores = JSON.object(sample.scores.sorted { $0.key < $1.key }.map { ($0.key, .double($0.value)) })
        try database.run(
          "INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", .int(stage), .int(step),
          .int(sample.sample), .text(sample.prompt), .text(sample.completion), .optional(sample.answer),
          .optional(sample.reference), .int(sample.correct ? 1 : 0), .text(sample.finishReason.rawValue),
          .text(scores.text()), for: purpose)
        for (place, png) in sample.pictures.enumerated() {
          try database.run(
            "INSERT OR REPLACE INTO evaluation_pictures VALUES (?, ?, ?, ?, ?)", .int(stage), .int(step),
            .int(sample.sample), .int(place), .text(try RunStore.keep(png, database, purpose)), for: purpose)
        }
      }
    }
  }

  private static func write(
    _ metrics: [String: Double], replacing condition: String, _ stage: Int, _ step: Int, _ database: Database,
    _ purpose: String
  ) throws {
    try database.run(
      "DELETE FROM metrics WHERE stage = ? AND step = ? AND \(condition)", .int(stage), .int(step), for: purpose)
    for (name, value) in metrics {
      try database.run(
        "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?)", .int(stage), .int(step), .text(name), .double(value),
        for: purpose)
    }
  }

  private static func write(_ prompt: Prompt, of step: Step, _ database: Database, _ purpose: String) throws {
    let (stage, step, key) = (SQLValue.int(step.stage), SQLValue.int(step.step), SQLValue.int(prompt.prompt))
    try database.run(
      "INSERT OR REPLACE INTO prompts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", stage, step, key, .text(prompt.text),
      .text(prompt.messages.text()), .optional(prompt.reference), .text(prompt.columns.text()),
      .text(prompt.facts.text()), for: purpose)
    for (place, png) in prompt.pictures.enumerated() {
      try database.run(
        "INSERT OR REPLACE INTO prompt_pictures VALUES (?, ?, ?, ?, ?)", stage, step, key, .int(place),
        .text(try keep(png, database, purpose)), for: purpose)
    }
    for (index, rollout) in prompt.rollouts.enumerated() {
      let completion = rollout.completion
      try database.run(
        "INSERT OR REPLACE INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", stage, step, key, .int(index),
        .text(completion.text), .text(completion.rawText), .text(completion.finishReason.rawValue),
        .blob(LittleEndian.bytes(completion.ids)), .blob(LittleEndian.bytes(completion.logprobs)),
        .optional(rollout.reward), .optional(rollout.advantage), .text(rollout.facts.text()), for: purpose)
      for score in rollout.scores {
        try database.run(
          "INSERT OR REPLACE INTO rewards VALUES (?, ?, ?, ?, ?, ?, ?, ?)", stage, step, key, .int(index),
          .text(score.name), .optional(score.score), .text(score.status), .optional(score.log), for: purpose)
        for (name, value) in score.components {
          try database.run(
            "INSERT OR REPLACE INTO components VALUES (?, ?, ?, ?, ?, ?, ?)", stage, step, key, .int(index),
            .text(score.name), .text(name), .double(value), for: purpose)
        }
      }
    }
  }

  /// Stores a picture once, whatever shows it, and returns its hash.
  private static func keep(_ png: [UInt8], _ database: Database, _ purpose: String) throws -> String {
    let hash = SHA256.hex(png)
    try database.run("INSERT OR IGNORE INTO pictures VALUES (?, ?)", .text(hash), .blob(png), for: purpose)
    return hash
  }

  /// Deletes everything later than a checkpoint: later stages, and of `stage` the steps above `step`. Events and
  /// journalled outcomes stay.
  public func forget(after stage: Int, step: Int) throws {
    try transaction("forget what came after step \(step) of stage \(stage)") { database, purpose in
      for table in [
        "metrics", "components", "rewards", "rollouts", "prompt_pictures", "prompts", "evaluation_pictures",
        "evaluations", "alarms",
      ] {
        try database.run(
          "DELETE FROM \(table) WHERE stage > ?1 OR (stage = ?1 AND step > ?2)", .int(stage), .int(step), for: purpose)
      }
      try database.run("DELETE FROM surveys WHERE stage > ?", .int(stage), for: purpose)
      try database.run("UPDATE stages SET steps_done = 0, seconds = 0 WHERE stage > ?", .int(stage), for: purpose)
      try database.run(
        "UPDATE stages SET steps_done = min(steps_done, ?) WHERE stage = ?", .int(max(0, step + 1)), .int(stage),
        for: purpose)
      try database.run(
        """
        DELETE FROM pictures WHERE hash NOT IN
          (SELECT hash FROM prompt_pictures UNION SELECT hash FROM evaluation_pictures)
        """, for: purpose)
    }
  }

  /// Records how far a stage is when no step is written: at its end, or after a resume.
  public func progress(stage: Int, stepsDone: Int, stageSeconds: Double, runSeconds: Double) throws {
    try transaction("record the progress of stage \(stage)") { database, purpose in
      try database.run(
        "UPDATE stages SET steps_done = ?, seconds = ? WHERE stage = ?", .int(stepsDone), .double(stageSeconds),
        .int(stage), for: purpose)
      try database.run("UPDATE run SET seconds = ?", .double(runSeconds), for: purpose)
    }
  }

  /// Appends a line to the run's log. Prompts and completions do not belong there.
  public func log(_ level: Event.Level, _ text: String, time: Double = Date().timeIntervalSince1970) throws {
    try transaction("log an event") { database, purpose in
      try database.run(
        "INSERT INTO events (time, level, text) VALUES (?, ?, ?)", .double(time), .text(level.rawValue), .text(text),
        for: purpose)
    }
  }

  /// Names the checkpoint that the run would go on from; on the disk when this returns.
  ///
  /// - Parameter path: a folder; one inside the run's folder is stored relative to it.
  public func recordCheckpoint(_ path: String) throws {
    let inside = folder.path + "/"
    let stored = path.hasPrefix(inside) ? String(path.dropFirst(inside.count)) : path
    try durably("record a checkpoint") { database, purpose in
      try database.run("UPDATE run SET checkpoint = ?", .text(stored), for: purpose)
    }
  }

  /// Ends the record; on the disk when this returns.
  public func finish(_ status: Status, seconds: Double) throws {
    try durably("record the run's end") { database, purpose in
      try database.run("UPDATE run SET status = ?, seconds = ?", .text(status.rawValue), .double(seconds), for: purpose)
    }
  }

  /// Brings everything that was written to the disk, so that it also survives a power cut. Call it before a checkpoint
  /// is made: a checkpoint must never be ahead of the store.
  public func flush() throws {
    try durably("bring the store to the disk") { database, purpose in
      // A commit syncs the log, with all that stands in it; it takes a change to make one.
      try database.run("UPDATE run SET seconds = seconds", for: purpose)
    }
  }

  /// Says whether the run stands still.
  public func mark(_ status: Status) throws {
    try durably("mark the run as \(status.rawValue)") { database, purpose in
      try database.run("UPDATE run SET status = ?", .text(status.rawValue), for: purpose)
    }
  }

  /// An outcome that the sample alone did not decide (a time limit, a judge).
  public struct JournalEntry: Sendable {
    public var place: Place
    /// The completion's raw text.
    public var completion: String
    public var outcome: JSON

    public init(place: Place, completion: String, outcome: JSON) {
      self.place = place
      self.completion = completion
      self.outcome = outcome
    }
  }

  /// Journals outcomes of a reward, to be replayed when the step is done again.
  public func journal(_ entries: [JournalEntry], of reward: String) throws {
    guard !entries.isEmpty else { return }
    try transaction("journal outcomes of the reward '\(reward)'") { database, purpose in
      for entry in entries {
        let place = entry.place
        try database.run(
          "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", .int(place.stage), .int(place.step),
          .int(place.prompt), .int(place.index), .text(reward), .text(SHA256.hex(Array(entry.completion.utf8))),
          .text(entry.outcome.text()), for: purpose)
      }
    }
  }

  // MARK: Transactions

  func transaction(_ purpose: String, _ body: (Database, String) throws -> Void) throws {
    precondition(isWriter, "a run store that was opened for reading cannot \(purpose)")
    try withDatabase { database in
      try database.transaction(for: purpose) { try body(database, purpose) }
    }
  }

  private func durably(_ purpose: String, _ body: (Database, String) throws -> Void) throws {
    precondition(isWriter, "a run store that was opened for reading cannot \(purpose)")
    try withDatabase { database in
      try database.execute("PRAGMA synchronous = FULL", for: purpose)
      defer { try? database.execute("PRAGMA synchronous = NORMAL", for: purpose) }
      try database.transaction(for: purpose) { try body(database, purpose) }
    }
  }
}
