import Core

/// Methods of strings, lists, tuples and mappings.
extension Jinja.Interpreter {
  typealias Method = @Sendable (Jinja.Interpreter, String, Jinja.CallArguments) throws -> Value

  func callMethod(_ name: String, of receiver: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    switch receiver {
    case .string(let text):
      guard let method = Self.stringMethods[name] else { break }
      try step(text.utf8.count / 16)
      let result = try method(self, text, arguments)
      try charge(weight(of: result))
      return result
    case .list(let items), .tuple(let items):
      if name == "copy" { return receiver }
      let values = try bind(arguments, to: ["value"], of: name, required: 1)
      let wanted = values[0] ?? .none
      let places = try items.values.indices.filter { try equal(items.values[$0], wanted) }
      if name == "count" { return .int(places.count) }
      guard let place = places.first else {
        throw failure("\(try representation(of: wanted)) is not in \(receiver.typeName)")
      }
      return .int(place)
    case .dict(let dict):
      switch name {
      case "get":
        let values = try bind(arguments, to: ["key", "default"], of: "get", required: 1)
        return dict.value(of: try hash(values[0] ?? .none)) ?? values[1] ?? .none
      case "items":
        try charge(dict.count * 32)
        let pairs = try zip(dict.keys, dict.values).map { Value.tuple(try Jinja.Items([$0, $1])) }
        return .view(try Jinja.Items(pairs), name: "items")
      case "keys": return .view(try Jinja.Items(dict.keys), name: "keys")
      case "values": return .view(try Jinja.Items(dict.values), name: "values")
      default: return receiver
      }
    default: break
    }
    throw failure("'\(receiver.typeName)' object has no method '\(name)'")
  }

  /// What a value costs to hold, its parts not counted twice.
  func weight(of value: Value) -> Int {
    switch value {
    case .string(let text): text.utf8.count
    case .list(let items), .tuple(let items), .view(let items, _):
      items.values.reduce(0) { sum, item in
        if case .string(let text) = item { sum + 16 + text.utf8.count } else { sum + 16 }
      }
    default: 16
    }
  }

  private func strings(_ texts: [String]) throws -> Value { .list(try Jinja.Items(texts.map { .string($0) })) }

  /// Slices a text by the optional `start` and `end` of `find`, `count` and kin.
  private func window(_ text: String, _ start: Value?, _ end: Value?) throws -> (text: String, offset: Int)? {
    if start == nil, end == nil { return (text, 0) }
    let scalars = Array(text.unicodeScalars)
    func clamp(_ value: Value?, _ standard: Int) throws -> Int {
      guard let value else { return standard }
      if case .none = value { return standard }
      let index = try integerArgument(value, default: standard, "an index")
      return index < 0 ? max(0, max(index, -scalars.count) + scalars.count) : index
    }
    let from = try clamp(start, 0)
    let to = min(scalars.count, try clamp(end, scalars.count))
    guard from <= scalars.count, from <= to else { return nil }
    return (PythonText.string(scalars[from..<to]), from)
  }

  private func scalarOffset(_ text: String, _ bytes: Int) -> Int {
    let utf8 = text.utf8
    return text.unicodeScalars.distance(
      from: text.startIndex, to: utf8.index(utf8.startIndex, offsetBy: bytes))
  }

  private func find(_ text: String, _ arguments: Jinja.CallArguments, last: Bool, of name: String) throws -> Int {
    let values = try bind(arguments, to: ["sub", "start", "end"], of: name, required: 1)
    let part = try textArgument(values[0], default: "", "\(name)()")
    guard let (inner, offset) = try window(text, values[1], values[2]) else { return -1 }
    if part.isEmpty { return offset + (last ? inner.unicodeScalars.count : 0) }
    guard let first = PythonText.find(part, in: inner) else { return -1 }
    var place = first
    if last { while let next = PythonText.find(part, in: inner, from: place + 1) { place = next } }
    return offset + scalarOffset(inner, place)
  }

  private func affix(_ text: String, _ arguments: Jinja.CallArguments, atEnd: Bool, of name: String) throws -> Bool {
    let values = try bind(arguments, to: ["affix", "start", "end"], of: name, required: 1)
    var options = [values[0] ?? .none]
    if case .tuple(let items) = options[0] { options = items.values }
    guard let (inner, _) = try window(text, values[1], values[2]) else { return false }
    let bytes = Array(inner.utf8)
    for option in options {
      guard case .string(let affix) = option else {
        throw failure("\(name) first arg must be str or a tuple of str, not \(option.typeName)")
      }
      if atEnd ? bytes.suffix(affix.utf8.count).elementsEqual(affix.utf8) : bytes.starts(with: affix.utf8) {
        return true
      }
    }
    return false
  }

  private func strip(
    _ text: String, _ arguments: Jinja.CallArguments, left: Bool, right: Bool
  ) throws -> Value {
    let values = try bind(arguments, to: ["chars"], of: "strip")
    if case .none? = values[0] { return .string(PythonText.strip(text, left: left, right: right)) }
    let characters = try values[0].map { try textArgument($0, default: "", "strip()") }
    return .string(PythonText.strip(text, characters, left: left, right: right))
  }

  private func split(_ text: String, _ arguments: Jinja.CallArguments, fromRight: Bool) throws -> Value {
    let values = try bind(arguments, to: ["sep", "maxsplit"], of: fromRight ? "rsplit" : "split")
    let limit = try integerArgument(values[1], default: -1, "maxsplit")
    try charge(text.utf8.count * 8)
    switch values[0] {
    case nil, .some(.none): return try strings(PythonText.splitWords(text, limit: limit, fromRight: fromRight))
    case .string(let separator)?:
      guard !separator.isEmpty else { throw failure("empty separator") }
      return try strings(PythonText.split(text, by: separator, limit: limit, fromRight: fromRight))
    case let other?: throw failure("must be str or None, not \(other.typeName)")
    }
  }

  private func partition(_ text: String, _ arguments: Jinja.CallArguments, last: Bool) throws -> Value {
    let values = try bind(arguments, to: ["sep"], of: "partition", required: 1)
    let separator = try textArgument(values[0], default: "", "partition()")
    guard !separator.isEmpty else { throw failure("empty separator") }
    let parts = PythonText.split(text, by: separator, limit: 1, fromRight: last)
    let three = parts.count == 2 ? [parts[0], separator, parts[1]] : last ? ["", "", text] : [text, "", ""]
    return .tuple(try Jinja.Items(three.map { .string($0) }))
  }

  private func justify(
    _ text: String, _ arguments: Jinja.CallArguments, _ name: String,
    _ pad: (String, Int, Unicode.Scalar) -> String
  ) throws -> Value {
    let values = try bind(arguments, to: ["width", "fillchar"], of: name, required: 1)
    let width = try integerArgument(values[0], default: 0, "the width of \(name)()")
    let fill = try textArgument(values[1], default: " ", "fillchar").unicodeScalars
    guard let scalar = fill.first, fill.count == 1 else {
      throw failure("The fill character must be exactly one character long")
    }
    try charge(max(0, width))
    return .string(pad(text, width, scalar))
  }

  /// `text.replace(old, new, count)`.
  func replace(_ text: String, _ old: String, _ new: String, limit: Int) throws -> String {
    var pieces: [String]
    if old.isEmpty {
      // An empty text is found before every character and at the end.
      pieces = [""] + text.unicodeScalars.map { String(Character($0)) }
      if limit >= 0, pieces.count > limit {
        pieces = pieces[..<limit] + [pieces[limit...].joined()]
      } else {
        pieces.append("")
      }
    } else {
      pieces = PythonText.split(text, by: old, limit: limit)
    }
    let (added, overflow) = (pieces.count - 1).multipliedReportingOverflow(by: new.utf8.count)
    try charge(overflow ? .max : added)
    return pieces.joined(separator: new)
  }

  private func question(_ arguments: Jinja.CallArguments, _ answer: Bool) throws -> Value {
    _ = try bind(arguments, to: [], of: "this method")
    return .bool(answer)
  }

  static let stringMethods: [String: Method] = [
    "upper": { i, s, _ in .string(PythonText.upper(s)) },
    "lower": { i, s, _ in .string(PythonText.lower(s)) },
    "casefold": { i, s, _ in .string(PythonText.lower(PythonText.upper(PythonText.lower(s)))) },
    "title": { i, s, _ in .string(PythonText.title(s)) },
    "capitalize": { i, s, _ in .string(PythonText.capitalize(s)) },
    "swapcase": { i, s, _ in .string(PythonText.swapCase(s)) },
    "strip": { i, s, a in try i.strip(s, a, left: true, right: true) },
    "lstrip": { i, s, a in try i.strip(s, a, left: true, right: false) },
    "rstrip": { i, s, a in try i.strip(s, a, left: false, right: true) },
    "split": { i, s, a in try i.split(s, a, fromRight: false) },
    "rsplit": { i, s, a in try i.split(s, a, fromRight: true) },
    "partition": { i, s, a in try i.partition(s, a, last: false) },
    "rpartition": { i, s, a in try i.partition(s, a, last: true) },
    "splitlines": { i, s, a in
      let values = try i.bind(a, to: ["keepends"], of: "splitlines")
      return try i.strings(PythonText.lines(s, keepEnds: values[0]?.isTrue ?? false))
    },
    "startswith": { i, s, a in .bool(try i.affix(s, a, atEnd: false, of: "startswith")) },
    "endswith": { i, s, a in .bool(try i.affix(s, a, atEnd: true, of: "endswith")) },
    "removeprefix": { i, s, a in
      let prefix = try i.textArgument(i.bind(a, to: ["prefix"], of: "removeprefix", required: 1)[0], default: "", "it")
      let has = Array(s.utf8).starts(with: prefix.utf8)
      return .string(has ? String(decoding: s.utf8.dropFirst(prefix.utf8.count), as: UTF8.self) : s)
    },
    "removesuffix": { i, s, a in
      let suffix = try i.textArgument(i.bind(a, to: ["suffix"], of: "removesuffix", required: 1)[0], default: "", "it")
      let has = s.utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
      return .string(has ? String(decoding: s.utf8.dropLast(suffix.utf8.count), as: UTF8.self) : s)
    },
    "replace": { i, s, a in
      let values = try i.bind(a, to: ["old", "new", "count"], of: "replace", required: 2)
      return .string(
        try i.replace(
          s, i.textArgument(values[0], default: "", "replace() argument 1"),
          i.textArgument(values[1], default: "", "replace() argument 2"),
          limit: i.integerArgument(values[2], default: -1, "count")))
    },
    "join": { i, s, a in
      let values = try i.bind(a, to: ["iterable"], of: "join", required: 1)
      let parts = try i.items(of: values[0] ?? .none).enumerated().map { index, value in
        guard case .string(let text) = value else {
          throw i.failure("sequence item \(index): expected str instance, \(value.typeName) found")
        }
        return text
      }
      return .string(try i.join(parts, s))
    },
    "format": { i, s, a in .string(try i.braceFormat(s, a)) },
    "format_map": { i, s, a in
      let values = try i.bind(a, to: ["mapping"], of: "format_map", required: 1)
      guard case .dict(let dict)? = values[0] else { throw i.failure("format_map() needs a mapping") }
      let named = try zip(dict.keys, dict.values).map { (name: try i.text(of: $0), value: $1) }
      return .string(try i.braceFormat(s, Jinja.CallArguments(named: named)))
    },
    "find": { i, s, a in .int(try i.find(s, a, last: false, of: "find")) },
    "rfind": { i, s, a in .int(try i.find(s, a, last: true, of: "rfind")) },
    "index": { i, s, a in
      let place = try i.find(s, a, last: false, of: "index")
      guard place >= 0 else { throw i.failure("substring not found") }
      return .int(place)
    },
    "rindex": { i, s, a in
      let place = try i.find(s, a, last: true, of: "rindex")
      guard place >= 0 else { throw i.failure("substring not found") }
      return .int(place)
    },
    "count": { i, s, a in
      let values = try i.bind(a, to: ["sub", "start", "end"], of: "count", required: 1)
      let part = try i.textArgument(values[0], default: "", "count()")
      guard let (inner, _) = try i.window(s, values[1], values[2]) else { return .int(0) }
      if part.isEmpty { return .int(inner.unicodeScalars.count + 1) }
      return .int(PythonText.occurrences(of: part, in: inner).count)
    },
    "ljust": { i, s, a in try i.justify(s, a, "ljust") { PythonText.padded($0, to: $1, left: 0, fill: $2) } },
    "rjust": { i, s, a in try i.justify(s, a, "rjust") { PythonText.padded($0, to: $1, left: .max, fill: $2) } },
    "center": { i, s, a in try i.justify(s, a, "center") { PythonText.centered($0, to: $1, fill: $2) } },
    "zfill": { i, s, a in
      let values = try i.bind(a, to: ["width"], of: "zfill", required: 1)
      let width = try i.integerArgument(values[0], default: 0, "the width of zfill()")
      try i.charge(max(0, width))
      let sign = s.hasPrefix("-") || s.hasPrefix("+") ? String(s.unicodeScalars.prefix(1)) : ""
      let rest = String(s.unicodeScalars.dropFirst(sign.count))
      return .string(sign + PythonText.padded(rest, to: width - sign.count, left: .max, fill: "0"))
    },
    "expandtabs": { i, s, a in
      let values = try i.bind(a, to: ["tabsize"], of: "expandtabs")
      let size = try i.integerArgument(values[0], default: 8, "tabsize")
      let tabs = s.unicodeScalars.count { $0 == "\t" }
      let (added, overflow) = tabs.multipliedReportingOverflow(by: max(0, size))
      try i.charge(overflow ? .max : added)
      var column = 0
      var out = String.UnicodeScalarView()
      for scalar in s.unicodeScalars {
        if scalar == "\t" {
          let spaces = size > 0 ? size - column % size : 0
          out.append(contentsOf: repeatElement(" ", count: spaces))
          column += spaces
        } else {
          out.append(scalar)
          column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
        }
      }
      return .string(String(out))
    },
    "isdigit": { i, s, a in try i.question(a, PythonText.all(s, PythonText.isDigit)) },
    "isdecimal": { i, s, a in
      try i.question(a, PythonText.all(s) { $0.properties.generalCategory == .decimalNumber })
    },
    "isnumeric": { i, s, a in try i.question(a, PythonText.all(s, PythonText.isNumeric)) },
    "isalpha": { i, s, a in try i.question(a, PythonText.all(s, PythonText.isAlpha)) },
    "isalnum": { i, s, a in
      try i.question(a, PythonText.all(s) { PythonText.isAlpha($0) || PythonText.isNumeric($0) })
    },
    "isspace": { i, s, a in try i.question(a, PythonText.all(s, isPythonSpace)) },
    "isupper": { i, s, a in try i.question(a, PythonText.isUpper(s)) },
    "islower": { i, s, a in try i.question(a, PythonText.isLower(s)) },
    "istitle": { i, s, a in try i.question(a, PythonText.isTitle(s)) },
    "isascii": { i, s, a in try i.question(a, s.utf8.allSatisfy { $0 < 0x80 }) },
    "isprintable": { i, s, a in
      try i.question(a, s.unicodeScalars.allSatisfy { $0 == " " || isPythonPrintable($0) })
    },
    "isidentifier": { i, s, a in
      let first = s.unicodeScalars.first.map { $0 == "_" || $0.properties.isXIDStart } ?? false
      return try i.question(a, first && s.unicodeScalars.allSatisfy { $0 == "_" || $0.properties.isXIDContinue })
    },
  ]

  /// `separator.join(parts)`.
  func join(_ parts: [String], _ separator: String) throws -> String {
    let (gaps, overflow) = max(0, parts.count - 1).multipliedReportingOverflow(by: separator.utf8.count)
    var total = overflow ? Int.max : gaps
    for part in parts {
      total = total.addingReportingOverflow(part.utf8.count).overflow ? .max : total + part.utf8.count
    }
    try charge(total)
    return parts.joined(separator: separator)
  }
}
