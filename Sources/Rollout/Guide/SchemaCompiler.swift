import Core

/// Turns a JSON schema into the set of texts that a guide allows. Every text in it is valid under the schema; where the
/// schema leaves more open than an automaton can hold, the set is smaller:
///
/// - Keys stand in the order of `properties`, then the additional ones. With `properties` and no `additionalProperties`
///   there are no others, and with `prefixItems` and no `items` no further items.
/// - Free values (`{}`, `true`, `{"type": "object"}`) nest at most `freeDepth` deep.
/// - A definition may appear inside itself at most `recursionDepth` times; what would need more is left out.
/// - Strings, numbers and spaces are spelled as `JSONSyntax` says.
///
/// Known: type, enum, const, properties, required, additionalProperties, items, prefixItems, minItems, maxItems,
/// minLength, maxLength, pattern (a search, as the standard has it), format (date, time, date-time, uuid, email, ipv4),
/// minimum, maximum, exclusiveMinimum and exclusiveMaximum of integers, anyOf, oneOf of alternatives that exclude each
/// other, allOf of mappings, $ref to a place in the schema. Words that only describe are passed over; every other is
/// refused.
struct SchemaCompiler {
  /// Lists and mappings inside each other in a free value.
  static let freeDepth = 4
  /// How often a definition may be inside itself.
  static let recursionDepth = 4
  /// Schemas inside schemas, `$ref` followed.
  static let deepest = 200
  /// Schemas in all, `$ref` followed.
  static let largest = 100_000

  static let annotations: Set = [
    "title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "$defs", "definitions",
    "$anchor", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType",
  ]
  static let objectKeywords: Set = ["properties", "required", "additionalProperties"]
  static let arrayKeywords: Set = ["items", "prefixItems", "minItems", "maxItems"]
  static let stringKeywords: Set = ["minLength", "maxLength", "pattern", "format"]
  static let numberKeywords: Set = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
  static let combiningKeywords: Set = ["anyOf", "oneOf", "allOf", "$ref", "enum", "const", "type"]
  static let types = ["object", "array", "string", "number", "integer", "boolean", "null"]
  private static let known = annotations.union(objectKeywords).union(arrayKeywords).union(stringKeywords)
    .union(numberKeywords).union(combiningKeywords)
  /// Words of the standard that are not supported, and what to use instead.
  private static let unsupported: [String: String] = [
    "not": "say what is allowed with enum or anyOf", "if": "use anyOf", "then": "use anyOf", "else": "use anyOf",
    "patternProperties": "use properties or additionalProperties", "propertyNames": "use properties",
    "minProperties": "use required", "maxProperties": "use properties with additionalProperties: false",
    "dependentRequired": "use anyOf", "dependentSchemas": "use anyOf", "dependencies": "use anyOf",
    "unevaluatedProperties": "use additionalProperties", "unevaluatedItems": "use items", "contains": "use prefixItems",
    "minContains": "use prefixItems", "maxContains": "use prefixItems", "uniqueItems": "leave it out",
    "multipleOf": "use enum or a pattern", "additionalItems": "use prefixItems and items", "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
  ]

  let root: JSON
  let file: String
  private var parts = 0
  private var depth = 0
  private var active: [String: Int] = [:]

  private init(_ root: JSON, file: String) {
    self.root = root
    self.file = file
  }

  /// - Parameter file: the name that errors carry.
  static func compile(_ schema: JSON, file: String) throws -> GuideSyntax {
    var compiler = SchemaCompiler(schema, file: file)
    return try compiler.compile(schema, at: "#")
  }

  func refusal(_ message: String, _ value: JSON, at path: String, hint: String? = nil) -> AttuneError {
    .request(
      "\(path): \(message)", at: value.position == .none && file.isEmpty ? nil : value.location(in: file), hint: hint)
  }

  mutating func compile(_ schema: JSON, at path: String) throws -> GuideSyntax {
    parts += 1
    depth += 1
    defer { depth -= 1 }
    guard parts <= Self.largest, depth <= Self.deepest else {
      throw refusal(
        "the schema unfolds to more than \(Self.largest) parts or \(Self.deepest) levels", schema, at: path,
        hint: "definitions that are inside each other many times grow quickly: name fewer of them in one")
    }
    if let bool = schema.bool { return bool ? JSONSyntax.free(depth: Self.freeDepth) : .nothing }
    guard let object = schema.object else {
      throw refusal("found \(schema.kind), a schema (a mapping, true or false) was expected", schema, at: path)
    }
    for (key, value) in object.entries where !Self.known.contains(key) { try refuseUnknown(key, value, at: path) }
    if object["$ref"] != nil { return try reference(schema, at: path) }
    if object["const"] != nil || object["enum"] != nil { return try values(schema, at: path) }
    for key in ["anyOf", "oneOf", "allOf"] where object[key] != nil {
      return try combination(key, schema, at: path)
    }
    return try typed(schema, at: path)
  }

  private func refuseUnknown(_ key: String, _ value: JSON, at path: String) throws {
    if let instead = Self.unsupported[key] {
      // These say nothing at these values.
      if key == "uniqueItems", value.bool == false { return }
      if key == "minProperties", value.int == 0 { return }
      throw refusal("the keyword \"\(key)\" is not supported", value, at: path, hint: instead)
    }
    throw refusal(
      "the keyword \"\(key)\" is not known", value, at: path,
      hint: nearestName(to: key, among: Self.known.sorted()).map { "did you mean \"\($0)\"?" })
  }

  /// Refuses every word beside `keywords` that is no annotation.
  func requireOnly(_ keywords: Set<String>, in schema: JSON, at path: String) throws {
    for (key, value) in schema.object!.entries where !keywords.contains(key) && !Self.annotations.contains(key) {
      throw refusal(
        "\"\(key)\" beside \(keywords.sorted().map { "\"\($0)\"" }.joined(separator: " and ")) is not supported", value,
        at: path, hint: "put all of it into one schema")
    }
  }

  // MARK: References

  private mutating func reference(_ schema: JSON, at path: String) throws -> GuideSyntax {
    try requireOnly(["$ref"], in: schema, at: path)
    let (name, target) = try resolve(schema, at: path)
    active[name, default: 0] += 1
    defer { active[name]! -= 1 }
    // One is the definition itself, the others are inside it.
    if active[name]! > Self.recursionDepth + 1 { return .nothing }
    return try compile(target, at: name)
  }

  /// What a schema with `$ref` points at.
  func resolve(_ schema: JSON, at path: String) throws -> (name: String, target: JSON) {
    let reference = schema["$ref"]!
    guard let name = reference.string, name.hasPrefix("#") else {
      throw refusal(
        "$ref is \(reference.text()), a place in this schema was expected", reference, at: path,
        hint: "write \"#/$defs/NAME\"")
    }
    var place = root
    for part in name.dropFirst().split(separator: "/") {
      let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
      guard let next = place[key] ?? Int(key).flatMap({ place[$0] }) else {
        let names = (root["$defs"] ?? root["definitions"])?.object?.keys ?? []
        throw refusal(
          "$ref is \"\(name)\", but there is no \"\(key)\"", reference, at: path,
          hint: nearestName(to: key, among: names).map { "did you mean \"\($0)\"?" })
      }
      place = next
    }
    return (name, place)
  }

  // MARK: Types

  /// The names in `type`; without one, those that the other words are about, or all.
  func types(of schema: JSON, at path: String) throws -> [String]? {
    if let type = schema["type"] {
      let names = type.array ?? [type]
      guard !names.isEmpty else { throw refusal("type is an empty list, a type was expected", type, at: path) }
      return try names.map { name in
        guard let text = name.string, Self.types.contains(text) else {
          throw refusal(
            "type is \(name.text()), one of \(Self.types.joined(separator: ", ")) was expected", name, at: path,
            hint: name.string.flatMap { nearestName(to: $0, among: Self.types) }.map { "did you mean \"\($0)\"?" })
        }
        return text
      }
    }
    let keys = Set(schema.object?.keys ?? [])
    var found: [String] = []
    if !keys.isDisjoint(with: Self.objectKeywords) { found.append("object") }
    if !keys.isDisjoint(with: Self.arrayKeywords) { found.append("array") }
    if !keys.isDisjoint(with: Self.stringKeywords) { found.append("string") }
    if !keys.isDisjoint(with: Self.numberKeywords) { found.append("number") }
    return found.isEmpty ? nil : found
  }

  private mutating func typed(_ schema: JSON, at path: String) throws -> GuideSyntax {
    guard let types = try types(of: schema, at: path) else { return JSONSyntax.free(depth: Self.freeDepth) }
    var parts: [GuideSyntax] = []
    for type in types {
      switch type {
      case "object": parts.append(try object(schema, at: path))
      case "array": parts.append(try array(schema, at: path))
      case "string": parts.append(try string(schema, at: path))
      case "integer": parts.append(try integer(schema, at: path))
      case "number": parts.append(try number(schema, at: path))
      case "boolean": parts.append(JSONSyntax.boolean)
      default: parts.append(.literal("null"))
      }
    }
    return parts.count == 1 ? parts[0] : .choice(parts)
  }

  /// enum and const.
  private func values(_ schema: JSON, at path: String) throws -> GuideSyntax {
    try requireOnly(["enum", "const", "type"], in: schema, at: path)
    var values = schema["const"].map { [$0] }
    if let list = schema["enum"] {
      guard let array = list.array, !array.isEmpty else {
        throw refusal("enum is \(list.text()), a list of values was expected", list, at: path)
      }
      values = values.map { $0.filter(array.contains) } ?? array
    }
    if schema["type"] != nil, let types = try types(of: schema, at: path) {
      values = values?.filter { Self.type(of: $0).contains { types.contains($0) } }
    }
    guard let values, !values.isEmpty else {
      throw refusal("no value is allowed: enum, const and type exclude each other", schema, at: path)
    }
    return .choice(values.map(JSONSyntax.literal))
  }

  /// The types that a value has: a whole number is an integer and a number.
  static func type(of value: JSON) -> [String] {
    switch value.value {
    case .null: ["null"]
    case .bool: ["boolean"]
    case .int: ["integer", "number"]
    case .double: value.int == nil ? ["number"] : ["integer", "number"]
    case .string: ["string"]
    case .array: ["array"]
    case .object: ["object"]
    }
  }

  // MARK: Numbers

  private func integer(_ schema: JSON, at path: String) throws -> GuideSyntax {
    var low: Int?
    var high: Int?
    func bound(_ key: String, _ rounding: FloatingPointRoundingRule) throws -> Int? {
      guard let value = schema[key] else { return nil }
      guard let number = value.double, let whole = value.int ?? Int(exactly: number.rounded(rounding)) else {
        throw refusal("\(key) is \(value.text()), a number that fits 64 bits was expected", value, at: path)
      }
      return whole
    }
    if let value = try bound("minimum", .up) { low = value }
    if let value = try bound("exclusiveMinimum", .down) { low = max(low ?? .min, value == .max ? .max : value + 1) }
    if let value = try bound("maximum", .down) { high = value }
    if let value = try bound("exclusiveMaximum", .up) { high = min(high ?? .max, value == .min ? .min : value - 1) }
    let from = low ?? min(-IntegerRange.widest, high ?? 0)
    let to = high ?? max(IntegerRange.widest, low ?? 0)
    guard from <= to else { throw refusal("no integer is from \(from) to \(to)", schema, at: path) }
    return IntegerRange.syntax(from, to)
  }

  private func number(_ schema: JSON, at path: String) throws -> GuideSyntax {
    for key in Self.numberKeywords.sorted() {
      if let value = schema[key] {
        throw refusal(
          "\"\(key)\" of a number is not supported, of an integer it is", value, at: path,
          hint: "write \"type\": \"integer\", or a string with a pattern")
      }
    }
    return JSONSyntax.number
  }

  /// A count that a keyword names.
  func count(_ key: String, _ schema: JSON, at path: String) throws -> Int? {
    guard let value = schema[key] else { return nil }
    guard let count = value.int, count >= 0 else {
      throw refusal("\(key) is \(value.text()), a whole number of 0 or more was expected", value, at: path)
    }
    return count
  }
}
