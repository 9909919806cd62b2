import Core

extension Jinja {
  /// Names and their values, inside the scope that is around them.
  final class Scope {
    var values: [String: Value] = [:]
    let parent: Scope?

    init(parent: Scope?) { self.parent = parent }

    func value(of name: String) -> Value? {
      var scope: Scope? = self
      while let current = scope {
        if let value = current.values[name] { return value }
        scope = current.parent
      }
      return nil
    }
  }

  enum Flow { case normal, breakLoop, continueLoop }

  /// Renders one template once. Every loop and every recursion in it is counted.
  final class Interpreter {
    let file: String
    let now: CivilTime
    private(set) var line = 0
    private var depth = 0
    private let stack = StackBudget()
    private var steps = 0
    private var size = 0
    /// Text at template level; `generation` measures its spans in it.
    private var rootOutput = ""
    private var rootMeasured = (bytes: 0, scalars: 0)
    /// Where text goes now; nil means template level.
    private var capture: String?
    private(set) var spans: [Range<Int>] = []
    /// Objects that may hold each other in a circle; emptied at the end so that none outlives its rendering.
    private var circular: [() -> Void] = []

    init(file: String, now: CivilTime) {
      self.file = file
      self.now = now
    }

    func render(_ statements: [Statement], variables: [(String, Value)]) throws -> String {
      let globals = Scope(parent: nil)
      for (name, value) in standardGlobals() { globals.values[name] = value }
      for (name, value) in variables { globals.values[name] = value }
      let root = Scope(parent: globals)
      releaseAtEnd { root.values = [:] }
      defer { for release in circular { release() } }
      do {
        _ = try run(statements, root)
      } catch var error as AttuneError {
        if error.location == nil { error.location = .init(file: file, line: line > 0 ? line : nil) }
        throw error
      }
      return rootOutput
    }

    func releaseAtEnd(_ release: @escaping () -> Void) { circular.append(release) }

    // MARK: Limits

    func failure(_ message: String, hint: String? = nil) -> AttuneError {
      .request(message, at: .init(file: file, line: line > 0 ? line : nil), hint: hint)
    }

    /// Counts work that grows with the number of `items`.
    @inline(__always)
    func step(_ items: Int = 1) throws {
      steps += items
      if steps > Limit.steps { throw failure("the template does more than \(Limit.steps) steps") }
    }

    /// Counts `bytes` of text or items that are about to be made.
    @inline(__always)
    func charge(_ bytes: Int) throws {
      guard bytes >= 0, bytes <= Limit.size - size else {
        throw failure("the template makes more than \(Limit.size >> 20) MiB of text and lists")
      }
      size += bytes
    }

    func nested<T>(_ body: () throws -> T) throws -> T {
      guard depth < Limit.callDepth, !stack.isSpent else { throw failure("blocks and calls nested too deeply") }
      depth += 1
      defer { depth -= 1 }
      return try body()
    }

    // MARK: Output

    @inline(never)
    private func write(_ text: String) throws {
      try charge(text.utf8.count)
      if capture != nil { capture! += text } else { rootOutput += text }
    }

    /// What `body` writes.
    func captured(_ body: () throws -> Void) throws -> String {
      let outer = capture
      capture = ""
      defer { capture = outer }
      try body()
      return capture ?? ""
    }

    // MARK: Statements

    private func run(_ statements: [Statement], _ scope: Scope) throws -> Flow {
      try nested {
        for statement in statements {
          try step()
          line = statement.line
          let flow = try run(statement, scope)
          if flow != .normal { return flow }
        }
        return .normal
      }
    }

    private func run(_ statement: Statement, _ scope: Scope) throws -> Flow {
      switch statement.kind {
      case .text(let text): try write(text)
      case .output(let expression): try output(expression, scope)
      case .choice(let branches, let otherwise): return try choose(branches, otherwise, scope)
      case .loop(let loop): try run(loop, scope)
      case .set(let target, let expression): try set(target, expression, scope)
      case .setBlock(let target, let filters, let body): try set(target, filters, body, scope)
      case .macro(let definition): define(definition, scope)
      case .call(let expression, let definition): try outputCall(expression, definition, scope)
      case .filter(let filters, let body): try outputFiltered(filters, body, scope)
      case .with(let pairs, let body): return try runWith(pairs, body, scope)
      case .generation(let body): try generate(body, scope)
      case .block(let body): return try run(body, Scope(parent: scope))
      case .breakLoop: return .breakLoop
      case .continueLoop: return .continueLoop
      }
      return .normal
    }

    @inline(never)
    private func output(_ expression: Expression, _ scope: Scope) throws {
      try write(text(of: evaluate(expression, scope)))
    }

    @inline(never)
    private func choose(
      _ branches: [(test: Expression, body: [Statement])], _ otherwise: [Statement], _ scope: Scope
    ) throws -> Flow {
      for branch in branches where try evaluate(branch.test, scope).isTrue { return try run(branch.body, scope) }
      return otherwise.isEmpty ? .normal : try run(otherwise, scope)
    }

    @inline(never)
    private func set(_ target: Target, _ expression: Expression, _ scope: Scope) throws {
      try assign(evaluate(expression, scope), to: target, scope)
    }

    @inline(never)
    private func set(_ target: Target, _ filters: Expression?, _ body: [Statement], _ scope: Scope) throws {
      var value = Value.string(try captured { _ = try run(body, Scope(parent: scope)) })
      if let filters { value = try evaluate(filters, scope, subject: value) }
      try assign(value, to: target, scope)
    }

    @inline(never)
    private func define(_ definition: MacroDefinition, _ scope: Scope) {
      scope.values[definition.name] = .object(Macro(definition, scope))
      releaseAtEnd { scope.values = [:] }
    }

    @inline(never)
    private func outputCall(_ expression: Expression, _ definition: MacroDefinition, _ scope: Scope) throws {
      try write(text(of: call(expression, with: definition, scope)))
    }

    @inline(never)
    private func outputFiltered(_ filters: Expression, _ body: [Statement], _ scope: Scope) throws {
      let inner = try captured { _ = try run(body, Scope(parent: scope)) }
      let value = try evaluate(filters, scope, subject: .string(inner))
      guard case .string(let text) = value else {
        throw failure("the filters of a block made a '\(value.typeName)', expected a text")
      }
      try write(text)
    }

    @inline(never)
    private func runWith(_ pairs: [(Target, Expression)], _ body: [Statement], _ scope: Scope) throws -> Flow {
      let inner = Scope(parent: scope)
      for (target, expression) in pairs { try assign(evaluate(expression, scope), to: target, inner) }
      return try run(body, inner)
    }

    @inline(never)
    private func generate(_ body: [Statement], _ scope: Scope) throws {
      let text = try captured { _ = try run(body, Scope(parent: scope)) }
      let written = rootOutput.utf8
      let start = written.index(written.startIndex, offsetBy: rootMeasured.bytes)
      rootMeasured.scalars += rootOutput[start...].unicodeScalars.count
      rootMeasured.bytes = written.count
      spans.append(rootMeasured.scalars..<rootMeasured.scalars + text.unicodeScalars.count)
      try write(text)
    }

    @inline(never)
    func assign(_ value: Value, to target: Target, _ scope: Scope) throws {
      switch target {
      case .name(let name): scope.values[name] = value
      case .attribute(let name, let attribute):
        guard case .object(let object)? = scope.value(of: name), let namespace = object as? Namespace else {
          throw failure("cannot set '\(name).\(attribute)': '\(name)' is no namespace")
        }
        try namespace.set(attribute, value, self)
      case .tuple(let targets):
        let values = try items(of: value)
        guard values.count == targets.count else {
          throw failure("cannot unpack \(values.count) values into \(targets.count) names")
        }
        for (target, value) in zip(targets, values) { try assign(value, to: target, scope) }
      }
    }

    // MARK: Loops

    private func run(_ loop: ForLoop, _ scope: Scope) throws {
      try run(loop, over: evaluate(loop.items, scope), scope, level: 1)
    }

    func run(_ loop: ForLoop, over value: Value, _ scope: Scope, level: Int) throws {
      var values = try items(of: value)
      if let condition = loop.condition {
        values = try values.filter { value in
          let inner = Scope(parent: scope)
          try assign(value, to: loop.target, inner)
          return try evaluate(condition, inner).isTrue
        }
      }
      if values.isEmpty {
        _ = try run(loop.otherwise, Scope(parent: scope))
        return
      }
      let state = LoopState(values, loop: loop, scope: scope, level: level)
      defer { state.finish() }
      for index in values.indices {
        // A round makes a scope: it weighs more than an expression.
        try step(4)
        state.index = index
        let inner = Scope(parent: scope)
        inner.values["loop"] = .object(state)
        try assign(values[index], to: loop.target, inner)
        if try run(loop.body, inner) == .breakLoop { break }
      }
    }

    // MARK: Macros

    private func call(_ expression: Expression, with definition: MacroDefinition, _ scope: Scope) throws -> Value {
      guard case .call(let callee, let arguments) = expression.kind else { return .none }
      var values = try evaluate(arguments, scope)
      values.named.append(("caller", .object(Macro(definition, scope))))
      releaseAtEnd { scope.values = [:] }
      return try call(evaluate(callee, scope), values)
    }

    func call(_ macro: Macro, _ arguments: CallArguments) throws -> Value {
      let definition = macro.definition
      let scope = Scope(parent: macro.scope)
      var extra: [Value] = []
      for (index, value) in arguments.positional.enumerated() {
        if index < definition.parameters.count {
          scope.values[definition.parameters[index].name] = value
        } else {
          extra.append(value)
        }
      }
      guard extra.isEmpty || definition.reads.contains("varargs") else {
        throw failure("macro '\(definition.name)' takes not more than \(definition.parameters.count) argument(s)")
      }
      var rest = Dict()
      for (name, value) in arguments.named {
        if definition.parameters.contains(where: { $0.name == name }) {
          guard scope.values[name] == nil else {
            throw failure("macro '\(definition.name)' got the argument '\(name)' twice")
          }
          scope.values[name] = value
        } else if name == "caller" {
          guard definition.reads.contains("caller") else {
            throw failure("macro '\(definition.name)' was called with a body but has no 'caller()'")
          }
          scope.values["caller"] = value
        } else {
          try rest.set(name, value)
        }
      }
      guard rest.count == 0 || definition.reads.contains("kwargs") else {
        let name = try text(of: rest.keys[0])
        throw failure(
          "macro '\(definition.name)' takes no argument '\(name)'",
          hint: nearestName(to: name, among: definition.parameters.map(\.name)).map { "did you mean '\($0)'?" })
      }
      if definition.reads.contains("varargs") { scope.values["varargs"] = .tuple(try Items(extra)) }
      if definition.reads.contains("kwargs") { scope.values["kwargs"] = .dict(rest) }
      for (name, standard) in definition.parameters where scope.values[name] == nil {
        scope.values[name] =
          try standard.map { try evaluate($0, scope) } ?? .undefined("parameter '\(name)' was not provided")
      }
      return .string(try captured { _ = try run(definition.body, scope) })
    }

    // MARK: Expressions

    /// Every kind has a function of its own, not inlined: this one recurs, and its stack frame must stay small.
    func evaluate(_ expression: Expression, _ scope: Scope, subject: Value? = nil) throws -> Value {
      try enter()
      defer { depth -= 1 }
      switch expression.kind {
      case .literal(let literal): return value(of: literal)
      case .name(let name): return value(of: name, scope)
      case .attribute(let base, let name): return try evaluateAttribute(base, name, expression.line, scope)
      case .item(let base, let key): return try evaluateItem(base, key, expression.line, scope)
      case .filter(let base, let name, let arguments):
        return try evaluateFilter(base, name, arguments, expression.line, scope, subject)
      case .test(let base, let name, let arguments):
        return try evaluateTest(base, name, arguments, expression.line, scope)
      case .call(let callee, let arguments): return try evaluateCall(callee, arguments, expression.line, scope)
      case .compare(let first, let rest): return try evaluateComparison(first, rest, scope)
      case .and(let left, let right): return try evaluateLogic(left, right, endsOn: false, scope)
      case .or(let left, let right): return try evaluateLogic(left, right, endsOn: true, scope)
      case .not(let operand): return try evaluateNot(operand, scope)
      case .conditional(let test, let then, let otherwise): return try evaluateChoice(test, then, otherwise, scope)
      case .concat(let parts): return try evaluateConcat(parts, scope)
      case .list(let items): return try evaluateItems(items, isList: true, scope)
      case .tuple(let items): return try evaluateItems(items, isList: false, scope)
      case .dict(let pairs): return try evaluateDict(pairs, scope)
      case .slice(let base, let start, let stop, let step):
        return try evaluateSlice(base, [start, stop, step], expression.line, scope)
      case .negative(let operand): return try evaluateSign(operand, isNegative: true, expression.line, scope)
      case .positive(let operand): return try evaluateSign(operand, isNegative: false, expression.line, scope)
      case .binary(let operation, let left, let right):
        return try evaluateBinary(operation, left, right, expression.line, scope)
      }
    }

    @inline(never)
    private func enter() throws {
      try step()
      guard depth < Limit.callDepth, !stack.isSpent else { throw failure("expressions nested too deeply") }
      depth += 1
    }

    @inline(never)
    private func value(of literal: Literal) -> Value {
      switch literal {
      case .none: .none
      case .bool(let value): .bool(value)
      case .int(let value): .int(value)
      case .double(let value): .double(value)
      case .string(let value): .string(value)
      }
    }

    @inline(never)
    private func value(of name: String, _ scope: Scope) -> Value {
      scope.value(of: name) ?? .undefined("'\(name)' is undefined")
    }

    @inline(never)
    private func evaluateAttribute(_ base: Expression, _ name: String, _ line: Int, _ scope: Scope) throws -> Value {
      let value = try evaluate(base, scope)
      self.line = line
      return try attribute(name, of: value)
    }

    @inline(never)
    private func evaluateItem(_ base: Expression, _ key: Expression, _ line: Int, _ scope: Scope) throws -> Value {
      let value = try evaluate(base, scope)
      let key = try evaluate(key, scope)
      self.line = line
      return try item(key, of: value)
    }

    @inline(never)
    private func evaluateCall(
      _ callee: Expression, _ arguments: Arguments, _ line: Int, _ scope: Scope
    ) throws -> Value {
      let function = try evaluate(callee, scope)
      let values = try evaluate(arguments, scope)
      self.line = line
      return try call(function, values)
    }

    /// `and` ends on the first false operand, `or` on the first true one; the value is that operand.
    @inline(never)
    private func evaluateLogic(
      _ left: Expression, _ right: Expression, endsOn end: Bool, _ scope: Scope
    ) throws -> Value {
      let value = try evaluate(left, scope)
      return value.isTrue == end ? value : try evaluate(right, scope)
    }

    @inline(never)
    private func evaluateNot(_ operand: Expression, _ scope: Scope) throws -> Value {
      .bool(!(try evaluate(operand, scope).isTrue))
    }

    @inline(never)
    private func evaluateChoice(
      _ test: Expression, _ then: Expression, _ otherwise: Expression?, _ scope: Scope
    ) throws -> Value {
      if try evaluate(test, scope).isTrue { return try evaluate(then, scope) }
      if let otherwise { return try evaluate(otherwise, scope) }
      return .undefined("the inline if-expression evaluated to false and no else section was defined")
    }

    @inline(never)
    private func evaluateConcat(_ parts: [Expression], _ scope: Scope) throws -> Value {
      var result = ""
      for part in parts {
        let text = try text(of: evaluate(part, scope))
        try charge(text.utf8.count)
        result += text
      }
      return .string(result)
    }

    @inline(never)
    private func evaluateItems(_ items: [Expression], isList: Bool, _ scope: Scope) throws -> Value {
      var values: [Value] = []
      values.reserveCapacity(items.count)
      for item in items { values.append(try evaluate(item, scope)) }
      return isList ? .list(try Items(values)) : .tuple(try Items(values))
    }

    @inline(never)
    private func evaluateDict(_ pairs: [(key: Expression, value: Expression)], _ scope: Scope) throws -> Value {
      var dict = Dict()
      for (key, value) in pairs {
        let key = try evaluate(key, scope)
        try dict.set(key, hash(key), evaluate(value, scope))
      }
      return .dict(dict)
    }

    @inline(never)
    private func evaluateSlice(
      _ base: Expression, _ bounds: [Expression?], _ line: Int, _ scope: Scope
    ) throws -> Value {
      let value = try evaluate(base, scope)
      var values: [Value?] = []
      for bound in bounds { values.append(try bound.map { try evaluate($0, scope) }) }
      self.line = line
      // Jinja computes constants before it renders, and what fails there is undefined.
      if case .literal = base.kind {
        guard case .string = value else {
          return .undefined("'\(value.typeName)' object has no element of that kind")
        }
      }
      return try slice(value, values[0], values[1], values[2])
    }

    @inline(never)
    private func evaluateSign(
      _ operand: Expression, isNegative: Bool, _ line: Int, _ scope: Scope
    ) throws -> Value {
      let value = try evaluate(operand, scope)
      self.line = line
      if isNegative { return try negated(value) }
      guard value.number != nil else { throw failure("bad operand type for unary +: '\(value.typeName)'") }
      return value.integer.map { .int($0) } ?? value
    }

    @inline(never)
    private func evaluateBinary(
      _ operation: BinaryOperator, _ left: Expression, _ right: Expression, _ line: Int, _ scope: Scope
    ) throws -> Value {
      let a = try evaluate(left, scope)
      let b = try evaluate(right, scope)
      self.line = line
      return try binary(operation, a, b)
    }

    @inline(never)
    private func evaluateComparison(
      _ first: Expression, _ rest: [(Comparison, Expression)], _ scope: Scope
    ) throws -> Value {
      var left = try evaluate(first, scope)
      for (comparison, expression) in rest {
        let right = try evaluate(expression, scope)
        guard try holds(comparison, left, right) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    }

    @inline(never)
    func evaluate(_ arguments: Arguments, _ scope: Scope) throws -> CallArguments {
      var result = CallArguments()
      result.positional.reserveCapacity(arguments.positional.count)
      for expression in arguments.positional { result.positional.append(try evaluate(expression, scope)) }
      if let expression = arguments.items { result.positional += try items(of: evaluate(expression, scope)) }
      for (name, expression) in arguments.named { result.named.append((name, try evaluate(expression, scope))) }
      if let expression = arguments.mapping {
        guard case .dict(let dict) = try evaluate(expression, scope) else {
          throw failure("the argument after ** is no mapping")
        }
        for (key, value) in zip(dict.keys, dict.values) { result.named.append((try text(of: key), value)) }
      }
      return result
    }

    @inline(never)
    private func evaluateFilter(
      _ base: Expression?, _ name: String, _ arguments: Arguments, _ line: Int, _ scope: Scope, _ subject: Value?
    ) throws -> Value {
      // The first filter of a filter block has no expression to work on; its subject is the block's text.
      let value =
        if let base {
          if case .filter = base.kind {
            try evaluate(base, scope, subject: subject)
          } else {
            try evaluate(base, scope)
          }
        } else { subject ?? .none }
      let values = try evaluate(arguments, scope)
      self.line = line
      return try applyFilter(name, value, values)
    }

    @inline(never)
    private func evaluateTest(
      _ base: Expression, _ name: String, _ arguments: Arguments, _ line: Int, _ scope: Scope
    ) throws -> Value {
      let value = try evaluate(base, scope)
      let values = try evaluate(arguments, scope)
      self.line = line
      return .bool(try applyTest(name, value, values))
    }

    func call(_ function: Value, _ arguments: CallArguments) throws -> Value {
      switch function {
      case .undefined(let undefined): throw failure(undefined.message)
      case .object(let object): return try nested { try object.call(arguments, self) }
      default: throw failure("'\(function.typeName)' object is not callable")
      }
    }
  }
}
