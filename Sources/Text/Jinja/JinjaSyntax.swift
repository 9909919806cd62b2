/// The room within the room: everything of the template language but its public face, `JinjaTemplate`.
enum Jinja {
  /// Limits that no honest template comes near. A template that reaches one ends with an error.
  enum Limit {
    /// Parentheses, brackets, blocks and operators inside one another.
    static let syntaxDepth = 100
    /// Operands of one chain of operators.
    static let expressionHeight = 250
    /// Expressions, blocks and macro calls inside one another while rendering.
    static let callDepth = 400
    /// Bytes of stack, of the 512 KiB that a thread has at least.
    static let stack = 256 << 10
    /// Lists and mappings inside one another.
    static let valueDepth = 200
    /// Expressions evaluated and items looked at.
    static let steps = 10_000_000
    /// Bytes of text made, plus sixteen for every item of a list.
    static let size = 256 << 20
    /// Items of one `range`, as in Jinja's sandbox.
    static let range = 100_000
  }
}

extension Jinja {
  /// How far the stack has grown since this value was made. How much a level of nesting takes differs from build to
  /// build, so that counting levels alone would not keep a small stack from running over.
  struct StackBudget {
    private let start = StackBudget.address()

    var isSpent: Bool {
      let now = StackBudget.address()
      return (now > start ? now - start : start - now) > Limit.stack
    }

    @inline(never)
    private static func address() -> UInt {
      var mark: UInt8 = 0
      return withUnsafeMutablePointer(to: &mark) { UInt(bitPattern: $0) }
    }
  }

  enum Literal: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
  }

  enum BinaryOperator: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case power = "**"
  }

  enum Comparison: String, Sendable {
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case isIn = "in"
    case isNotIn = "not in"
  }

  /// An expression, with its line for errors and its height, which bounds every recursion over it.
  final class Expression: Sendable {
    enum Kind: Sendable {
      case literal(Literal)
      case name(String)
      case list([Expression])
      case tuple([Expression])
      case dict([(key: Expression, value: Expression)])
      case attribute(Expression, String)
      case item(Expression, Expression)
      case slice(Expression, Expression?, Expression?, Expression?)
      case call(Expression, Arguments)
      case filter(Expression?, String, Arguments)
      case test(Expression, String, Arguments)
      case negative(Expression)
      case positive(Expression)
      case not(Expression)
      case and(Expression, Expression)
      case or(Expression, Expression)
      case binary(BinaryOperator, Expression, Expression)
      case concat([Expression])
      case compare(Expression, [(Comparison, Expression)])
      case conditional(test: Expression, then: Expression, otherwise: Expression?)
    }

    let kind: Kind
    let line: Int
    let height: Int

    init(_ kind: Kind, line: Int, height: Int) {
      self.kind = kind
      self.line = line
      self.height = height
    }
  }

  struct Arguments: Sendable {
    var positional: [Expression] = []
    var named: [(name: String, value: Expression)] = []
    /// `*items` and `**mapping`.
    var items: Expression?
    var mapping: Expression?

    var expressions: [Expression] { positional + named.map(\.value) + [items, mapping].compactMap { $0 } }
  }

  /// What an assignment or a loop writes to.
  indirect enum Target: Sendable {
    case name(String)
    case attribute(String, String)
    case tuple([Target])
  }

  final class MacroDefinition: Sendable {
    let name: String
    let parameters: [(name: String, standard: Expression?)]
    let body: [Statement]
    /// Which of `varargs`, `kwargs` and `caller` the body reads; without them extra arguments are refused.
    let reads: Set<String>

    init(name: String, parameters: [(name: String, standard: Expression?)], body: [Statement], reads: Set<String>) {
      self.name = name
      self.parameters = parameters
      self.body = body
      self.reads = reads
    }
  }

  final class ForLoop: Sendable {
    let target: Target
    let items: Expression
    let condition: Expression?
    let isRecursive: Bool
    let body: [Statement]
    let otherwise: [Statement]

    init(
      target: Target, items: Expression, condition: Expression?, isRecursive: Bool, body: [Statement],
      otherwise: [Statement]
    ) {
      self.target = target
      self.items = items
      self.condition = condition
      self.isRecursive = isRecursive
      self.body = body
      self.otherwise = otherwise
    }
  }

  struct Statement: Sendable {
    indirect enum Kind: Sendable {
      case text(String)
      case output(Expression)
      case choice([(test: Expression, body: [Statement])], otherwise: [Statement])
      case loop(ForLoop)
      case set(Target, Expression)
      case setBlock(Target, filters: Expression?, body: [Statement])
      case macro(MacroDefinition)
      case call(Expression, MacroDefinition)
      case filter(Expression, body: [Statement])
      case with([(Target, Expression)], body: [Statement])
      case generation([Statement])
      case block([Statement])
      case breakLoop
      case continueLoop
    }

    let kind: Kind
    let line: Int
  }
}
