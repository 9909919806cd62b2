import Foundation
import TestSupport
import Testing

@testable import Objectives

/// Every objective is on one screen: its file has at most 80 lines of code beside documentation and parameter table.
@Suite struct ObjectiveSizeTests {
  static let most = 80

  @Test(arguments: ObjectiveRegistry.objectives.map { "\($0)" })
  func objectiveFitsOnOneScreen(type: String) throws {
    let path = Fixtures.root + "/Sources/Objectives/\(type).swift"
    let lines = Self.codeLines(of: try String(contentsOfFile: path, encoding: .utf8))
    #expect(lines <= Self.most, "\(type).swift has \(lines) lines of code, at most \(Self.most) fit on a screen")
    #expect(lines > 20, "\(type).swift has \(lines) lines of code: the objective is elsewhere")
  }

  @Test func countsCodeAlone() {
    let text = """
      import Core

      /// Documentation.
      struct A {
        // Why.
        public static let parameters: [Int] = [
          1,
          2,
        ]
        let x = 1
      }
      """
    #expect(Self.codeLines(of: text) == 4)
  }

  static func codeLines(of text: String) -> Int {
    var count = 0
    var isInTable = false
    for line in text.split(separator: "\n") {
      let code = line.drop { $0 == " " }
      if code.isEmpty || code.hasPrefix("//") { continue }
      if code.hasPrefix("public static let parameters") { isInTable = true }
      if !isInTable { count += 1 }
      if isInTable, code == "]" { isInTable = false }
    }
    return count
  }
}
