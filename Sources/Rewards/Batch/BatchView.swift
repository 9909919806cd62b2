import CRewardABI
import Core

/// The C structs of one call, as a plugin reads them.
struct BatchView {
  let batch: UnsafeMutablePointer<attune_batch>
  var count: Int { batch.pointee.sample_count }

  /// How much larger than this program's a later host's structs claim to be; the rest is filled with junk. A plugin that
  /// reads only what it knows gives the same answers.
  static let junkBytes = 64

  /// Runs `body` with the batch of these samples, made in this process without copying long texts, arrays and pictures.
  ///
  /// - Throws: what `body` throws, and `RewardViolation` if structs of the batch were overrun.
  static func with(
    _ samples: [RewardSample], _ context: RewardContext, needs: UInt32, timeLimit: Double, larger: Bool,
    _ body: (BatchView) throws -> Void
  ) throws {
    let room = LocalRoom()
    let batch = try BatchBuilder.build(
      samples, context, needs: needs, timeLimit: timeLimit, larger: larger, in: room)
    try room.holdingAll { try body(BatchView(batch: batch)) }
    if let place = room.arena.violation() { throw RewardViolation(place: "\(place) (an input)") }
  }
}

// MARK: - Back to values, for rewards that are part of the program

extension BatchView {
  var context: RewardContext {
    let raw = batch.pointee
    var context = RewardContext()
    context.phase = RewardContext.Phase(rawValue: raw.phase) ?? .train
    context.step = Int(clamping: raw.step)
    context.totalSteps = Int(clamping: raw.total_steps)
    context.epoch = raw.epoch
    context.policyVersion = raw.policy_version
    context.seed = raw.seed
    context.recipe = raw.recipe.text ?? ""
    context.runID = raw.run_id.text ?? ""
    context.callTimeLimit = Double(raw.call_time_limit_ms) / 1000
    return context
  }

  /// Sample `i` as a value; pictures with what the reward asked for.
  func sample(_ i: Int) -> RewardSample {
    guard let raw = batch.pointee.samples[i]?.pointee else { preconditionFailure("a batch holds its samples") }
    let columns = raw.columns.text.flatMap { try? JSON.parse($0) }?.object ?? .init()
    var sample = RewardSample(
      prompt: raw.prompt.text ?? "", completion: raw.completion.text ?? "", rawCompletion: raw.completion_raw.text,
      columns: columns)
    sample.id = raw.sample_id
    sample.generationPrefix = raw.generation_prefix.text ?? ""
    sample.stopString = raw.stop_string.text
    sample.references = (0..<raw.reference_count).compactMap { raw.references?[$0].text }
    sample.dataset = raw.dataset.text ?? ""
    sample.rowID = raw.row_id.text ?? ""
    sample.channel = raw.channel.text ?? ""
    sample.messages = Self.messages(raw.message_count, raw.messages)
    sample.completionMessages = Self.messages(raw.completion_message_count, raw.completion_messages)
    func array<T>(_ start: UnsafePointer<T>?) -> [T]? {
      start.map { Array(UnsafeBufferPointer(start: $0, count: raw.token_count)) }
    }
    sample.tokenIDs = array(raw.token_ids) ?? []
    sample.tokenOffsets = array(raw.token_offsets)
    sample.policyMask = array(raw.policy_mask)?.map { $0 != 0 }
    sample.logprobs = array(raw.logprobs)
    sample.entropies = array(raw.entropies)
    switch raw.finish_reason {
    case ATTUNE_FINISH_LENGTH: sample.finishReason = .length
    case ATTUNE_FINISH_STOP_STRING: sample.finishReason = .stopString
    default: sample.finishReason = .stop
    }
    sample.groupID = raw.group_id
    sample.indexInGroup = Int(raw.index_in_group)
    sample.groupSize = Int(raw.group_size)
    sample.turns = (0..<raw.turn_count).compactMap { i in
      guard let turn = raw.turns?[i]?.pointee else { return nil }
      return RewardTurn(
        origin: RewardTurn.Origin(rawValue: turn.origin) ?? .template,
        tokens: Int(turn.first_token)..<max(Int(turn.first_token), Int(turn.end_token)),
        reward: turn.reward.isNaN ? nil : turn.reward)
    }
    sample.images = (0..<raw.image_count).compactMap { raw.images?[$0].map { Self.image($0.pointee) } }
    return sample
  }

  private static func messages(_ count: Int, _ list: UnsafePointer<UnsafePointer<attune_message>?>?) -> [Message] {
    (0..<count).compactMap { i in
      guard let raw = list?[i]?.pointee else { return nil }
      var fields = raw.json.text.flatMap { try? JSON.parse($0) }?.object ?? .init()
      for key in ["role", "content"] { fields[key] = nil }
      return Message(role: raw.role.text ?? "", text: raw.text.text ?? "", fields: fields)
    }
  }

  private static func image(_ raw: attune_image) -> RewardImage {
    let bytes = Int(raw.height) * Int(raw.row_stride)
    let whole = raw.pixels != nil && raw.row_stride == raw.width * 3
    var image = RewardImage(
      whole
        ? Picture(
          width: Int(raw.width), height: Int(raw.height),
          pixels: Array(UnsafeBufferPointer(start: raw.pixels, count: bytes)))
        : Picture(width: 0, height: 0, pixels: []))
    image.width = Int(raw.width)
    image.height = Int(raw.height)
    image.encoded = raw.encoded.data.map { Array(UnsafeRawBufferPointer(start: $0, count: raw.encoded.size)) }
    image.mimeType = raw.mime_type.text
    image.messageIndex = raw.message_index < 0 ? nil : Int(raw.message_index)
    image.modelWidth = Int(raw.model_width)
    image.modelHeight = Int(raw.model_height)
    image.coordinateRange = raw.coordinate_range
    image.timestamp = raw.timestamp.isNaN ? nil : raw.timestamp
    return image
  }
}

extension attune_string {
  /// nil if absent; bytes that are no UTF-8 are replaced.
  var text: String? {
    data.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: size), as: UTF8.self) }
  }
}
