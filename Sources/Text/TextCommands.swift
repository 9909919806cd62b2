import Core

/// What `attune tokenize` and `attune render` do with one line of their input.
public enum TextCommands {
  /// `{"text": "..", "add_special_tokens": true}` or `{"ids": [..], "skip_special_tokens": false}` to
  /// `{"ids": [..], "text": "..", "pieces": [..]}`.
  ///
  /// `text` is the decoding of the ids; `pieces` is what streaming releases, id by id, null for nothing.
  /// `add_special_tokens` is true, and `skip_special_tokens` false, unless the line says otherwise.
  ///
  /// - Throws: `AttuneError` naming the key that is missing, unknown or of the wrong kind.
  public static func tokenizeLine(_ line: JSON, tokenizer: Tokenizer) throws -> JSON {
    guard let object = line.object else { throw refusal("the line is \(line.kind), expected a mapping", at: line) }
    let keys = ["text", "add_special_tokens", "ids", "skip_special_tokens"]
    for (key, value) in object.entries where !keys.contains(key) {
      throw refusal(
        "unknown key \"\(key)\"", at: value,
        hint: nearestName(to: key, among: keys).map { "did you mean \"\($0)\"?" }
          ?? "keys: \(keys.joined(separator: ", "))")
    }
    let adds = try flag(object, "add_special_tokens", default: true)
    let skips = try flag(object, "skip_special_tokens", default: false)
    let ids: [Int32]
    switch (object["text"], object["ids"]) {
    case (let text?, nil):
      guard let text = text.string else { throw refusal("\"text\" is \(text.kind), expected a string", at: text) }
      ids = tokenizer.encode(text, addSpecialTokens: adds)
    case (nil, let list?): ids = try self.ids(list, tokenizer)
    case (nil, nil): throw refusal("neither \"text\" nor \"ids\"", at: line, hint: "expected one of the two")
    case (_?, let list?): throw refusal("both \"text\" and \"ids\"", at: list, hint: "expected one of the two")
    }
    var stream = tokenizer.stream(skipSpecialTokens: skips)
    let pieces = try ids.map { try stream.append($0).map { JSON.string($0) } ?? .null }
    return .object([
      ("ids", .array(ids.map { .int($0) })),
      ("text", .string(tokenizer.decode(ids, skipSpecialTokens: skips))),
      ("pieces", .array(pieces)),
    ])
  }

  private static func ids(_ list: JSON, _ tokenizer: Tokenizer) throws -> [Int32] {
    guard let items = list.array else { throw refusal("\"ids\" is \(list.kind), expected a list", at: list) }
    return try items.map { item in
      guard case .int(let value) = item.value else {
        throw refusal("an id is \(item.text()), expected a whole number", at: item)
      }
      guard let id = Int32(exactly: value), tokenizer.token(of: id) != nil else {
        throw refusal(
          "the id \(value) has no token", at: item,
          hint: "the tokenizer has \(tokenizer.vocabularySize) ids, from 0 to \(tokenizer.vocabularySize - 1)")
      }
      return id
    }
  }

  /// `{"messages": [..], "tools": [..], "add_generation_prompt": true, "continue_final_message": false, ...}` to
  /// `{"text": "..", "assistant_spans": [[from, to], ..]}`, with a tokenizer also `"input_ids"` and `"assistant_mask"`.
  ///
  /// Any other key is a variable of the template. `add_generation_prompt` is false unless the line says otherwise.
  ///
  /// - Throws: `AttuneError` naming the key that is missing or of the wrong kind, or what the template throws.
  public static func renderLine(
    _ line: JSON, template: ChatTemplate, tokenizer: Tokenizer? = nil, now: CivilTime? = nil
  ) throws -> JSON {
    guard let object = line.object else { throw refusal("the line is \(line.kind), expected a mapping", at: line) }
    guard let messages = object["messages"] else {
      throw refusal("no \"messages\"", at: line, hint: "expected a list of mappings with \"role\" and \"content\"")
    }
    guard let list = messages.array else {
      throw refusal("\"messages\" is \(messages.kind), expected a list", at: messages)
    }
    for message in list where message.object == nil {
      throw refusal("a message is \(message.kind), expected a mapping with \"role\" and \"content\"", at: message)
    }
    if let tools = object["tools"], !tools.isNull, tools.array == nil {
      throw refusal("\"tools\" is \(tools.kind), expected a list", at: tools)
    }
    var variables = JSON.Object()
    let own = ["messages", "tools", "add_generation_prompt", "continue_final_message"]
    for (key, value) in object.entries where !own.contains(key) { variables[key] = value }
    let chat = try template.render(
      messages: list, tools: object["tools"], variables: variables,
      addGenerationPrompt: flag(object, "add_generation_prompt", default: false),
      continueFinalMessage: flag(object, "continue_final_message", default: false), now: now)
    var result = JSON.Object([
      ("text", .string(chat.text)),
      ("assistant_spans", .array(chat.assistantSpans.map { [.int($0.lowerBound), .int($0.upperBound)] })),
    ])
    if let tokenizer {
      let tokens = tokenizer.encodeWithOffsets(chat.text)
      result["input_ids"] = .array(tokens.map { .int($0.id) })
      result["assistant_mask"] = .array(
        RenderedChat.assistantMask(tokens: tokens, spans: chat.assistantSpans).map { .int($0) })
    }
    return JSON(.object(result))
  }

  private static func flag(_ object: JSON.Object, _ key: String, default value: Bool) throws -> Bool {
    guard let found = object[key] else { return value }
    guard let bool = found.bool else { throw refusal("\"\(key)\" is \(found.kind), expected true or false", at: found) }
    return bool
  }

  /// The caller knows the file; the line's own position counts from the beginning of the line.
  private static func refusal(_ message: String, at place: JSON, hint: String? = nil) -> AttuneError {
    .request(message, at: place.position == .none ? nil : place.location(in: ""), hint: hint)
  }
}
