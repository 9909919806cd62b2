import Core
import Foundation
import Lab
import Rollout

/// The guides of `generate`: those of its lines, and that of its flags for lines without one. Each is compiled once.
final class Guides {
  private enum Source {
    case regex(String)
    case schema(JSON, file: String)

    var key: String {
      switch self {
      case .regex(let pattern): "regex " + pattern
      case .schema(let schema, _): "schema " + schema.text()
      }
    }
  }

  private let policy: Policy
  private let ignoresEnds: Bool
  private var flags: Guide?
  private var vocabulary: GuideVocabulary?
  private var known: [String: Guide] = [:]

  init(_ arguments: Arguments, policy: Policy) throws {
    self.policy = policy
    ignoresEnds = arguments.has("--ignore-eos")
    let pattern = arguments.string("--regex")
    let file = arguments.string("--json-schema")
    guard pattern == nil || file == nil else {
      throw AttuneError.request("--regex and --json-schema were both given, one at most was expected")
    }
    if let pattern { flags = try guide(.regex(pattern)) }
    if let file {
      guard let data = FileManager.default.contents(atPath: file) else {
        throw AttuneError.request("the schema cannot be read", at: .init(file: file))
      }
      flags = try guide(.schema(try JSON.parse(data, file: file), file: file))
    }
  }

  /// The guide of a line; nil leaves its completions free.
  func guide(for line: JSON) throws -> Guide? {
    let found = ["regex", "json_schema"].filter { line[$0]?.isNull == false }
    guard let key = found.first else { return flags }
    let value = line[key]!
    guard found.count == 1 else {
      throw AttuneError.request("found regex and json_schema, one at most was expected", at: value.location(in: ""))
    }
    if key == "json_schema" { return try guide(.schema(value, file: "")) }
    guard let pattern = value.string else {
      throw AttuneError.request("regex is \(value.kind), a string was expected", at: value.location(in: ""))
    }
    return try guide(.regex(pattern))
  }

  private func guide(_ source: Source) throws -> Guide {
    if let guide = known[source.key] { return guide }
    guard !ignoresEnds else {
      throw AttuneError.request("--ignore-eos with a guide: a guided completion ends by an end-of-sequence id")
    }
    let vocabulary =
      try self.vocabulary
      ?? GuideVocabulary(
        policy.tokenizer, endIDs: policy.endIDs, size: policy.model.configuration.text.vocabularySize)
    self.vocabulary = vocabulary
    let guide =
      switch source {
      case .regex(let pattern): try Guide(regex: pattern, vocabulary)
      case .schema(let schema, let file): try Guide(jsonSchema: schema, file: file, vocabulary)
      }
    known[source.key] = guide
    return guide
  }
}
