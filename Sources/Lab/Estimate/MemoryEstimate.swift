import AttuneTensor
import Core

/// What a run will take of memory and time, known before its weights are read.
public struct MemoryEstimate: Sendable {
  /// One phase of a stage's steps at its largest.
  public struct Phase: Sendable {
    public let stage: String
    /// As the run's own account names it: rollout, reference, forward, backward, optimizer, evaluation, ...
    public let name: String
    /// All tensors that stand at once.
    public let bytes: Int
    /// What they are for; sums to `bytes`.
    public let parts: [MemoryPart: Int]
  }

  /// How long a stage takes, by arithmetic and traffic with memory; rewards, files and reports are not in it.
  public struct Duration: Sendable {
    public let stage: String
    public let steps: Int
    /// Of one step.
    public let seconds: Double
  }

  public let phases: [Phase]
  /// Bytes that the process has to be given for tensors: the highest place that they take.
  public let tensorBytes: Int
  /// Pages of the checkpoint's files that stay in memory because tokens are looked up in them.
  public let mappedBytes: Int
  /// The program itself with its tokenizer and data, as large as the process was that made the estimate.
  public let programBytes: Int
  public let durations: [Duration]
  /// Seconds of one evaluation, and how many there are.
  public let evaluation: (seconds: Double, count: Int)
  /// What the numbers stand on; sentences.
  public let notes: [String]

  /// What the process takes of memory.
  public var residentBytes: Int { tensorBytes + mappedBytes + programBytes }
  /// The phase that decides.
  public var largest: Phase? { phases.max { $0.bytes < $1.bytes } }
  /// Of the whole run.
  public var seconds: Double {
    durations.reduce(evaluation.seconds * Double(evaluation.count)) { $0 + $1.seconds * Double($1.steps) }
  }

  /// Largest bytes of each phase over all stages, by name.
  func peak(of name: String) -> Int? { phases.filter { $0.name == name }.map(\.bytes).max() }

  public var json: JSON {
    [
      "resident_bytes": .int(residentBytes), "tensor_bytes": .int(tensorBytes), "mapped_bytes": .int(mappedBytes),
      "program_bytes": .int(programBytes),
      "phases": .array(
        phases.map { phase in
          [
            "stage": .string(phase.stage), "phase": .string(phase.name), "bytes": .int(phase.bytes),
            "parts": .object(MemoryPart.allCases.compactMap { part in phase.parts[part].map { (part.key, .int($0)) } }),
          ]
        }),
      "stages": .array(
        durations.map { ["stage": .string($0.stage), "steps": .int($0.steps), "step_s": .double($0.seconds)] }),
      "evaluation_s": .double(evaluation.seconds), "evaluations": .int(evaluation.count),
      "run_s": .double(seconds), "notes": .array(notes.map { .string($0) }),
    ]
  }
}
