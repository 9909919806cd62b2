import Core

/// Where samples come from: a pure function from an index to a sample.
///
/// A source remembers nothing between calls, so a run resumes from a number alone, and samples may be fetched in any
/// order from any thread.
public protocol SampleSource: Sendable {
  /// How many samples there are; nil if the source never ends.
  var count: Int? { get }

  /// The sample at `index`, from 0 and below `count`. The same index gives the same sample, bit for bit.
  ///
  /// - Throws: `AttuneError` naming the file and line whose picture cannot be loaded.
  func sample(at index: Int) throws -> Sample

  /// How many samples have which label, where that is known without reading them all.
  var labelCounts: LabelCounts? { get }
}

extension SampleSource {
  public var labelCounts: LabelCounts? { nil }
}

/// How many completions of a source are desirable and how many are not.
public struct LabelCounts: Sendable, Equatable {
  public var desirable: Int
  public var undesirable: Int

  public init(_ labels: some Sequence<Bool>) {
    (desirable, undesirable) = labels.reduce(into: (0, 0)) { if $1 { $0.0 += 1 } else { $0.1 += 1 } }
  }
}

/// Decodes the picture file at a path. Handed in, so that sources need not know any picture format.
public typealias PictureLoader = @Sendable (_ path: String) throws -> Picture

/// What samples are wanted for. It decides whether a column such as `answer` is imitated or compared with.
public enum SampleTask: String, Sendable, CaseIterable {
  /// Supervised fine-tuning: every sample must have a completion.
  case sft
  /// Learning from pairs: every sample has a completion and a rejected one.
  case preference
  /// Learning from single judged completions: every sample has a completion and a label.
  case unpaired
  /// Reinforcement learning or evaluation: an answer column is the reference.
  case rl
}
