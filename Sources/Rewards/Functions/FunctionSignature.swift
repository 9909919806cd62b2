import CRewardABI
import Core

/// A C function as a recipe declares it: `double name(const char *completion, double column.x)`. Every argument's name
/// says where its value comes from.
struct FunctionSignature {
  /// One argument, with what its name means.
  struct Argument {
    var type: CType
    var source: ArgumentSource
    /// Where its name stands in the text, from 1.
    var column: Int
  }

  /// What the function's result is.
  enum Result: Equatable {
    case nothing
    case score(CNumber)
    /// Nonzero: failed. The score comes through `double *score`.
    case status(CNumber)
    /// False: failed.
    case success
  }

  var text: String
  /// The exported symbol.
  var name: String
  var resultType: CType
  var result: Result
  var arguments: [Argument]

  /// - Throws: `AttuneError` with the place in the text: no C declaration, a type that cannot be passed, a name that
  ///   says nothing, a type that does not fit what the name stands for, two places for one result.
  init(_ text: String) throws {
    var reader = try SignatureReader(text)
    self.text = reader.text
    let declaration = try reader.declaration()
    name = declaration.name
    resultType = declaration.result
    arguments = try declaration.arguments.map { argument in
      Argument(type: argument.type, source: try ArgumentSource(argument, reader), column: argument.column)
    }
    result = try Self.result(declaration, arguments, reader)
    try checkOutputs(reader)
    try checkParameters(reader)
  }

  private static func result(
    _ declaration: SignatureReader.Declaration, _ arguments: [Argument], _ reader: SignatureReader
  ) throws -> Result {
    let type = declaration.result
    let fillsScore = arguments.contains { if case .score = $0.source { true } else { false } }
    guard type.pointers == 0 else {
      throw reader.problem(
        "the result of \(declaration.name) is \(type.words), expected a number or void", at: 1,
        hint: "a reward is a number: write a small C function that makes one of the \(type.words), and name that")
    }
    guard let number = type.number else {
      guard fillsScore else {
        throw reader.problem(
          "\(declaration.name) returns nothing, and no argument takes the score", at: 1,
          hint: "add an argument 'double *score', or write the number type that it returns")
      }
      return .nothing
    }
    guard fillsScore else { return .score(number) }
    guard !number.isFloat else {
      throw reader.problem(
        "\(declaration.name) returns a \(type.words) and fills 'score': which of both is the reward?", at: 1,
        hint: "with 'double *score' the result is a status: void, an integer (0: success), or bool (true: success)")
    }
    return number == .bool ? .success : .status(number)
  }

  private func checkOutputs(_ reader: SignatureReader) throws {
    var seen: Set<String> = []
    for argument in arguments {
      guard let output = argument.source.output else { continue }
      guard seen.insert(output).inserted else {
        throw reader.problem("'\(output)' is filled twice", at: argument.column)
      }
    }
    if let lonely = arguments.first(where: { if case .logCapacity = $0.source { true } else { false } }),
      !seen.contains("log")
    {
      throw reader.problem(
        "there is a log.capacity and no log", at: lonely.column, hint: "add the buffer: 'char *log'")
    }
  }

  private func checkParameters(_ reader: SignatureReader) throws {
    var known: [String: RewardParameter] = [:]
    for argument in arguments {
      guard let parameter = argument.source.parameter else { continue }
      if let other = known[parameter.name], other.type != parameter.type {
        throw reader.problem(
          "the parameter '\(parameter.name)' is \(other.kind) and \(parameter.kind)", at: argument.column)
      }
      known[parameter.name] = parameter
    }
  }

  // MARK: What it declares

  /// The parameters that a recipe may or must give, in order.
  var parameters: [RewardParameter] {
    var out: [RewardParameter] = []
    for parameter in arguments.compactMap(\.source.parameter) {
      if let place = out.firstIndex(where: { $0.name == parameter.name }) {
        out[place].defaultValue = out[place].defaultValue ?? parameter.defaultValue
      } else {
        out.append(parameter)
      }
    }
    return out
  }

  /// Columns without which no sample can be scored, in order.
  var requiredColumns: [String] {
    var out: [String] = []
    for argument in arguments {
      if case .column(let name, _, nil) = argument.source, !out.contains(name) { out.append(name) }
    }
    return out
  }

  var needs: UInt32 { arguments.reduce(0) { $0 | $1.source.needs } }

  /// - Parameters:
  ///   - library: the library's name as it was written.
  ///   - path: the file that the loader found.
  func descriptor(library: String, path: String) -> RewardDescriptor {
    RewardDescriptor(
      path: path, library: library, libraryVersion: "", abiMajor: ATTUNE_ABI_MAJOR, abiMinor: ATTUNE_ABI_MINOR,
      reward: name, summary: text, isDeterministic: false, needs: needs, range: nil, columns: requiredColumns,
      parameters: parameters)
  }

  // MARK: Sources

  /// The parts of a source such as `libm.so.6: double fabs(double column.x)`; nil if it names no function. The library is
  /// empty if it is missing.
  static func split(_ source: String, fileExists: (String) -> Bool) -> (library: String, signature: String)? {
    let colons = source.indices.filter { source[$0] == ":" }
    // A folder may have a colon in its name.
    let colon = colons.first { fileExists(String(source[..<$0])) } ?? colons.first
    let library = colon.map { trimmed(source[..<$0]) } ?? ""
    let rest = trimmed(colon.map { source[source.index(after: $0)...] } ?? source[...])
    guard rest.contains("("), colon != nil || rest.hasSuffix(")") || rest.hasSuffix(");") else { return nil }
    return (library, rest)
  }

  private static func trimmed(_ text: Substring) -> String {
    let start = text.drop(while: \.isWhitespace)
    guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(start[...last])
  }
}
