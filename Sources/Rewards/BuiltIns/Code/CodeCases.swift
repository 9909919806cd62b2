import Core

/// The inputs that a program is run on, and what it has to print.
struct CodeCases {
  struct Case {
    var input: String
    var output: String
    /// Cases of one subtask earn its points together.
    var subtask: String
    var points: Double
  }

  var cases: [Case]

  struct Malformed: Error {
    var words: String
  }

  /// A list of `{input, output}` with `subtask` and `points` if wanted, or `{inputs, outputs}` with two lists of one length;
  /// also as JSON text.
  ///
  /// - Throws: `Malformed`.
  init(_ value: JSON) throws {
    var json = value
    if let text = value.string {
      do { json = try JSON.parse(text) } catch {
        throw Malformed(words: (error as? AttuneError)?.message ?? "\(error)")
      }
    }
    if let inputs = json["inputs"]?.array, let outputs = json["outputs"]?.array {
      guard inputs.count == outputs.count else {
        throw Malformed(words: "there are \(inputs.count) inputs and \(outputs.count) outputs")
      }
      cases = try zip(inputs, outputs).enumerated().map { i, pair in
        Case(input: try Self.text(pair.0, i), output: try Self.text(pair.1, i), subtask: "\(i)", points: 1)
      }
    } else if let list = json.array {
      cases = try list.enumerated().map { i, entry in
        guard let input = entry["input"], let output = entry["output"] else {
          throw Malformed(words: "the case \(i) has no 'input' or no 'output'")
        }
        let points = entry["points"]?.double ?? 1
        guard points >= 0, points.isFinite else { throw Malformed(words: "the points of case \(i) are \(points)") }
        return Case(
          input: try Self.text(input, i), output: try Self.text(output, i),
          subtask: entry["subtask"].map { $0.string ?? $0.text() } ?? "\(i)", points: points)
      }
    } else {
      throw Malformed(words: "found \(json.kind), a list of {input, output}, or {inputs, outputs} was expected")
    }
    if cases.isEmpty { throw Malformed(words: "there are no cases") }
  }

  /// A text, a number, or a list of lines.
  private static func text(_ value: JSON, _ index: Int) throws -> String {
    if let text = value.string { return text }
    if value.double != nil { return value.text() }
    if let lines = value.array { return try lines.map { try text($0, index) }.joined(separator: "\n") }
    throw Malformed(words: "the case \(index) holds \(value.kind), a text was expected")
  }

  /// A subtask's points, which are those of the first of its cases, if all of its cases passed; as a share of all points.
  func subtaskScore(_ passed: [Bool]) -> Double {
    var order: [String] = []
    var subtasks: [String: (points: Double, passed: Bool)] = [:]
    for (item, passed) in zip(cases, passed) {
      if subtasks[item.subtask] == nil { order.append(item.subtask) }
      let before = subtasks[item.subtask] ?? (item.points, true)
      subtasks[item.subtask] = (before.points, before.passed && passed)
    }
    let all = order.reduce(0) { $0 + (subtasks[$1]?.points ?? 0) }
    guard all > 0 else { return 0 }
    return order.reduce(0) { $0 + (subtasks[$1]?.passed == true ? subtasks[$1]?.points ?? 0 : 0) } / all
  }

  /// The output's lines without white space at their ends, and without blank lines at the end.
  static func trimmed(_ output: some Sequence<UInt8>) -> [[UInt8]] {
    var lines = Array(output).split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
      var line = Array(line)
      while let last = line.last, last == 0x20 || (0x09...0x0D).contains(last) { line.removeLast() }
      return line
    }
    while lines.last?.isEmpty == true { lines.removeLast() }
    return lines
  }

  /// Where two outputs differ, in words, or nil.
  static func difference(_ found: [UInt8], _ expected: String) -> String? {
    let (found, expected) = (trimmed(found), trimmed(expected.utf8))
    if found == expected { return nil }
    for (i, line) in expected.enumerated() {
      let wanted = String(decoding: line, as: UTF8.self).quoted(40)
      guard i < found.count else { return "the output ends before line \(i + 1), \(wanted) was expected" }
      if found[i] != line {
        return "line \(i + 1) is \(String(decoding: found[i], as: UTF8.self).quoted(40)), \(wanted) was expected"
      }
    }
    return "the output goes on behind its \(expected.count) lines"
  }
}
