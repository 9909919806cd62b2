import Core

extension Jinja {
  /// Builds the tree of a template. Grammar and precedence are Jinja 3.1's.
  struct Parser {
    private let tokens: [Token]
    private let file: String
    private var at = 0
    private var depth = 0
    private let stack = StackBudget()
    /// Filters and tests that do not exist. Inside an `if` they are excused: there they fail only when reached.
    private var unknown: [AttuneError] = []
    private var loops = 0
    /// The tags that are open, for errors.
    private var open: [String] = []
    /// Names read since the innermost macro began.
    private var namesRead: Set<String> = []

    static func parse(_ source: String, file: String) throws -> [Statement] {
      var parser = Parser(tokens: try Lexer.tokens(of: source, file: file), file: file)
      let result = try parser.statements(until: [])
      if let error = parser.unknown.first { throw error }
      return result
    }

    private init(tokens: [Token], file: String) {
      self.tokens = tokens
      self.file = file
    }

    // MARK: Tokens

    private var current: Token { tokens[min(at, tokens.count - 1)] }
    private var following: Token.Kind { tokens[min(at + 1, tokens.count - 1)].kind }

    private func failure(_ message: String, line: Int? = nil, hint: String? = nil) -> AttuneError {
      .request(message, at: .init(file: file, line: line ?? current.line), hint: hint)
    }

    private func isName(_ name: String) -> Bool { current.kind == .name(name) }
    private func isSymbol(_ symbol: String) -> Bool { current.kind == .symbol(symbol) }

    private mutating func skipName(_ name: String) -> Bool {
      guard isName(name) else { return false }
      at += 1
      return true
    }

    private mutating func skipSymbol(_ symbol: String) -> Bool {
      guard isSymbol(symbol) else { return false }
      at += 1
      return true
    }

    private var found: String {
      switch current.kind {
      case .data: "text"
      case .variableBegin: "'{{'"
      case .variableEnd: "'}}'"
      case .blockBegin: "'{%'"
      case .blockEnd: "'%}'"
      case .name(let name): "'\(name)'"
      case .string: "a string"
      case .int, .double: "a number"
      case .symbol(let symbol): "'\(symbol)'"
      case .end: "the end of the template"
      }
    }

    private mutating func expectSymbol(_ symbol: String) throws {
      guard skipSymbol(symbol) else { throw failure("found \(found) where '\(symbol)' was expected") }
    }

    private mutating func expectName() throws -> String {
      guard case .name(let name) = current.kind else { throw failure("found \(found) where a name was expected") }
      at += 1
      return name
    }

    private mutating func expect(_ kind: Token.Kind, _ what: String) throws {
      guard current.kind == kind else { throw failure("found \(found) where \(what) was expected") }
      at += 1
    }

    private mutating func nested<T>(_ body: (inout Parser) throws -> T) throws -> T {
      guard depth < Limit.syntaxDepth, !stack.isSpent else {
        throw failure("nested deeper than \(Limit.syntaxDepth) levels")
      }
      depth += 1
      defer { depth -= 1 }
      return try body(&self)
    }

    private func make(_ kind: Expression.Kind, line: Int, _ children: [Expression]) throws -> Expression {
      let height = 1 + (children.map(\.height).max() ?? 0)
      guard height <= Limit.expressionHeight else {
        throw failure("an expression of more than \(Limit.expressionHeight) levels", line: line)
      }
      return Expression(kind, line: line, height: height)
    }

    // MARK: Statements

    /// Statements up to a tag that is one of `ends`; that tag's name is the current token then.
    private mutating func statements(until ends: [String]) throws -> [Statement] {
      try nested { try $0.statementList(until: ends) }
    }

    private mutating func statementList(until ends: [String]) throws -> [Statement] {
      var result: [Statement] = []
      while true {
        let line = current.line
        switch current.kind {
        case .data(let text):
          result.append(Statement(kind: .text(text), line: line))
          at += 1
        case .variableBegin:
          at += 1
          result.append(Statement(kind: .output(try tupleExpression()), line: line))
          try expect(.variableEnd, "'}}'")
        case .blockBegin:
          at += 1
          guard case .name(let name) = current.kind else { throw failure("found \(found) where a tag was expected") }
          if ends.contains(name) { return result }
          result.append(try statement(name))
          try expect(.blockEnd, "'%}'")
        case .end:
          guard let last = open.last else { return result }
          throw failure(
            "the template ends inside '\(last)'", hint: "expected: \(ends.joined(separator: ", "))")
        default: throw failure("unexpected \(found)")
        }
      }
    }

    /// The body of the tag that begins here, up to `{% end %}`, whose name is skipped.
    private mutating func body(until end: String) throws -> [Statement] {
      try expect(.blockEnd, "'%}'")
      let body = try statements(until: [end])
      at += 1
      return body
    }

    private static let tags = [
      "block", "break", "call", "continue", "filter", "for", "generation", "if", "macro", "print", "raw", "set", "with",
    ]

    private mutating func statement(_ name: String) throws -> Statement {
      let line = current.line
      at += 1
      open.append(name)
      defer { open.removeLast() }
      let kind: Statement.Kind
      switch name {
      case "for": kind = .loop(try forLoop())
      case "if": kind = try choice()
      case "set": kind = try assignment()
      case "macro": kind = .macro(try macro(name: try expectName()))
      case "call": kind = try callBlock()
      case "filter":
        let line = current.line
        let chain = try filters(of: nil, name: try expectName(), line: line)
        kind = .filter(chain, body: try body(until: "endfilter"))
      case "with": kind = try withBlock()
      case "generation": kind = .generation(try outsideLoop { try $0.body(until: "endgeneration") })
      case "print": kind = .output(try tupleExpression())
      case "block":
        _ = try expectName()
        let body = try outsideLoop { try $0.body(until: "endblock") }
        if case .name = current.kind { at += 1 }
        kind = .block(body)
      case "break", "continue":
        guard loops > 0 else { throw failure("'\(name)' outside a loop", line: line) }
        kind = name == "break" ? .breakLoop : .continueLoop
      case "include", "import", "from", "extends":
        throw failure("the tag '\(name)' needs other templates, and a chat template stands alone", line: line)
      default:
        throw failure(
          "unknown tag '\(name)'", line: line,
          hint: open.count > 1
            ? "'\(open[open.count - 2])' is open"
            : nearestName(to: name, among: Self.tags).map { "did you mean '\($0)'?" }
              ?? "tags: \(Self.tags.joined(separator: ", "))")
      }
      return Statement(kind: kind, line: line)
    }

    private mutating func outsideLoop<T>(_ body: (inout Parser) throws -> T) rethrows -> T {
      let outer = loops
      loops = 0
      defer { loops = outer }
      return try body(&self)
    }

    private mutating func forLoop() throws -> ForLoop {
      let target = try target(allowsAttribute: false)
      guard skipName("in") else { throw failure("found \(found) where 'in' was expected") }
      let items = try tupleExpression(withConditional: false)
      let condition = skipName("if") ? try expression() : nil
      let isRecursive = skipName("recursive")
      try expect(.blockEnd, "'%}'")
      loops += 1
      let body = try statements(until: ["endfor", "else"])
      loops -= 1
      var otherwise: [Statement] = []
      if skipName("else") {
        otherwise = try self.body(until: "endfor")
      } else {
        at += 1
      }
      return ForLoop(
        target: target, items: items, condition: condition, isRecursive: isRecursive, body: body,
        otherwise: otherwise)
    }

    private mutating func choice() throws -> Statement.Kind {
      var branches: [(test: Expression, body: [Statement])] = []
      var otherwise: [Statement] = []
      let excused = unknown.count
      defer { unknown.removeLast(max(0, unknown.count - excused)) }
      while true {
        let test = try tupleExpression(withConditional: false)
        try expect(.blockEnd, "'%}'")
        branches.append((test, try statements(until: ["elif", "else", "endif"])))
        if skipName("elif") { continue }
        if skipName("else") {
          otherwise = try body(until: "endif")
        } else {
          at += 1
        }
        return .choice(branches, otherwise: otherwise)
      }
    }

    private mutating func assignment() throws -> Statement.Kind {
      let line = current.line
      let target = try target(allowsAttribute: true)
      if skipSymbol("=") { return .set(target, try tupleExpression()) }
      var chain: Expression?
      if isSymbol("|") {
        at += 1
        chain = try filters(of: nil, name: try expectName(), line: line)
      }
      return .setBlock(target, filters: chain, body: try body(until: "endset"))
    }

    private mutating func target(allowsAttribute: Bool) throws -> Target {
      try nested { parser in
        var items: [Target] = []
        var isTuple = false
        while true {
          if parser.skipSymbol("(") {
            items.append(try parser.target(allowsAttribute: false))
            try parser.expectSymbol(")")
          } else {
            let name = try parser.expectName()
            if ["true", "false", "none", "True", "False", "None"].contains(name) {
              throw parser.failure("'\(name)' cannot be assigned to")
            }
            if allowsAttribute, !isTuple, parser.skipSymbol(".") {
              return .attribute(name, try parser.expectName())
            }
            items.append(.name(name))
          }
          guard parser.skipSymbol(",") else { break }
          isTuple = true
          if parser.isName("in") || parser.isSymbol("=") { break }
        }
        return isTuple ? .tuple(items) : items[0]
      }
    }

    private mutating func parameters() throws -> [(name: String, standard: Expression?)] {
      var result: [(name: String, standard: Expression?)] = []
      try expectSymbol("(")
      while !isSymbol(")") {
        if !result.isEmpty {
          try expectSymbol(",")
          if isSymbol(")") { break }
        }
        let name = try expectName()
        if skipSymbol("=") {
          result.append((name, try expression()))
        } else {
          guard result.last?.standard == nil else {
            throw failure("the parameter '\(name)' has no default but follows one that has")
          }
          result.append((name, nil))
        }
      }
      try expectSymbol(")")
      return result
    }

    private mutating func macro(name: String, end: String = "endmacro") throws -> MacroDefinition {
      let outer = namesRead
      namesRead = []
      defer { namesRead.formUnion(outer) }
      let parameters = end == "endmacro" || isSymbol("(") ? try parameters() : []
      return try outsideLoop { parser in
        let body = try parser.body(until: end)
        return MacroDefinition(
          name: name, parameters: parameters, body: body,
          reads: parser.namesRead.intersection(["varargs", "kwargs", "caller"]))
      }
    }

    private mutating func callBlock() throws -> Statement.Kind {
      let parameters = isSymbol("(") ? try parameters() : []
      let line = current.line
      let call = try expression()
      guard case .call = call.kind else { throw failure("'call' needs a call of a macro", line: line) }
      let outer = namesRead
      namesRead = []
      defer { namesRead.formUnion(outer) }
      let body = try outsideLoop { try $0.body(until: "endcall") }
      return .call(
        call,
        MacroDefinition(
          name: "caller", parameters: parameters, body: body,
          reads: namesRead.intersection(["varargs", "kwargs", "caller"])))
    }

    private mutating func withBlock() throws -> Statement.Kind {
      var pairs: [(Target, Expression)] = []
      while current.kind != .blockEnd {
        if !pairs.isEmpty { try expectSymbol(",") }
        let name = try expectName()
        try expectSymbol("=")
        pairs.append((.name(name), try expression()))
      }
      return .with(pairs, body: try body(until: "endwith"))
    }

    // MARK: Expressions

    /// One expression, or several with commas between them: a tuple.
    private mutating func tupleExpression(withConditional: Bool = true) throws -> Expression {
      let line = current.line
      func single(_ parser: inout Parser) throws -> Expression {
        withConditional ? try parser.expression() : try parser.nested { try $0.or() }
      }
      let first = try single(&self)
      guard isSymbol(",") else { return first }
      var items = [first]
      while skipSymbol(",") {
        if current.kind == .variableEnd || current.kind == .blockEnd || isSymbol(")") { break }
        items.append(try single(&self))
      }
      return try make(.tuple(items), line: line, items)
    }

    private mutating func expression() throws -> Expression {
      try nested { try $0.conditionalExpression() }
    }

    private mutating func conditionalExpression() throws -> Expression {
      let line = current.line
      let excused = unknown.count
      var value = try or()
      while skipName("if") {
        let test = try or()
        let otherwise = skipName("else") ? try expression() : nil
        value = try make(
          .conditional(test: test, then: value, otherwise: otherwise), line: line,
          [test, value] + (otherwise.map { [$0] } ?? []))
        unknown.removeLast(max(0, unknown.count - excused))
      }
      return value
    }

    private mutating func or() throws -> Expression {
      let line = current.line
      var left = try and()
      while skipName("or") {
        let right = try and()
        left = try make(.or(left, right), line: line, [left, right])
      }
      return left
    }

    private mutating func and() throws -> Expression {
      let line = current.line
      var left = try not()
      while skipName("and") {
        let right = try not()
        left = try make(.and(left, right), line: line, [left, right])
      }
      return left
    }

    private mutating func not() throws -> Expression {
      let line = current.line
      var count = 0
      while skipName("not") { count += 1 }
      var value = try comparison()
      for _ in 0..<count { value = try make(.not(value), line: line, [value]) }
      return value
    }

    private mutating func comparison() throws -> Expression {
      let line = current.line
      let first = try arithmetic(0)
      var rest: [(Comparison, Expression)] = []
      while true {
        var comparison: Comparison?
        if case .symbol(let symbol) = current.kind { comparison = Comparison(rawValue: symbol) }
        if isName("in") { comparison = .isIn }
        if isName("not"), following == .name("in") {
          at += 1
          comparison = .isNotIn
        }
        guard let comparison else { break }
        at += 1
        rest.append((comparison, try arithmetic(0)))
      }
      return rest.isEmpty ? first : try make(.compare(first, rest), line: line, [first] + rest.map(\.1))
    }

    /// `+ -`, then `~`, then `* / // %`, then `**`, from loose to tight; all group from the left.
    private static let levels: [[String]] = [["+", "-"], ["~"], ["*", "/", "//", "%"], ["**"]]

    private mutating func arithmetic(_ level: Int) throws -> Expression {
      guard level < Self.levels.count else { return try unary() }
      let line = current.line
      var left = try arithmetic(level + 1)
      if level == 1 {
        guard isSymbol("~") else { return left }
        var parts = [left]
        while skipSymbol("~") { parts.append(try arithmetic(level + 1)) }
        return try make(.concat(parts), line: line, parts)
      }
      while case .symbol(let symbol) = current.kind, Self.levels[level].contains(symbol),
        let operation = BinaryOperator(rawValue: symbol)
      {
        at += 1
        let right = try arithmetic(level + 1)
        left = try make(.binary(operation, left, right), line: line, [left, right])
      }
      return left
    }

    private mutating func unary(withFilters: Bool = true) throws -> Expression {
      let line = current.line
      var value: Expression
      if isSymbol("-") || isSymbol("+") {
        let isNegative = isSymbol("-")
        at += 1
        let operand = try nested { try $0.unary(withFilters: false) }
        value = try make(isNegative ? .negative(operand) : .positive(operand), line: line, [operand])
      } else {
        value = try primary()
      }
      value = try postfix(value)
      return withFilters ? try filtersAndTests(value) : value
    }

    private mutating func primary() throws -> Expression {
      let line = current.line
      let kind = current.kind
      at += 1
      switch kind {
      case .name(let name):
        switch name {
        case "true", "True": return try make(.literal(.bool(true)), line: line, [])
        case "false", "False": return try make(.literal(.bool(false)), line: line, [])
        case "none", "None": return try make(.literal(.none), line: line, [])
        default:
          namesRead.insert(name)
          return try make(.name(name), line: line, [])
        }
      case .string(var text):
        while case .string(let more) = current.kind {
          text += more
          at += 1
        }
        return try make(.literal(.string(text)), line: line, [])
      case .int(let value): return try make(.literal(.int(value)), line: line, [])
      case .double(let value): return try make(.literal(.double(value)), line: line, [])
      case .symbol("("):
        if skipSymbol(")") { return try make(.tuple([]), line: line, []) }
        let value = try nested { try $0.tupleExpression() }
        try expectSymbol(")")
        return value
      case .symbol("["):
        var items: [Expression] = []
        while !isSymbol("]") {
          if !items.isEmpty {
            try expectSymbol(",")
            if isSymbol("]") { break }
          }
          items.append(try expression())
        }
        try expectSymbol("]")
        return try make(.list(items), line: line, items)
      case .symbol("{"):
        var pairs: [(key: Expression, value: Expression)] = []
        while !isSymbol("}") {
          if !pairs.isEmpty {
            try expectSymbol(",")
            if isSymbol("}") { break }
          }
          let key = try expression()
          try expectSymbol(":")
          pairs.append((key, try expression()))
        }
        try expectSymbol("}")
        return try make(.dict(pairs), line: line, pairs.flatMap { [$0.key, $0.value] })
      default:
        at -= 1
        throw failure("found \(found) where an expression was expected")
      }
    }

    private mutating func postfix(_ start: Expression) throws -> Expression {
      var value = start
      while true {
        let line = current.line
        if skipSymbol(".") {
          if case .int(let index) = current.kind {
            at += 1
            let key = try make(.literal(.int(index)), line: line, [])
            value = try make(.item(value, key), line: line, [value])
          } else {
            value = try make(.attribute(value, try expectName()), line: line, [value])
          }
        } else if skipSymbol("[") {
          value = try nested { try $0.subscriptExpression(of: value, line: line) }
        } else if isSymbol("(") {
          let arguments = try arguments()
          value = try make(.call(value, arguments), line: line, [value] + arguments.expressions)
        } else {
          return value
        }
      }
    }

    private mutating func subscriptExpression(of value: Expression, line: Int) throws -> Expression {
      var bounds: [Expression?] = [nil]
      if !isSymbol(":") { bounds[0] = try expression() }
      var isSlice = false
      while bounds.count < 3, skipSymbol(":") {
        isSlice = true
        bounds.append(isSymbol(":") || isSymbol("]") ? nil : try expression())
      }
      var key = bounds[0]
      if !isSlice, isSymbol(","), let first = key {
        var items = [first]
        while skipSymbol(",") { items.append(try expression()) }
        key = try make(.tuple(items), line: line, items)
      }
      try expectSymbol("]")
      if isSlice {
        let parts = bounds + Array(repeating: nil, count: 3 - bounds.count)
        return try make(
          .slice(value, parts[0], parts[1], parts[2]), line: line, [value] + parts.compactMap { $0 })
      }
      guard let key else { throw failure("found \(found) where an index was expected") }
      return try make(.item(value, key), line: line, [value, key])
    }

    private mutating func arguments() throws -> Arguments {
      try nested { parser in
        var result = Arguments()
        var isFirst = true
        try parser.expectSymbol("(")
        while !parser.isSymbol(")") {
          if !isFirst {
            try parser.expectSymbol(",")
            if parser.isSymbol(")") { break }
          }
          isFirst = false
          if parser.skipSymbol("**") {
            guard result.mapping == nil else { throw parser.failure("two ** arguments in one call") }
            result.mapping = try parser.expression()
          } else if parser.skipSymbol("*") {
            guard result.items == nil else { throw parser.failure("two * arguments in one call") }
            result.items = try parser.expression()
          } else if case .name(let name) = parser.current.kind, parser.following == .symbol("=") {
            parser.at += 2
            result.named.append((name, try parser.expression()))
          } else {
            guard result.named.isEmpty, result.mapping == nil else {
              throw parser.failure("an argument without a name after one with a name")
            }
            result.positional.append(try parser.expression())
          }
        }
        try parser.expectSymbol(")")
        return result
      }
    }

    private mutating func filtersAndTests(_ start: Expression) throws -> Expression {
      var value = start
      while true {
        let line = current.line
        if skipSymbol("|") {
          value = try filter(of: value, name: try expectName(), line: line)
        } else if skipName("is") {
          value = try test(of: value, line: line)
        } else if isSymbol("(") {
          value = try postfix(value)
        } else {
          return value
        }
      }
    }

    /// A chain of filters whose first name has been read.
    private mutating func filters(of start: Expression?, name: String, line: Int) throws -> Expression {
      var value = try filter(of: start, name: name, line: line)
      while skipSymbol("|") { value = try filter(of: value, name: try expectName(), line: line) }
      return value
    }

    private mutating func filter(of value: Expression?, name: String, line: Int) throws -> Expression {
      if Interpreter.filters[name] == nil {
        unknown.append(Interpreter.unknownFilter(name, at: .init(file: file, line: line)))
      }
      let arguments = isSymbol("(") ? try arguments() : Arguments()
      return try make(
        .filter(value, name, arguments), line: line, (value.map { [$0] } ?? []) + arguments.expressions)
    }

    private mutating func test(of value: Expression, line: Int) throws -> Expression {
      let isNegated = skipName("not")
      let name = try expectName()
      if Interpreter.tests[name] == nil {
        unknown.append(Interpreter.unknownTest(name, at: .init(file: file, line: line)))
      }
      var arguments = Arguments()
      switch current.kind {
      case .symbol("("): arguments = try self.arguments()
      case .name("else"), .name("or"), .name("and"): break
      case .name("is"): throw failure("tests cannot be chained with 'is'")
      // These begin no operand either.
      case .name("if"), .name("not"), .name("in"), .name("recursive"): break
      case .name, .string, .int, .double, .symbol("["), .symbol("{"):
        let operand = try postfix(try nested { try $0.primary() })
        arguments.positional = [operand]
      default: break
      }
      let test = try make(.test(value, name, arguments), line: line, [value] + arguments.expressions)
      return isNegated ? try make(.not(test), line: line, [test]) : test
    }
  }
}
