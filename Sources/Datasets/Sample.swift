import Core

/// One row of data as every trainer reads it: a prompt, what is known about its answer, and the original columns.
public struct Sample: Sendable, Equatable {
  /// The sample's number in its source; the same sample has the same number in every epoch.
  public var id: Int
  /// Everything before the answer. An `.image(i)` part is `pictures[i]`.
  public var prompt: [Message]
  public var pictures: [Picture]
  /// The answer to imitate, the chosen one of a pair, or the one that `label` judges; nil if the data has none.
  public var completion: String?
  /// The worse answer to the same prompt, of a preference pair.
  public var rejected: String?
  /// Whether `completion` is desirable, of unpaired preference data.
  public var label: Bool?
  /// By how much the chosen answer is better, in the units of whoever judged; of a preference pair, where it is known.
  public var margin: Double?
  /// What a correct answer must agree with, for rewards; never the text to imitate.
  public var reference: String?
  /// The column that the reference was read from, or nil if no column holds it as it is.
  public var referenceColumn: String?
  /// The files of `pictures`, in their order; empty for pictures that were drawn.
  public var pictureFiles: [String] = []
  /// All original columns, untouched, so that rewards can read what the trainer has no use for.
  public var columns: JSON.Object

  public init(
    id: Int, prompt: [Message], pictures: [Picture] = [], completion: String? = nil,
    rejected: String? = nil, label: Bool? = nil, margin: Double? = nil, reference: String? = nil,
    referenceColumn: String? = nil, columns: JSON.Object = JSON.Object()
  ) {
    self.id = id
    self.prompt = prompt
    self.pictures = pictures
    self.completion = completion
    self.rejected = rejected
    self.label = label
    self.margin = margin
    self.reference = reference
    self.referenceColumn = referenceColumn
    self.columns = columns
  }

  public static func == (a: Sample, b: Sample) -> Bool {
    a.id == b.id && a.prompt == b.prompt && a.pictures == b.pictures && a.completion == b.completion
      && a.rejected == b.rejected && a.label == b.label && a.margin == b.margin && a.reference == b.reference
      && JSON(.object(a.columns)) == JSON(.object(b.columns))
  }
}
