import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The vectors of built-in rewards, through the two ways in which they run.
@Suite struct BuiltInVectorTests {
  static let names = ["code", "detection", "format", "ifeval", "json_schema", "language", "regex"]

  @Test(arguments: names)
  func vectorsHold(_ name: String) throws {
    let cases = try RewardCases(
      path: Fixtures.path("rewards/built-in/\(name).jsonl"), pictures: Workshop.noPictures)
    #expect(cases.cases.count >= 20, "\(name) has \(cases.cases.count) vectors")
    // What runs in the program itself runs there whatever is asked for.
    let ways: [RewardSpecification.Isolation] =
      try BuiltInRewards.named(name).hostConcurrency == nil ? [.worker, .inline] : [.worker]
    for isolation in ways {
      // Instances with different parameters live side by side.
      var rewards: [String: any PluginReward] = [:]
      defer { for reward in rewards.values { reward.close() } }
      for entry in cases.cases {
        let key = JSON(.object(entry.parameters)).text()
        let reward =
          try rewards[key]
          ?? Workshop.load(name, name: name, parameters: entry.parameters, isolation: isolation)
        rewards[key] = reward
        let outcome = try reward.score([entry.sample], context: RewardContext())[0]
        let difference = RewardCases.difference(outcome, entry.expected)
        #expect(difference == nil, "\(name), line \(entry.line), \(isolation): \(difference ?? "") (\(outcome.log))")
        #expect(outcome.status != .ok || !outcome.log.isEmpty, "\(name), line \(entry.line) explains nothing")
      }
    }
  }
}
