/// What is done to the ids of a whole text.
struct PostProcessor: Sendable {
  static let supported = ["BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"]

  /// Ids put around the text when special tokens are asked for: before it, between it and its next copy (a template may
  /// name it more than once, or never), and behind it.
  var layout: [[Int32]] = [[], []]
  /// How often the text stands in the result when they are not.
  var copies = 1
  /// Leaves the spaces at the edges of a token out of its offsets (byte-level vocabularies), and whether the space that
  /// was put in front of the text stays in.
  var trimsOffsets = false
  var keepsPrefixSpace = false

  /// The whole sequence made of a text's items and of special ids.
  func arranged<Item>(_ items: [Item], addSpecialTokens: Bool, _ special: (Int32) -> Item) -> [Item] {
    guard addSpecialTokens else { return copies == 1 ? items : Array((0..<copies).map { _ in items }.joined()) }
    var result = layout[0].map(special)
    for rest in layout.dropFirst() {
      result += items
      result += rest.map(special)
    }
    return result
  }
}

/// What a chain of processors makes of a text, worked out without the text.
///
/// Each item of a template is a sequence of its own to the processor behind it.
struct SequencePlan {
  enum Part {
    case text
    case ids([Int32])
  }

  var sequences: [[Part]] = [[.text]]

  /// `cls` in front of the first sequence and `sep` behind every one.
  mutating func surround(cls: Int32, sep: Int32, separatesBefore: Bool) {
    for i in sequences.indices {
      let before: [Part] = i == 0 ? [.ids([cls])] : separatesBefore ? [.ids([sep])] : []
      sequences[i] = before + sequences[i] + [.ids([sep])]
    }
  }

  /// The ids around the text, as `PostProcessor.layout` has them.
  var layout: [[Int32]] {
    var layout: [[Int32]] = [[]]
    for part in sequences.joined() {
      switch part {
      case .text: layout.append([])
      case .ids(let ids): layout[layout.count - 1] += ids
      }
    }
    return layout
  }
}
