import CRewardABI
import Core

/// A reward that is part of the program: a value made from its parameters, and a function of one sample.
///
/// Adding one is a file in this folder, a line in `BuiltInRewards.all`, a section in `docs/built-in-rewards.md`, and at least
/// twenty vectors in `Tests/Fixtures/rewards/built-in/NAME.jsonl`.
protocol BuiltInReward: Sendable {
  static var name: String { get }
  /// One line for people.
  static var summary: String { get }
  static var parameters: [RewardParameter] { get }
  /// The expected range of scores.
  static var range: ClosedRange<Double>? { get }
  /// `ATTUNE_NEEDS_...` bits.
  static var needs: UInt32 { get }
  /// Columns without which no sample can be scored.
  static var columns: [String] { get }
  /// Equal samples get equal outcomes.
  static var isDeterministic: Bool { get }
  /// How many samples are scored at once in the program itself, or nil for one that runs in a worker as plugins do. For
  /// rewards that start processes of their own or reach the network, which a worker may not.
  static var hostConcurrency: Int? { get }

  /// - Parameter parameters: complete, names, types and bounds checked.
  /// - Throws: `AttuneError` for values that do not go together.
  init(_ parameters: JSON.Object) throws
  /// How many samples it may usefully score at once in the program itself; at most `hostConcurrency`.
  func concurrency(in context: RewardContext) -> Int
  /// The outcome of one sample. What is thrown becomes the status `failed` with the error's message.
  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome
}

extension BuiltInReward {
  static var parameters: [RewardParameter] { [] }
  static var range: ClosedRange<Double>? { 0...1 }
  static var needs: UInt32 { 0 }
  static var columns: [String] { [] }
  static var isDeterministic: Bool { true }
  static var hostConcurrency: Int? { nil }
  func concurrency(in context: RewardContext) -> Int { Self.hostConcurrency ?? 1 }

  static var descriptor: RewardDescriptor {
    RewardDescriptor(
      path: "the program", library: "attune", libraryVersion: RewardLoader.programVersion, abiMajor: ATTUNE_ABI_MAJOR,
      abiMinor: ATTUNE_ABI_MINOR, reward: name, summary: summary, isDeterministic: isDeterministic, needs: needs,
      range: range, columns: columns, parameters: parameters)
  }
}

/// What a built-in reward may ask about the call it is part of.
struct BuiltInCall {
  var context: RewardContext
  /// Seconds per sample; 0: none.
  var timeLimit: Double
  /// True when this sample's time is up.
  var isCancelled: () -> Bool
  /// This program's file, for rewards that start it again under a hidden verb.
  var program: String = "/proc/self/exe"
}

/// The rewards that are part of the program.
enum BuiltInRewards {
  static let all: [any BuiltInReward.Type] = [
    CodeReward.self,
    CosineReward.self,
    CountdownReward.self,
    DAPOAnswerReward.self,
    DetectionReward.self,
    FormatReward.self,
    Geometry3KReward.self,
    GSM8KReward.self,
    IFEvalReward.self,
    IntegerCheckReward.self,
    JSONSchemaReward.self,
    JudgeReward.self,
    LanguageReward.self,
    MathBoxedReward.self,
    MathReward.self,
    RegexReward.self,
  ]

  static func named(_ name: String) throws -> any BuiltInReward.Type {
    guard let type = all.first(where: { $0.name == name }) else {
      throw AttuneError.request("there is no built-in reward '\(name)'")
    }
    return type
  }
}

extension RewardParameter {
  /// For lists of a built-in's parameters.
  package static func number(
    _ name: String, default value: Double?, in bounds: ClosedRange<Double>? = nil, _ summary: String
  ) -> RewardParameter {
    RewardParameter(
      name: name, type: ATTUNE_NUMBER, defaultValue: value.map(JSON.double), summary: summary, bounds: bounds)
  }

  package static func bool(_ name: String, default value: Bool?, _ summary: String) -> RewardParameter {
    RewardParameter(
      name: name, type: ATTUNE_BOOL, defaultValue: value.map(JSON.bool), summary: summary, bounds: nil)
  }

  package static func string(_ name: String, default value: String?, _ summary: String) -> RewardParameter {
    RewardParameter(
      name: name, type: ATTUNE_STRING, defaultValue: value.map(JSON.string), summary: summary, bounds: nil)
  }

  package static func list(_ name: String, default value: [JSON]?, _ summary: String) -> RewardParameter {
    RewardParameter(
      name: name, type: ATTUNE_LIST, defaultValue: value.map(JSON.array), summary: summary, bounds: nil)
  }

  package static func object(_ name: String, default value: JSON?, _ summary: String) -> RewardParameter {
    RewardParameter(name: name, type: ATTUNE_OBJECT, defaultValue: value, summary: summary, bounds: nil)
  }
}
