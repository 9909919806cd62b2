import Core

extension Jinja {
  /// A function of the environment (`range`, `raise_exception`).
  final class Function: Object {
    let name: String
    private let holds: Int
    private let body: (CallArguments, Interpreter) throws -> Value

    /// - Parameter depth: how deep the values are nested that `body` keeps.
    init(_ name: String, depth: Int = 0, _ body: @escaping (CallArguments, Interpreter) throws -> Value) {
      self.name = name
      self.body = body
      holds = depth
    }

    override var depth: Int { holds }

    override var typeName: String { "function" }
    override var isCallable: Bool { true }
    override func call(_ arguments: CallArguments, _ interpreter: Interpreter) throws -> Value {
      try body(arguments, interpreter)
    }
    override func text(_ interpreter: Interpreter) throws -> String { "<function \(name)>" }

    /// `dict.fromkeys`; other functions have no attributes.
    override func attribute(_ attribute: String, _ interpreter: Interpreter) throws -> Value? {
      guard name == "dict", attribute == "fromkeys" else { return nil }
      return .object(
        Function("fromkeys") { arguments, interpreter in
          let values = try interpreter.bind(arguments, to: ["iterable", "value"], of: "fromkeys", required: 1)
          var dict = Dict()
          for key in try interpreter.items(of: values[0] ?? .none) {
            try dict.set(key, interpreter.hash(key), values[1] ?? .none)
          }
          return .dict(dict)
        })
    }
  }

  /// A method together with the value that it was taken from.
  final class BoundMethod: Object {
    let receiver: Value
    let name: String

    init(_ receiver: Value, _ name: String) {
      self.receiver = receiver
      self.name = name
    }

    override var typeName: String { "builtin_function_or_method" }
    override var isCallable: Bool { true }
    override var depth: Int { receiver.depth + 1 }
    override func call(_ arguments: CallArguments, _ interpreter: Interpreter) throws -> Value {
      try interpreter.callMethod(name, of: receiver, arguments)
    }
    override func text(_ interpreter: Interpreter) throws -> String {
      "<built-in method \(name) of \(receiver.typeName) object>"
    }
  }

  /// A macro and the scope that it was defined in.
  final class Macro: Object {
    let definition: MacroDefinition
    let scope: Scope

    init(_ definition: MacroDefinition, _ scope: Scope) {
      self.definition = definition
      self.scope = scope
    }

    override var typeName: String { "Macro" }
    override var isCallable: Bool { true }
    override func call(_ arguments: CallArguments, _ interpreter: Interpreter) throws -> Value {
      try interpreter.call(self, arguments)
    }
    override func text(_ interpreter: Interpreter) throws -> String { "<Macro '\(definition.name)'>" }
    override func attribute(_ name: String, _ interpreter: Interpreter) throws -> Value? {
      switch name {
      case "name": .string(definition.name)
      case "arguments": .tuple(try Items(definition.parameters.map { .string($0.name) }))
      case "catch_kwargs": .bool(definition.reads.contains("kwargs"))
      case "catch_varargs": .bool(definition.reads.contains("varargs"))
      case "caller": .bool(definition.reads.contains("caller"))
      default: nil
      }
    }
  }

  /// `namespace()`: attributes that may be set from inside loops.
  final class Namespace: Object {
    private var values = Dict()

    override var typeName: String { "Namespace" }

    func set(_ name: String, _ value: Value, _ interpreter: Interpreter) throws {
      guard !name.hasPrefix("_") else {
        throw interpreter.failure("a namespace cannot hold '\(name)': names may not begin with an underscore")
      }
      try values.set(name, value)
    }

    func clear() { values = Dict() }

    override func attribute(_ name: String, _ interpreter: Interpreter) throws -> Value? { values.value(of: name) }

    override func text(_ interpreter: Interpreter) throws -> String {
      try interpreter.nested { "<Namespace \(try interpreter.representation(of: .dict(values)))>" }
    }
  }

  /// `loop`, as the body of a `for` sees it.
  final class LoopState: Object {
    var index = 0
    private let count: Int
    private let level: Int
    private var values: [Value]
    private var loop: ForLoop?
    private var scope: Scope?
    private var lastChanged: [Value]?

    init(_ values: [Value], loop: ForLoop, scope: Scope, level: Int) {
      self.values = values
      count = values.count
      self.level = level
      self.loop = loop
      self.scope = scope
    }

    /// Lets go of everything once the loop is over; what holds the loop then holds no chain of values.
    func finish() {
      values = []
      loop = nil
      scope = nil
      lastChanged = nil
    }

    override var typeName: String { "LoopContext" }
    override var isCallable: Bool { true }
    override func text(_ interpreter: Interpreter) throws -> String { "<LoopContext \(index + 1)/\(count)>" }

    override func attribute(_ name: String, _ interpreter: Interpreter) throws -> Value? {
      switch name {
      case "index": return .int(index + 1)
      case "index0": return .int(index)
      case "revindex": return .int(count - index)
      case "revindex0": return .int(count - index - 1)
      case "first": return .bool(index == 0)
      case "last": return .bool(index == count - 1)
      case "length": return .int(count)
      case "depth": return .int(level)
      case "depth0": return .int(level - 1)
      case "previtem":
        return values.indices.contains(index - 1) ? values[index - 1] : .undefined("there is no previous item")
      case "nextitem":
        return values.indices.contains(index + 1) ? values[index + 1] : .undefined("there is no next item")
      case "cycle":
        return .object(
          Function("cycle") { arguments, interpreter in
            guard !arguments.positional.isEmpty else { throw interpreter.failure("no items for cycling given") }
            return arguments.positional[self.index % arguments.positional.count]
          })
      case "changed":
        return .object(
          Function("changed") { arguments, interpreter in
            let values = arguments.positional
            // After its loop a state keeps nothing, or states could hold each other in chains without end.
            defer { if self.loop != nil { self.lastChanged = values } }
            guard let last = self.lastChanged, last.count == values.count else { return .bool(true) }
            for (a, b) in zip(last, values) where !(try interpreter.equal(a, b)) { return .bool(true) }
            return .bool(false)
          })
      default: return nil
      }
    }

    /// `loop(items)` in a recursive loop: the same loop over other items.
    override func call(_ arguments: CallArguments, _ interpreter: Interpreter) throws -> Value {
      guard let loop, let scope, loop.isRecursive else {
        throw interpreter.failure("'loop' can only be called in a loop that is marked 'recursive'")
      }
      let values = try interpreter.bind(arguments, to: ["iterable"], of: "loop", required: 1)
      return .string(
        try interpreter.captured {
          try interpreter.run(loop, over: values[0] ?? .none, scope, level: level + 1)
        })
    }
  }

  /// `cycler(...)`: gives its items in turn.
  final class Cycler: Object {
    private let items: Items
    private var index = 0

    init(_ items: Items) { self.items = items }

    override var typeName: String { "Cycler" }
    override var depth: Int { items.depth }
    override func attribute(_ name: String, _ interpreter: Interpreter) throws -> Value? {
      switch name {
      case "current": return items.values[index]
      case "pos": return .int(index)
      case "next":
        return .object(
          Function("next", depth: items.depth + 1) { _, _ in
            defer { self.index = (self.index + 1) % self.items.values.count }
            return self.items.values[self.index]
          })
      case "reset":
        return .object(
          Function("reset", depth: items.depth + 1) { _, _ in
            self.index = 0
            return .none
          })
      default: return nil
      }
    }
  }
}

extension Jinja.Interpreter {
  /// Sorts arguments under the names of parameters; missing ones are nil.
  func bind(
    _ arguments: Jinja.CallArguments, to names: [String], of function: String, required: Int = 0
  ) throws -> [Value?] {
    guard arguments.positional.count <= names.count else {
      throw failure(
        "\(function)() takes at most \(names.count) argument(s), \(arguments.positional.count) were given")
    }
    var result: [Value?] = arguments.positional
    result += Array(repeating: nil, count: names.count - result.count)
    for (name, value) in arguments.named {
      guard let place = names.firstIndex(of: name) else {
        throw failure(
          "\(function)() has no argument '\(name)'",
          hint: nearestName(to: name, among: names).map { "did you mean '\($0)'?" })
      }
      guard result[place] == nil else { throw failure("\(function)() got the argument '\(name)' twice") }
      result[place] = value
    }
    for place in 0..<required where result[place] == nil {
      throw failure("\(function)() needs the argument '\(names[place])'")
    }
    return result
  }

  func integerArgument(_ value: Value?, default standard: Int, _ what: String) throws -> Int {
    guard let value else { return standard }
    guard let integer = value.integer else { throw failure("\(what) must be an integer, not \(value.typeName)") }
    return integer
  }

  func textArgument(_ value: Value?, default standard: String, _ what: String) throws -> String {
    guard let value else { return standard }
    guard case .string(let text) = value else { throw failure("\(what) must be a string, not \(value.typeName)") }
    return text
  }

  /// What every template can call.
  func standardGlobals() -> [(String, Value)] {
    func function(
      _ name: String, _ body: @escaping (Jinja.CallArguments, Jinja.Interpreter) throws -> Value
    ) -> (String, Value) { (name, .object(Jinja.Function(name, body))) }
    return [
      function("range") { arguments, interpreter in
        let numbers = try arguments.positional.map { try interpreter.integerArgument($0, default: 0, "range()") }
        guard (1...3).contains(numbers.count), arguments.named.isEmpty else {
          throw interpreter.failure("range() takes 1 to 3 arguments, \(numbers.count) were given")
        }
        let step = numbers.count == 3 ? numbers[2] : 1
        guard step != 0 else { throw interpreter.failure("range() arg 3 must not be zero") }
        let start = numbers.count == 1 ? 0 : numbers[0]
        let stop = numbers.count == 1 ? numbers[0] : numbers[1]
        let tooMany = interpreter.failure("range() of more than \(Jinja.Limit.range) items")
        guard [start, stop, step].allSatisfy({ abs($0 == .min ? .max : $0) < 1 << 60 }) else { throw tooMany }
        let range = Jinja.Progression(start: start, stop: stop, step: step)
        guard range.count <= Jinja.Limit.range else { throw tooMany }
        return .range(range)
      },
      function("dict") { arguments, interpreter in .dict(try interpreter.makeDict(arguments)) },
      function("namespace") { arguments, interpreter in
        let namespace = Jinja.Namespace()
        interpreter.releaseAtEnd { namespace.clear() }
        let dict = try interpreter.makeDict(arguments)
        for (key, value) in zip(dict.keys, dict.values) {
          try namespace.set(interpreter.text(of: key), value, interpreter)
        }
        return .object(namespace)
      },
      function("cycler") { arguments, interpreter in
        guard !arguments.positional.isEmpty else { throw interpreter.failure("cycler() needs at least one item") }
        return .object(Jinja.Cycler(try Jinja.Items(arguments.positional)))
      },
      function("joiner") { arguments, interpreter in
        let values = try interpreter.bind(arguments, to: ["sep"], of: "joiner")
        let separator = try values[0].map { try interpreter.text(of: $0) } ?? ", "
        var used = false
        return .object(
          Jinja.Function("joiner") { _, _ in
            defer { used = true }
            return .string(used ? separator : "")
          })
      },
      function("raise_exception") { arguments, interpreter in
        let values = try interpreter.bind(arguments, to: ["message"], of: "raise_exception", required: 1)
        throw interpreter.failure(try interpreter.text(of: values[0] ?? .none))
      },
      function("strftime_now") { arguments, interpreter in
        let values = try interpreter.bind(arguments, to: ["format"], of: "strftime_now", required: 1)
        let format = try interpreter.textArgument(values[0], default: "", "the format of strftime_now()")
        try interpreter.charge(format.utf8.count * 16)
        return .string(interpreter.now.formatted(format))
      },
    ]
  }

  fileprivate func makeDict(_ arguments: Jinja.CallArguments) throws -> Jinja.Dict {
    var dict = Jinja.Dict()
    guard arguments.positional.count <= 1 else { throw failure("at most one argument without a name is expected") }
    switch arguments.positional.first {
    case .dict(let source): dict = source
    case let source?:
      for pair in try items(of: source) {
        let parts = try items(of: pair)
        guard parts.count == 2 else { throw failure("dict() needs pairs, found \(parts.count) values") }
        try dict.set(parts[0], hash(parts[0]), parts[1])
      }
    case nil: break
    }
    for (name, value) in arguments.named { try dict.set(name, value) }
    return dict
  }
}
