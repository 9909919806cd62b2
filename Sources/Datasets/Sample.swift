import Core

/// One row of data as every trainer reads it: a prompt, what is known about its answer, and the original columns.
public struct Sample: Sendable, Equatable {
  /// The sample's number in its source; the same sample has the same number in every epoch.
  public var id: Int
  /// Everything before the answer. An `.image(i)` part is `pictures[i]`.
  public var prompt: [Message]
  public var pictures: [Picture]
  /// The answer to imitate (supervised fine-tuning), or nil if the data has none.
  public var completion: String?
  /// What a correct answer must agree with, for rewards; never the text to imitate.
  public var reference: String?
  /// The column that the reference was read from, or nil if no column holds it as it is.
  public var referenceColumn: String?
  /// The files of `pictures`, in their order; empty for pictures that were drawn.
  public var pictureFiles: [String] = []
  /// All original columns, untouched, so that rewards can read what the trainer has no use for.
  public var columns: JSON.Object

  public init(
    id: Int, prompt: [Message], pictures: [Picture] = [], completion: String? = nil, reference: String? = nil,
    referenceColumn: String? = nil, columns: JSON.Object = JSON.Object()
  ) {
    self.id = id
    self.prompt = prompt
    self.pictures = pictures
    self.completion = completion
    self.reference = reference
    self.referenceColumn = referenceColumn
    self.columns = columns
  }

  public static func == (a: Sample, b: Sample) -> Bool {
    a.id == b.id && a.prompt == b.prompt && a.pictures == b.pictures && a.completion == b.completion
      && a.reference == b.reference && JSON(.object(a.columns)) == JSON(.object(b.columns))
  }
}
