/// A JSON value that remembers the order of its keys and where it stood in its file.
///
/// Also what YAML recipes are read into, so that every error about a value can name its line and column.
/// Two values are equal when their contents are; positions do not count.
public struct JSON: Sendable {
  public enum Content: Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction and exponent that fits 64 bits.
    case int(Int64)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(Object)
  }

  /// Line and column, counted from 1; (0, 0) for a value that was made and not read.
  public struct Position: Sendable, Equatable {
    public var line: Int32
    public var column: Int32
    public static let none = Position(line: 0, column: 0)

    public init(line: Int32, column: Int32) {
      self.line = line
      self.column = column
    }
  }

  public var value: Content
  public var position: Position

  public init(_ value: Content, at position: Position = .none) {
    self.value = value
    self.position = position
  }

  /// Where this value stands, for an error about it.
  public func location(in file: String) -> AttuneError.Location {
    position == .none
      ? .init(file: file) : .init(file: file, line: Int(position.line), column: Int(position.column))
  }
}

extension JSON.Object: Equatable {
  /// Equal keys with equal values, in any order.
  public static func == (a: JSON.Object, b: JSON.Object) -> Bool {
    a.count == b.count && a.entries.allSatisfy { b[$0] == $1 }
  }
}

extension JSON: Equatable {
  public static func == (a: JSON, b: JSON) -> Bool {
    switch (a.value, b.value) {
    case (.null, .null): true
    case (.bool(let x), .bool(let y)): x == y
    case (.int(let x), .int(let y)): x == y
    case (.double(let x), .double(let y)): x == y
    case (.int(let x), .double(let y)), (.double(let y), .int(let x)): Double(x) == y
    case (.string(let x), .string(let y)): x.utf8.elementsEqual(y.utf8)
    case (.array(let x), .array(let y)): x == y
    case (.object(let x), .object(let y)): x == y
    default: false
    }
  }
}

extension JSON {
  public static let null = JSON(.null)
  public static func bool(_ x: Bool) -> JSON { JSON(.bool(x)) }
  public static func int(_ x: some BinaryInteger) -> JSON { JSON(.int(Int64(x))) }
  public static func double(_ x: Double) -> JSON { JSON(.double(x)) }
  public static func string(_ x: String) -> JSON { JSON(.string(x)) }
  public static func array(_ x: [JSON]) -> JSON { JSON(.array(x)) }
  public static func object(_ x: [(String, JSON)]) -> JSON { JSON(.object(Object(x))) }

  public var isNull: Bool { if case .null = value { true } else { false } }
  // Not inlined, `bool`, `int` and `double`: Swift 6.3's optimiser stops with an ownership error in callers that combine them.
  @inline(never)
  public var bool: Bool? { if case .bool(let x) = value { x } else { nil } }
  /// The integer, also if it was written as a whole number with a fraction (`3.0`).
  @inline(never)
  public var int: Int? {
    switch value {
    case .int(let x): Int(x)
    case .double(let x): Int(exactly: x)
    default: nil
    }
  }
  @inline(never)
  public var double: Double? {
    switch value {
    case .int(let x): Double(x)
    case .double(let x): x
    default: nil
    }
  }
  public var string: String? { if case .string(let x) = value { x } else { nil } }
  public var array: [JSON]? { if case .array(let x) = value { x } else { nil } }
  public var object: Object? { if case .object(let x) = value { x } else { nil } }

  /// The value of `key`, or nil if this is no object or has no such key.
  public subscript(key: String) -> JSON? { object?[key] }
  /// The element at `index`, or nil if this is no array or is shorter.
  public subscript(index: Int) -> JSON? {
    guard let array, array.indices.contains(index) else { return nil }
    return array[index]
  }

  /// What kind of value this is, in the words of an error message.
  public var kind: String {
    switch value {
    case .null: "null"
    case .bool: "a boolean"
    case .int, .double: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "a mapping"
    }
  }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(stringLiteral value: String) { self.init(.string(value)) }
  public init(integerLiteral value: Int64) { self.init(.int(value)) }
  public init(floatLiteral value: Double) { self.init(.double(value)) }
  public init(booleanLiteral value: Bool) { self.init(.bool(value)) }
  public init(arrayLiteral elements: JSON...) { self.init(.array(elements)) }
  public init(dictionaryLiteral elements: (String, JSON)...) { self.init(.object(Object(elements))) }
}
