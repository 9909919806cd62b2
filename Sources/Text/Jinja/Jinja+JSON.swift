import Core

/// `tojson` and `pprint`.
extension Jinja.Interpreter {
  private struct JSONStyle {
    var indentation: String?
    var item = ", "
    var key = ": "
    var ascii = false
    var sorts = false
  }

  /// `json.dumps(value, ...)`.
  func toJSON(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["ensure_ascii", "indent", "separators", "sort_keys"], of: "tojson")
    var style = JSONStyle()
    style.ascii = values[0]?.isTrue ?? false
    style.sorts = values[3]?.isTrue ?? false
    switch values[1] {
    case nil, .some(.none): break
    case .string(let text)?: style.indentation = text
    case let width?:
      let count = try integerArgument(width, default: 0, "indent")
      guard count <= 1024 else { throw failure("an indent above 1024") }
      style.indentation = String(repeating: " ", count: max(0, count))
    }
    if style.indentation != nil { style.item = "," }
    if let separators = values[2], !separators.isNone {
      let pair = try items(of: separators)
      guard pair.count == 2 else { throw failure("separators must be a pair of strings") }
      style.item = try textArgument(pair[0], default: "", "a separator")
      style.key = try textArgument(pair[1], default: "", "a separator")
    }
    var out = ""
    try writeJSON(value, style, level: 0, into: &out)
    return .string(out)
  }

  private func writeJSON(_ value: Value, _ style: JSONStyle, level: Int, into out: inout String) throws {
    try step()
    let before = out.utf8.count
    switch value {
    case .none: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .int(let value): out += String(value)
    case .double(let value): out += jsonText(of: value)
    case .string(let text): JSON.quote(text, into: &out, ascii: style.ascii)
    case .list(let items), .tuple(let items):
      if items.values.isEmpty {
        out += "[]"
        break
      }
      out += "["
      for (index, item) in items.values.enumerated() {
        if index > 0 { out += style.item }
        try newLine(style, level + 1, into: &out)
        try writeJSON(item, style, level: level + 1, into: &out)
      }
      try newLine(style, level, into: &out)
      out += "]"
    case .dict(let dict):
      if dict.count == 0 {
        out += "{}"
        break
      }
      out += "{"
      var entries = try zip(dict.keys, dict.values).map { (try key($0), $1) }
      if style.sorts { entries.sort { $0.0.unicodeScalars.lexicographicallyPrecedes($1.0.unicodeScalars) } }
      for (index, (key, item)) in entries.enumerated() {
        if index > 0 { out += style.item }
        try newLine(style, level + 1, into: &out)
        JSON.quote(key, into: &out, ascii: style.ascii)
        out += style.key
        try writeJSON(item, style, level: level + 1, into: &out)
      }
      try newLine(style, level, into: &out)
      out += "}"
    default: throw failure("Object of type \(value.typeName) is not JSON serializable")
    }
    try charge(out.utf8.count - before)
  }

  private func newLine(_ style: JSONStyle, _ level: Int, into out: inout String) throws {
    guard let indentation = style.indentation else { return }
    let (size, overflow) = indentation.utf8.count.multipliedReportingOverflow(by: level)
    try charge(overflow ? .max : size)
    out += "\n" + String(repeating: indentation, count: level)
  }

  private func key(_ value: Value) throws -> String {
    switch value {
    case .string(let text): return text
    case .bool(let value): return value ? "true" : "false"
    case .none: return "null"
    case .int(let value): return String(value)
    case .double(let value): return jsonText(of: value)
    default: throw failure("keys must be str, int, float, bool or None, not \(value.typeName)")
    }
  }

  private func jsonText(of value: Double) -> String {
    value.isNaN ? "NaN" : value.isInfinite ? value < 0 ? "-Infinity" : "Infinity" : pythonText(of: value)
  }

  // MARK: pprint

  /// `pprint.pformat(value)`: as `repr` with sorted keys, over several lines where one of 80 columns is too short.
  func prettyRepresentation(of value: Value) throws -> String {
    var out = ""
    try pretty(value, indent: 0, allowance: 0, into: &out)
    return out
  }

  private func pretty(_ value: Value, indent: Int, allowance: Int, into out: inout String) throws {
    let flat = try representation(of: sortedKeys(value))
    guard flat.unicodeScalars.count > 80 - indent - allowance else {
      out += flat
      return
    }
    func rows(_ open: String, _ close: String, _ count: Int, _ row: (Int, Int, inout String) throws -> Void) throws {
      out += open
      for index in 0..<count {
        try charge(indent + 1)
        if index > 0 { out += ",\n" + String(repeating: " ", count: indent + 1) }
        try row(index, index == count - 1 ? allowance + close.count : 1, &out)
      }
      out += close
    }
    switch try sortedKeys(value) {
    case .list(let items):
      try rows("[", "]", items.values.count) {
        try pretty(items.values[$0], indent: indent + 1, allowance: $1, into: &$2)
      }
    case .tuple(let items):
      try rows("(", items.values.count == 1 ? ",)" : ")", items.values.count) {
        try pretty(items.values[$0], indent: indent + 1, allowance: $1, into: &$2)
      }
    case .dict(let dict):
      try rows("{", "}", dict.count) { index, allowance, out in
        let key = try representation(of: dict.keys[index])
        out += key + ": "
        try pretty(
          dict.values[index], indent: indent + key.unicodeScalars.count + 3, allowance: allowance, into: &out)
      }
    default: out += flat
    }
  }

  private func sortedKeys(_ value: Value) throws -> Value {
    switch value {
    case .dict(let dict):
      let names = try dict.keys.map { try text(of: $0) }
      var result = Jinja.Dict()
      for index in dict.keys.indices.sorted(by: {
        names[$0].unicodeScalars.lexicographicallyPrecedes(names[$1].unicodeScalars)
      }) {
        try result.set(dict.keys[index], hash(dict.keys[index]), sortedKeys(dict.values[index]))
      }
      return .dict(result)
    case .list(let items):
      try step(items.values.count)
      return .list(try Jinja.Items(items.values.map(sortedKeys)))
    case .tuple(let items):
      try step(items.values.count)
      return .tuple(try Jinja.Items(items.values.map(sortedKeys)))
    default: return value
    }
  }
}
