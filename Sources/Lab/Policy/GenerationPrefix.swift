import Core
import Text

extension ChatTemplate {
  /// What the template opens the assistant's turn with beyond the role's header, such as `<think>\n`: the end of a prompt
  /// that belongs to the completion as a reader sees it. Empty for templates that add nothing, or that cannot be asked.
  ///
  /// The header is what stands before an earlier answer of the assistant in a rendered dialogue.
  func generationPrefix() -> String {
    let answer = "attuneanswer"
    func message(_ role: String, _ text: String) -> JSON { ["role": .string(role), "content": .string(text)] }
    let user = message("user", "a")
    guard let opened = try? render(messages: [user], addGenerationPrompt: true).text else { return "" }
    let dialogues = [
      [user, message("assistant", answer), message("user", "b")], [user, message("assistant", answer)],
    ]
    for dialogue in dialogues {
      guard let text = try? render(messages: dialogue, addGenerationPrompt: false).text,
        let place = text.firstRange(of: answer)
      else { continue }
      let header = text[..<place.lowerBound].unicodeScalars
      let common = zip(opened.unicodeScalars, header).prefix { $0 == $1 }.count
      return String(opened.unicodeScalars.dropFirst(common))
    }
    return ""
  }
}
