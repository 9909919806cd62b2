import Core
import Foundation

/// The template by which a model's dialogues become text, and the special tokens that it may name.
public struct ChatTemplate: Sendable {
  /// The name that errors carry.
  public let file: String
  public let source: String
  /// `bos_token`, `eos_token` and kin: variables of every rendering.
  public var specialTokens: JSON.Object
  /// nil where the checkpoint has a template for dialogues with tools alone.
  private let template: JinjaTemplate?
  /// The template that is used when tools are given, if the checkpoint has one of its own for that.
  private let toolTemplate: JinjaTemplate?

  /// Parses a template.
  ///
  /// - Throws: `AttuneError` with the line of what is wrong.
  public init(source: String, file: String, specialTokens: JSON.Object = .init()) throws {
    self.source = source
    self.file = file
    self.specialTokens = specialTokens
    template = try JinjaTemplate(source: source, file: file)
    toolTemplate = nil
  }

  /// One of the two sources at least.
  private init(_ named: (default: String?, tools: String?), file: String, specialTokens: JSON.Object) throws {
    source = named.default ?? named.tools ?? ""
    self.file = file
    self.specialTokens = specialTokens
    template = try named.default.map { try JinjaTemplate(source: $0, file: file) }
    toolTemplate = try named.tools.map { try JinjaTemplate(source: $0, file: file) }
  }

  /// The template of a Hugging Face folder: `chat_template.jinja` and `additional_chat_templates/tool_use.jinja`, else
  /// `chat_template` of `chat_template.json` or `tokenizer_config.json` (a string, or a list of named templates of which
  /// `default` and `tool_use` are taken). One of the two is enough: `tool_use` alone renders dialogues with tools.
  ///
  /// - Returns: nil if the folder has none.
  /// - Throws: `AttuneError` for files that cannot be read or parsed.
  public static func load(folder: String) throws -> ChatTemplate? {
    let folder = folder.hasSuffix("/") ? folder : folder + "/"
    let configuration = try json(folder + "tokenizer_config.json")
    let specialTokens = try specialTokens(configuration, json(folder + "special_tokens_map.json"))
    let (file, toolFile) = (folder + "chat_template.jinja", folder + "additional_chat_templates/tool_use.jinja")
    let sources = try (default: text(file), tools: text(toolFile))
    for (source, file) in [(sources.default, file), (sources.tools, toolFile)] {
      guard source?.contains(where: { !$0.isWhitespace }) != false else {
        throw AttuneError.request(
          "the template is empty", at: .init(file: file),
          hint: "copy or download the file again, or remove it if prompts are given as text")
      }
    }
    if sources.default != nil || sources.tools != nil {
      return try ChatTemplate(
        sources, file: sources.default == nil ? toolFile : file, specialTokens: specialTokens)
    }
    for (name, holder) in [
      ("chat_template.json", try json(folder + "chat_template.json")), ("tokenizer_config.json", configuration),
    ] {
      guard let value = holder?["chat_template"], !value.isNull else { continue }
      if let source = value.string {
        return try ChatTemplate(source: source, file: folder + name, specialTokens: specialTokens)
      }
      func named(_ wanted: String) -> String? {
        value.object?[wanted]?.string ?? value.array?.first { $0["name"]?.string == wanted }?["template"]?.string
      }
      let sources = (default: named("default"), tools: named("tool_use"))
      guard sources.default != nil || sources.tools != nil else {
        throw AttuneError.request(
          "\"chat_template\" is \(value.kind) without a template named \"default\" or \"tool_use\"",
          at: value.location(in: folder + name))
      }
      return try ChatTemplate(sources, file: folder + name, specialTokens: specialTokens)
    }
    return nil
  }

  private static func text(_ file: String) throws -> String? {
    guard let data = FileManager.default.contents(atPath: file) else { return nil }
    guard let source = String(validating: data, as: UTF8.self) else {
      throw AttuneError.request("the template is not UTF-8", at: .init(file: file))
    }
    return source
  }

  private static func json(_ file: String) throws -> JSON? {
    try FileManager.default.contents(atPath: file).map { try JSON.parse($0, file: file) }
  }

  private static let tokenNames = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// A token is written as a string or as a mapping with `content`; the map fills what the configuration leaves open.
  /// Models with pictures name more of them: as keys that end in `_token`, or in `extra_special_tokens`.
  private static func specialTokens(_ configuration: JSON?, _ map: JSON?) -> JSON.Object {
    var tokens = JSON.Object()
    for name in tokenNames {
      let value = configuration?[name] ?? map?[name]
      if let content = content(of: value) { tokens[name] = .string(content) }
    }
    for holder in [configuration, configuration?["extra_special_tokens"]] {
      for (name, value) in holder?.object?.entries ?? JSON.Object().entries
      where name.hasSuffix("_token") && !tokenNames.contains(name) {
        if let content = content(of: value) { tokens[name] = .string(content) }
      }
    }
    return tokens
  }

  private static func content(of token: JSON?) -> String? { token?.string ?? token?["content"]?.string }

  /// Renders a dialogue.
  ///
  /// Before rendering, keys of a message whose value is null are dropped, and `reasoning_content`, `thinking` or
  /// `reasoning` (the first that is there) is copied to `reasoning_content` and `thinking`.
  ///
  /// - Parameters:
  ///   - messages: mappings with `role`, `content` and what else the template reads.
  ///   - tools: a list of JSON schemas, or nil.
  ///   - variables: more variables of the template; they go over special tokens of the same name.
  ///   - addGenerationPrompt: ends with what opens the assistant's turn, if the template knows how.
  ///   - continueFinalMessage: cuts the text right after the last message's content.
  ///   - now: the clock of `strftime_now`; nil is the real one.
  /// - Throws: `AttuneError` for messages that are no mappings, and whatever the template throws.
  public func render(
    messages: [JSON], tools: JSON? = nil, variables: JSON.Object = .init(), addGenerationPrompt: Bool = false,
    continueFinalMessage: Bool = false, now: CivilTime? = nil
  ) throws -> RenderedChat {
    if continueFinalMessage, addGenerationPrompt {
      throw AttuneError.request(
        "continue_final_message and add_generation_prompt exclude each other",
        hint: "one goes on with the last message, the other begins a new one")
    }
    var prepared = try messages.map(Self.prepare)
    let content = continueFinalMessage ? try Self.markEnd(of: &prepared) : ""
    var all = JSON.Object([
      ("messages", .array(prepared)), ("tools", tools ?? .null), ("documents", .null),
      ("add_generation_prompt", .bool(addGenerationPrompt)),
    ])
    for (name, value) in specialTokens.entries { all[name] = value }
    for (name, value) in variables.entries { all[name] = value }
    let hasTools = !(tools?.isNull ?? true)
    guard let chosen = hasTools ? toolTemplate ?? template : template else {
      throw AttuneError.request(
        "the checkpoint has a template named \"tool_use\" alone, and no \"tools\" are given", at: .init(file: file),
        hint: "give \"tools\", or add a template named \"default\"")
    }
    let rendering = try chosen.render(all, now: now)
    var chat = RenderedChat(text: rendering.text, assistantSpans: rendering.generationSpans)
    if continueFinalMessage { try cut(&chat, after: content) }
    return chat
  }

  private static let reasoningKeys = ["reasoning_content", "thinking", "reasoning"]

  private static func prepare(_ message: JSON) throws -> JSON {
    guard let object = message.object else {
      throw AttuneError.request("a message is \(message.kind), expected a mapping with \"role\" and \"content\"")
    }
    var prepared = JSON.Object()
    for (key, value) in object.entries where !value.isNull { prepared[key] = value }
    if let reasoning = reasoningKeys.lazy.compactMap({ prepared[$0] }).first {
      prepared["reasoning_content"] = reasoning
      if prepared["thinking"] == nil { prepared["thinking"] = reasoning }
    }
    return JSON(.object(prepared), at: message.position)
  }

  // MARK: Going on with the last message

  /// Stands behind the last message's content while it is rendered. The space at its end tells whether the template
  /// trims contents.
  private static let endMark = "CONTINUE_FINAL_MESSAGE_TAG"

  private static func markEnd(of messages: inout [JSON]) throws -> String {
    guard let last = messages.indices.last, var message = messages[last].object else {
      throw AttuneError.request("continue_final_message is set, but there are no messages")
    }
    let mark = endMark + " "
    if let content = message["content"]?.string {
      message["content"] = .string(content + mark)
      messages[last] = JSON(.object(message))
      return content
    }
    if var parts = message["content"]?.array, let index = parts.lastIndex(where: { $0["text"]?.string != nil }),
      var part = parts[index].object, let text = part["text"]?.string
    {
      part["text"] = .string(text + mark)
      parts[index] = JSON(.object(part))
      message["content"] = .array(parts)
      messages[last] = JSON(.object(message))
      return text
    }
    throw AttuneError.request(
      "continue_final_message is set, but the last message has no text to go on with",
      hint: "its \"content\" must be a string or have a part of type \"text\"")
  }

  private func cut(_ chat: inout RenderedChat, after content: String) throws {
    let ranges = PythonText.occurrences(of: Self.endMark, in: chat.text)
    guard let mark = ranges.last, PythonText.find(PythonText.strip(content), in: chat.text) != nil else {
      throw AttuneError.request(
        "continue_final_message is set, but the last message's content is not in the rendered text",
        at: .init(file: file), hint: "the template leaves out or changes what the last message says")
    }
    let bytes = Array(chat.text.utf8)
    chat.text = String(decoding: bytes[..<mark.lowerBound], as: UTF8.self)
    // Where the mark lost its space, the template trims, and spaces before the mark would have gone too.
    let keepsSpace = mark.upperBound < bytes.count && bytes[mark.upperBound] == 0x20
    if !keepsSpace { chat.text = PythonText.strip(chat.text, left: false) }
    let count = chat.text.unicodeScalars.count
    chat.assistantSpans = chat.assistantSpans.compactMap { span in
      span.lowerBound < count ? span.lowerBound..<min(span.upperBound, count) : nil
    }
  }
}
