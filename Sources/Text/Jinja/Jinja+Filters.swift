import Core
import Foundation

/// The filters.
extension Jinja.Interpreter {
  typealias Filter = @Sendable (Jinja.Interpreter, Value, Jinja.CallArguments) throws -> Value

  static func unknownFilter(_ name: String, at place: AttuneError.Location) -> AttuneError {
    .request(
      "no filter named '\(name)'", at: place,
      hint: nearestName(to: name, among: filters.keys.sorted()).map { "did you mean '\($0)'?" }
        ?? "filters: \(filters.keys.sorted().joined(separator: ", "))")
  }

  func applyFilter(_ name: String, _ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    guard let filter = Self.filters[name] else {
      throw Self.unknownFilter(name, at: .init(file: file, line: line > 0 ? line : nil))
    }
    return try nested {
      if case .string(let text) = value { try step(text.utf8.count / 16) }
      let result = try filter(self, value, arguments)
      // What is passed on as it is costs nothing; what was made is charged by its size.
      if case .string(let text) = result { try charge(text.utf8.count) }
      return result
    }
  }

  // MARK: Shared

  private func list(_ values: [Value]) throws -> Value {
    try charge(values.count * 16)
    return .list(try Jinja.Items(values))
  }

  private func generator(_ values: [Value]) throws -> Value {
    try charge(values.count * 16)
    return .generator(try Jinja.Generator(values))
  }

  /// The items of `value` after the attribute path `a.b.0`, or the default where that is undefined.
  private func getter(_ path: Value?, default standard: Value? = nil) throws -> (Value) throws -> Value {
    guard let path, !path.isNone else { return { $0 } }
    let parts: [Value] =
      if case .string(let text) = path {
        PythonText.split(text, by: ".", limit: -1).map { part in
          PythonText.all(part, PythonText.isDigit) ? Int(part).map { .int($0) } ?? .string(part) : .string(part)
        }
      } else { [path] }
    return { value in
      var value = value
      for part in parts {
        value = try self.item(part, of: value)
        if value.isUndefined, let standard { value = standard }
      }
      return value
    }
  }

  /// Texts compare without their case unless asked for.
  private func folded(_ value: Value, _ caseSensitive: Bool) -> Value {
    if !caseSensitive, case .string(let text) = value { return .string(PythonText.lower(text)) }
    return value
  }

  /// Sorts stably; an error in a comparison ends it.
  private func sorted(_ keys: [Value], reverse: Bool) throws -> [Int] {
    var failure: (any Error)?
    let order = keys.indices.sorted { a, b in
      if failure != nil { return false }
      do {
        if try reverse ? precedes(keys[b], keys[a]) : precedes(keys[a], keys[b]) { return true }
        if try reverse ? precedes(keys[a], keys[b]) : precedes(keys[b], keys[a]) { return false }
        return a < b
      } catch {
        failure = error
        return false
      }
    }
    if let failure { throw failure }
    return order
  }

  /// Keeps the items that pass (or fail) the test named first in `arguments`, or that are true.
  private func select(
    _ value: Value, _ arguments: Jinja.CallArguments, attribute: Bool, keeps wanted: Bool
  ) throws -> Value {
    // What is false has no items, even if it is nothing that could have any.
    guard value.isTrue else { return try generator([]) }
    var rest = arguments
    var get: (Value) throws -> Value = { $0 }
    if attribute {
      guard !rest.positional.isEmpty else { throw failure("missing parameter for attribute name") }
      get = try getter(rest.positional.removeFirst())
    }
    var name: String?
    if !rest.positional.isEmpty {
      name = try textArgument(rest.positional.removeFirst(), default: "", "the name of a test")
    }
    return try generator(
      items(of: value).filter { item in
        let subject = try get(item)
        return try name.map { try applyTest($0, subject, rest) } ?? subject.isTrue == wanted
      })
  }

  private func extreme(_ value: Value, _ arguments: Jinja.CallArguments, _ name: String, largest: Bool) throws -> Value
  {
    let values = try bind(arguments, to: ["case_sensitive", "attribute"], of: name)
    let get = try getter(values[1])
    let all = try items(of: value)
    guard var best = all.first else { return .undefined("No aggregated item, sequence was empty.") }
    let sensitive = values[0]?.isTrue ?? false
    var bestKey = folded(try get(best), sensitive)
    for item in all.dropFirst() {
      let key = folded(try get(item), sensitive)
      if try largest ? precedes(bestKey, key) : precedes(key, bestKey) {
        best = item
        bestKey = key
      }
    }
    return best
  }

  private func map(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    guard value.isTrue else { return try generator([]) }
    var rest = arguments
    if rest.positional.isEmpty, rest.named.contains(where: { $0.name == "attribute" }) {
      let values = try bind(rest, to: ["attribute", "default"], of: "map")
      let get = try getter(values[0], default: values[1])
      return try generator(items(of: value).map(get))
    }
    guard !rest.positional.isEmpty else { throw failure("map requires a filter argument") }
    let name = try textArgument(rest.positional.removeFirst(), default: "", "the name of a filter")
    return try generator(items(of: value).map { try applyFilter(name, $0, rest) })
  }

  private func groupBy(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["attribute", "default", "case_sensitive"], of: "groupby", required: 1)
    let get = try getter(values[0], default: values[1])
    let sensitive = values[2]?.isTrue ?? false
    let all = try items(of: value)
    let keys = try all.map { folded(try get($0), sensitive) }
    var groups: [(key: Value, items: [Value])] = []
    for index in try sorted(keys, reverse: false) {
      if let last = groups.last, try equal(last.key, keys[index]) {
        groups[groups.count - 1].items.append(all[index])
      } else {
        groups.append((keys[index], [all[index]]))
      }
    }
    return try list(
      groups.map { group in
        // The group is named by its first item, in that item's own case.
        .tuple(try Jinja.Items([try get(group.items[0]), .list(try Jinja.Items(group.items))]))
      })
  }

  private func dictSort(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["case_sensitive", "by", "reverse"], of: "dictsort")
    guard case .dict(let dict) = value else { throw failure("dictsort needs a mapping, not \(value.typeName)") }
    let by = try textArgument(values[1], default: "key", "'by' of dictsort")
    guard by == "key" || by == "value" else { throw failure("you can only sort by either \"key\" or \"value\"") }
    let keys = (by == "key" ? dict.keys : dict.values).map { folded($0, values[0]?.isTrue ?? false) }
    return try list(
      sorted(keys, reverse: values[2]?.isTrue ?? false).map {
        .tuple(try Jinja.Items([dict.keys[$0], dict.values[$0]]))
      })
  }

  private func sort(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["reverse", "case_sensitive", "attribute"], of: "sort")
    let sensitive = values[1]?.isTrue ?? false
    var getters = [try getter(values[2])]
    if case .string(let text)? = values[2] {
      getters = try PythonText.split(text, by: ",", limit: -1).map { try getter(.string($0)) }
    }
    let all = try items(of: value)
    let keys: [Value] = try all.map { item in
      // A list also of one part: lists of equal undefined values compare, the values alone do not.
      .list(try Jinja.Items(try getters.map { folded(try $0(item), sensitive) }))
    }
    return try list(sorted(keys, reverse: values[0]?.isTrue ?? false).map { all[$0] })
  }

  private func unique(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["case_sensitive", "attribute"], of: "unique")
    let get = try getter(values[1])
    var seen: Set<Jinja.Key> = []
    return try generator(
      items(of: value).filter { item in
        seen.insert(try hash(folded(try get(item), values[0]?.isTrue ?? false))).inserted
      })
  }

  private func batch(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["linecount", "fill_with"], of: "batch", required: 1)
    let size = try integerArgument(values[0], default: 1, "linecount")
    guard size > 0 else { throw failure("linecount of batch must be above 0") }
    let all = try items(of: value)
    return try generator(
      stride(from: 0, to: all.count, by: size).map { start in
        var row = Array(all[start..<min(all.count, start + size)])
        if let fill = values[1], !fill.isNone, row.count < size {
          try charge(size - row.count > Jinja.Limit.size / 16 ? .max : (size - row.count) * 16)
          row += Array(repeating: fill, count: size - row.count)
        }
        return .list(try Jinja.Items(row))
      })
  }

  private func slices(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["slices", "fill_with"], of: "slice", required: 1)
    let count = try integerArgument(values[0], default: 1, "slices")
    guard count > 0, count <= Jinja.Limit.range else {
      throw failure("slices of slice must be from 1 to \(Jinja.Limit.range)")
    }
    let all = try items(of: value)
    var at = 0
    return try generator(
      (0..<count).map { index in
        let size = all.count / count + (index < all.count % count ? 1 : 0)
        var part = Array(all[at..<at + size])
        at += size
        if let fill = values[1], !fill.isNone, index >= all.count % count { part.append(fill) }
        return .list(try Jinja.Items(part))
      })
  }

  private func round(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["precision", "method"], of: "round")
    let precision = try integerArgument(values[0], default: 0, "precision")
    let method = try textArgument(values[1], default: "common", "method")
    guard ["common", "ceil", "floor"].contains(method) else {
      throw failure("method must be common, ceil or floor, not '\(method)'")
    }
    guard let number = value.number, abs(precision) <= 300 else {
      throw failure("round needs a number and a precision up to 300, not \(value.typeName)")
    }
    if method != "common" {
      let scale = pow(10, Double(precision))
      return .double((method == "ceil" ? ceil(number * scale) : floor(number * scale)) / scale)
    }
    if let integer = value.integer {
      guard precision < 0 else { return .int(integer) }
      guard precision > -19 else { return .int(0) }
      let scale = (0..<(-precision)).reduce(1) { product, _ in product * 10 }
      let down = integer - (integer % scale + scale) % scale
      let rest = integer - down
      let up = rest * 2 > scale || (rest * 2 == scale && (down / scale) % 2 != 0)
      let (result, overflow) = down.addingReportingOverflow(up ? scale : 0)
      guard !overflow else { throw failure("an integer larger than 64 bits") }
      return .int(result)
    }
    guard number.isFinite else { return value }
    if precision < 0 {
      let scale = pow(10, Double(-precision))
      return .double((number / scale).rounded(.toNearestOrEven) * scale)
    }
    // The C library rounds the exact binary value, to even on a tie, as Python does.
    return .double(Double(String(format: "%.\(precision)f", number)) ?? number)
  }

  private func toInteger(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["default", "base"], of: "int")
    let standard = values[0] ?? .int(0)
    if case .undefined(let undefined) = value { throw failure(undefined.message) }
    if case .double(let number) = value {
      return number.isFinite ? Int(exactly: number.rounded(.towardZero)).map { .int($0) } ?? standard : standard
    }
    if let integer = value.integer { return .int(integer) }
    guard case .string(let text) = value else { return standard }
    let base = try integerArgument(values[1], default: 10, "base")
    if let integer = integer(text, base: base) { return .int(integer) }
    if let number = double(text), number.isFinite {
      return Int(exactly: number.rounded(.towardZero)).map { .int($0) } ?? standard
    }
    return standard
  }

  /// `int(text, base)`: spaces around, a sign, a prefix that fits the base, single underscores.
  private func integer(_ text: String, base: Int) -> Int? {
    guard base == 0 || (2...36).contains(base) else { return nil }
    var digits = PythonText.strip(text).lowercased()[...]
    var sign = ""
    if let first = digits.first, first == "-" || first == "+" {
      sign = first == "-" ? "-" : ""
      digits.removeFirst()
    }
    var radix = base
    for (prefix, prefixBase) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
      if base == prefixBase || base == 0 {
        radix = prefixBase
        digits = digits.dropFirst(2)
        if digits.hasPrefix("_") { digits.removeFirst() }
      }
    }
    if radix == 0 { radix = 10 }
    guard !digits.hasPrefix("_"), !digits.hasSuffix("_"), !digits.contains("__"), !digits.hasPrefix("-"),
      !digits.hasPrefix("+")
    else { return nil }
    return Int(sign + digits.filter { $0 != "_" }, radix: radix)
  }

  private func double(_ text: String) -> Double? {
    let stripped = PythonText.strip(text).lowercased()
    let unsigned = stripped.drop { $0 == "-" || $0 == "+" }
    if ["inf", "infinity"].contains(unsigned) { return stripped.hasPrefix("-") ? -.infinity : .infinity }
    if unsigned == "nan" { return .nan }
    // Only decimal notation; hexadecimal floats are not Python's.
    guard unsigned.allSatisfy({ "0123456789.e+-_".contains($0) }), !unsigned.hasPrefix("_"), !unsigned.hasSuffix("_")
    else { return nil }
    return Double(stripped.hasPrefix("+") ? String(stripped.dropFirst()) : stripped.filter { $0 != "_" })
  }

  private func sum(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["attribute", "start"], of: "sum")
    let get = try getter(values[0])
    var total = values[1] ?? .int(0)
    if case .string = total { throw failure("sum() can't sum strings [use ''.join(seq) instead]") }
    for item in try items(of: value) { total = try binary(.add, total, get(item)) }
    return total
  }

  private func joined(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["d", "attribute"], of: "join")
    let get = try getter(values[1])
    let separator = try values[0].map { try text(of: $0) } ?? ""
    return .string(try join(items(of: value).map { try text(of: get($0)) }, separator))
  }

  // MARK: Text

  /// The text of a filter that takes nothing else.
  private func plainText(_ value: Value, _ name: String) throws -> String {
    switch value {
    case .string(let text): return text
    case .undefined(let undefined): throw failure(undefined.message)
    default: throw failure("\(name) takes a text, not '\(value.typeName)'")
    }
  }

  private func indented(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["width", "first", "blank"], of: "indent")
    let text = try plainText(value, "indent")
    var indentation = "    "
    switch values[0] {
    case .string(let given)?: indentation = given
    case let width?:
      let count = try integerArgument(width, default: 4, "width")
      try charge(max(0, count))
      indentation = String(repeating: " ", count: max(0, count))
    case nil: break
    }
    let lines = PythonText.lines(text + "\n")
    let blank = values[2]?.isTrue ?? false
    let (added, overflow) = lines.count.multipliedReportingOverflow(by: indentation.utf8.count)
    try charge(overflow ? .max : added)
    let rest = lines.dropFirst().map { blank || !$0.isEmpty ? indentation + $0 : $0 }
    let result = ([lines.first ?? ""] + rest).joined(separator: "\n")
    return .string(values[1]?.isTrue ?? false ? indentation + result : result)
  }

  private func truncated(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["length", "killwords", "end", "leeway"], of: "truncate")
    let length = try integerArgument(values[0], default: 255, "length")
    let end = try textArgument(values[2], default: "...", "end")
    let leeway = try integerArgument(values[3].flatMap { $0.isNone ? nil : $0 }, default: 5, "leeway")
    let count = try count(of: value)
    let text = try self.text(of: value)
    let scalars = Array(text.unicodeScalars)
    guard length >= end.unicodeScalars.count, leeway >= 0, length < 1 << 40, leeway < 1 << 40 else {
      throw failure("truncate needs a length of at least that of the end, and a leeway from 0")
    }
    if count <= length + leeway { return value }
    var kept = PythonText.string(scalars.prefix(length - end.unicodeScalars.count))
    if !(values[1]?.isTrue ?? false) { kept = PythonText.split(kept, by: " ", limit: 1, fromRight: true)[0] }
    return .string(kept + end)
  }

  private func wordWrapped(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(
      arguments, to: ["width", "break_long_words", "wrapstring", "break_on_hyphens"], of: "wordwrap")
    let width = try integerArgument(values[0], default: 79, "width")
    guard width > 0 else { throw failure("the width of wordwrap must be above 0") }
    let separator = try textArgument(values[2].flatMap { $0.isNone ? nil : $0 }, default: "\n", "wrapstring")
    // Cutting into words weighs far more than the sixteenth of a step that a byte costs elsewhere.
    if case .string(let text) = value { try step(text.utf8.count * 4) }
    let wrapped = try PythonText.lines(plainText(value, "wordwrap")).map { line in
      try join(
        PythonText.wrap(
          line, width: width, breaksWords: values[1]?.isTrue ?? true, breaksHyphens: values[3]?.isTrue ?? true),
        separator)
    }
    return .string(try join(wrapped, separator))
  }

  /// A text with every word begun by a capital, words ended by spaces, hyphens and brackets.
  private func titled(_ text: String) -> String {
    var result = ""
    var word: [Unicode.Scalar] = []
    func flush() {
      guard let first = word.first else { return }
      result += PythonText.upper(String(Character(first))) + PythonText.lower(PythonText.string(word.dropFirst()))
      word = []
    }
    for scalar in text.unicodeScalars {
      if isPythonSpace(scalar) || "-({[<".unicodeScalars.contains(scalar) {
        flush()
        result.unicodeScalars.append(scalar)
      } else {
        word.append(scalar)
      }
    }
    flush()
    return result
  }

  private func escaped(_ text: String) throws -> String {
    try charge(text.utf8.count * 5)
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count)
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "&"): out += "&amp;".utf8
      case UInt8(ascii: "<"): out += "&lt;".utf8
      case UInt8(ascii: ">"): out += "&gt;".utf8
      case UInt8(ascii: "'"): out += "&#39;".utf8
      case UInt8(ascii: "\""): out += "&#34;".utf8
      default: out.append(byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  private func attributes(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["autospace"], of: "xmlattr")
    guard case .dict(let dict) = value else { throw failure("xmlattr needs a mapping, not \(value.typeName)") }
    var parts: [String] = []
    for (key, item) in zip(dict.keys, dict.values) where !item.isNone && !item.isUndefined {
      let name = try text(of: key)
      guard !name.unicodeScalars.contains(where: { isPythonSpace($0) || "/>=".unicodeScalars.contains($0) }) else {
        throw failure("invalid character in attribute name: '\(name)'")
      }
      parts.append("\(try escaped(name))=\"\(try escaped(text(of: item)))\"")
    }
    let joined = parts.joined(separator: " ")
    return .string((values[0]?.isTrue ?? true) && !joined.isEmpty ? " " + joined : joined)
  }

  private func quoted(_ text: String, forQuery: Bool) -> String {
    var out = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"),
        UInt8(ascii: "~"):
        out.unicodeScalars.append(Unicode.Scalar(byte))
      case UInt8(ascii: "/") where !forQuery: out += "/"
      case 0x20 where forQuery: out += "+"
      default:
        let hex = String(byte, radix: 16, uppercase: true)
        out += hex.count < 2 ? "%0" + hex : "%" + hex
      }
    }
    return out
  }

  private func urlEncoded(_ value: Value) throws -> Value {
    try step(weight(of: value))
    switch value {
    case .dict(let dict):
      return .string(
        try zip(dict.keys, dict.values).map {
          try quoted(text(of: $0), forQuery: true) + "=" + quoted(text(of: $1), forQuery: true)
        }.joined(separator: "&"))
    case .list, .tuple, .view, .generator, .range:
      return .string(
        try items(of: value).map { pair in
          let parts = try items(of: pair)
          guard parts.count == 2 else { throw failure("urlencode needs pairs") }
          return try quoted(text(of: parts[0]), forQuery: true) + "=" + quoted(text(of: parts[1]), forQuery: true)
        }.joined(separator: "&"))
    default: return .string(quoted(try text(of: value), forQuery: false))
    }
  }

  private func fileSize(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
    let values = try bind(arguments, to: ["binary"], of: "filesizeformat")
    var bytes = value.number
    if case .string(let text) = value { bytes = double(text) }
    guard let bytes, bytes.isFinite else { throw failure("filesizeformat needs a number, not \(value.typeName)") }
    let binary = values[0]?.isTrue ?? false
    let base: Double = binary ? 1024 : 1000
    if bytes == 1 { return .string("1 Byte") }
    if bytes < base { return .string("\(Int(exactly: bytes.rounded(.towardZero)) ?? 0) Bytes") }
    let prefixes =
      binary
      ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
      : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    var unit = base
    for prefix in prefixes {
      unit *= base
      if bytes < unit || prefix == prefixes[7] {
        return .string(String(format: "%.1f", base * bytes / unit) + " " + prefix)
      }
    }
    return .none
  }

  private func wordCount(_ text: String) -> Int {
    var count = 0
    var inside = false
    for scalar in text.unicodeScalars {
      let isWord = scalar == "_" || PythonText.isAlpha(scalar) || PythonText.isNumeric(scalar)
      if isWord, !inside { count += 1 }
      inside = isWord
    }
    return count
  }

  // MARK: The table

  static let filters: [String: Filter] = {
    var table: [String: Filter] = [
      "abs": { i, v, _ in
        if let integer = v.integer { return integer < 0 ? try i.negated(.int(integer)) : .int(integer) }
        guard case .double(let number) = v else { throw i.failure("bad operand type for abs(): '\(v.typeName)'") }
        return .double(abs(number))
      },
      "attr": { i, v, a in
        let values = try i.bind(a, to: ["name"], of: "attr", required: 1)
        let name = try i.textArgument(values[0], default: "", "the name of attr")
        if case .undefined(let undefined) = v { throw i.failure(undefined.message) }
        return name.hasPrefix("__")
          ? try i.attribute(name, of: v)
          : try i.member(name, of: v) ?? .undefined("'\(v.typeName) object' has no attribute '\(name)'")
      },
      "batch": { i, v, a in try i.batch(v, a) },
      "capitalize": { i, v, _ in .string(PythonText.capitalize(try i.text(of: v))) },
      "center": { i, v, a in
        let width = try i.integerArgument(i.bind(a, to: ["width"], of: "center")[0], default: 80, "width")
        try i.charge(max(0, width))
        return .string(PythonText.centered(try i.text(of: v), to: width))
      },
      "default": { i, v, a in
        let values = try i.bind(a, to: ["default_value", "boolean"], of: "default")
        return v.isUndefined || (values[1]?.isTrue ?? false && !v.isTrue) ? values[0] ?? .string("") : v
      },
      "dictsort": { i, v, a in try i.dictSort(v, a) },
      "escape": { i, v, _ in .string(try i.escaped(i.text(of: v))) },
      "filesizeformat": { i, v, a in try i.fileSize(v, a) },
      "first": { i, v, _ in
        if case .generator(let generator) = v {
          return generator.takeFirst() ?? .undefined("No first item, sequence was empty.")
        }
        return try i.items(of: v).first ?? .undefined("No first item, sequence was empty.")
      },
      "float": { i, v, a in
        let standard = try i.bind(a, to: ["default"], of: "float")[0] ?? .double(0)
        if case .undefined(let undefined) = v { throw i.failure(undefined.message) }
        if let number = v.number { return .double(number) }
        guard case .string(let text) = v else { return standard }
        return i.double(text).map { .double($0) } ?? standard
      },
      "format": { i, v, a in
        guard a.positional.isEmpty || a.named.isEmpty else {
          throw i.failure("can't handle positional and keyword arguments at the same time")
        }
        var values = Value.tuple(try Jinja.Items(a.positional))
        if !a.named.isEmpty {
          var dict = Jinja.Dict()
          for (name, value) in a.named { try dict.set(name, value) }
          values = .dict(dict)
        }
        return .string(try i.percentFormat(i.text(of: v), values))
      },
      "groupby": { i, v, a in try i.groupBy(v, a) },
      "indent": { i, v, a in try i.indented(v, a) },
      "int": { i, v, a in try i.toInteger(v, a) },
      "items": { i, v, _ in
        switch v {
        case .undefined: return try i.generator([])
        case .dict: return try i.generator(i.items(of: i.callMethod("items", of: v, Jinja.CallArguments())))
        default: throw i.failure("Can only get item pairs from a mapping.")
        }
      },
      "join": { i, v, a in try i.joined(v, a) },
      "last": { i, v, _ in
        if case .generator = v { throw i.failure("'generator' object is not reversible") }
        return try i.items(of: v).last ?? .undefined("No last item, sequence was empty.")
      },
      "length": { i, v, _ in .int(try i.count(of: v)) },
      "list": { i, v, _ in try i.list(i.items(of: v)) },
      "lower": { i, v, _ in .string(PythonText.lower(try i.text(of: v))) },
      "map": { i, v, a in try i.map(v, a) },
      "max": { i, v, a in try i.extreme(v, a, "max", largest: true) },
      "min": { i, v, a in try i.extreme(v, a, "min", largest: false) },
      "pprint": { i, v, _ in .string(try i.prettyRepresentation(of: v)) },
      "reject": { i, v, a in try i.select(v, a, attribute: false, keeps: false) },
      "rejectattr": { i, v, a in try i.select(v, a, attribute: true, keeps: false) },
      "replace": { i, v, a in
        let values = try i.bind(a, to: ["old", "new", "count"], of: "replace", required: 2)
        let limit = try i.integerArgument(values[2].flatMap { $0.isNone ? nil : $0 }, default: -1, "count")
        return .string(
          try i.replace(
            i.text(of: v), i.text(of: values[0] ?? .none), i.text(of: values[1] ?? .none), limit: limit))
      },
      "reverse": { i, v, _ in
        if case .string(let text) = v { return .string(PythonText.string(text.unicodeScalars.reversed())) }
        return try i.generator(i.items(of: v).reversed())
      },
      "round": { i, v, a in try i.round(v, a) },
      "safe": { i, v, _ in .string(try i.text(of: v)) },
      "select": { i, v, a in try i.select(v, a, attribute: false, keeps: true) },
      "selectattr": { i, v, a in try i.select(v, a, attribute: true, keeps: true) },
      "slice": { i, v, a in try i.slices(v, a) },
      "sort": { i, v, a in try i.sort(v, a) },
      "string": { i, v, _ in .string(try i.text(of: v)) },
      "striptags": { i, v, _ in .string(PythonText.withoutTags(try i.text(of: v))) },
      "sum": { i, v, a in try i.sum(v, a) },
      "title": { i, v, _ in .string(i.titled(try i.text(of: v))) },
      "tojson": { i, v, a in try i.toJSON(v, a) },
      "trim": { i, v, a in
        let characters = try i.bind(a, to: ["chars"], of: "trim")[0].flatMap { $0.isNone ? nil : $0 }
        return .string(
          PythonText.strip(try i.text(of: v), try characters.map { try i.textArgument($0, default: "", "chars") }))
      },
      "truncate": { i, v, a in try i.truncated(v, a) },
      "unique": { i, v, a in try i.unique(v, a) },
      "upper": { i, v, _ in .string(PythonText.upper(try i.text(of: v))) },
      "urlencode": { i, v, _ in try i.urlEncoded(v) },
      "wordcount": { i, v, _ in .int(i.wordCount(try i.text(of: v))) },
      "wordwrap": { i, v, a in try i.wordWrapped(v, a) },
      "xmlattr": { i, v, a in try i.attributes(v, a) },
    ]
    for (alias, name) in [("count", "length"), ("d", "default"), ("e", "escape"), ("forceescape", "escape")] {
      table[alias] = table[name]
    }
    return table
  }()
}

extension Jinja.Value {
  var isNone: Bool { if case .none = self { true } else { false } }
}
