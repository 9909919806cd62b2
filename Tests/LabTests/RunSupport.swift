import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

/// Small runs inside the test's own process, with a reward that needs no other.
enum RunSupport {
  /// What a run came to.
  struct Outcome {
    var ending: RunEnding
    var steps: [StepRecord]
    var notes: [String]
    var evaluations: [EvaluationRecord] = []
    /// Largest memory of tensors by phase, MiB.
    var phases: [String: Double] = [:]
    var folder: String

    /// A metric of every step; NaN where it is missing.
    func metric(_ name: String) -> [Double] {
      steps.map { $0.metrics.first { $0.name == name }?.value ?? .nan }
    }

    /// The bytes of a file of the run's folder.
    func file(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)) }
    func weights() throws -> Data { try file("model/model.safetensors") }
    /// The critic's model and head.
    func critic() throws -> [Data] {
      let head = "critic/value_head.safetensors"
      let isValue = FileManager.default.fileExists(atPath: folder + "/" + head)
      return try ["critic/model.safetensors", "critic/config.json"].map(file) + (isValue ? [file(head)] : [])
    }
    /// Metrics and completions by step without times, bit for bit.
    var trace: [String] {
      steps.map { step in
        let metrics = step.metrics.filter { !$0.name.hasSuffix("/seconds") }
          .map { "\($0.name)=\($0.value.bitPattern)" }
        let rollouts = step.prompts.flatMap { prompt in
          prompt.rollouts.map { "\(prompt.number):\($0.completion.ids):\($0.advantage.bitPattern)" }
        }
        return (["\(step.stage).\(step.step)", "\(step.sampledTokens)"] + metrics + rollouts).joined(separator: " ")
      }
    }
  }

  private final class Recorder: RunObserver {
    var steps: [StepRecord] = []
    var notes: [String] = []
    var evaluations: [EvaluationRecord] = []
    var phases: [String: Double] = [:]
    func handle(_ event: RunEvent) throws {
      switch event {
      case .step(let step): steps.append(step)
      case .note(let text): notes.append(text)
      case .evaluated(let record): evaluations.append(record)
      case .memory(let all, _): phases = Dictionary(all.map { ($0.name, $0.mebibytes) }, uniquingKeysWith: max)
      default: break
      }
    }
  }

  /// A text policy that is paid for short completions.
  ///
  /// - Parameters:
  ///   - stage: keys of the one stage that samples, as YAML flow entries.
  ///   - more: other top-level lines.
  static func recipe(_ stage: String, _ more: String = "threads: 2", steps: Int = 4) throws -> Recipe {
    try Recipe.parse(
      """
      name: tiny
      seed: 3
      \(more)
      data: {train: {kind: jsonl, file: \(Fixtures.root)/recipes/data/sums/sums.jsonl}}
      stages:
        - {steps: \(steps), \(stage.contains("prompts:") ? "" : "prompts: 4, ")\(stage.contains("max_new_tokens") ? "" : "max_new_tokens: 6, ")\(stage)}
      rewards:
        - {name: brief, source: length, isolation: inline, parameters: {unit: characters, max: 4, decay: 16}}
      watch: {before: false}
      checkpoint: {every: 1, keep: 20}
      """ + (more.contains("model:") ? "" : "\nmodel: {path: 'preset:tiny'}"), file: "/none/recipe.yaml")
  }

  /// Runs to the end, or until it is stopped in the middle of sampling after `steps` steps.
  static func run(_ recipe: Recipe, in folder: String, stopAfter steps: Int? = nil, questions: Int = 3) throws
    -> Outcome
  {
    try execute(try Run.start(recipe, output: folder), folder, stopAfter: steps, questions: questions)
  }

  static func resume(_ folder: String) throws -> Outcome {
    try execute(try #require(try Run.resume(folder, root: folder)), folder, stopAfter: nil, questions: 0)
  }

  private static func execute(_ run: Run, _ folder: String, stopAfter steps: Int?, questions: Int) throws -> Outcome {
    let recorder = Recorder()
    var calls = 0
    let ending = try run.execute(
      observers: [recorder], workerCommand: [],
      isCancelled: {
        guard let steps, recorder.steps.count >= steps else { return false }
        // The first question comes before the step, the others between tokens.
        calls += 1
        return calls > questions
      }, report: { _ in })
    return Outcome(
      ending: ending, steps: recorder.steps, notes: recorder.notes, evaluations: recorder.evaluations,
      phases: recorder.phases,
      folder: folder)
  }
}
