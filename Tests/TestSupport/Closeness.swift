import Core
import Testing

/// Records an issue unless every value is within `absolute + relative * |expected|`; names the first index that is not.
public func expectClose<T: BinaryFloatingPoint>(
  _ actual: [T], _ expected: [T], absolute: Double = 0, relative: Double = 0, _ what: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.count == expected.count else {
    Issue.record("\(what): \(actual.count) values, expected \(expected.count)", sourceLocation: sourceLocation)
    return
  }
  var worst: (index: Int, excess: Double)?
  for i in actual.indices {
    let a = Double(actual[i])
    let b = Double(expected[i])
    if a == b || (a.isNaN && b.isNaN) { continue }
    let excess = abs(a - b) - (absolute + relative * abs(b))
    if excess > 0 || excess.isNaN, worst == nil || !(excess <= worst!.excess) { worst = (i, excess) }
  }
  if let worst {
    Issue.record(
      "\(what): value \(worst.index) is \(actual[worst.index]), expected \(expected[worst.index]) (absolute \(absolute), relative \(relative))",
      sourceLocation: sourceLocation)
  }
}

/// Asserts that `body` throws an `AttuneError` whose description contains every fragment.
public func expectAttuneError(
  containing fragments: String..., sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record("no error was thrown", sourceLocation: sourceLocation)
  } catch let error as AttuneError {
    for fragment in fragments where !error.description.contains(fragment) {
      Issue.record("'\(error.description)' does not contain '\(fragment)'", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("not an AttuneError: \(error)", sourceLocation: sourceLocation)
  }
}
