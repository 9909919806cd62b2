import Core

extension JSONSchema {
  /// The first demand that a value does not meet.
  struct Violation {
    /// Steps from the value's root, the innermost first.
    var steps: [String] = []
    var words: String

    var description: String { "$" + steps.reversed().joined() + ": " + words }

    func inside(_ step: String) -> Violation { Violation(steps: steps + [step], words: words) }
  }

  /// Checking takes too long.
  struct Exhausted: Error {
    var words: String
  }

  /// The first violation, or nil for a valid value.
  ///
  /// - Throws: `Exhausted`, also for a pattern that has no end.
  func violation(_ value: JSON, isCancelled: @escaping () -> Bool = { false }) throws -> Violation? {
    var checker = Checker(nodes: nodes, isCancelled: isCancelled)
    return try checker.check(JSONSchema.root, value, depth: 0)
  }

  private struct Checker {
    let nodes: [Node]
    let isCancelled: () -> Bool
    var steps = 0
    private static let mostSteps = 1_000_000
    private static let deepest = 600

    init(nodes: [Node], isCancelled: @escaping () -> Bool) {
      self.nodes = nodes
      self.isCancelled = isCancelled
    }

    mutating func check(_ index: Int, _ value: JSON, depth: Int) throws -> Violation? {
      let node = nodes[index]
      if let constant = node.constant { return constant ? nil : Violation(words: "nothing is allowed here") }
      guard depth < Self.deepest else { throw Exhausted(words: "the schema and the value are nested too deeply") }
      steps += 1
      if steps > Self.mostSteps || (steps & 0xFFF == 0 && isCancelled()) {
        throw Exhausted(words: "the schema has too many alternatives for this value")
      }
      if let reference = node.reference, let found = try check(reference, value, depth: depth + 1) { return found }
      if let types = node.types, !types.contains(where: { $0.accepts(value) }) {
        let expected = types.map(\.rawValue).joined(separator: " or ")
        return Violation(words: "found \(Self.words(value)), expected \(expected)")
      }
      if let values = node.values, !values.contains(value) {
        let expected = values.prefix(6).map { $0.text().quoted(40) }.joined(separator: ", ")
        return Violation(words: "found \(Self.words(value)), expected \(values.count == 1 ? "" : "one of ")\(expected)")
      }
      let own: Violation? =
        switch value.value {
        case .int, .double: number(node, value)
        case .string(let text): try string(node, text)
        case .array(let items): try array(node, items, depth)
        case .object(let object): try mapping(node, object, depth)
        case .null, .bool: nil
        }
      if let own { return own }
      return try combined(node, value, depth)
    }

    private static func words(_ value: JSON) -> String {
      switch value.value {
      case .array, .object: value.kind
      default: value.text().quoted(40)
      }
    }

    private func number(_ node: Node, _ value: JSON) -> Violation? {
      guard let number = value.double else { return nil }
      if let minimum = node.minimum, number < minimum {
        return Violation(words: "\(value.text()) is less than \(minimum)")
      }
      if let maximum = node.maximum, number > maximum {
        return Violation(words: "\(value.text()) is more than \(maximum)")
      }
      if let above = node.above, number <= above { return Violation(words: "\(value.text()) is not above \(above)") }
      if let below = node.below, number >= below { return Violation(words: "\(value.text()) is not below \(below)") }
      if let divisor = node.divisor {
        let quotient = number / divisor
        // 0.3 is a multiple of 0.1, although the quotient of the two doubles is not whole.
        guard quotient.isFinite, abs(quotient - quotient.rounded()) <= 1e-9 * max(1, abs(quotient)) else {
          return Violation(words: "\(value.text()) is no multiple of \(divisor)")
        }
      }
      return nil
    }

    private func string(_ node: Node, _ text: String) throws -> Violation? {
      if node.lengths.minimum != nil || node.lengths.maximum != nil,
        let fault = node.lengths.fault(text.unicodeScalars.count, "code points")
      {
        return Violation(words: fault)
      }
      if let pattern = node.pattern, try !matches(pattern, text) {
        return Violation(words: "\(text.quoted()) does not match \(pattern.source.quoted())")
      }
      if let format = node.format, !format.accepts(text) {
        return Violation(words: "\(text.quoted()) is no \(format.rawValue)")
      }
      return nil
    }

    private func matches(_ pattern: Pattern, _ text: String) throws -> Bool {
      do { return try pattern.matches(text, isCancelled: isCancelled) } catch let error as Pattern.Exhausted {
        throw Exhausted(words: error.words)
      }
    }

    private mutating func array(_ node: Node, _ items: [JSON], _ depth: Int) throws -> Violation? {
      if let fault = node.itemCounts.fault(items.count, "items") { return Violation(words: fault) }
      for (i, item) in items.enumerated() {
        let schema = i < node.prefixItems.count ? node.prefixItems[i] : node.items
        if let schema, let found = try check(schema, item, depth: depth + 1) { return found.inside("[\(i)]") }
      }
      if node.isUnique {
        var seen: [String: Int] = [:]
        for (i, item) in items.enumerated() {
          let key = item.canonicalText
          if let other = seen[key] { return Violation(words: "the items \(other) and \(i) are equal") }
          seen[key] = i
        }
      }
      if let contains = node.contains {
        var number = 0
        for item in items where try check(contains, item, depth: depth + 1) == nil { number += 1 }
        if let fault = node.containing.fault(number, "items of the kind that it contains") {
          return Violation(words: fault)
        }
      }
      return nil
    }

    private mutating func mapping(_ node: Node, _ object: JSON.Object, _ depth: Int) throws -> Violation? {
      for key in node.required where object[key] == nil {
        return Violation(words: "the key \(key.quoted()) is missing")
      }
      if let fault = node.propertyCounts.fault(object.count, "keys") { return Violation(words: fault) }
      for (key, required) in node.dependent where object[key] != nil {
        for other in required where object[other] == nil {
          return Violation(words: "the key \(other.quoted()) is missing, which \(key.quoted()) demands")
        }
      }
      for (key, value) in object.entries {
        let step = "." + (key.isEmpty ? "\"\"" : key)
        if let names = node.propertyNames, let found = try check(names, .string(key), depth: depth + 1) {
          return Violation(words: "the key \(key.quoted()) is not allowed: \(found.words)")
        }
        var isKnown = false
        if let schema = node.properties[key]?.int {
          isKnown = true
          if let found = try check(schema, value, depth: depth + 1) { return found.inside(step) }
        }
        for (pattern, schema) in node.patternProperties where try matches(pattern, key) {
          isKnown = true
          if let found = try check(schema, value, depth: depth + 1) { return found.inside(step) }
        }
        if !isKnown, let schema = node.additional {
          if nodes[schema].constant == false { return Violation(words: "the key \(key.quoted()) is not allowed") }
          if let found = try check(schema, value, depth: depth + 1) { return found.inside(step) }
        }
      }
      return nil
    }

    private mutating func combined(_ node: Node, _ value: JSON, _ depth: Int) throws -> Violation? {
      for schema in node.allOf {
        if let found = try check(schema, value, depth: depth + 1) { return found }
      }
      if !node.anyOf.isEmpty {
        var first: Violation?
        var isValid = false
        for schema in node.anyOf {
          guard let found = try check(schema, value, depth: depth + 1) else {
            isValid = true
            break
          }
          first = first ?? found
        }
        if !isValid, let first {
          return Violation(
            words: "none of \(node.anyOf.count) alternatives fits; the first: \(first.description)")
        }
      }
      if !node.oneOf.isEmpty {
        var first: Violation?
        var fitting: [Int] = []
        for (i, schema) in node.oneOf.enumerated() {
          if let found = try check(schema, value, depth: depth + 1) {
            first = first ?? found
          } else {
            fitting.append(i)
          }
        }
        if fitting.count > 1 {
          return Violation(words: "the alternatives \(fitting[0]) and \(fitting[1]) fit, one was expected")
        }
        if fitting.isEmpty, let first {
          return Violation(
            words: "none of \(node.oneOf.count) alternatives fits; the first: \(first.description)")
        }
      }
      if let not = node.not, try check(not, value, depth: depth + 1) == nil {
        return Violation(words: "found what the schema excludes")
      }
      if let condition = node.condition {
        let holds = try check(condition.test, value, depth: depth + 1) == nil
        if let branch = holds ? condition.then : condition.otherwise {
          return try check(branch, value, depth: depth + 1)
        }
      }
      return nil
    }
  }
}

extension JSON {
  /// Equal texts for equal values: keys sorted, whole numbers without a fraction.
  var canonicalText: String { canonical.text(JSON.Style(sortKeys: true)) }

  private var canonical: JSON {
    switch value {
    case .double(let x):
      if let whole = Int64(exactly: x) { return .int(whole) }
      return self
    case .array(let items): return .array(items.map(\.canonical))
    case .object(let object): return .object(object.entries.map { ($0, $1.canonical) })
    default: return self
    }
  }
}
