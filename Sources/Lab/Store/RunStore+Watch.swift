import Core

extension RunStore {
  /// Records what rewards were like before a stage.
  func write(_ survey: RewardSurvey) throws { try write(survey: survey.json, stage: survey.stage) }

  /// Records an alarm, and replaces the same of that step.
  func write(_ alarm: RewardAlarm) throws {
    try transaction("record an alarm") { database, purpose in
      try database.run(
        "INSERT OR REPLACE INTO alarms VALUES (?, ?, ?, ?, ?)", .int(alarm.stage), .int(alarm.step),
        .text(alarm.kind.rawValue), .text(alarm.subject), .text(alarm.json.text()), for: purpose)
    }
  }

  private func write(survey: JSON, stage: Int) throws {
    try transaction("record the rewards before stage \(stage)") { database, purpose in
      try database.run(
        "INSERT OR REPLACE INTO surveys VALUES (?, ?)", .int(stage), .text(survey.text()), for: purpose)
    }
  }

  /// What rewards were like before a stage, as `RewardSurvey` writes it; nil if nobody looked.
  public func survey(stage: Int) throws -> JSON? {
    try withDatabase { database in
      try database.rows("SELECT survey FROM surveys WHERE stage = ?", .int(stage), for: "read a survey of rewards") {
        $0.storedJSON(0)
      }.first
    }
  }

  /// All alarms, in order: `{"kind", "subject", "stage", "stage_name", "step", "numbers", "text", "meaning", "look"}`.
  public func alarms() throws -> [JSON] {
    try withDatabase { database in
      try database.rows("SELECT alarm FROM alarms ORDER BY stage, step, kind, subject", for: "read the alarms") {
        $0.storedJSON(0)
      }
    }
  }

  /// The metrics of each step of a stage, in order.
  func metricsByStep(stage: Int) throws -> [(step: Int, metrics: [String: Double])] {
    var steps: [(step: Int, metrics: [String: Double])] = []
    try withDatabase { database in
      let rows = try database.rows(
        "SELECT step, name, value FROM metrics WHERE stage = ? ORDER BY step, name", .int(stage),
        for: "read a stage's metrics"
      ) { ($0.int(0), $0.text(1), $0.optionalDouble(2) ?? .nan) }
      for (step, name, value) in rows {
        if steps.last?.step != step { steps.append((step, [:])) }
        steps[steps.count - 1].metrics[name] = value
      }
    }
    return steps
  }

  /// By step: how many samples the evaluation behind it had.
  func evaluationCounts(stage: Int) throws -> [Int: Int] {
    try withDatabase { database in
      let rows = try database.rows(
        "SELECT step, count(*) FROM evaluations WHERE stage = ? GROUP BY step", .int(stage), for: "count evaluations"
      ) { ($0.int(0), $0.int(1)) }
      return Dictionary(rows, uniquingKeysWith: { $1 })
    }
  }
}
