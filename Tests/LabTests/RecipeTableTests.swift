import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

@Suite struct RecipeTableTests {
  @Test func everyRowHasItsSectionBeforeIt() {
    var known: Set<[String]> = [[]]
    for row in RecipeTable.keys {
      var parent = row.components.dropLast()
      if parent.last == "[]" || parent.last == "*" { parent = parent.dropLast() }
      #expect(known.contains(Array(parent)), "\(row.path) stands before its section")
      if row.hasKeys { known.insert(row.components) }
      #expect(row.summary.hasSuffix("."), "\(row.path)")
    }
    // A key may mean something else under another condition, never two things under one.
    var conditions: [String: [String]] = [:]
    for row in RecipeTable.keys {
      let words = row.condition?.values ?? ["anywhere"]
      let others = conditions[row.path] ?? []
      #expect(others.allSatisfy { !words.contains($0) && $0 != "anywhere" } || others.isEmpty, "\(row.path)")
      conditions[row.path] = others + words
    }
  }

  @Test func defaultsLieWithinTheirBounds() {
    for row in RecipeTable.keys {
      guard case .value(let value) = row.fallback, let bounds = row.bounds else { continue }
      for x in (value.array ?? [value]).compactMap(\.double) { #expect(bounds.contains(x), "\(row.path): \(x)") }
    }
  }

  @Test func conditionsNameAnEarlierChoice() {
    for (index, row) in RecipeTable.keys.enumerated() {
      guard let condition = row.condition else { continue }
      let path = (row.path.split(separator: ".").dropLast().map(String.init) + [condition.key]).joined(separator: ".")
      guard let other = RecipeTable.keys[..<index].first(where: { $0.path == path }),
        case .choice(let words) = other.kind
      else {
        Issue.record("\(row.path) depends on \(path), which is no choice before it")
        continue
      }
      #expect(condition.values.allSatisfy(words.contains))
    }
  }

  @Test func explainFindsKeysHoweverTheyAreAddressed() throws {
    let text = try #require(RecipeTable.explain("stages[].steps"))
    #expect(text.contains("stages[].steps") && text.contains("Optimizer steps.") && text.contains("required"))
    for path in ["stages.steps", "stages.0.steps", "stages[3].steps", "stages.grpo.steps", "stages.warm-up.steps"] {
      #expect(RecipeTable.explain(path) == text, "\(path)")
    }
    #expect(RecipeTable.explain("optimizer.learning_rate")?.contains("default  1e-06") == true)
    #expect(RecipeTable.explain("model.lora")?.contains("rank_stabilized") == true)
    #expect(RecipeTable.explain("data.train.kind")?.contains("digits, jsonl, sampled") == true)
    #expect(RecipeTable.explain("data.train")?.contains("digit_size") == true)
    #expect(RecipeTable.explain("stages[].grpo.delta")?.contains("only with") == false)
    #expect(RecipeTable.explain("stages[].prompts")?.contains("only with objective: grpo") == true)
    let margins = try #require(RecipeTable.explain("data.train.margin"))
    #expect(margins.contains("only with kind: jsonl") && margins.contains("only with kind: sampled"))
    #expect(RecipeTable.explain("optimizer.learing_rate") == nil)
    #expect(RecipeTable.explain("") == nil)
    #expect(RecipeTable.nearestKeyPath(to: "optimizer.learing_rate") == "optimizer.learning_rate")
    #expect(RecipeTable.nearestKeyPath(to: "stages.stpes") == "stages[].steps")
    #expect(RecipeTable.nearestKeyPath(to: "generations") == "stages[].generations")
    #expect(RecipeTable.nearestKeyPath(to: "zzzzqqq") == nil)
  }

  /// With RECORD_SNAPSHOTS set, the page is written anew instead.
  @Test func thePageCarriesTheTable() throws {
    let path = Fixtures.root + "/docs/recipes.md"
    let page = try String(contentsOfFile: path, encoding: .utf8)
    let mark = "change it there. -->\n\n"
    let head = try #require(page.range(of: mark)).upperBound
    let expected = String(page[..<head]) + RecipeTable.markdown()
    if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] != nil, page != expected {
      try expected.write(toFile: path, atomically: true, encoding: .utf8)
    } else {
      #expect(page == expected, "docs/recipes.md is out of date: run the tests once with RECORD_SNAPSHOTS=1")
    }
  }
}
