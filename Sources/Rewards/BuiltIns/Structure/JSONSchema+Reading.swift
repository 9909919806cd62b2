import Core

extension JSONSchema {
  /// - Throws: `Malformed` for a keyword that is not known or not read, or a value that it cannot have.
  init(_ json: JSON) throws {
    var reader = Reader()
    _ = try reader.node(json, "$", depth: 0)
    try reader.resolve()
    nodes = reader.nodes
  }

  private static let annotations: Set<String> = [
    "$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
  ]
  private static let keywords: [String] = [
    "$ref", "$defs", "definitions", "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "format", "prefixItems", "items",
    "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "properties",
    "patternProperties", "additionalProperties", "propertyNames", "required", "dependentRequired", "minProperties",
    "maxProperties", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
  ]

  private struct Reader {
    var nodes: [Node] = []
    private var definitions = JSON.Object()
    private var references: [(node: Int, target: String, path: String)] = []
    private static let deepest = 64

    mutating func node(_ json: JSON, _ path: String, depth: Int) throws -> Int {
      guard depth <= Self.deepest else {
        throw Malformed(path: path, words: "the schema is nested deeper than \(Self.deepest) levels")
      }
      let index = nodes.count
      nodes.append(Node())
      if let constant = json.bool {
        nodes[index].constant = constant
        return index
      }
      guard let object = json.object else {
        throw Malformed(path: path, words: "found \(json.kind), a mapping, true or false was expected")
      }
      // Definitions first: they may be anywhere in the text and are referred to from everywhere.
      for key in ["$defs", "definitions"] {
        guard let named = object[key] else { continue }
        guard depth == 0 else {
          throw Malformed(path: path, words: "'\(key)' is read at the root of a schema only")
        }
        for (name, schema) in try mapping(named, path + "." + key).entries {
          let place = "\(path).\(key).\(name)"
          definitions["#/\(key)/\(name)"] = .int(try node(schema, place, depth: depth + 1))
        }
      }
      for (key, value) in object.entries where !annotations.contains(key) {
        try keyword(key, value, index, "\(path).\(key)", depth, object)
      }
      return index
    }

    private mutating func keyword(
      _ key: String, _ value: JSON, _ index: Int, _ path: String, _ depth: Int, _ schema: JSON.Object
    ) throws {
      switch key {
      case "$defs", "definitions": break
      case "$ref": references.append((index, try text(value, path), path))
      case "type": nodes[index].types = try types(value, path)
      case "enum", "const":
        let allowed = key == "const" ? [value] : try list(value, path)
        nodes[index].values = nodes[index].values.map { $0.filter(allowed.contains) } ?? allowed
      case "minimum": nodes[index].minimum = try number(value, path)
      case "maximum": nodes[index].maximum = try number(value, path)
      case "exclusiveMinimum": nodes[index].above = try number(value, path)
      case "exclusiveMaximum": nodes[index].below = try number(value, path)
      case "multipleOf":
        let divisor = try number(value, path)
        guard divisor > 0 else { throw Malformed(path: path, words: "found \(divisor), more than 0 was expected") }
        nodes[index].divisor = divisor
      case "minLength": nodes[index].lengths.minimum = try count(value, path)
      case "maxLength": nodes[index].lengths.maximum = try count(value, path)
      case "pattern": nodes[index].pattern = try pattern(try text(value, path), path)
      case "format":
        let name = try text(value, path)
        guard let format = StringFormat(rawValue: name) else {
          let known = StringFormat.allCases.map(\.rawValue)
          throw Malformed(
            path: path, words: "the format '\(name)' is not checked here",
            hint: "formats are \(known.joined(separator: ", "))")
        }
        nodes[index].format = format
      case "prefixItems": nodes[index].prefixItems = try schemas(value, path, depth)
      case "items": nodes[index].items = try node(value, path, depth: depth + 1)
      case "contains": nodes[index].contains = try node(value, path, depth: depth + 1)
      case "minContains": nodes[index].containing.minimum = try count(value, path)
      case "maxContains": nodes[index].containing.maximum = try count(value, path)
      case "minItems": nodes[index].itemCounts.minimum = try count(value, path)
      case "maxItems": nodes[index].itemCounts.maximum = try count(value, path)
      case "uniqueItems": nodes[index].isUnique = try flag(value, path)
      case "properties":
        for (name, schema) in try mapping(value, path).entries {
          let child = try node(schema, "\(path).\(name)", depth: depth + 1)
          nodes[index].properties[name] = .int(child)
        }
      case "patternProperties":
        for (name, schema) in try mapping(value, path).entries {
          let compiled = try pattern(name, path)
          let child = try node(schema, "\(path).\(name)", depth: depth + 1)
          nodes[index].patternProperties.append((compiled, child))
        }
      case "additionalProperties": nodes[index].additional = try node(value, path, depth: depth + 1)
      case "propertyNames": nodes[index].propertyNames = try node(value, path, depth: depth + 1)
      case "required": nodes[index].required = try texts(value, path)
      case "dependentRequired":
        for (name, required) in try mapping(value, path).entries {
          nodes[index].dependent.append((name, try texts(required, "\(path).\(name)")))
        }
      case "minProperties": nodes[index].propertyCounts.minimum = try count(value, path)
      case "maxProperties": nodes[index].propertyCounts.maximum = try count(value, path)
      case "allOf": nodes[index].allOf = try schemas(value, path, depth)
      case "anyOf": nodes[index].anyOf = try schemas(value, path, depth)
      case "oneOf": nodes[index].oneOf = try schemas(value, path, depth)
      case "not": nodes[index].not = try node(value, path, depth: depth + 1)
      case "if":
        let test = try node(value, path, depth: depth + 1)
        func branch(_ key: String) throws -> Int? {
          try schema[key].map { try node($0, String(path.dropLast(2)) + key, depth: depth + 1) }
        }
        nodes[index].condition = (test, try branch("then"), try branch("else"))
      case "then", "else":
        // Read with its `if`; without one it demands nothing.
        break
      default:
        let near = nearestName(to: key, among: keywords)
        throw Malformed(
          path: path, words: "the keyword '\(key)' is not known here",
          hint: near.map { "did you mean '\($0)'?" } ?? "keywords are \(keywords.joined(separator: ", "))")
      }
    }

    mutating func resolve() throws {
      for reference in references {
        let target = reference.target.replacing("%24", with: "$").replacing("~1", with: "/").replacing("~0", with: "~")
        if target == "#" {
          nodes[reference.node].reference = JSONSchema.root
        } else if let index = definitions[target]?.int {
          nodes[reference.node].reference = index
        } else {
          let near = nearestName(to: target, among: definitions.keys)
          throw Malformed(
            path: reference.path, words: "'\(reference.target)' refers to nothing",
            hint: near.map { "did you mean '\($0)'?" } ?? "'#' and '#/$defs/NAME' are followed, other documents are not"
          )
        }
      }
    }

    // MARK: Values of keywords

    private mutating func schemas(_ value: JSON, _ path: String, _ depth: Int) throws -> [Int] {
      let items = try list(value, path)
      guard !items.isEmpty else { throw Malformed(path: path, words: "an empty list, one schema or more was expected") }
      var indices: [Int] = []
      for (i, item) in items.enumerated() { indices.append(try node(item, "\(path)[\(i)]", depth: depth + 1)) }
      return indices
    }

    private func types(_ value: JSON, _ path: String) throws -> [ValueType] {
      let names = value.string.map { [$0] } ?? value.array?.compactMap(\.string) ?? []
      guard !names.isEmpty, value.array.map({ $0.count == names.count }) ?? true else {
        throw Malformed(path: path, words: "found \(value.kind), the name of a type or a list of names was expected")
      }
      return try names.map { name in
        if let type = ValueType(rawValue: name) { return type }
        let known = ValueType.allCases.map(\.rawValue)
        let near = nearestName(to: name, among: known)
        throw Malformed(
          path: path, words: "'\(name)' is no type",
          hint: near.map { "did you mean '\($0)'?" } ?? "types are \(known.joined(separator: ", "))")
      }
    }

    private func pattern(_ source: String, _ path: String) throws -> Pattern {
      do { return try Pattern(source) } catch let error as Pattern.Malformed {
        throw Malformed(
          path: path,
          words: "\(source.quoted(100)) is no regular expression: \(error.words), at character \(error.place)")
      }
    }

    private func wrong(_ value: JSON, _ path: String, _ expected: String) -> Malformed {
      Malformed(path: path, words: "found \(value.kind), \(expected) was expected")
    }

    private func mapping(_ value: JSON, _ path: String) throws -> JSON.Object {
      guard let object = value.object else { throw wrong(value, path, "a mapping") }
      return object
    }

    private func list(_ value: JSON, _ path: String) throws -> [JSON] {
      guard let list = value.array else { throw wrong(value, path, "a list") }
      return list
    }

    private func text(_ value: JSON, _ path: String) throws -> String {
      guard let text = value.string else { throw wrong(value, path, "a string") }
      return text
    }

    private func texts(_ value: JSON, _ path: String) throws -> [String] {
      try list(value, path).map { try text($0, path) }
    }

    private func flag(_ value: JSON, _ path: String) throws -> Bool {
      guard let flag = value.bool else { throw wrong(value, path, "true or false") }
      return flag
    }

    private func number(_ value: JSON, _ path: String) throws -> Double {
      guard let number = value.double, number.isFinite else { throw wrong(value, path, "a number") }
      return number
    }

    private func count(_ value: JSON, _ path: String) throws -> Int {
      guard let count = value.int, count >= 0 else {
        throw Malformed(path: path, words: "found \(value.text().quoted(40)), a whole number of 0 or more was expected")
      }
      return count
    }
  }
}
