import Core

/// A warning in plain words about how the rewards of a run develop. It never changes the run.
public struct RewardAlarm: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// A mean that leaves its own past in one step.
    case jump
    /// Scores that no longer tell completions apart, without being at their maximum.
    case collapse
    /// One reward that decides nearly everything, while another would have something to say.
    case dominance
    /// A total that rises while something that is only looked at falls.
    case opposition
    /// Scores that come to follow the completions' length.
    case length
    /// A policy that says the same again and again.
    case entropy
    /// A policy that has left its reference.
    case kl
    /// A reward that takes much longer than it did.
    case slow
    /// A reward that cannot score many samples.
    case failing
    /// Nothing left to learn: every completion has the maximum.
    case saturation
  }

  /// A number that the alarm speaks of.
  public struct Number: Sendable, Equatable {
    public var name: String
    public var value: Double
  }

  public var kind: Kind
  /// The reward's name; `reward` is the total, else a metric's name.
  public var subject: String
  /// Index of the stage, its name, and the step in it from 0.
  public var stage: Int
  public var stageName: String
  public var step: Int
  public var numbers: [Number]
  /// What happened.
  public var text: String
  /// What it may mean.
  public var meaning: String
  /// A command that shows more.
  public var look: String

  /// One line for logs.
  public var line: String { "step \(step): \(text) \(meaning) Look at: \(look)" }

  /// An alarm of a run store for people.
  public static func text(_ json: JSON) -> String {
    """
    \(json["stage_name"]?.string ?? ""), step \(json["step"]?.int ?? 0): \(json["text"]?.string ?? "")
      \(json["meaning"]?.string ?? "")
      \(json["look"]?.string ?? "")
    """
  }

  public var json: JSON {
    [
      "kind": .string(kind.rawValue), "subject": .string(subject), "stage": .int(stage),
      "stage_name": .string(stageName),
      "step": .int(step),
      "numbers": .object(numbers.map { ($0.name, .finite($0.value)) }), "text": .string(text),
      "meaning": .string(meaning), "look": .string(look),
    ]
  }
}
