import Core

extension SchemaCompiler {
  /// anyOf, oneOf and allOf.
  mutating func combination(_ key: String, _ schema: JSON, at path: String) throws -> GuideSyntax {
    let list = schema[key]!
    guard let branches = list.array, !branches.isEmpty else {
      throw refusal("\(key) is \(list.text()), a list of schemas was expected", list, at: path)
    }
    if key == "allOf", branches.count > 1 || !isAlone(key, in: schema) {
      return try merged(schema, branches, at: path)
    }
    try requireOnly([key], in: schema, at: path)
    if key == "oneOf" {
      for (i, branch) in branches.enumerated() {
        for (j, other) in branches.enumerated().prefix(i) where try !areApart(branch, other, at: path) {
          throw refusal(
            "alternatives \(j) and \(i) of oneOf may both hold for one value, which oneOf forbids", list, at: path,
            hint: "use anyOf, or give both mappings a required property with a const")
        }
      }
    }
    return .choice(
      try branches.enumerated().map { i, branch in try compile(branch, at: "\(path)/\(key)/\(i)") })
  }

  private func isAlone(_ key: String, in schema: JSON) -> Bool {
    schema.object!.keys.allSatisfy { $0 == key || Self.annotations.contains($0) }
  }

  /// The follow-up of references at the top of a schema.
  private func followed(_ schema: JSON, at path: String) throws -> JSON {
    var schema = schema
    for _ in 0..<16 {
      guard schema["$ref"] != nil else { return schema }
      schema = try resolve(schema, at: path).target
    }
    return schema
  }

  // MARK: oneOf

  /// True if no value is of both schemas: by type, by enum and const, or by a required property with such.
  private func areApart(_ a: JSON, _ b: JSON, at path: String) throws -> Bool {
    let (a, b) = (try followed(a, at: path), try followed(b, at: path))
    if let first = values(of: a), let second = values(of: b) { return !first.contains(where: second.contains) }
    let (first, second) = (try possibleTypes(a, at: path), try possibleTypes(b, at: path))
    if first.isDisjoint(with: second) { return true }
    guard first.intersection(second) == ["object"] else { return false }
    let shared = Set(try requiredKeys(a, at: path)).intersection(try requiredKeys(b, at: path))
    return try shared.contains { key in
      guard let first = a["properties"]?[key], let second = b["properties"]?[key],
        let own = values(of: try followed(first, at: path)), let other = values(of: try followed(second, at: path))
      else { return false }
      return !own.contains(where: other.contains)
    }
  }

  private func values(of schema: JSON) -> [JSON]? { schema["const"].map { [$0] } ?? schema["enum"]?.array }

  private func possibleTypes(_ schema: JSON, at path: String) throws -> Set<String> {
    if let values = values(of: schema) { return Set(values.compactMap { Self.type(of: $0).first }) }
    guard schema.object != nil, schema["anyOf"] == nil, schema["oneOf"] == nil, schema["allOf"] == nil,
      let types = try types(of: schema, at: path)
    else { return Set(Self.types) }
    return Set(types.flatMap { $0 == "number" ? ["number", "integer"] : [$0] })
  }

  // MARK: allOf

  /// Mappings put together: the properties and required keys of all.
  private mutating func merged(_ schema: JSON, _ branches: [JSON], at path: String) throws -> GuideSyntax {
    var own = schema.object!
    own["allOf"] = nil
    var properties = JSON.Object()
    var required: [JSON] = []
    for part in [JSON(.object(own), at: schema.position)] + branches {
      let part = try followed(part, at: path)
      guard let object = part.object else {
        throw refusal("found \(part.kind) in allOf, a mapping was expected", part, at: path)
      }
      for (key, value) in object.entries where !Self.annotations.contains(key) {
        switch key {
        case "type" where value.string == "object": break
        case "properties":
          for (name, property) in value.object?.entries ?? JSON.Object().entries {
            if let other = properties[name], other != property {
              throw refusal(
                "allOf describes \"\(name)\" twice and differently", property, at: path, hint: "describe it once")
            }
            properties[name] = property
          }
        case "required": required += try requiredKeys(part, at: path).map { .string($0) }
        case "additionalProperties" where value.bool == true: break
        default:
          throw refusal(
            "\"\(key)\" in allOf is not supported: mappings with properties and required are put together", value,
            at: path, hint: "write one schema")
        }
      }
    }
    let whole: JSON = [
      "type": "object", "properties": .object(Array(properties.entries)), "required": .array(required),
    ]
    return try compile(JSON(whole.value, at: schema.position), at: path)
  }
}
