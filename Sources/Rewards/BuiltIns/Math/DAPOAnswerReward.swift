import Core
import Foundation

/// Is what follows the last "Answer:" the reference? The score is 1 or -1.
///
/// Definition: verl, `verl/utils/reward_score/math_dapo.py`, whose rules for texts are those of Minerva (Lewkowycz et al.,
/// Solving Quantitative Reasoning Problems with Language Models, 2022, appendix D). Departure: without such a line the
/// last box of the last hundred characters is read, as with verl's `strict_box_verify`.
struct DAPOAnswerReward: BuiltInReward {
  static let name = "dapo_answer"
  static let summary = "1 if the completion's last 'Answer:' line is the reference, -1 if not"
  static let range: ClosedRange<Double>? = -1...1

  /// Characters at the end of the completion in which a line, and a box, are looked for.
  static let tail = 300
  static let boxTail = 100

  init(_ parameters: JSON.Object) throws {}

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let references = sample.references.filter { !$0.trimmedSpace.isEmpty }
    guard !references.isEmpty else { return .none(.notApplicable, "the sample has no reference") }
    let line = Self.answerLine(String(sample.completion.suffix(Self.tail)))
    guard let answer = line ?? BoxedAnswer.last(in: String(sample.completion.suffix(Self.boxTail))) else {
      return RewardOutcome(score: -1, status: .ok, components: [("accuracy", 0)], log: "no 'Answer:' line and no box")
    }
    let found = MinervaText.normalized(answer)
    let match = references.first { MinervaText.normalized($0) == found }
    var outcome = RewardOutcome(
      score: match == nil ? -1 : 1, status: .ok, components: [("accuracy", match == nil ? 0 : 1)],
      log: "\(found.quoted()) is \(match == nil ? "not " : "")\((match ?? references[0]).quoted())")
    outcome.notes = [("answer", answer)]
    return outcome
  }

  /// The rest of the line behind the last "Answer:", in any case; white space may stand before the colon and after it.
  static func answerLine(_ text: String) -> String? {
    let bytes = [UInt8](text)
    var found: String?
    var at = 0
    while at + 6 <= bytes.count {
      guard zip(bytes[at...], "answer".utf8).allSatisfy({ $0 | 0x20 == $1 }) else {
        at += 1
        continue
      }
      let colon = bytes.afterSpace(from: at + 6)
      at += 6
      guard colon < bytes.count, bytes[colon] == 0x3A else { continue }
      let start = bytes.afterSpace(from: colon + 1)
      let end = bytes[min(start, bytes.count)...].firstIndex(of: 0x0A) ?? bytes.count
      guard start < end else { continue }
      found = bytes.text(start..<end)
      at = end
    }
    return found
  }
}

/// Answers as texts that can be compared, by the rules of Minerva.
enum MinervaText {
  private static let substitutions = [
    ("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text"), (",\\text{and}", ","),
    ("\\text{and}", ","), ("\\text{m}", "\\text{}"),
  ]
  private static let removed = [
    "square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units", "\\ldots", "sue", "points",
    "feet",
    "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
    "childrentickets", "multiples", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3", "\\text{\n}",
    "\\text{}", "\\mathrm{th}", "^\\circ", "^{\\circ}", "\\;", ",\\!", "{,}", "\"", "\\dots",
  ]

  static func normalized(_ answer: String) -> String {
    var text = answer.components(separatedBy: "=").last ?? answer
    for (old, new) in substitutions { text = text.replacingOccurrences(of: old, with: new) }
    for word in removed { text = text.replacingOccurrences(of: word, with: "") }
    // Of a text with mathematics in it, the first piece of mathematics.
    let pieces = text.components(separatedBy: "$")
    if pieces.count >= 3 { text = pieces[1] }
    for command in ["\\text{", "\\textbf{", "\\overline{"] { text = unwrapped(text, command) }
    if let box = text.range(of: "\\boxed{"), let end = text.range(of: "}", options: .backwards),
      box.upperBound <= end.lowerBound
    {
      text = String(text[..<box.lowerBound]) + text[box.upperBound..<end.lowerBound] + text[end.upperBound...]
    }
    text = braced(text)
    text = text.replacingOccurrences(of: "$", with: "")
    let digits = text.filter { $0 != "," }
    if !digits.isEmpty, digits.allSatisfy(\.isNumber) { text = digits }
    return text.trimmedSpace
  }

  /// Without a command around its argument, which ends at the first closing brace.
  private static func unwrapped(_ text: String, _ command: String) -> String {
    var result = ""
    var rest = text[...]
    while let start = rest.range(of: command), let end = rest[start.upperBound...].range(of: "}") {
      result += rest[..<start.lowerBound] + rest[start.upperBound..<end.lowerBound]
      rest = rest[end.upperBound...]
    }
    return result + rest
  }

  /// `frac12` as `frac{1}{2}`, and `sqrt2` as `sqrt{2}`.
  private static func braced(_ text: String) -> String {
    let fractions = text.components(separatedBy: "frac")
    var result = fractions[0]
    for part in fractions.dropFirst() {
      let characters = Array<Character>(part.prefix(2))
      if characters.count == 2, characters[0] != "{" {
        result += "frac{\(characters[0])}{\(characters[1])}" + part.dropFirst(2)
      } else {
        result += "frac" + part
      }
    }
    let roots = result.components(separatedBy: "sqrt")
    return roots.dropFirst().reduce(roots[0]) { result, part in
      guard let first = part.first, first != "{" else { return result + "sqrt" + part }
      return result + "sqrt{\(first)}" + part.dropFirst()
    }
  }
}
