import Core

/// Dialogues written as one text with `\n\nHuman:` and `\n\nAssistant:` before the turns (Bai et al. 2022, "Training a
/// Helpful and Harmless Assistant", the form in which their pairs are published).
enum Transcript {
  private static let speakers = [(mark: "\n\nHuman:", role: "user"), (mark: "\n\nAssistant:", role: "assistant")]

  /// The turns, or nil for a text that does not begin with the human's mark.
  static func messages(of text: String) -> [JSON]? {
    let text = text.hasPrefix("Human:") ? "\n\n" + text : text
    guard text.hasPrefix(speakers[0].mark) else { return nil }
    var turns: [JSON] = []
    var rest = Substring(text)
    while let speaker = speakers.first(where: { rest.hasPrefix($0.mark) }) {
      rest = rest.dropFirst(speaker.mark.count)
      let end = speakers.compactMap { rest.firstRange(of: $0.mark)?.lowerBound }.min() ?? rest.endIndex
      // One space stands between the mark and the words.
      let words = rest[..<end].hasPrefix(" ") ? rest[..<end].dropFirst() : rest[..<end]
      turns.append(["role": .string(speaker.role), "content": .string(String(words))])
      rest = rest[end...]
    }
    return turns
  }
}
