import Core
import Foundation

/// Reads the messages of one row and hands its pictures out in order.
struct MessageReader {
  /// Paths of the pictures met so far, in the order of their parts.
  private(set) var pictures: [String] = []

  private let row: DataRow
  private let images: [JSON]
  private let imageFolder: String
  private var used = 0

  static let placeholder = "<image>"
  private static let roles = ["system", "developer", "user", "assistant", "tool"]

  /// - Parameter images: the row's column of pictures, which placeholders and bare image parts take from in order.
  init(row: DataRow, images: [JSON], imageFolder: String) {
    self.row = row
    self.images = images
    self.imageFolder = imageFolder
  }

  /// Forgets what was read.
  mutating func restart() {
    pictures = []
    used = 0
  }

  /// The names that other dialects give the roles.
  static func canonicalRole(_ role: String) -> String {
    switch role {
    case "human": "user"
    case "gpt", "bot": "assistant"
    case "observation": "tool"
    default: role
    }
  }

  /// A text becomes one user message, a list its messages.
  mutating func read(_ value: JSON, named name: String) throws -> [Message] {
    if let list = value.array { return try list.map { try message($0) } }
    if value.string != nil {
      return [Message(role: "user", parts: try textParts(try alpacaText(value, named: name), role: "user", at: value))]
    }
    throw AttuneError.request(
      "the prompt '\(name)' is \(value.kind), expected a text or a list of messages", at: row.place(of: value))
  }

  /// Every picture of the column must have found its place.
  func checkAllUsed() throws {
    guard used == images.count else {
      throw AttuneError.request(
        "the row has \(images.count) pictures and \(used) places for them, expected as many places as pictures",
        at: row.place, hint: "write \(MessageReader.placeholder) in the prompt wherever a picture belongs")
    }
  }

  /// An instruction with a separate input is one prompt of two lines.
  private func alpacaText(_ value: JSON, named name: String) throws -> String {
    let text = value.string ?? ""
    guard name.lowercased() == "instruction", let input = row.columns["input"]?.string, !input.isEmpty else {
      return text
    }
    return text + "\n" + input
  }

  private mutating func message(_ value: JSON) throws -> Message {
    guard let object = value.object else {
      throw error("a message is \(value.kind), expected a mapping with 'role' and 'content'", value)
    }
    guard let roleValue = object["role"] ?? object["from"] else {
      throw error("a message has no role, expected 'role' and 'content'; it has \(listed(object.keys))", value)
    }
    guard let found = roleValue.string, MessageReader.roles.contains(MessageReader.canonicalRole(found)) else {
      let text = roleValue.string.map { "'\($0)'" } ?? roleValue.kind
      let nearest = roleValue.string.flatMap { nearestName(to: $0, among: MessageReader.roles) }
      throw error(
        "a message's role is \(text), expected one of \(listed(MessageReader.roles))", roleValue,
        hint: nearest.map { "did you mean '\($0)'?" })
    }
    if let calls = object["tool_calls"], !calls.isNull, calls.array?.isEmpty != true {
      throw error("a message calls tools, expected text and pictures only", calls)
    }
    let role = MessageReader.canonicalRole(found)
    guard let content = object["content"] ?? object["value"] else {
      throw error("a message has no content, expected 'content'; it has \(listed(object.keys))", value)
    }
    if let text = content.string {
      return Message(role: role, parts: try textParts(text, role: role, at: content))
    }
    guard let list = content.array else {
      throw error("a message's content is \(content.kind), expected a text or a list of typed parts", content)
    }
    let parts = try list.map { try part($0) }
    if role == "assistant", parts.contains(where: { if case .image = $0 { true } else { false } }) {
      throw error("a message of the assistant holds a picture, expected text only", content)
    }
    return Message(role: role, parts: parts)
  }

  /// Splits a text at its placeholders. Without pictures, and in the assistant's own words, `<image>` is plain text.
  private mutating func textParts(_ text: String, role: String, at value: JSON) throws -> [Message.Part] {
    guard !images.isEmpty, role != "assistant" else { return [.text(text)] }
    var parts: [Message.Part] = []
    var rest = Substring(text)
    while let place = rest.firstRange(of: MessageReader.placeholder) {
      if place.lowerBound > rest.startIndex { parts.append(.text(String(rest[..<place.lowerBound]))) }
      parts.append(try nextImage(at: value))
      rest = rest[place.upperBound...]
    }
    if !rest.isEmpty || parts.isEmpty { parts.append(.text(String(rest))) }
    return parts
  }

  /// One typed part; its text is taken literally.
  private mutating func part(_ value: JSON) throws -> Message.Part {
    if let text = value.string { return .text(text) }
    guard let type = value["type"]?.string else {
      throw error("a part of a message has no type, expected 'text', 'image' or 'image_url'", value)
    }
    switch type {
    case "text":
      guard let text = value["text"]?.string else {
        throw error("a text part has no text, expected 'text' with a string", value)
      }
      return .text(text)
    case "image", "image_url":
      let source = value["image_url"] ?? value["image"] ?? value["path"] ?? value["url"]
      guard let source, !source.isNull else { return try nextImage(at: value) }
      return try image(source["url"] ?? source)
    default:
      let known = ["text", "image", "image_url"]
      throw error(
        "a part's type is '\(type)', expected one of \(listed(known))", value,
        hint: nearestName(to: type, among: known).map { "did you mean '\($0)'?" })
    }
  }

  /// The next picture of the column, for a placeholder or a bare image part.
  private mutating func nextImage(at value: JSON) throws -> Message.Part {
    guard used < images.count else {
      throw error(
        "here is place \(used + 1) for a picture and the row has \(images.count), expected as many places as pictures",
        value)
    }
    used += 1
    return try image(images[used - 1])
  }

  private mutating func image(_ source: JSON) throws -> Message.Part {
    guard let path = source.string ?? source["path"]?.string, !path.isEmpty else {
      throw error("a picture is \(source.kind), expected the path of a file", source)
    }
    for scheme in ["data:", "http:", "https:"] where path.lowercased().hasPrefix(scheme) {
      throw error(
        "a picture is '\(path.prefix(40))', expected the path of a file", source,
        hint: "save the picture beside the data and name its path")
    }
    var file = path.hasPrefix("file://") ? String(path.dropFirst(7)) : path
    if !file.hasPrefix("/") { file = imageFolder + "/" + file }
    guard FileManager.default.fileExists(atPath: file) else {
      throw error("there is no picture file '\(file)'", source, hint: DataFile.nearestFile(to: file))
    }
    pictures.append(file)
    return .image(pictures.count - 1)
  }

  private func error(_ message: String, _ value: JSON, hint: String? = nil) -> AttuneError {
    .request(message, at: row.place(of: value), hint: hint)
  }
}
