import Core

/// What of a completion a reward reads.
enum CompletionPart: String, CaseIterable, Sendable {
  /// All of it, or what follows the last `</think>` if there is one.
  case completion
  /// The last fenced block behind the last `</think>`.
  case block
  /// The last closed `<answer>` span; fences around its whole content are taken off.
  case answer

  /// The part's text without white space around it, or why there is none.
  func text(of completion: String, languages: Set<String> = []) -> Result<String, Missing> {
    let bytes = [UInt8](completion)
    let start = bytes.lastPosition(of: "</think>").map { $0 + 8 } ?? 0
    switch self {
    case .completion: return .success(bytes.text(start..<bytes.count).trimmedSpace)
    case .block:
      let blocks = FencedBlock.all(in: bytes.text(start..<bytes.count))
      guard let last = blocks.last(where: { languages.isEmpty || languages.contains($0.language) }) else {
        return .failure(Missing(words: "there is no fenced block"))
      }
      return .success(last.body.trimmedSpace)
    case .answer:
      guard let span = AnswerTags.last(completion)?.trimmedSpace else {
        return .failure(Missing(words: "there is no <answer> span"))
      }
      let blocks = FencedBlock.all(in: span)
      if blocks.count == 1, span.hasPrefix("```") || span.hasPrefix("~~~"), blocks[0].isWhole {
        return .success(blocks[0].body.trimmedSpace)
      }
      return .success(span)
    }
  }

  struct Missing: Error { let words: String }
}

/// A fenced block of Markdown: a line of three or more backticks or tildes with the language behind it, lines, and a line of
/// as many or more of the same sign alone. A block that is not closed is none.
struct FencedBlock: Equatable {
  /// The first word behind the fence in lower case.
  var language: String
  /// The lines between the fences, each with its line feed.
  var body: String
  /// Nothing stands before and behind the block.
  var isWhole: Bool

  static func all(in text: String) -> [FencedBlock] {
    let bytes = [UInt8](text)
    let first = bytes.afterSpace(from: 0)
    var blocks: [FencedBlock] = []
    var open: (sign: UInt8, length: Int, language: String, body: Int, line: Int)?
    var at = 0
    while at < bytes.count {
      let end = bytes[at...].firstIndex(of: 0x0A) ?? bytes.count
      let next = min(end + 1, bytes.count)
      if let fence = fence(bytes, at, end) {
        if let begun = open {
          if fence.sign == begun.sign, fence.length >= begun.length, fence.info.isEmpty {
            blocks.append(
              FencedBlock(
                language: begun.language, body: bytes.text(begun.body..<max(at, begun.body)),
                isWhole: first >= begun.line && bytes.afterSpace(from: next) == bytes.count))
            open = nil
          }
        } else if fence.sign == 0x7E || !fence.info.contains("`") {
          let word = fence.info.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "{" }).first ?? ""
          open = (fence.sign, fence.length, word.lowercased(), next, at)
        }
      }
      at = end + 1
    }
    return blocks
  }

  /// The fence that a line is, if it is one.
  private static func fence(_ bytes: [UInt8], _ start: Int, _ end: Int) -> (sign: UInt8, length: Int, info: String)? {
    var i = start
    while i < end, bytes[i] == 0x20 || bytes[i] == 0x09 { i += 1 }
    guard i < end, bytes[i] == 0x60 || bytes[i] == 0x7E else { return nil }
    let sign = bytes[i]
    let first = i
    while i < end, bytes[i] == sign { i += 1 }
    guard i - first >= 3 else { return nil }
    return (sign, i - first, bytes.text(i..<end).trimmedSpace)
  }
}
