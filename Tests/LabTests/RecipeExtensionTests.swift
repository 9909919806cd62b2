import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

@Suite struct RecipeExtensionTests {
  private static let base = """
    model: {path: "preset:tiny"}
    data: {train: {kind: digits, file: digits.csv, length: [1, 2]}}
    rewards: [{source: exact_match}]
    stages:
      - {name: warm-up, objective: sft, steps: 10}
      - {objective: grpo, steps: 5, grpo: {beta: 0.1, epsilon: 0.3}}
    """

  private func write(_ files: [String: String], in folder: TemporaryFolder) throws {
    for (name, text) in files {
      let url = URL(fileURLWithPath: folder.path + "/" + name)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
  }

  @Test func aRecipeChangesAnother() throws {
    let folder = try TemporaryFolder()
    try write(
      [
        "base.yaml": Self.base, "digits.csv": "0,1\n",
        "smoke/small.yaml": """
        extends: ../base.yaml
        seed: 7
        data: {train: {length: [3, 4]}}
        add: {stages: [{name: more, objective: sft, steps: 3}]}
        set: {stages.warm-up.steps: 2, stages.grpo.grpo.beta: 0.2, stages.1.steps: 1}
        """,
      ], in: folder)
    let recipe = try Recipe.load(path: folder.path + "/smoke/small.yaml", overrides: ["stages.warm-up.batch=3"])
    #expect(recipe.name == "small" && recipe.seed == 7 && recipe.stages.map(\.steps) == [2, 1, 3])
    #expect(recipe.stages[0].batch == 3 && recipe.rewards.map(\.name) == ["exact_match"])
    // The base's paths are read from its own folder.
    let source = try #require(recipe.source("train"))
    #expect(source.file.hasSuffix("/digits.csv") && !source.file.contains("smoke"))
    guard case .digits(let digits) = source.content else { throw AttuneError.work("not digits") }
    #expect(digits.length == 3...4)
    #expect(recipe.effective["stages"]?[1]?["grpo"]?["beta"]?.double == 0.2)
    #expect(recipe.effective["stages"]?[1]?["grpo"]?["epsilon"]?.double == 0.3)
    #expect(try Recipe(effective: recipe.effective, text: recipe.text, file: recipe.file) == recipe)
  }

  @Test func mistakesNameTheFileTheyAreIn() throws {
    let folder = try TemporaryFolder()
    try write(
      [
        "base.yaml": Self.base, "digits.csv": "0,1\n",
        "broken.yaml": Self.base.replacing("steps: 10", with: "stepz: 10"),
        "a.yaml": "extends: b.yaml", "b.yaml": "extends: a.yaml",
      ], in: folder)
    func refuse(_ text: String, _ fragments: String...) throws {
      try write(["own.yaml": text], in: folder)
      do {
        _ = try Recipe.load(path: folder.path + "/own.yaml")
        Issue.record("'\(text)' was read")
      } catch let error as AttuneError {
        for fragment in fragments where !error.description.contains(fragment) {
          Issue.record("'\(error.description)' does not contain '\(fragment)'")
        }
      }
    }
    try refuse("extends: bse.yaml", "own.yaml:1:10", "there is no recipe at", "did you mean 'base.yaml'?")
    try refuse("extends: [base.yaml]", "own.yaml:1:10", "expected the path of a recipe")
    try refuse("extends: broken.yaml", "broken.yaml:5:", "unknown key 'stepz'")
    try refuse("extends: base.yaml\nsed: 5", "own.yaml:2:1", "unknown key 'sed'")
    try refuse("extends: base.yaml\nset: {stages.warmup.steps: 5}", "own.yaml:2:7", "did you mean 'warm-up'?")
    try refuse("extends: base.yaml\nadd: {model: [5]}", "own.yaml:2:", "expected a list for a key that holds one")
    try refuse("extends: base.yaml\nset: 5", "own.yaml:2:1", "set: found 5, expected a mapping")
    try refuse("extends: a.yaml", "leads back to a recipe that extends this one")
  }
}
