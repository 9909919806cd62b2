import Core
import Datasets
import Models

/// A prompt with the completions that a step learns from.
struct LearnedRow {
  var tree: PromptTree
  /// Completions that lost their end to the stage's longest sequence.
  var cut: Int

  /// Tokens of prompt and completions, the prompt once.
  var tokenCount: Int { tree.prompt.ids.count + tree.completions.reduce(0) { $0 + $1.count } }
}

extension Trainer {
  /// A sample's prompt with completions behind it.
  ///
  /// A sequence of more than `max_length` tokens loses its completion's end; the prompt is never cut.
  /// - Throws: `.request` naming the sample if its prompt alone leaves no place for a completion.
  func row(_ sample: Sample, _ completions: [String], _ stage: Recipe.Stage) throws -> LearnedRow {
    let prompt = try encode(sample).encoded
    var cut = 0
    let targets = try completions.map { text -> [Int32] in
      let ids = policy.target(of: text)
      let fitting = try stage.fitting(ids, behind: prompt, of: sample)
      if fitting.count < ids.count { cut += 1 }
      return fitting
    }
    return LearnedRow(tree: PromptTree(prompt: prompt, completions: targets), cut: cut)
  }

  /// The completion that a stage cannot do without.
  func completion(of sample: Sample, _ stage: Recipe.Stage, _ use: String) throws -> String {
    if let completion = sample.completion { return completion }
    throw AttuneError.request(
      "sample \(sample.id) of data \(stage.data) has no completion, which \(use) needs",
      hint: "name the column with `completion:` in the data source")
  }

  /// What a stage with a longest sequence tells of its rows.
  func cutMetrics(_ rows: [LearnedRow], _ stage: Recipe.Stage) -> [(name: String, value: Double)] {
    guard stage.maxLength > 0 else { return [] }
    let all = rows.reduce(0) { $0 + $1.tree.completions.count }
    return [("truncated_completions", Double(rows.reduce(0) { $0 + $1.cut }) / Double(max(1, all)))]
  }
}

extension Recipe.Stage {
  /// As much of a completion's beginning as the longest sequence has room for.
  func fitting(_ completion: [Int32], behind prompt: EncodedPrompt, of sample: Sample) throws -> [Int32] {
    let room = maxLength - prompt.ids.count
    guard maxLength > 0, completion.count > room else { return completion }
    guard room > 0 else {
      throw AttuneError.request(
        "the prompt of sample \(sample.id) of data \(data) has \(prompt.ids.count) tokens; with max_length \(maxLength) "
          + "none is left for its completion",
        hint: "raise max_length of stage \(name), or take long prompts out of the data")
    }
    return Array(completion.prefix(room))
  }
}
