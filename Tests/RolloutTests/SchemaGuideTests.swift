import Core
import Foundation
import TestSupport
import Testing

@testable import Rollout

@Suite struct SchemaGuideTests {
  static let schemas = [
    #"{"type": "integer", "minimum": -7, "maximum": 12}"#, #"{"type": ["null", "boolean", "integer"]}"#,
    #"{"type": "number"}"#, #"{"type": "string", "minLength": 2, "maxLength": 5}"#,
    #"{"type": "string", "pattern": "^[a-c]+\"?$"}"#, #"{"enum": ["a\nb", 12, null, [1, {"k": "é"}], true]}"#,
    #"{"const": {"b": [], "a": 1.5}}"#,
    #"{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"const": "x"}}, "required": ["b"]}"#,
    #"{"type": "object", "properties": {"a": {"enum": [1]}}, "additionalProperties": {"type": "boolean"}}"#,
    #"{"type": "object", "properties": {"ab": {"type": "null"}}, "required": ["z", "ab"], "additionalProperties": {"type": "null"}}"#,
    #"{"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 120}, "minItems": 1, "maxItems": 4}"#,
    #"{"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "items": {"const": 0}, "minItems": 1}"#,
    #"{"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "maxItems": 5}"#,
    #"{"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "null"}}]}"#,
    #"{"oneOf": [{"type": "object", "properties": {"t": {"const": "a"}, "x": {"type": "null"}}, "required": ["t"]}, {"type": "object", "properties": {"t": {"const": "b"}}, "required": ["t"]}]}"#,
    ##"{"allOf": [{"$ref": "#/$defs/p"}, {"properties": {"n": {"type": "null"}}, "required": ["n"]}], "$defs": {"p": {"type": "object", "properties": {"m": {"type": "boolean"}}}}}"##,
    ##"{"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"v": {"type": "boolean"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"]}}}"##,
    #"{"type": "string", "format": "date"}"#, #"{"type": "string", "format": "date-time"}"#,
    #"{"type": "string", "format": "email"}"#, #"{"type": "string", "format": "uuid"}"#, "{}", "true",
    #"{"type": "object"}"#, #"{"type": "array"}"#,
    #"{"properties": {"a": {"exclusiveMinimum": 3, "maximum": 5, "type": "integer"}}}"#,
  ]

  /// Every completion that ended is JSON of the schema, by Core's parser and a validator written here.
  @Test(arguments: schemas) func completionsAreValid(text: String) throws {
    let schema = try JSON.parse(text)
    let guide = try Guide(jsonSchema: schema, ToyTokens().vocabulary())
    var ended = 0
    for seed in 0..<3 {
      let toy = try ToyModel(seed: UInt64(seed), deviation: 0.1 * Double(seed + 1))
      let parameters = SamplingParameters(temperature: [1, 3, 0.7][seed], maxNewTokens: 90)
      for completion in try toy.sample(guide, 24, seed: UInt64(seed), parameters)
      where completion.finishReason == .stop {
        ended += 1
        let value = try JSON.parse(
          Array(completion.text.utf8), refuseDuplicateKeys: text.contains("properties") && !text.contains("additional"))
        let problem = Validator(root: schema).problem(value, schema)
        #expect(problem == nil, "\(text): \(completion.text): \(problem ?? "")")
      }
    }
    #expect(ended >= 5, "\(text): \(ended) of 72 ended")
  }

  /// Bounds are exact: every number near them is tried.
  @Test func integerRangesAreExact() throws {
    var random = Randomness(seed: 3, for: .testing).stream()
    var ranges = [
      (0, 0), (-1, 1), (9, 10), (-10, -9), (99, 1000), (-1000, 999), (0, 7), (123, 123), (-5, -1), (10, 99),
    ]
    for _ in 0..<30 {
      let low = random.integer(below: 1200) - 400
      ranges.append((low, low + random.integer(below: 700)))
    }
    for (low, high) in ranges {
      let syntax = IntegerRange.syntax(low, high)
      for value in -500...1700 where try matches(syntax, "\(value)") != (low...high).contains(value) {
        Issue.record("\(value) in \(low)...\(high)")
      }
      for wrong in ["", "-", "-0", "00", "0\(high)", "+1", "1.0"] { #expect(try !matches(syntax, wrong)) }
    }
    let wide = IntegerRange.syntax(.min, .max)
    for text in ["0", "\(Int.max)", "\(Int.min)", "-1"] { #expect(try matches(wide, text)) }
    for text in ["9223372036854775808", "-9223372036854775809", "-0"] { #expect(try !matches(wide, text)) }
  }

  @Test func dates() throws {
    let date = try SchemaCompiler.compile(["type": "string", "format": "date"], file: "")
    for (text, isDate) in [
      ("2024-02-29", true), ("2023-02-29", false), ("2000-02-29", true), ("1900-02-29", false), ("2023-04-31", false),
      ("2023-12-31", true), ("2023-13-01", false), ("2023-1-01", false), ("0004-02-29", true), ("2023-00-10", false),
    ] {
      #expect(try matches(date, "\"\(text)\"") == isDate, "\(text)")
    }
  }

  @Test(arguments: [
    (#"{"type": "string", "pattern": "a.c"}"#, [#""xxabcyy""#, #""a\"c""#], [#""ac""#, #""a\nc""#]),
    (#"{"type": "string", "pattern": "^\\d+$|z"}"#, [#""123""#, #""az""#], [#""12a""#, #""""#]),
    (#"{"type": "string"}"#, [#""""#, #""\u0001\t\\""#, #""é😀/""#], ["\"\n\"", #""\/""#, #""a"#]),
    (
      #"{"type": "object", "properties": {"a": true, "b": true}, "required": ["b"]}"#,
      [#"{"b": 1}"#, #"{"a":[],"b":{}}"#, #"{"a": {"x": [1, "y"]}, "b": null}"#],
      [#"{"a": 1}"#, #"{"b": 1, "a": 2}"#, #"{"b": 1,}"#, #"{ "b": 1}"#, #"{"b":  1}"#, #"{"b": 1, "c": 2}"#]
    ),
    (
      #"{"type": "object", "properties": {"ab": {"const": 1}}, "additionalProperties": {"const": 2}}"#,
      [#"{}"#, #"{"ab": 1}"#, #"{"a": 2, "abc": 2, "": 2, "b": 2}"#, #"{"ab": 1, "ba": 2}"#],
      [#"{"ab": 2}"#, #"{"a": 1}"#]
    ),
    (
      #"{"type": "array", "items": {"const": 1}, "minItems": 2}"#, ["[1, 1]", "[1,1,1]"],
      ["[]", "[1]", "[1,1,]", "[1 ,1]"]
    ),
    (#"{"type": "array", "items": {"const": 1}, "maxItems": 2}"#, ["[]", "[1]", "[1, 1]"], ["[1,1,1]"]),
    (
      #"{"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 1, "maxItems": 4}"#,
      ["[1]", "[1, 2]", "[1,2,3,3]"], ["[]", "[2]", "[1, 3]", "[1,2,3,3,3]"]
    ),
    (#"{"type": "array", "prefixItems": [{"const": 1}], "items": false}"#, ["[]", "[1]"], ["[1, 1]"]),
    (
      "{}", ["[[[[1]]]]", #"{"a": {"b": {"c": {"d": "e"}}}}"#, "-1.5e+10", "null"],
      ["[[[[[1]]]]]", "01", "1.", "nul", " 1"]
    ),
  ])
  func setsOfTexts(schema: String, inside: [String], outside: [String]) throws {
    let syntax = try SchemaCompiler.compile(JSON.parse(schema), file: "")
    for text in inside { #expect(try matches(syntax, text), "\(schema): \(text)") }
    for text in outside { #expect(try !matches(syntax, text), "\(schema): \(text)") }
  }

  @Test(arguments: [
    (#"{"type": "objekt"}"#, ["#: type is \"objekt\"", "did you mean \"object\""]),
    (
      #"{"type": "object", "propertys": {}}"#,
      ["the keyword \"propertys\" is not known", "did you mean \"properties\""]
    ),
    (
      ##"{"properties": {"a": {"not": {}}}}"##,
      ["#/properties/a: the keyword \"not\" is not supported", "enum or anyOf"]
    ),
    (#"{"type": "number", "minimum": 1}"#, ["of a number is not supported", "integer"]),
    (#"{"type": "string", "pattern": "(?=a)"}"#, ["#: the pattern \"(?=a)\", character 1: lookaround"]),
    (#"{"type": "string", "format": "dat"}"#, ["the format \"dat\" is not known", "did you mean \"date\""]),
    (##"{"$ref": "#/$defs/nod", "$defs": {"node": {}}}"##, ["there is no \"nod\"", "did you mean \"node\""]),
    (#"{"$ref": "http://x"}"#, ["a place in this schema was expected"]),
    (#"{"oneOf": [{"type": "integer"}, {"type": "number"}]}"#, ["alternatives 0 and 1 of oneOf", "use anyOf"]),
    (#"{"anyOf": []}"#, ["a list of schemas was expected"]), (#"{"enum": []}"#, ["a list of values was expected"]),
    (#"{"enum": [1], "type": "string"}"#, ["no value is allowed"]),
    (#"{"required": ["nmae"], "properties": {"name": {}}, "additionalProperties": false}"#, ["did you mean \"name\""]),
    (#"{"type": "integer", "minimum": 3, "maximum": 2}"#, ["no integer is from 3 to 2"]),
    (#"{"type": "array", "minItems": 3, "maxItems": 2}"#, ["no list is both"]),
    (#"{"type": "string", "minLength": -1}"#, ["minLength is -1"]), (#"{"items": [{}]}"#, ["prefixItems"]),
    (
      ##"{"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}}}"##,
      ["no text"]
    ),
    (
      #"{"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"a": {"type": "string"}}}]}"#,
      ["twice and differently"]
    ),
    (#"{"type": "string", "minLength": 900000}"#, ["states"]), ("false", ["no text"]), ("3", ["a schema"]),
  ])
  func refusals(schema: String, fragments: [String]) throws {
    do {
      _ = try Guide(jsonSchema: JSON.parse(schema), file: "s.json", ToyTokens().vocabulary())
      Issue.record("\(schema) was taken")
    } catch let error as AttuneError {
      for fragment in fragments {
        #expect(error.description.contains(fragment), "\(schema): \(error.description)")
      }
    }
  }

  /// Definitions that unfold without end, or into very many parts, are refused and do not hang.
  @Test func hostileSchemas() throws {
    let vocabulary = try ToyTokens().vocabulary()
    let names = (0..<12).map { "d\($0)" }
    let all = names.map { ##"{"$ref": "#/$defs/\##($0)"}"## }.joined(separator: ", ")
    let tangled = names.map { #""\#($0)": {"anyOf": [{"type": "null"}, \#(all)]}"# }.joined(separator: ", ")
    expectAttuneError(containing: "unfolds to more than") {
      _ = try Guide(jsonSchema: JSON.parse(##"{"$ref": "#/$defs/d0", "$defs": {\##(tangled)}}"##), vocabulary)
    }
    let deep = String(repeating: #"{"items": "#, count: 400) + "{}" + String(repeating: "}", count: 400)
    expectAttuneError(containing: "levels") { _ = try Guide(jsonSchema: JSON.parse(deep), vocabulary) }
    let own = try JSON.parse(##"{"anyOf": [{"$ref": "#"}, {"type": "null"}]}"##)
    let guide = try Guide(jsonSchema: own, vocabulary)
    #expect(try guide.mask(guide.start).population >= 1)
  }
}

/// Enough of JSON Schema for the tests: the standard's words, not the compiler's.
struct Validator {
  let root: JSON

  func problem(_ value: JSON, _ schema: JSON) -> String? {
    if let bool = schema.bool { return bool ? nil : "nothing is allowed" }
    for (key, rule) in schema.object!.entries {
      if let problem = problem(value, key, rule, schema) { return "\(key): \(problem)" }
    }
    return nil
  }

  private func problem(_ value: JSON, _ key: String, _ rule: JSON, _ schema: JSON) -> String? {
    func require(_ condition: Bool) -> String? { condition ? nil : "\(value.text()) against \(rule.text())" }
    switch key {
    case "type": return require((rule.array ?? [rule]).contains { SchemaCompiler.type(of: value).contains($0.string!) })
    case "enum": return require(rule.array!.contains(value))
    case "const": return require(rule == value)
    case "minimum": return value.double.flatMap { require($0 >= rule.double!) }
    case "maximum": return value.double.flatMap { require($0 <= rule.double!) }
    case "exclusiveMinimum": return value.double.flatMap { require($0 > rule.double!) }
    case "minLength": return value.string.flatMap { require($0.unicodeScalars.count >= rule.int!) }
    case "maxLength": return value.string.flatMap { require($0.unicodeScalars.count <= rule.int!) }
    case "pattern":
      return value.string.flatMap { text in
        require(text.range(of: rule.string!, options: .regularExpression) != nil)
      }
    case "format": return value.string.flatMap { require(isOf(rule.string!, $0)) }
    case "minItems": return value.array.flatMap { require($0.count >= rule.int!) }
    case "maxItems": return value.array.flatMap { require($0.count <= rule.int!) }
    case "prefixItems":
      return value.array.flatMap { items in zip(items, rule.array!).lazy.compactMap { problem($0, $1) }.first }
    case "items":
      let first = schema["prefixItems"]?.array?.count ?? 0
      return value.array.flatMap { $0.dropFirst(first).lazy.compactMap { problem($0, rule) }.first }
    case "required":
      return value.object.flatMap { object in require(rule.array!.allSatisfy { object[$0.string!] != nil }) }
    case "properties":
      return value.object.flatMap { object in
        object.entries.lazy.compactMap { key, value in rule[key].flatMap { problem(value, $0) } }.first
      }
    case "additionalProperties":
      return value.object.flatMap { object in
        object.entries.lazy.filter { schema["properties"]?[$0.0] == nil }.compactMap { problem($1, rule) }.first
      }
    case "anyOf": return require(rule.array!.contains { problem(value, $0) == nil })
    case "oneOf": return require(rule.array!.filter { problem(value, $0) == nil }.count == 1)
    case "allOf": return rule.array!.lazy.compactMap { problem(value, $0) }.first
    case "$ref":
      let name = rule.string!.split(separator: "/").last.map(String.init) ?? ""
      return problem(value, root["$defs"]![name]!)
    case "$defs": return nil
    default: return "the validator does not know it"
    }
  }

  private func isOf(_ format: String, _ text: String) -> Bool {
    switch format {
    case "uuid": return UUID(uuidString: text) != nil
    case "email": return text.split(separator: "@").count == 2
    case "date":
      let formatter = DateFormatter()
      formatter.locale = Locale(identifier: "en_US_POSIX")
      formatter.timeZone = TimeZone(identifier: "UTC")
      formatter.dateFormat = "yyyy-MM-dd"
      formatter.isLenient = false
      return text.count == 10 && (text.hasPrefix("0") || formatter.date(from: text) != nil)
    default: return text.contains("T")
    }
  }
}
