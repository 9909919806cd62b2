import Core

/// The tests behind `is`.
extension Jinja.Interpreter {
  typealias Test = @Sendable (Jinja.Interpreter, Value, [Value]) throws -> Bool

  static func unknownTest(_ name: String, at place: AttuneError.Location) -> AttuneError {
    .request(
      "no test named '\(name)'", at: place,
      hint: nearestName(to: name, among: tests.keys.sorted()).map { "did you mean '\($0)'?" }
        ?? "tests: \(tests.keys.filter { $0.first?.isLetter ?? false }.sorted().joined(separator: ", "))")
  }

  func applyTest(_ name: String, _ value: Value, _ arguments: Jinja.CallArguments) throws -> Bool {
    guard let test = Self.tests[name] else {
      throw Self.unknownTest(name, at: .init(file: file, line: line > 0 ? line : nil))
    }
    let wanted = Self.operands[name] ?? 0
    guard arguments.positional.count == wanted, arguments.named.isEmpty else {
      throw failure("the test '\(name)' takes \(wanted) argument(s)")
    }
    return try test(self, value, arguments.positional)
  }

  /// How many arguments a test takes; those not listed take none.
  private static let operands: [String: Int] = {
    var table = ["divisibleby": 1, "in": 1, "sameas": 1]
    for name in comparisons.keys { table[name] = 1 }
    return table
  }()

  private static let comparisons: [String: Jinja.Comparison] = [
    "==": .equal, "eq": .equal, "equalto": .equal, "!=": .notEqual, "ne": .notEqual, ">": .greater, "gt": .greater,
    "greaterthan": .greater, "ge": .greaterOrEqual, ">=": .greaterOrEqual, "<": .less, "lt": .less, "lessthan": .less,
    "le": .lessOrEqual, "<=": .lessOrEqual,
  ]

  private func isSame(_ a: Value, _ b: Value) throws -> Bool {
    switch (a, b) {
    case (.none, .none): return true
    case (.bool(let x), .bool(let y)): return x == y
    case (.bool, _), (_, .bool), (.none, _), (_, .none): return false
    default: return a.typeName == b.typeName ? try equal(a, b) : false
    }
  }

  private func remainder(_ value: Value, _ divisor: Int) throws -> Int {
    guard let number = value.integer else {
      guard case .double(let number) = value else {
        throw failure("not all arguments converted: '\(value.typeName)' is no number")
      }
      guard case .double(let rest) = try binary(.modulo, .double(number), .int(divisor)) else { return -1 }
      return Int(exactly: rest) ?? -1
    }
    guard case .int(let rest) = try binary(.modulo, .int(number), .int(divisor)) else { return -1 }
    return rest
  }

  static let tests: [String: Test] = {
    var table: [String: Test] = [
      "boolean": { _, v, _ in if case .bool = v { true } else { false } },
      "callable": { _, v, _ in
        switch v {
        case .undefined: true
        case .object(let object): object.isCallable
        default: false
        }
      },
      "defined": { _, v, _ in !v.isUndefined },
      "divisibleby": { i, v, a in
        guard let divisor = a[0].integer else { throw i.failure("divisibleby needs an integer") }
        return try i.remainder(v, divisor) == 0
      },
      "escaped": { _, _, _ in false },
      "even": { i, v, _ in try i.remainder(v, 2) == 0 },
      "false": { _, v, _ in if case .bool(false) = v { true } else { false } },
      "filter": { _, v, _ in if case .string(let name) = v { filters[name] != nil } else { false } },
      "float": { _, v, _ in if case .double = v { true } else { false } },
      "in": { i, v, a in try i.contains(a[0], v) },
      "integer": { _, v, _ in if case .int = v { true } else { false } },
      "iterable": { _, v, _ in
        switch v {
        case .undefined, .string, .list, .tuple, .dict, .range, .view, .generator: true
        default: false
        }
      },
      "lower": { i, v, _ in PythonText.isLower(try i.text(of: v)) },
      "mapping": { _, v, _ in if case .dict = v { true } else { false } },
      "none": { _, v, _ in v.isNone },
      "number": { _, v, _ in v.number != nil },
      "odd": { i, v, _ in try i.remainder(v, 2) == 1 },
      "sameas": { i, v, a in try i.isSame(v, a[0]) },
      "sequence": { _, v, _ in
        switch v {
        case .undefined, .string, .list, .tuple, .dict, .range: true
        default: false
        }
      },
      "string": { _, v, _ in if case .string = v { true } else { false } },
      "test": { _, v, _ in if case .string(let name) = v { tests[name] != nil } else { false } },
      "true": { _, v, _ in if case .bool(true) = v { true } else { false } },
      "undefined": { _, v, _ in v.isUndefined },
      "upper": { i, v, _ in PythonText.isUpper(try i.text(of: v)) },
    ]
    for (name, comparison) in comparisons { table[name] = { i, v, a in try i.holds(comparison, v, a[0]) } }
    return table
  }()
}
