import Core
import Foundation

extension RunStore {
  /// The run in short: id, folder, recipe, seconds, status, its stages with the last value of every metric, and the
  /// folder of its last checkpoint; how rewards were before a stage, and every alarm.
  public func show() throws -> JSON {
    let status = try self.status()
    let alarms = try self.alarms()
    return try withDatabase { database in
      let purpose = "read the run"
      let stages = try database.rows(
        "SELECT stage, name, objective, steps_done, steps_planned, seconds FROM stages ORDER BY stage", for: purpose
      ) { row in
        (
          row.int(0),
          [
            ("name", row.json(1)), ("objective", row.json(2)), ("steps", row.json(3)), ("planned_steps", row.json(4)),
            ("seconds", row.json(5)),
          ]
        )
      }
      let shown = try stages.map { stage, fields in
        let metrics = try database.rows(
          """
          SELECT name, value FROM metrics AS m WHERE stage = ?1 AND
            step = (SELECT max(step) FROM metrics WHERE name = m.name AND stage = ?1) ORDER BY name
          """, .int(stage), for: purpose
        ) { ($0.text(0), $0.json(1)) }
        let survey = try database.rows("SELECT survey FROM surveys WHERE stage = ?", .int(stage), for: purpose) {
          $0.storedJSON(0)
        }.first
        return JSON.object(fields + [("metrics", .object(metrics))] + (survey.map { [("before", $0)] } ?? []))
      }
      let versions = try RunStore.rewardVersions(database).map(\.json)
      let fields = try database.rows(
        "SELECT id, name, file, seconds, started, checkpoint, host FROM run", for: purpose
      ) { row in
        JSON.object([
          ("id", row.json(0)), ("folder", .string(folder.path)), ("name", row.json(1)), ("recipe", row.json(2)),
          ("seconds", row.json(3)), ("status", .string(status.rawValue)), ("started", row.json(4)),
          ("stages", .array(shown)),
          ("checkpoint", row.optionalText(5).map { .string($0.hasPrefix("/") ? $0 : folder.path + "/" + $0) } ?? .null),
          ("host", row.storedJSON(6)), ("alarms", .array(alarms)), ("rewards", .array(versions)),
        ])
      }
      guard let run = fields.first else { throw neverStarted }
      return run
    }
  }

  private var neverStarted: AttuneError {
    .request("the run in this folder was killed before it began", at: .init(file: folder.path), hint: "start it anew")
  }

  /// Where the run stands. A run that calls itself running while nobody writes it was interrupted.
  public func status() throws -> Status {
    let stored = try withDatabase { database in
      try database.rows("SELECT status FROM run", for: "read the run's status") { $0.text(0) }
    }
    guard let text = stored.first else { throw neverStarted }
    let status = Status(rawValue: text) ?? .failed
    if status == .running || status == .paused, !isWriter, !RunLock.isHeld(folder.lockPath) { return .interrupted }
    return status
  }

  /// The run's id, and the recipe it was started with: its file, its text, and every key with its value.
  public func start() throws -> (id: String, start: Start) {
    try withDatabase { database in
      let rows = try database.rows(
        "SELECT id, name, file, recipe, effective, host FROM run", for: "read the run's recipe"
      ) { row in
        (
          id: row.text(0),
          start: Start(
            name: row.text(1), file: row.text(2), recipe: row.text(3), effective: row.storedJSON(4),
            host: row.storedJSON(5))
        )
      }
      guard let first = rows.first else { throw neverStarted }
      return first
    }
  }

  /// The names of the run's stages, in order.
  public func stageNames() throws -> [String] {
    try withDatabase { database in
      try database.rows("SELECT name FROM stages ORDER BY stage", for: "read the run's stages") { $0.text(0) }
    }
  }

  /// Rollouts with their prompts and every reward's verdict.
  ///
  /// Each is `{"stage", "stage_name", "step", "prompt_id", "index", "prompt", "reference", "completion", "raw",
  /// "finish_reason", "tokens", "reward", "advantage", "rewards": {name: {"score", "status", "components", "log"}},
  /// "pictures": [hash, ..], "messages", "columns"}`.
  ///
  /// - Parameters:
  ///   - limit: at most so many; nil is all of them.
  ///   - whole: adds what only programs read: `token_ids`, `logprobs`, `images` (where `picture(at:)` finds them) and
  ///     `facts`, what rewards saw beside the rest.
  public func samples(
    stage: Int? = nil, step: Int? = nil, sort: SampleOrder = .step, limit: Int? = nil, whole: Bool = false
  ) throws -> [JSON] {
    let order =
      switch sort {
      case .reward: "r.reward IS NULL, r.reward DESC, r.stage, r.step, r.prompt, r.place"
      case .step: "r.stage, r.step, r.prompt, r.place"
      case .latest: "r.stage DESC, r.step DESC, r.prompt, r.place"
      }
    // The inner query sorts keys alone; texts are fetched only for the rows that are shown.
    let sql = """
      SELECT r.stage, s.name, r.step, r.prompt, r.place, p.text, p.reference, r.completion, r.raw, r.finish_reason,
        length(r.ids) / 4, r.reward, r.advantage, p.messages, p.columns, r.ids, r.logprobs, p.facts, r.facts
      FROM rollouts AS r
      LEFT JOIN prompts AS p ON p.stage = r.stage AND p.step = r.step AND p.prompt = r.prompt
      LEFT JOIN stages AS s ON s.stage = r.stage
      WHERE r.rowid IN (SELECT r.rowid FROM rollouts AS r
        WHERE (?1 IS NULL OR r.stage = ?1) AND (?2 IS NULL OR r.step = ?2) ORDER BY \(order) LIMIT ?3)
      ORDER BY \(order)
      """
    return try withDatabase { database in
      let rows = try database.rows(
        sql, .optional(stage), .optional(step), .int(limit ?? -1), for: "read the run's samples"
      ) { row in
        (
          Place(stage: row.int(0), step: row.int(2), prompt: row.int(3), index: row.int(4)),
          [
            ("stage", row.json(0)), ("stage_name", row.json(1)), ("step", row.json(2)), ("prompt_id", row.json(3)),
            ("index", row.json(4)), ("prompt", row.json(5)), ("reference", row.json(6)), ("completion", row.json(7)),
            ("raw", row.json(8)), ("finish_reason", row.json(9)), ("tokens", row.json(10)), ("reward", row.json(11)),
            ("advantage", row.json(12)), ("messages", row.storedJSON(13)), ("columns", row.storedJSON(14)),
          ] as [(String, JSON)],
          whole ? RunStore.details(row) : []
        )
      }
      return try rows.map { place, fields, details in
        let pictures = try database.rows(
          "SELECT hash FROM prompt_pictures WHERE stage = ? AND step = ? AND prompt = ? ORDER BY place",
          .int(place.stage), .int(place.step), .int(place.prompt), for: "read a sample's pictures"
        ) { $0.text(0) }
        let images = JSON.array(pictures.map { .string(folder.storePath + "#" + $0) })
        return JSON.object(
          fields + [
            ("rewards", try RunStore.verdicts(at: place, database)), ("pictures", .array(pictures.map(JSON.string))),
          ] + details + (whole ? [("images", images)] : []))
      }
    }
  }

  private static func details(_ row: Statement) -> [(String, JSON)] {
    let facts = [row.storedJSON(17), row.storedJSON(18)].flatMap { $0.object.map { Array($0.entries) } ?? [] }
    return [
      ("token_ids", .array(LittleEndian.int32s(row.blob(15)).map { .int($0) })),
      ("logprobs", .array(LittleEndian.floats(row.blob(16)).map { .double(Double($0)) })), ("facts", .object(facts)),
    ]
  }

  private static func verdicts(at place: Place, _ database: Database) throws -> JSON {
    let purpose = "read a sample's rewards"
    let components = try database.rows(
      "SELECT reward, name, value FROM components WHERE stage = ? AND step = ? AND prompt = ? AND place = ?",
      .int(place.stage), .int(place.step), .int(place.prompt), .int(place.index), for: purpose
    ) { ($0.text(0), $0.text(1), $0.json(2)) }
    let scores = try database.rows(
      "SELECT name, score, status, log FROM rewards WHERE stage = ? AND step = ? AND prompt = ? AND place = ?",
      .int(place.stage), .int(place.step), .int(place.prompt), .int(place.index), for: purpose
    ) { row in
      let name = row.text(0)
      return (
        name,
        JSON.object([
          ("score", row.json(1)), ("status", row.json(2)),
          ("components", .object(components.filter { $0.0 == name }.map { ($0.1, $0.2) })), ("log", row.json(3)),
        ])
      )
    }
    return .object(scores)
  }

  /// The ids of one completion and the log-probabilities that the sampler recorded; nil if there is no such rollout.
  public func tokens(at place: Place) throws -> (ids: [Int32], logprobs: [Float])? {
    try withDatabase { database in
      try database.rows(
        "SELECT ids, logprobs FROM rollouts WHERE stage = ? AND step = ? AND prompt = ? AND place = ?",
        .int(place.stage), .int(place.step), .int(place.prompt), .int(place.index), for: "read a completion's tokens"
      ) { (LittleEndian.int32s($0.blob(0)), LittleEndian.floats($0.blob(1))) }.first
    }
  }

  /// The outcome that was journalled for a completion; nil if none was, or if the completion is another now.
  public func journalled(_ reward: String, at place: Place, completion: String) throws -> JSON? {
    try withDatabase { database in
      try database.rows(
        """
        SELECT outcome FROM outcomes WHERE stage = ? AND step = ? AND prompt = ? AND place = ? AND reward = ?
          AND completion_hash = ?
        """, .int(place.stage), .int(place.step), .int(place.prompt), .int(place.index), .text(reward),
        .text(SHA256.hex(Array(completion.utf8))), for: "read a journalled outcome"
      ) { $0.storedJSON(0) }.first
    }
  }

  /// Every value of a metric, in order.
  public func series(_ metric: String) throws -> [MetricPoint] {
    try withDatabase { database in
      try database.rows(
        "SELECT stage, step, value FROM metrics WHERE name = ? ORDER BY stage, step", .text(metric),
        for: "read a metric"
      ) { MetricPoint(stage: $0.int(0), step: $0.int(1), value: $0.optionalDouble(2) ?? .nan) }
    }
  }

  /// All metrics that the run recorded, by name.
  public func metricNames() throws -> [String] {
    try withDatabase { database in
      try database.rows("SELECT DISTINCT name FROM metrics ORDER BY name", for: "read the metrics' names") {
        $0.text(0)
      }
    }
  }

  /// The places at which the policy was evaluated, in order.
  public func evaluationPlaces() throws -> [(stage: Int, step: Int)] {
    try withDatabase { database in
      try database.rows(
        "SELECT DISTINCT stage, step FROM evaluations ORDER BY stage, step", for: "read the evaluations"
      ) { (stage: $0.int(0), step: $0.int(1)) }
    }
  }

  /// The samples of one evaluation.
  public func evaluation(stage: Int, step: Int) throws -> [EvaluationRow] {
    try withDatabase { database in
      let purpose = "read an evaluation"
      return try database.rows(
        """
        SELECT sample, prompt, completion, answer, reference, correct FROM evaluations
        WHERE stage = ? AND step = ? ORDER BY sample
        """, .int(stage), .int(step), for: purpose
      ) { row in
        EvaluationRow(
          sample: row.int(0), prompt: row.text(1), completion: row.text(2), answer: row.optionalText(3),
          reference: row.optionalText(4), correct: row.int(5) != 0,
          pictures: try database.rows(
            "SELECT hash FROM evaluation_pictures WHERE stage = ? AND step = ? AND sample = ? ORDER BY place",
            .int(stage), .int(step), .int(row.int(0)), for: purpose
          ) { $0.text(0) })
      }
    }
  }

  /// The PNG file with this content hash.
  public func picture(_ hash: String) throws -> [UInt8]? {
    try withDatabase { database in
      try database.rows("SELECT png FROM pictures WHERE hash = ?", .text(hash), for: "read a picture") { $0.blob(0) }
        .first
    }
  }

  /// The PNG file that `STORE#HASH` names; nil for a path that is none of a run's pictures.
  public static func picture(at path: String) throws -> [UInt8]? {
    guard let mark = path.range(of: "/" + RunFolder.storeName + "#", options: .backwards) else { return nil }
    let folder = RunFolder(
      id: (String(path[..<mark.lowerBound]) as NSString).lastPathComponent, path: String(path[..<mark.lowerBound]))
    guard let png = try RunStore.read(folder).picture(String(path[mark.upperBound...])) else {
      throw AttuneError.request("the run has no such picture", at: .init(file: path))
    }
    return png
  }

  /// The run's log, oldest first.
  public func events() throws -> [Event] {
    try withDatabase { database in
      try database.rows("SELECT time, level, text FROM events ORDER BY key", for: "read the run's log") {
        Event(time: $0.double(0), level: Event.Level(rawValue: $0.text(1)) ?? .info, text: $0.text(2))
      }
    }
  }
}
