import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The examples of the documentation are rewards that keep every rule.
@Suite struct DocumentationTests {
  @Test(arguments: [("rewards.md", 6), ("reward-abi.md", 1), ("reward-models.md", 1)])
  func examplesPassTheValidator(_ page: String, _ count: Int) throws {
    let text = try String(contentsOfFile: Fixtures.root + "/docs/" + page, encoding: .utf8)
    let blocks = text.components(separatedBy: "\n```")
    var found = 0
    for block in blocks {
      let language: String
      if block.hasPrefix("c\n#include \"attune_reward.h\"") {
        language = "c"
      } else if block.hasPrefix("swift\nimport RewardKit") {
        language = "swift"
      } else {
        continue
      }
      found += 1
      let source = try Workshop.scratch() + "/example\(found)." + language
      let code = block.drop { $0 != "\n" }
      try String(code).write(toFile: source, atomically: true, encoding: .utf8)
      let check = RewardBench.check(source, workerCommand: Workshop.command, pictures: Workshop.noPictures)
      #expect(check.passed, "\(page), example \(found):\n\(check.text)")
    }
    #expect(found == count)
  }
}
