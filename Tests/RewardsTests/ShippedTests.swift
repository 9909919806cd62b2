import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The plugins that come with the program, as libraries that SwiftPM built and as sources.
@Suite struct ShippedTests {
  @Test(arguments: ["digit_match", "answer_format"])
  func casesHoldInBothIsolations(_ name: String) throws {
    let cases = try RewardCases(
      path: Fixtures.root + "/rewards/\(name)/cases.jsonl", pictures: Workshop.noPictures)
    #expect(cases.cases.count >= 10)
    for isolation in [RewardSpecification.Isolation.worker, .inline] {
      let reward = try Workshop.load(name, name: name, isolation: isolation)
      defer { reward.close() }
      let outcomes = try reward.score(cases.cases.map(\.sample), context: RewardContext())
      for (entry, outcome) in zip(cases.cases, outcomes) {
        let difference = RewardCases.difference(outcome, entry.expected)
        #expect(difference == nil, "\(name), line \(entry.line), \(isolation): \(difference ?? "")")
      }
    }
  }

  @Test(arguments: ["digit_match/digit_match.c", "answer_format/answer_format.swift"])
  func sourcesPassTheValidator(_ source: String) throws {
    let check = RewardBench.check(
      Fixtures.root + "/rewards/" + source, workerCommand: Workshop.command, pictures: Workshop.noPictures)
    #expect(check.passed, "\(check.text)")
    #expect(check.rules.contains { $0.name == "cases.jsonl" && $0.detail.hasSuffix("as expected") })
    #expect(check.rules.count >= 18)
  }

  @Test func areListed() {
    let list = RewardBench.list(workerCommand: Workshop.command)
    #expect(list.map(\.name) == RewardLoader.shipped)
    #expect(list.map(\.name).contains("digit_match"))
    #expect(list.map(\.name).contains("answer_format"))
    #expect(list.allSatisfy { !$0.kind.isEmpty && !$0.summary.isEmpty })
  }
}
