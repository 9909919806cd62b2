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
  /// What a message holds beside `role` and `content`, as chat templates see it: `name`, `tool_calls`, ...
  public var fields: JSON.Object

  public init(role: String, parts: [Part], fields: JSON.Object = .init()) {
    self.role = role
    self.parts = parts
    self.fields = fields
  }

  public init(role: String, text: String, fields: JSON.Object = .init()) {
    self.init(role: role, parts: [.text(text)], fields: fields)
  }

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
    return .object([("role", .string(role)), ("content", content)] + Array(fields.entries))
  }
}
