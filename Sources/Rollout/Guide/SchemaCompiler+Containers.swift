import Core

extension SchemaCompiler {
  mutating func object(_ schema: JSON, at path: String) throws -> GuideSyntax {
    let properties = schema["properties"]
    guard properties == nil || properties?.object != nil else {
      throw refusal("properties is \(properties!.kind), a mapping was expected", properties!, at: path)
    }
    let required = try requiredKeys(schema, at: path)
    let additional = schema["additionalProperties"]
    let declared = (properties?.object?.keys ?? []) + required.filter { properties?[$0] == nil }
    var members: [GuideSyntax.Member] = []
    for key in declared {
      let value: GuideSyntax
      if let property = properties?[key] {
        value = try compile(property, at: path + "/properties/" + key)
      } else if let additional {
        guard additional.bool != false else {
          throw refusal(
            "\"\(key)\" is required, but neither in properties nor allowed by additionalProperties", schema, at: path,
            hint: nearestName(to: key, among: properties?.object?.keys ?? []).map { "did you mean \"\($0)\"?" })
        }
        value = try compile(additional, at: path + "/additionalProperties")
      } else {
        value = JSONSyntax.free(depth: Self.freeDepth)
      }
      let isOptional = !required.contains(key)
      // What recursion cannot reach any more is left out if it may be.
      if value.isNothing {
        if isOptional { continue }
        return .nothing
      }
      members.append(.init(syntax: JSONSyntax.member(JSONSyntax.literal(key), value), isOptional: isOptional))
    }
    var rest: GuideSyntax?
    if let additional {
      let value = try compile(additional, at: path + "/additionalProperties")
      if !value.isNothing { rest = JSONSyntax.member(JSONSyntax.key(otherThan: declared), value) }
    } else if declared.isEmpty, properties == nil {
      rest = JSONSyntax.member(JSONSyntax.string, JSONSyntax.free(depth: Self.freeDepth - 1))
    }
    return JSONSyntax.object(members, rest: rest)
  }

  func requiredKeys(_ schema: JSON, at path: String) throws -> [String] {
    guard let value = schema["required"] else { return [] }
    guard let keys = value.array?.map(\.string), keys.allSatisfy({ $0 != nil }) else {
      throw refusal("required is \(value.text()), a list of keys was expected", value, at: path)
    }
    var seen: Set<String> = []
    return keys.map { $0! }.filter { seen.insert($0).inserted }
  }

  mutating func array(_ schema: JSON, at path: String) throws -> GuideSyntax {
    let least = try count("minItems", schema, at: path) ?? 0
    var most = try count("maxItems", schema, at: path)
    if let most, most < least {
      throw refusal("minItems is \(least) and maxItems \(most): no list is both", schema, at: path)
    }
    var prefix: [GuideSyntax] = []
    if let value = schema["prefixItems"] {
      guard let items = value.array else {
        throw refusal("prefixItems is \(value.kind), a list of schemas was expected", value, at: path)
      }
      for (i, item) in items.prefix(most ?? .max).enumerated() {
        let syntax = try compile(item, at: "\(path)/prefixItems/\(i)")
        if syntax.isNothing {
          most = i
          break
        }
        prefix.append(syntax)
      }
    }
    var rest: GuideSyntax?
    if let items = schema["items"] {
      guard items.array == nil else {
        throw refusal("items is a list, a schema was expected", items, at: path, hint: "write \"prefixItems\"")
      }
      let syntax = try compile(items, at: path + "/items")
      rest = syntax.isNothing ? nil : syntax
    } else if prefix.isEmpty || least > prefix.count {
      rest = JSONSyntax.free(depth: Self.freeDepth - 1)
    }
    if rest == nil { most = min(most ?? .max, prefix.count) }
    if let most, most < least { return .nothing }
    return .sequence([.literal("["), items(prefix, rest, least, most), .literal("]")])
  }

  private func items(_ prefix: [GuideSyntax], _ rest: GuideSyntax?, _ least: Int, _ most: Int?) -> GuideSyntax {
    if let rest, prefix.isEmpty {
      if most == 0 { return .empty }
      if least == 0, most == nil { return .members([], rest: rest, separator: JSONSyntax.comma) }
      let more = GuideSyntax.repeated(
        .sequence([JSONSyntax.comma, rest]), least: max(least - 1, 0), most: most.map { $0 - 1 })
      let filled = GuideSyntax.sequence([rest, more])
      return least == 0 ? .optional(filled) : filled
    }
    var tail = GuideSyntax.empty
    if let rest, most.map({ $0 > prefix.count }) ?? true {
      tail = .repeated(
        .sequence([JSONSyntax.comma, rest]), least: max(least - prefix.count, 0), most: most.map { $0 - prefix.count })
    }
    // From the last item on: each may be missing, with all behind it, where enough are there.
    for (i, item) in prefix.enumerated().reversed() {
      tail = .sequence(i == 0 ? [item, tail] : [JSONSyntax.comma, item, tail])
      if i >= least { tail = .optional(tail) }
    }
    return tail
  }
}
