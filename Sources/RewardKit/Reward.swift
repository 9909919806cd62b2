import CRewardABI

/// What a reward says about itself; every member has a default.
public protocol RewardDescription {
  init()
  /// The name in recipes and logs, by default the type's name in snake case.
  static var name: String { get }
  /// One line for people.
  static var summary: String { get }
  /// The expected range of scores, of finite bounds; nil (and 0...0): unknown. The validator holds the scores to it.
  static var range: ClosedRange<Double>? { get }
  /// The parameters that a recipe may set. The host checks names, types and bounds, and fills in defaults.
  static var parameters: [Parameter] { get }
  /// Columns of the data set without which no sample can be scored.
  static var columns: [String] { get }
  /// What the host should provide beside texts and columns.
  static var needs: Needs { get }
  /// True promises equal outcomes for equal samples.
  static var isDeterministic: Bool { get }
  /// Called once, before the first sample. What is thrown here stops the run before it starts.
  mutating func configure(_ parameters: Parameters) throws
}

/// A reward that looks at one completion at a time: a type with one method.
///
///     struct Brief: Reward {
///       func score(_ sample: Sample) -> Double { 1 / Double(1 + sample.completion.utf8.count) }
///     }
///     @c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(Brief.self) }
public protocol Reward: RewardDescription {
  associatedtype Value: RewardValue
  /// The score of one completion: `Double`, `Double?` (nil: no opinion), `Score` or `Score?`.
  ///
  /// A thrown error marks this sample as failed, with the error's description; the others are scored.
  func score(_ sample: Sample) throws -> Value
}

/// A reward that compares the completions of one prompt.
public protocol GroupReward: RewardDescription {
  associatedtype Value: RewardValue
  /// The scores of one whole group, in the order of the samples.
  func score(group: [Sample]) throws -> [Value]
}

extension RewardDescription {
  public static var name: String { snakeCase("\(Self.self)") }
  public static var summary: String { "" }
  public static var range: ClosedRange<Double>? { nil }
  public static var parameters: [Parameter] { [] }
  public static var columns: [String] { [] }
  public static var needs: Needs { [] }
  public static var isDeterministic: Bool { true }
  public mutating func configure(_ parameters: Parameters) throws {}
}

/// What a reward may ask the host for.
public struct Needs: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  public static let tokens = Needs(rawValue: ATTUNE_NEEDS_TOKENS)
  public static let logprobs = Needs(rawValue: ATTUNE_NEEDS_LOGPROBS)
  /// Decoded pictures.
  public static let images = Needs(rawValue: ATTUNE_NEEDS_IMAGES)
  /// The files that the pictures were decoded from.
  public static let imageBytes = Needs(rawValue: ATTUNE_NEEDS_IMAGE_BYTES)
  /// Who wrote which part of a completion of several turns.
  public static let turns = Needs(rawValue: ATTUNE_NEEDS_TURNS)
}

/// Why a sample could not be scored.
public struct RewardError: Error, CustomStringConvertible {
  public let description: String
  let status: attune_status

  /// Something went wrong while scoring: the status is `failed`.
  public init(_ description: String) {
    self.description = description
    self.status = ATTUNE_FAILED
  }

  /// The sample's own data cannot be scored (a missing column, a malformed reference): the status is `invalid`.
  public static func invalid(_ description: String) -> RewardError {
    RewardError(description: description, status: ATTUNE_INVALID)
  }

  /// The reward saw `Sample.isCancelled` and stopped: the status is `timed_out`.
  public static func timedOut(_ description: String = "stopped at the time limit") -> RewardError {
    RewardError(description: description, status: ATTUNE_TIMED_OUT)
  }

  private init(description: String, status: attune_status) {
    self.description = description
    self.status = status
  }
}

/// `AnswerFormat` becomes `answer_format`, `GSM8KMatch` becomes `gsm8k_match`.
func snakeCase(_ name: String) -> String {
  var out = ""
  let scalars = Array(name.unicodeScalars)
  func isUpper(_ i: Int) -> Bool { scalars.indices.contains(i) && scalars[i].properties.isUppercase }
  func isLower(_ i: Int) -> Bool { scalars.indices.contains(i) && scalars[i].properties.isLowercase }
  for i in scalars.indices {
    if i > 0, isUpper(i), isLower(i - 1) || (isLower(i + 1) && scalars[i - 1] != "_") { out += "_" }
    out += scalars[i].properties.lowercaseMapping
  }
  return out
}
