import Core
import Foundation

/// Printing, comparing, hashing and taking apart.
extension Jinja.Interpreter {
  typealias Value = Jinja.Value

  // MARK: Text

  /// `str(value)`.
  func text(of value: Value) throws -> String {
    switch value {
    case .undefined: return ""
    case .string(let text): return text
    default:
      var out = ""
      try represent(value, into: &out)
      return out
    }
  }

  /// `repr(value)`.
  func representation(of value: Value) throws -> String {
    var out = ""
    try represent(value, into: &out)
    return out
  }

  func represent(_ value: Value, into out: inout String) throws {
    try step()
    let before = out.utf8.count
    switch value {
    case .undefined: out += "Undefined"
    case .none: out += "None"
    case .bool(let value): out += value ? "True" : "False"
    case .int(let value): out += String(value)
    case .double(let value): out += pythonText(of: value)
    case .string(let text): out += pythonRepresentation(of: text)
    case .list(let items): try represent(items.values, "[", "]", into: &out)
    case .tuple(let items): try represent(items.values, "(", items.values.count == 1 ? ",)" : ")", into: &out)
    case .dict(let dict):
      out += "{"
      for (index, (key, value)) in zip(dict.keys, dict.values).enumerated() {
        if index > 0 { out += ", " }
        try represent(key, into: &out)
        out += ": "
        try represent(value, into: &out)
      }
      out += "}"
    case .range(let range):
      out += "range(\(range.start), \(range.stop)" + (range.step == 1 ? ")" : ", \(range.step))")
    case .view(let items, let name): try represent(items.values, "dict_\(name)([", "])", into: &out)
    case .generator: out += "<generator object>"
    case .object(let object): out += try object.text(self)
    }
    // Containers charge for what they add themselves; what their items charged already counts twice, which is harmless.
    try charge(out.utf8.count - before)
  }

  private func represent(_ values: [Value], _ open: String, _ close: String, into out: inout String) throws {
    out += open
    for (index, value) in values.enumerated() {
      if index > 0 { out += ", " }
      try represent(value, into: &out)
    }
    out += close
  }

  // MARK: Equality and order

  func equal(_ a: Value, _ b: Value) throws -> Bool {
    try step()
    switch (a, b) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let x), .string(let y)):
      // Long texts cost what they weigh: comparing is not a way around the limits.
      if x.utf8.count > 64, x.utf8.count == y.utf8.count { try step(x.utf8.count / 64) }
      return sameText(x, y)
    case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)), (.view(let x, _), .view(let y, _)):
      guard x.values.count == y.values.count else { return false }
      for (left, right) in zip(x.values, y.values) where !(try equal(left, right)) { return false }
      return true
    case (.dict(let x), .dict(let y)):
      guard x.count == y.count else { return false }
      for (key, value) in zip(x.keys, x.values) {
        guard let other = y.value(of: try hash(key)), try equal(value, other) else { return false }
      }
      return true
    case (.range(let x), .range(let y)):
      return x.count == y.count && (x.count == 0 || (x.start == y.start && (x.count == 1 || x.step == y.step)))
    case (.generator(let x), .generator(let y)): return x === y
    case (.object(let x), .object(let y)): return x === y
    default:
      if let x = a.integer, let y = b.integer { return x == y }
      if let x = a.number, let y = b.number { return x == y }
      return false
    }
  }

  func hash(_ value: Value) throws -> Jinja.Key {
    try step()
    switch value {
    case .none: return .none
    case .string(let text): return .string(Jinja.ExactText(text))
    case .bool(let value): return .int(value ? 1 : 0)
    case .int(let value): return .int(value)
    case .double(let value): return Int(exactly: value).map { .int($0) } ?? .double(value)
    case .tuple(let items): return .tuple(try items.values.map { try hash($0) })
    case .undefined: return .undefined
    default: throw failure("unhashable type: '\(value.typeName)'")
    }
  }

  /// True if `a` comes before `b`.
  func precedes(_ a: Value, _ b: Value, symbol: String = "<") throws -> Bool {
    try step()
    if let x = a.integer, let y = b.integer { return x < y }
    if let x = a.number, let y = b.number { return x < y }
    switch (a, b) {
    case (.string(let x), .string(let y)): return x.unicodeScalars.lexicographicallyPrecedes(y.unicodeScalars)
    case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)):
      for (left, right) in zip(x.values, y.values) where !(try equal(left, right)) {
        return try precedes(left, right, symbol: symbol)
      }
      return x.values.count < y.values.count
    case (.undefined(let undefined), _), (_, .undefined(let undefined)): throw failure(undefined.message)
    default:
      throw failure("'\(symbol)' not supported between instances of '\(a.typeName)' and '\(b.typeName)'")
    }
  }

  func holds(_ comparison: Jinja.Comparison, _ a: Value, _ b: Value) throws -> Bool {
    switch comparison {
    case .equal: return try equal(a, b)
    case .notEqual: return !(try equal(a, b))
    case .less: return try precedes(a, b)
    case .greater: return try precedes(b, a, symbol: ">")
    case .lessOrEqual:
      if isNotANumber(a) || isNotANumber(b) { return false }
      return !(try precedes(b, a, symbol: "<="))
    case .greaterOrEqual:
      if isNotANumber(a) || isNotANumber(b) { return false }
      return !(try precedes(a, b, symbol: ">="))
    case .isIn: return try contains(b, a)
    case .isNotIn: return !(try contains(b, a))
    }
  }

  private func isNotANumber(_ value: Value) -> Bool { if case .double(let x) = value { x.isNaN } else { false } }

  /// `item in container`.
  func contains(_ container: Value, _ item: Value) throws -> Bool {
    switch container {
    case .string(let text):
      guard case .string(let part) = item else {
        throw failure("'in <string>' requires string as left operand, not \(item.typeName)")
      }
      try step(text.utf8.count / 64)
      return PythonText.find(part, in: text) != nil
    case .dict(let dict): return dict.value(of: try hash(item)) != nil
    case .range, .list, .tuple, .view, .generator, .undefined:
      for other in try items(of: container) where try equal(item, other) { return true }
      return false
    default: throw failure("argument of type '\(container.typeName)' is not iterable")
    }
  }

  // MARK: Parts

  /// Everything in something that can be iterated over.
  func items(of value: Value) throws -> [Value] {
    let result: [Value]
    switch value {
    case .undefined: return []
    case .list(let items), .tuple(let items), .view(let items, _): result = items.values
    case .dict(let dict): result = dict.keys
    case .string(let text):
      try charge(text.utf8.count * 16)
      result = text.unicodeScalars.map { .string(String(Character($0))) }
    case .range(let range):
      try charge(range.count * 16)
      result = (0..<range.count).map { .int(range[$0]) }
    case .generator(let generator): result = generator.take()
    default: throw failure("'\(value.typeName)' object is not iterable")
    }
    try step(result.count)
    return result
  }

  func count(of value: Value) throws -> Int {
    switch value {
    case .undefined: return 0
    case .string(let text): return text.unicodeScalars.count
    case .list(let items), .tuple(let items), .view(let items, _): return items.values.count
    case .dict(let dict): return dict.count
    case .range(let range): return range.count
    default: throw failure("object of type '\(value.typeName)' has no len()")
    }
  }

  /// `value.name`: what the value has by that name, else what a mapping holds under it.
  func attribute(_ name: String, of value: Value) throws -> Value {
    if case .undefined(let undefined) = value { throw failure(undefined.message) }
    if name.hasPrefix("__") { return unsafe(name, of: value) }
    if let found = try member(name, of: value) { return found }
    if case .dict(let dict) = value, let found = dict.value(of: name) { return found }
    return missing(name, of: value)
  }

  /// `value[key]`: what a container holds, else what the value has by that name.
  func item(_ key: Value, of value: Value) throws -> Value {
    switch (value, key) {
    case (.undefined(let undefined), _): throw failure(undefined.message)
    case (.dict(let dict), _):
      // A key that no mapping can hold is one that this mapping does not hold.
      if let key = try? hash(key), let found = dict.value(of: key) { return found }
    case (.list(let items), _), (.tuple(let items), _):
      if let index = key.integer {
        let place = index < 0 ? index + items.values.count : index
        if items.values.indices.contains(place) { return items.values[place] }
      }
    case (.string(let text), _):
      if let index = key.integer {
        let scalars = text.unicodeScalars
        let place = index < 0 ? index + scalars.count : index
        if place >= 0, let i = scalars.index(scalars.startIndex, offsetBy: place, limitedBy: scalars.endIndex),
          i < scalars.endIndex
        {
          return .string(String(Character(scalars[i])))
        }
      }
    case (.range(let range), _):
      if let index = key.integer {
        let place = index < 0 ? index + range.count : index
        if place >= 0, place < range.count { return .int(range[place]) }
      }
    default: break
    }
    if case .string(let name) = key {
      if name.hasPrefix("__") { return unsafe(name, of: value) }
      if let found = try member(name, of: value) { return found }
      return missing(name, of: value)
    }
    return .undefined("'\(value.typeName) object' has no element \(try representation(of: key))")
  }

  private func missing(_ name: String, of value: Value) -> Value {
    .undefined("'\(value.typeName) object' has no attribute '\(name)'")
  }

  private func unsafe(_ name: String, of value: Value) -> Value {
    let message = "access to attribute '\(name)' of '\(value.typeName)' object is unsafe."
    return .undefined(Jinja.Undefined(message, isUnsafe: true))
  }

  private static let listMutators: Set = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"]
  private static let dictMutators: Set = ["clear", "pop", "popitem", "setdefault", "update"]

  /// A method or attribute that the value's type has.
  func member(_ name: String, of value: Value) throws -> Value? {
    switch value {
    case .object(let object): return try object.attribute(name, self)
    case .string where Self.stringMethods[name] != nil: break
    case .list where Self.listMutators.contains(name): return unsafe(name, of: value)
    case .dict where Self.dictMutators.contains(name): return unsafe(name, of: value)
    case .list where ["count", "index", "copy"].contains(name): break
    case .tuple(let items):
      // The pairs that `groupby` gives are named tuples.
      if items.values.count == 2, name == "grouper" { return items.values[0] }
      if items.values.count == 2, name == "list" { return items.values[1] }
      guard ["count", "index"].contains(name) else { return nil }
    case .dict where ["get", "items", "keys", "values", "copy"].contains(name): break
    default: return nil
    }
    return .object(Jinja.BoundMethod(value, name))
  }

  func slice(_ value: Value, _ start: Value?, _ stop: Value?, _ step: Value?) throws -> Value {
    func bound(_ value: Value?) throws -> Int? {
      guard let value else { return nil }
      if case .none = value { return nil }
      guard let index = value.integer else {
        throw failure("slice indices must be integers or None or have an __index__ method")
      }
      return index
    }
    let stride = try bound(step) ?? 1
    guard stride != 0 else { throw failure("slice step cannot be zero") }
    let bounds = (try bound(start), try bound(stop))
    func places(_ count: Int) -> [Int] {
      func clamp(_ index: Int?, _ standard: Int) -> Int {
        guard let index else { return standard }
        let place = index < 0 ? max(index, -count - 1) + count : index
        return stride > 0 ? min(max(place, 0), count) : min(max(place, -1), count - 1)
      }
      let from = clamp(bounds.0, stride > 0 ? 0 : count - 1)
      let to = clamp(bounds.1, stride > 0 ? count : -1)
      // A stride beyond the length takes one item and cannot overflow.
      let limited = max(-count - 1, min(count + 1, stride))
      return Array(Swift.stride(from: from, to: to, by: limited == 0 ? 1 : limited))
    }
    switch value {
    case .string(let text):
      let scalars = Array(text.unicodeScalars)
      try charge(scalars.count)
      return .string(String(String.UnicodeScalarView(places(scalars.count).map { scalars[$0] })))
    case .list(let items):
      try charge(items.values.count * 16)
      return .list(try Jinja.Items(places(items.values.count).map { items.values[$0] }))
    case .tuple(let items):
      try charge(items.values.count * 16)
      return .tuple(try Jinja.Items(places(items.values.count).map { items.values[$0] }))
    case .range(let range):
      let places = places(range.count)
      guard let first = places.first, let last = places.last else {
        return .range(Jinja.Progression(start: 0, stop: 0, step: 1))
      }
      let step = places.count > 1 ? range[places[1]] - range[first] : range.step
      return .range(Jinja.Progression(start: range[first], stop: range[last] + (step > 0 ? 1 : -1), step: step))
    case .undefined(let undefined): throw failure(undefined.message)
    case .dict: throw failure("unhashable type: 'slice'")
    default: throw failure("'\(value.typeName)' object is not subscriptable")
    }
  }

  // MARK: Arithmetic

  func negated(_ value: Value) throws -> Value {
    if let integer = value.integer {
      guard integer != .min else { throw failure("an integer larger than 64 bits") }
      return .int(-integer)
    }
    if case .double(let value) = value { return .double(-value) }
    if case .undefined(let undefined) = value { throw failure(undefined.message) }
    throw failure("bad operand type for unary -: '\(value.typeName)'")
  }

  func binary(_ operation: Jinja.BinaryOperator, _ a: Value, _ b: Value) throws -> Value {
    if case .undefined(let undefined) = a { throw failure(undefined.message) }
    if operation == .modulo, case .string(let format) = a { return .string(try percentFormat(format, b)) }
    if case .undefined(let undefined) = b { throw failure(undefined.message) }
    if let x = a.integer, let y = b.integer { return try integers(operation, x, y) }
    if let x = a.number, let y = b.number { return try doubles(operation, x, y) }
    switch (operation, a, b) {
    case (.add, .string(let x), .string(let y)):
      try charge(x.utf8.count + y.utf8.count)
      return .string(x + y)
    case (.add, .list(let x), .list(let y)):
      try charge((x.values.count + y.values.count) * 16)
      return .list(try Jinja.Items(x.values + y.values))
    case (.add, .tuple(let x), .tuple(let y)):
      try charge((x.values.count + y.values.count) * 16)
      return .tuple(try Jinja.Items(x.values + y.values))
    case (.multiply, _, _):
      if let count = b.integer, let result = try repeated(a, count) { return result }
      if let count = a.integer, let result = try repeated(b, count) { return result }
    default: break
    }
    if operation == .add, case .string = a { throw failure("can only concatenate str (not \"\(b.typeName)\") to str") }
    throw failure(
      "unsupported operand type(s) for \(operation.rawValue): '\(a.typeName)' and '\(b.typeName)'")
  }

  private func repeated(_ value: Value, _ count: Int) throws -> Value? {
    func charged(_ unit: Int) throws -> Int {
      let (size, overflow) = unit.multipliedReportingOverflow(by: max(0, count))
      try charge(overflow ? .max : size)
      return unit == 0 ? 0 : max(0, count)
    }
    switch value {
    case .string(let text): return .string(String(repeating: text, count: try charged(text.utf8.count)))
    case .list(let items):
      let count = try charged(items.values.count * 16)
      return .list(try Jinja.Items(Array(repeatElement(items.values, count: count).joined())))
    case .tuple(let items):
      let count = try charged(items.values.count * 16)
      return .tuple(try Jinja.Items(Array(repeatElement(items.values, count: count).joined())))
    default: return nil
    }
  }

  private func integers(_ operation: Jinja.BinaryOperator, _ x: Int, _ y: Int) throws -> Value {
    func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> Value {
      guard !result.overflow else { throw failure("an integer larger than 64 bits") }
      return .int(result.partialValue)
    }
    switch operation {
    case .add: return try checked(x.addingReportingOverflow(y))
    case .subtract: return try checked(x.subtractingReportingOverflow(y))
    case .multiply: return try checked(x.multipliedReportingOverflow(by: y))
    case .divide:
      guard y != 0 else { throw failure("division by zero") }
      return .double(Double(x) / Double(y))
    case .floorDivide, .modulo:
      guard y != 0 else { throw failure("integer division or modulo by zero") }
      if y == -1 { return operation == .modulo ? .int(0) : try negated(.int(x)) }
      let (quotient, remainder) = x.quotientAndRemainder(dividingBy: y)
      let crosses = remainder != 0 && (remainder < 0) != (y < 0)
      return .int(operation == .modulo ? (crosses ? remainder + y : remainder) : (crosses ? quotient - 1 : quotient))
    case .power:
      if y < 0 { return try doubles(.power, Double(x), Double(y)) }
      var result = 1
      var base = x
      var exponent = y
      while exponent > 0 {
        if exponent & 1 == 1 {
          let (product, overflow) = result.multipliedReportingOverflow(by: base)
          guard !overflow else { throw failure("an integer larger than 64 bits") }
          result = product
        }
        exponent >>= 1
        if exponent > 0 {
          let (square, overflow) = base.multipliedReportingOverflow(by: base)
          guard !overflow else { throw failure("an integer larger than 64 bits") }
          base = square
        }
      }
      return .int(result)
    }
  }

  private func doubles(_ operation: Jinja.BinaryOperator, _ x: Double, _ y: Double) throws -> Value {
    switch operation {
    case .add: return .double(x + y)
    case .subtract: return .double(x - y)
    case .multiply: return .double(x * y)
    case .divide:
      guard y != 0 else { throw failure("float division by zero") }
      return .double(x / y)
    case .floorDivide, .modulo:
      guard y != 0 else { throw failure("float floor division by zero") }
      var remainder = fmod(x, y)
      var quotient = (x - remainder) / y
      if remainder != 0, (remainder < 0) != (y < 0) {
        remainder += y
        quotient -= 1
      }
      return .double(operation == .modulo ? remainder : quotient.rounded(.toNearestOrEven))
    case .power:
      guard x != 0 || y >= 0 else { throw failure("0.0 cannot be raised to a negative power") }
      return .double(pow(x, y))
    }
  }
}

/// A float as Python prints it: shortest digits that read back, an exponent below 1e-4 and from 1e16.
func pythonText(of value: Double) -> String {
  if value.isNaN { return "nan" }
  if value.isInfinite { return value < 0 ? "-inf" : "inf" }
  // Swift prints the same digits; only the place of the point differs.
  var text = String(value)
  let isNegative = text.hasPrefix("-")
  if isNegative { text.removeFirst() }
  let parts = text.split(separator: "e")
  let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
  var exponent = (parts.count > 1 ? Int(parts[1]) ?? 0 : 0) + mantissa[0].count
  var digits = String(mantissa[0]) + (mantissa.count > 1 ? String(mantissa[1]) : "")
  let leading = digits.prefix { $0 == "0" }.count
  digits.removeFirst(min(leading, digits.count))
  exponent -= leading
  while digits.hasSuffix("0") { digits.removeLast() }
  let sign = isNegative ? "-" : ""
  if digits.isEmpty { return sign + "0.0" }
  // The value is 0.digits times ten to the exponent.
  if exponent > 16 || exponent < -3 {
    let power = exponent - 1
    let rest = digits.dropFirst()
    let size = abs(power) < 10 ? "0\(abs(power))" : "\(abs(power))"
    return sign + digits.prefix(1) + (rest.isEmpty ? "" : "." + rest) + "e" + (power < 0 ? "-" : "+") + size
  }
  if exponent <= 0 { return sign + "0." + String(repeating: "0", count: -exponent) + digits }
  if digits.count <= exponent {
    return sign + digits + String(repeating: "0", count: exponent - digits.count) + ".0"
  }
  return sign + digits.prefix(exponent) + "." + digits.dropFirst(exponent)
}

/// A string as Python's `repr` writes it.
func pythonRepresentation(of text: String) -> String {
  let scalars = text.unicodeScalars
  let quote: Unicode.Scalar = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
  var out = String.UnicodeScalarView()
  out.append(quote)
  for scalar in scalars {
    switch scalar {
    case "\\", quote:
      out.append("\\")
      out.append(scalar)
    case "\n": out.append(text: "\\n")
    case "\r": out.append(text: "\\r")
    case "\t": out.append(text: "\\t")
    case _ where scalar == " " || isPythonPrintable(scalar): out.append(scalar)
    default:
      let hex = String(scalar.value, radix: 16)
      let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
      out.append(text: "\\\(letter)\(String(repeating: "0", count: width - hex.count))\(hex)")
    }
  }
  out.append(quote)
  return String(out)
}

func isPythonPrintable(_ scalar: Unicode.Scalar) -> Bool {
  if scalar.value < 0x7F { return scalar.value >= 0x20 }
  switch scalar.properties.generalCategory {
  case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
    return false
  default: return true
  }
}
