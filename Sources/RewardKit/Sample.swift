import CRewardABI

/// One completion, its prompt, and what is known about both. Valid only inside `score`: keep copies of its values.
public struct Sample {
  let raw: UnsafePointer<attune_sample>
  let batch: UnsafePointer<attune_batch>
  let host: UnsafePointer<attune_host>

  /// Exactly what the tokenizer saw.
  public var prompt: String { raw.pointee.prompt.string ?? "" }
  /// The prompt's messages; empty if it is plain text.
  public var messages: [Message] { messages(raw.pointee.message_count, raw.pointee.messages) }
  /// What the template opened the completion with, such as `<think>`.
  public var generationPrefix: String { raw.pointee.generation_prefix.string ?? "" }
  /// What the policy wrote, without special tokens.
  public var completion: String { raw.pointee.completion.string ?? "" }
  /// With special tokens kept, and with what tools and the environment answered.
  public var rawCompletion: String { raw.pointee.completion_raw.string ?? "" }
  /// Empty unless there were several turns.
  public var completionMessages: [Message] {
    messages(raw.pointee.completion_message_count, raw.pointee.completion_messages)
  }
  public var stopString: String? { raw.pointee.stop_string.string }
  /// The true answer, if the data set has one.
  public var reference: String? { raw.pointee.reference.string }
  /// All answers that are right; the first is `reference`.
  public var references: [String] {
    (0..<raw.pointee.reference_count).compactMap { raw.pointee.references?[$0].string }
  }
  public var dataset: String { raw.pointee.dataset.string ?? "" }
  public var rowID: String { raw.pointee.row_id.string ?? "" }
  public var channel: String { raw.pointee.channel.string ?? "" }

  public var id: UInt64 { raw.pointee.sample_id }
  public var groupID: UInt64 { raw.pointee.group_id }
  public var indexInGroup: Int { Int(raw.pointee.index_in_group) }
  public var groupSize: Int { Int(raw.pointee.group_size) }
  /// True if the token limit cut the completion off.
  public var isTruncated: Bool { raw.pointee.truncated != 0 }
  public var finishReason: FinishReason { FinishReason(rawValue: raw.pointee.finish_reason) ?? .error }

  public enum FinishReason: Int32, Sendable {
    case stop, length, stopString, toolCall, aborted, error
  }

  public var tokenCount: Int { raw.pointee.token_count }
  /// Empty unless the reward needs `.tokens`.
  public var tokenIDs: [Int32] { array(raw.pointee.token_ids) }
  /// The byte of `rawCompletion` at which each token begins.
  public var tokenOffsets: [Int] { array(raw.pointee.token_offsets).map(Int.init) }
  /// True where the policy wrote the token.
  public var policyMask: [Bool] {
    raw.pointee.policy_mask == nil
      ? [Bool](repeating: true, count: tokenCount) : array(raw.pointee.policy_mask).map { $0 != 0 }
  }
  /// Natural-log probabilities of the sampler; empty unless the reward needs `.logprobs`.
  public var logprobs: [Float] { array(raw.pointee.logprobs) }
  /// In nats; empty if the sampler did not record them.
  public var entropies: [Float] { array(raw.pointee.entropies) }

  private func array<T>(_ start: UnsafePointer<T>?) -> [T] {
    start.map { Array(UnsafeBufferPointer(start: $0, count: tokenCount)) } ?? []
  }

  /// The bytes of `completion` without a copy.
  public func withCompletionUTF8<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
    let text = raw.pointee.completion
    guard let data = text.data else { return try body(UnsafeBufferPointer(start: nil, count: 0)) }
    return try data.withMemoryRebound(to: UInt8.self, capacity: text.size) {
      try body(UnsafeBufferPointer(start: $0, count: text.size))
    }
  }

  /// The whole row of the data set as one JSON object.
  public var columnsJSON: String { raw.pointee.columns.string ?? "{}" }

  /// A column that holds a string; nil if it is absent or something else.
  public func string(_ column: String) -> String? {
    let found = self.column(named: column)
    return found.type == ATTUNE_STRING ? found.text.string : nil
  }

  public func number(_ column: String) -> Double? {
    let found = self.column(named: column)
    return found.type == ATTUNE_NUMBER ? found.number : nil
  }

  public func bool(_ column: String) -> Bool? {
    let found = self.column(named: column)
    return found.type == ATTUNE_BOOL ? found.number != 0 : nil
  }

  /// Any column as JSON text; a string without its quotes.
  public func json(_ column: String) -> String? { self.column(named: column).text.string }

  private func column(named column: String) -> attune_value {
    var found = attune_value()
    _ = host.pointee.column(host, raw, column, &found)
    return found
  }

  /// A column, or a part of one by its path (`"[2]"`, `"answers[0].text"`).
  public func value(_ column: String, at path: String = "") -> Value? {
    let found = self.column(named: column)
    guard found.type != ATTUNE_ABSENT else { return nil }
    return path.isEmpty ? Value(found) : Value.part(of: found.text, at: path, host)
  }

  /// A part of a JSON text by its path; nil if there is none, or the text is no JSON.
  public func value(inJSON text: String, at path: String = "") -> Value? {
    var copy = text
    return copy.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) {
        Value.part(of: attune_string(data: $0.baseAddress, size: $0.count), at: path, host)
      }
    }
  }

  /// Who wrote a message or a stretch of a completion.
  public enum Origin: Int32, Sendable {
    case policy, tool, environment, template, data
  }

  /// One message of the prompt, or of a completion of several turns.
  public struct Message: Sendable {
    public let role: String
    public let name: String?
    /// The text parts of its content, joined.
    public let text: String
    /// A JSON list, or nil.
    public let toolCalls: String?
    /// The whole message.
    public let json: String
    public let origin: Origin
  }

  private func messages(_ count: Int, _ list: UnsafePointer<UnsafePointer<attune_message>?>?) -> [Message] {
    (0..<count).compactMap { i in
      guard let message = list?[i]?.pointee else { return nil }
      return Message(
        role: message.role.string ?? "", name: message.name.string, text: message.text.string ?? "",
        toolCalls: message.tool_calls.string, json: message.json.string ?? "{}",
        origin: Origin(rawValue: message.origin) ?? .data)
    }
  }

  /// A stretch of a completion of several turns.
  public struct Turn: Sendable {
    public let origin: Origin
    public let tokens: Range<Int>
    /// Given by the environment, or nil.
    public let reward: Double?
  }

  public var turns: [Turn] {
    (0..<raw.pointee.turn_count).compactMap { i in
      guard let turn = raw.pointee.turns?[i]?.pointee else { return nil }
      return Turn(
        origin: Origin(rawValue: turn.origin) ?? .template,
        tokens: Int(turn.first_token)..<max(Int(turn.first_token), Int(turn.end_token)),
        reward: turn.reward.isNaN ? nil : turn.reward)
    }
  }

  /// The pictures of the prompt; empty unless the reward needs `.images`.
  public var images: [Image] {
    (0..<raw.pointee.image_count).compactMap { raw.pointee.images?[$0].map { Image(raw: $0) } }
  }

  /// A picture: 8-bit RGB, rows from the top.
  public struct Image {
    let raw: UnsafePointer<attune_image>
    public var width: Int { Int(raw.pointee.width) }
    public var height: Int { Int(raw.pointee.height) }
    /// The size after the model's own resize, or nil if unknown.
    public var modelSize: (width: Int, height: Int)? {
      raw.pointee.model_width == 0 ? nil : (Int(raw.pointee.model_width), Int(raw.pointee.model_height))
    }
    /// The factors from what the model writes as coordinates to pixels of this picture, or nil if unknown.
    public var scale: (x: Double, y: Double)? {
      raw.pointee.scale_x.isNaN ? nil : (raw.pointee.scale_x, raw.pointee.scale_y)
    }
    /// 1000 for a model that writes coordinates as thousandths of a side, else 0.
    public var coordinateRange: Double { raw.pointee.coordinate_range }
    public var messageIndex: Int? { raw.pointee.message_index < 0 ? nil : Int(raw.pointee.message_index) }
    /// Of a video frame, in seconds.
    public var timestamp: Double? { raw.pointee.timestamp.isNaN ? nil : raw.pointee.timestamp }
    /// `[height, row_stride]` bytes without a copy; empty if the picture was not decoded.
    public func withPixels<R>(_ body: (UnsafeBufferPointer<UInt8>, _ rowStride: Int) throws -> R) rethrows -> R {
      let stride = Int(raw.pointee.row_stride)
      return try body(
        UnsafeBufferPointer(start: raw.pointee.pixels, count: raw.pointee.pixels == nil ? 0 : height * stride), stride)
    }
    /// The picture's file; empty unless the reward needs `.imageBytes`.
    public var encoded: [UInt8] {
      let bytes = raw.pointee.encoded
      return bytes.data.map { Array(UnsafeRawBufferPointer(start: $0, count: bytes.size)) } ?? []
    }
    public var mimeType: String? { raw.pointee.mime_type.string }
  }

  // Where the run stands.
  public var step: Int { Int(clamping: batch.pointee.step) }
  /// 0 if unknown.
  public var totalSteps: Int { Int(clamping: batch.pointee.total_steps) }
  public var epoch: Double { batch.pointee.epoch }
  public var isEvaluation: Bool { batch.pointee.phase == ATTUNE_PHASE_EVAL }
  public var policyVersion: UInt64 { batch.pointee.policy_version }

  // The host's services.

  /// True when this sample's time is up: stop, and throw `RewardError.timedOut()`.
  public var isCancelled: Bool { host.pointee.cancelled(host) }
  /// The `counter`-th random word of this sample: the same in every run of the same recipe.
  public func random(_ counter: UInt64) -> UInt64 { host.pointee.random(host, raw, counter) }
  /// A number for the step's plots.
  public func metric(_ name: String, _ value: Double) { host.pointee.metric(host, name, value) }
  /// A line about the plugin; what concerns a sample belongs into `Score.log`.
  public func log(_ text: String) {
    var copy = text
    copy.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) {
        host.pointee.log(host, ATTUNE_LOG_INFO, attune_string(data: $0.baseAddress, size: $0.count))
      }
    }
  }
  /// Text of token ids by the policy's tokenizer; nil if the host has none.
  public func decode(_ ids: [Int32]) -> String? {
    let end = MemoryLayout<attune_host>.offset(of: \.decode_tokens)! + MemoryLayout<UnsafeRawPointer>.size
    guard Int(host.pointee.struct_size) >= end else { return nil }
    var text = attune_string()
    return host.pointee.decode_tokens(host, ids, ids.count, &text) == ATTUNE_OK ? text.string : nil
  }

  /// A judge's answer to a user's message, within the host's limits of concurrency and rate.
  ///
  /// - Parameter judge: its name in the recipe; nil: the only one.
  /// - Throws: `RewardError` with the host's reason if there is no answer.
  public func askJudge(_ prompt: String, judge: String? = nil, maxTokens: Int? = nil) throws -> String {
    let end = MemoryLayout<attune_host>.offset(of: \.judge)! + MemoryLayout<UnsafeRawPointer>.size
    guard Int(host.pointee.struct_size) >= end else { throw RewardError("this host has no judges") }
    var request = attune_judge_request()
    request.struct_size = UInt32(MemoryLayout<attune_judge_request>.size)
    request.max_tokens = UInt32(clamping: maxTokens ?? 0)
    request.temperature = .nan
    var reply = attune_judge_reply()
    reply.struct_size = UInt32(MemoryLayout<attune_judge_reply>.size)
    var question = prompt
    var name = judge ?? ""
    let status = question.withUTF8 { question in
      name.withUTF8 { name in
        func lend(_ bytes: UnsafeBufferPointer<UInt8>) -> attune_string {
          attune_string(
            data: UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self), size: bytes.count)
        }
        request.prompt = lend(question)
        if judge != nil { request.judge = lend(name) }
        return host.pointee.judge(host, &request, &reply)
      }
    }
    if status == ATTUNE_TIMED_OUT { throw RewardError.timedOut(reply.message.string ?? "the judge took too long") }
    guard status == ATTUNE_OK, let text = reply.text.string else {
      throw RewardError(reply.message.string ?? "the judge gave no answer (status \(status))")
    }
    return text
  }
}

/// A value out of a column or a JSON text.
public struct Value: Sendable {
  public enum Kind: Int32, Sendable {
    case null = 1
    case bool, number, string, list, object
  }
  public let kind: Kind
  /// A string's characters; any other value as JSON text.
  public let text: String
  private let raw: Double

  /// nil if it is no number.
  public var number: Double? { kind == .number ? raw : nil }
  /// nil if it is no string.
  public var string: String? { kind == .string ? text : nil }
  /// nil if it is no boolean.
  public var bool: Bool? { kind == .bool ? raw != 0 : nil }
  /// How many a list or an object holds; 0 for everything else.
  public var count: Int { kind == .list || kind == .object ? Int(raw) : 0 }

  init?(_ value: attune_value) {
    guard let kind = Kind(rawValue: value.type) else { return nil }
    self.kind = kind
    text = value.text.string ?? ""
    raw = value.number
  }

  static func part(of text: attune_string, at path: String, _ host: UnsafePointer<attune_host>) -> Value? {
    var found = attune_value()
    guard host.pointee.json(host, text, path, &found) == ATTUNE_OK else { return nil }
    return Value(found)
  }
}
