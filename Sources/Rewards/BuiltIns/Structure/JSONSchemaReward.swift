import Core

/// Is the answer a JSON value of the demanded form?
struct JSONSchemaReward: BuiltInReward {
  static let name = "json_schema"
  static let summary = "1 if the answer is JSON that a schema accepts, else 0"
  static let parameters: [RewardParameter] = [
    .object("schema", default: .object([]), "a schema of JSON Schema 2020-12; an empty one accepts every JSON value"),
    .string("column", default: "", "the column that holds each sample's schema, as a value or as JSON text"),
    .string("from", default: "completion", "completion (behind the last </think>), block (the last fenced) or answer"),
    .bool("graded", default: false, "JSON that the schema does not accept scores 0.5"),
  ]

  private let schema: JSONSchema?
  private let column: String
  private let part: CompletionPart
  private let graded: Bool

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    column = reader.text("column")
    part = try reader.choice("from", CompletionPart.self)
    graded = reader.flag("graded")
    let given = reader.object("schema")
    guard column.isEmpty || given.isEmpty else {
      throw reader.wrong(
        "column", "names the column '\(column)', but there is the parameter 'schema' too", hint: "give one of them")
    }
    do { schema = column.isEmpty ? try JSONSchema(JSON(.object(given))) : nil } catch let error as JSONSchema.Malformed
    {
      throw reader.wrong(
        "schema", "is no schema that can be checked: at \(error.path): \(error.words)", hint: error.hint)
    }
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let schema: JSONSchema
    if let own = self.schema {
      schema = own
    } else {
      guard let value = sample.columns[column], !value.isNull else {
        return .none(.notApplicable, "there is no column '\(column)'")
      }
      do { schema = try JSONSchema(value.string.map { try JSON.parse($0) } ?? value) } catch {
        let words = (error as? JSONSchema.Malformed).map { "at \($0.path): \($0.words)" }
        return .none(
          .invalid, "the column '\(column)' holds no schema: \(words ?? (error as? AttuneError)?.message ?? "\(error)")"
        )
      }
    }
    let text: String
    switch part.text(of: sample.completion, languages: ["", "json"]) {
    case .success(let found): text = found
    case .failure(let missing): return Self.outcome(0, false, missing.words)
    }
    let value: JSON
    do { value = try JSON.parse(text) } catch let error as AttuneError {
      let place = error.location.map { " (line \($0.line ?? 1), column \($0.column ?? 1))" } ?? ""
      return Self.outcome(0, false, error.message + place)
    }
    do {
      if let violation = try schema.violation(value, isCancelled: call.isCancelled) {
        return Self.outcome(graded ? 0.5 : 0, true, violation.description)
      }
    } catch let error as JSONSchema.Exhausted { return .none(.failed, error.words) }
    return Self.outcome(1, true, "valid")
  }

  private static func outcome(_ score: Double, _ isJSON: Bool, _ log: String) -> RewardOutcome {
    RewardOutcome(
      score: score, status: .ok, components: [("json", isJSON ? 1 : 0), ("valid", score == 1 ? 1 : 0)], log: log)
  }
}
