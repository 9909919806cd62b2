import Core

extension Jinja {
  /// A value as templates see it: Python's types, none of which a template can change.
  enum Value {
    case undefined(Undefined)
    case none
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case list(Items)
    case tuple(Items)
    case dict(Dict)
    case range(Progression)
    /// `items()`, `keys()` and `values()` of a mapping.
    case view(Items, name: String)
    /// What `map`, `select` and kin give: items that can be taken once.
    case generator(Generator)
    case object(Object)
  }

  /// A value that is not there, and why.
  final class Undefined: Sendable {
    let message: String
    /// True for what the sandbox keeps out of reach.
    let isUnsafe: Bool

    init(_ message: String, isUnsafe: Bool = false) {
      self.message = message
      self.isUnsafe = isUnsafe
    }
  }

  /// Items of a list or tuple, and how deep they are nested: the bound on every recursion over values.
  struct Items {
    let values: [Value]
    let depth: Int

    init(_ values: [Value]) throws {
      self.values = values
      depth = try Value.depth(above: values)
    }

    static let empty = Items(empty: ())
    private init(empty: Void) {
      values = []
      depth = 1
    }
  }

  /// A mapping in the order of its keys.
  struct Dict {
    private(set) var keys: [Value] = []
    private(set) var values: [Value] = []
    private(set) var depth = 1
    private var places: [Key: Int] = [:]

    var count: Int { keys.count }

    func value(of key: Key) -> Value? { places[key].map { values[$0] } }
    func value(of name: String) -> Value? { value(of: .string(ExactText(name))) }

    mutating func set(_ key: Value, _ hash: Key, _ value: Value) throws {
      depth = max(depth, try Value.depth(above: [key, value]))
      if let place = places[hash] {
        values[place] = value
      } else {
        places[hash] = keys.count
        keys.append(key)
        values.append(value)
      }
    }

    mutating func set(_ name: String, _ value: Value) throws {
      try set(.string(name), .string(ExactText(name)), value)
    }
  }

  /// What a mapping finds its values by. Numbers that are equal are one key, as are 1 and true.
  enum Key: Hashable {
    case none
    case undefined
    case int(Int)
    case double(Double)
    case string(ExactText)
    case tuple([Key])
  }

  /// Text that is equal only to the same code points; `String` also takes equivalent characters for equal.
  struct ExactText: Hashable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (a: ExactText, b: ExactText) -> Bool { sameText(a.text, b.text) }

    func hash(into hasher: inout Hasher) {
      var copy = text
      copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
  }

  struct Progression {
    let start: Int
    let stop: Int
    let step: Int

    var count: Int {
      let span = step > 0 ? stop - start : start - stop
      return span <= 0 ? 0 : (span - 1) / abs(step) + 1
    }

    subscript(index: Int) -> Int { start + index * step }
  }

  final class Generator {
    private var rest: [Value]
    let depth: Int

    init(_ values: [Value]) throws {
      rest = values
      depth = try Value.depth(above: values)
    }

    /// Everything that nobody took yet.
    func take() -> [Value] {
      defer { rest = [] }
      return rest
    }

    func takeFirst() -> Value? { rest.isEmpty ? nil : rest.removeFirst() }
  }

  /// Arguments of a call, evaluated.
  struct CallArguments {
    var positional: [Value] = []
    var named: [(name: String, value: Value)] = []
  }

  /// Something with a behaviour of its own: a function, a macro, `loop`, a namespace.
  class Object {
    var typeName: String { "object" }
    var isCallable: Bool { false }
    var depth: Int { 0 }
    func attribute(_ name: String, _ interpreter: Interpreter) throws -> Value? { nil }
    func call(_ arguments: CallArguments, _ interpreter: Interpreter) throws -> Value {
      throw interpreter.failure("'\(typeName)' object is not callable")
    }
    func text(_ interpreter: Interpreter) throws -> String { "<\(typeName)>" }
  }
}

extension Jinja.Value {
  static func undefined(_ message: String) -> Jinja.Value { .undefined(Jinja.Undefined(message)) }

  /// The depth of a container of `values`.
  static func depth(above values: [Jinja.Value]) throws -> Int {
    var depth = 0
    for value in values { depth = max(depth, value.depth) }
    guard depth < Jinja.Limit.valueDepth else {
      throw AttuneError.request("values nested deeper than \(Jinja.Limit.valueDepth) levels")
    }
    return depth + 1
  }

  var depth: Int {
    switch self {
    case .list(let items), .tuple(let items), .view(let items, _): items.depth
    case .dict(let dict): dict.depth
    case .generator(let generator): generator.depth
    case .object(let object): object.depth
    default: 0
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }

  /// Python's truth value.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .double(let value): value != 0
    case .string(let text): !text.isEmpty
    case .list(let items), .tuple(let items), .view(let items, _): !items.values.isEmpty
    case .dict(let dict): dict.count > 0
    case .range(let range): range.count > 0
    case .generator, .object: true
    }
  }

  /// The name of the type in Python, for error messages.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .int: "int"
    case .double: "float"
    case .string: "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dict: "dict"
    case .range: "range"
    case .view(_, let name): "dict_\(name)"
    case .generator: "generator"
    case .object(let object): object.typeName
    }
  }

  /// Integers and booleans as a number.
  var integer: Int? {
    switch self {
    case .int(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  /// Any number.
  var number: Double? {
    if case .double(let value) = self { return value }
    return integer.map(Double.init)
  }

  /// A JSON value as a template sees it.
  init(_ json: JSON) throws {
    switch json.value {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(Int(value))
    case .double(let value): self = .double(value)
    case .string(let value): self = .string(value)
    case .array(let items): self = .list(try Jinja.Items(items.map { try Jinja.Value($0) }))
    case .object(let object):
      var dict = Jinja.Dict()
      for (key, value) in object.entries { try dict.set(key, Jinja.Value(value)) }
      self = .dict(dict)
    }
  }
}

/// True for the same code points.
@inline(__always)
func sameText(_ a: String, _ b: String) -> Bool { a.utf8.count == b.utf8.count && a.utf8.elementsEqual(b.utf8) }
