import Core
import Foundation
import TestSupport
import Testing

@testable import Objectives

@Suite struct CompletionPenaltiesTests {
  @Test func penalties() {
    #expect(
      [79, 80, 90, 100, 101].map { CompletionPenalties.softOverlong(length: $0, limit: 100, buffer: 20) } == [
        0, 0, -0.5, -1, -1,
      ])
    #expect(CompletionPenalties.softOverlong(length: 11, limit: 10, buffer: 0) == -1)
    #expect(CompletionPenalties.repetition([5, 5, 5, 5, 5], n: 2, most: -1) == -0.75)
    #expect(CompletionPenalties.repetition([1], n: 2, most: -1) == 0)
    #expect(CompletionPenalties.repetition([1, 2, 3], n: 2, most: -1).sign == .plus)
  }

  /// The reward plugins of the same names give the same: the cases that they ship with, as far as tokens alone decide.
  @Test(arguments: ["soft_overlong", "repetition"]) func pluginsAgree(name: String) throws {
    let path = Fixtures.root + "/rewards/\(name)/cases.jsonl"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    var compared = 0
    for line in text.split(separator: "\n") {
      let item = try JSON.parse(Array(line.utf8), file: path)
      let parameters = item["parameters"]
      guard let reward = item["expected"]?["reward"]?.double, item["policy_mask"] == nil, parameters?["unit"] == nil
      else { continue }
      let own: Double
      if name == "soft_overlong" {
        guard let length = item["token_count"]?.int, let limit = parameters?["limit"]?.int,
          let buffer = parameters?["buffer"]?.int
        else { continue }
        own = CompletionPenalties.softOverlong(length: length, limit: limit, buffer: buffer)
      } else {
        guard let ids = item["token_ids"]?.array?.compactMap(\.int) else { continue }
        own = CompletionPenalties.repetition(
          ids, n: parameters?["n"]?.int ?? 3, most: parameters?["max_penalty"]?.double ?? -1)
      }
      #expect(abs(own - reward) < 1e-6, "\(line)")
      compared += 1
    }
    #expect(compared >= 3)
  }
}
