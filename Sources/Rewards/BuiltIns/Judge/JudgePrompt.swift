import Core

/// A text with places for what a judge is to see: `{prompt}`, `{completion}`, `{reference}` and `{column.NAME}`.
///
/// Other braces stand for themselves, so that a rubric may show JSON; `{{prompt}}` is the text `{prompt}`.
struct JudgePrompt: Sendable {
  private enum Piece {
    case text(String)
    case prompt, completion, reference
    case column(String)
  }

  /// What a sample does not have.
  struct Missing: Error {
    var words: String
    /// No opinion, rather than data that cannot be scored.
    var isReference: Bool
  }

  private static let names = ["prompt", "completion", "reference", "column.NAME"]
  private let pieces: [Piece]

  /// - Throws: `.request` for a placeholder that does not exist, with the nearest that does, and for a template without
  ///   `{completion}`.
  init(_ template: String, parameter: String) throws {
    var pieces: [Piece] = []
    var text = ""
    var rest = template[...]
    while let open = rest.firstIndex(of: "{") {
      text += rest[..<open]
      rest = rest[open...]
      guard let place = Self.placeholder(rest) else {
        text += "{"
        rest = rest.dropFirst()
        continue
      }
      if place.isEscaped {
        text += "{\(place.name)}"
      } else {
        if !text.isEmpty { pieces.append(.text(text)) }
        text = ""
        pieces.append(try Self.piece(place.name, parameter))
      }
      rest = place.rest
    }
    text += rest
    if !text.isEmpty { pieces.append(.text(text)) }
    let shows = pieces.contains { if case .completion = $0 { true } else { false } }
    guard shows else {
      throw AttuneError.request(
        "the parameter '\(parameter)' of the reward judge has no {completion}, so the judge would not see what it judges"
      )
    }
    self.pieces = pieces
  }

  /// A word of letters, digits, `_`, `-` and dots in one or two pairs of braces at the text's begin.
  private static func placeholder(_ text: Substring) -> (name: String, isEscaped: Bool, rest: Substring)? {
    let isEscaped = text.hasPrefix("{{")
    let inside = text.dropFirst(isEscaped ? 2 : 1)
    let name = inside.prefix { $0.isLetter || $0.isNumber || "_-.".contains($0) }
    let close = isEscaped ? "}}" : "}"
    guard let first = name.first, first.isLetter || first == "_", inside[name.endIndex...].hasPrefix(close) else {
      return nil
    }
    return (String(name), isEscaped, inside[name.endIndex...].dropFirst(close.count))
  }

  private static func piece(_ name: String, _ parameter: String) throws -> Piece {
    switch name {
    case "prompt": return .prompt
    case "completion": return .completion
    case "reference": return .reference
    default:
      let column = name.hasPrefix("column.") ? String(name.dropFirst("column.".count)) : ""
      guard column.isEmpty else { return .column(column) }
      let near = nearestName(to: name, among: Array(names.dropLast())).map { "did you mean {\($0)}? " } ?? ""
      throw AttuneError.request(
        "the parameter '\(parameter)' of the reward judge has a place {\(name)}, which does not exist",
        hint: near
          + "there are \(names.map { "{\($0)}" }.joined(separator: ", ")); the text itself is written {{\(name)}}")
    }
  }

  /// - Throws: `Missing`.
  func text(for sample: RewardSample) throws(Missing) -> String {
    var result = ""
    for piece in pieces {
      switch piece {
      case .text(let text): result += text
      case .prompt: result += Self.prompt(of: sample)
      case .completion: result += sample.completion
      case .reference:
        guard let reference = sample.reference else {
          throw Missing(words: "the sample has no reference to show to the judge", isReference: true)
        }
        result += reference
      case .column(let name):
        guard let value = sample.columns[name] else {
          let near = nearestName(to: name, among: sample.columns.keys)
          throw Missing(
            words: "the sample has no column '\(name)'" + (near.map { "; did you mean '\($0)'?" } ?? ""),
            isReference: false)
        }
        result += value.string ?? value.text()
      }
    }
    return result
  }

  /// The prompt as people read it: the one message's text, or all messages with who speaks; not the policy's template.
  private static func prompt(of sample: RewardSample) -> String {
    guard !sample.messages.isEmpty else { return sample.prompt }
    if sample.messages.count == 1, sample.messages[0].role == "user" { return sample.messages[0].text }
    return sample.messages.map { "\($0.role): \($0.text)" }.joined(separator: "\n\n")
  }
}
