import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

/// What people see while a run goes on.
@Suite struct ProgressTests {
  /// Notes carry what rewards wrote, which must not steer the terminal or pass for lines of the program.
  @Test(arguments: [true, false])
  func notesCannotSteerTheTerminal(isTerminal: Bool) throws {
    let recipe = try Recipe.load(path: Fixtures.root + "/recipes/quickstart.yaml", overrides: [])
    var text = ""
    let observer = ProgressObserver(recipe, isTerminal: isTerminal) { text += $0 }
    try observer.handle(.note("r: \u{1B}[2J\u{1B}]0;title\u{07}fine\nthe model is in /elsewhere"))
    #expect(text == "note: r: \\u001b[2J\\u001b]0;title\\u0007fine\\nthe model is in /elsewhere\n")
  }
}
