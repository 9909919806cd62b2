/// One message of a dialogue: who speaks, and text and pictures in order.
public struct Message: Sendable, Equatable {
  /// A piece of a message.
  public enum Part: Sendable, Equatable {
    case text(String)
    /// The picture at this index of the sample's list of pictures.
    case image(Int)
  }

  public var role: String
  public var parts: [Part]

  public init(role: String, parts: [Part]) {
    self.role = role
    self.parts = parts
  }

  public init(role: String, text: String) { self.init(role: role, parts: [.text(text)]) }

  /// The text parts joined.
  public var text: String {
    parts.reduce(into: "") { if case .text(let piece) = $1 { $0 += piece } }
  }

  /// The message as chat templates see it: `content` is a string, or a list of typed parts if there are pictures.
  public var json: JSON {
    let content: JSON
    if parts.contains(where: { if case .image = $0 { true } else { false } }) {
      content = .array(
        parts.map {
          switch $0 {
          case .text(let text): ["type": "text", "text": .string(text)]
          case .image(let index): ["type": "image", "image": .int(index)]
          }
        })
    } else {
      content = .string(text)
    }
    return ["role": .string(role), "content": content]
  }
}
