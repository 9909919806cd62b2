import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The vectors of the mathematical rewards.
@Suite struct MathVectorTests {
  static let least = ["math": 150]
  static let names = [
    "cosine", "countdown", "dapo_answer", "geometry3k", "gsm8k", "integer_check", "math", "math_boxed",
  ]

  @Test(arguments: names)
  func vectorsHold(_ name: String) throws {
    let cases = try RewardCases(
      path: Fixtures.path("rewards/built-in/\(name).jsonl"), pictures: Workshop.noPictures)
    #expect(cases.cases.count >= Self.least[name] ?? 20, "\(name) has \(cases.cases.count) vectors")
    // Instances with different parameters live side by side.
    var rewards: [String: any PluginReward] = [:]
    defer { for reward in rewards.values { reward.close() } }
    for entry in cases.cases {
      let key = JSON(.object(entry.parameters)).text()
      let reward =
        try rewards[key] ?? Workshop.load(name, name: name, parameters: entry.parameters, isolation: .inline)
      rewards[key] = reward
      let outcome = try reward.score([entry.sample], context: RewardContext())[0]
      let difference = RewardCases.difference(outcome, entry.expected)
      #expect(difference == nil, "\(name), line \(entry.line): \(difference ?? "") (\(outcome.log))")
      #expect(!outcome.log.isEmpty, "\(name), line \(entry.line) explains nothing")
    }
  }
}
