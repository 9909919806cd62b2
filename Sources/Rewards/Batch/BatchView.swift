import CRewardABI
import Core

/// The C structs of one call. They point into the bytes that `BatchCoding` wrote; nothing is copied.
struct BatchView {
  let batch: UnsafeMutablePointer<attune_batch>
  let count: Int
  let arena = GuardedArena()

  /// How much larger than this program's the host's structs claim to be; the rest is filled with junk. A plugin that
  /// reads only what it knows gives the same answers.
  static let junkBytes = 64

  init(_ reader: inout ByteReader, larger: Bool) throws {
    let layout = Layout(arena: arena, larger: larger)
    batch = try layout.make(attune_batch.self, "attune_batch") { $0.struct_size = $1 }
    batch.pointee.phase = Int32(clamping: try reader.signed())
    batch.pointee.step = try reader.word()
    batch.pointee.total_steps = try reader.word()
    batch.pointee.epoch = try reader.double()
    batch.pointee.policy_version = try reader.word()
    batch.pointee.seed = try reader.word()
    batch.pointee.time_limit_ms = try reader.word()
    batch.pointee.call_time_limit_ms = try reader.word()
    batch.pointee.recipe = try Self.text(&reader)
    batch.pointee.run_id = try Self.text(&reader)
    let pictures = try Self.pictures(&reader)
    count = try reader.integer(atMost: 1 << 24)
    let samples = try layout.pointers(to: attune_sample.self, count, "the array of samples")
    for i in 0..<count { samples[i] = UnsafePointer(try Self.sample(&reader, pictures, layout)) }
    batch.pointee.sample_count = count
    batch.pointee.samples = UnsafePointer(samples)
  }

  /// Makes structs, larger than they are if an unknown future is to be tried out.
  private struct Layout {
    let arena: GuardedArena
    let larger: Bool

    func make<T>(
      _ type: T.Type, _ purpose: String, _ setSize: (inout T, UInt32) -> Void
    ) throws -> UnsafeMutablePointer<T> {
      let extra = larger ? BatchView.junkBytes : 0
      guard let memory = arena.allocate(MemoryLayout<T>.size + extra, purpose) else { throw BatchView.tooLarge }
      for i in 0..<extra { memory.storeBytes(of: 0xEE, toByteOffset: MemoryLayout<T>.size + i, as: UInt8.self) }
      let made = memory.bindMemory(to: T.self, capacity: 1)
      setSize(&made.pointee, UInt32(MemoryLayout<T>.size + extra))
      return made
    }

    func pointers<T>(
      to type: T.Type, _ count: Int, _ purpose: String
    ) throws -> UnsafeMutablePointer<UnsafePointer<T>?> {
      guard let memory = arena.allocate(count * 8, purpose) else { throw BatchView.tooLarge }
      return memory.bindMemory(to: UnsafePointer<T>?.self, capacity: count)
    }
  }

  private static var tooLarge: AttuneError { .work("a batch for a reward does not fit into 1 GiB") }

  private static func text(_ reader: inout ByteReader) throws -> attune_string {
    guard let bytes = try reader.optionalBytes() else { return attune_string() }
    // An empty buffer still has its NUL behind it.
    return attune_string(data: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), size: bytes.count)
  }

  private struct PictureBytes {
    var width: UInt32
    var height: UInt32
    var pixels: UnsafeRawBufferPointer?
    var encoded: attune_string
    var mimeType: attune_string
  }

  private static func pictures(_ reader: inout ByteReader) throws -> [PictureBytes] {
    let count = try reader.integer(atMost: 1 << 24)
    var pictures: [PictureBytes] = []
    for _ in 0..<count {
      let width = UInt32(try reader.integer(atMost: 1 << 20))
      let height = UInt32(try reader.integer(atMost: 1 << 20))
      pictures.append(
        PictureBytes(
          width: width, height: height, pixels: try reader.optionalBytes(), encoded: try text(&reader),
          mimeType: try text(&reader)))
    }
    return pictures
  }

  private static func sample(
    _ reader: inout ByteReader, _ pictures: [PictureBytes], _ layout: Layout
  ) throws -> UnsafeMutablePointer<attune_sample> {
    let made = try layout.make(attune_sample.self, "attune_sample") { $0.struct_size = $1 }
    var sample = made.pointee
    sample.finish_reason = Int32(clamping: try reader.signed())
    sample.sample_id = try reader.word()
    sample.group_id = try reader.word()
    sample.index_in_group = UInt32(clamping: try reader.signed())
    sample.group_size = UInt32(clamping: try reader.signed())
    sample.truncated = UInt32(clamping: try reader.signed())
    sample.seed = try reader.word()
    sample.prompt = try text(&reader)
    sample.generation_prefix = try text(&reader)
    sample.completion = try text(&reader)
    sample.completion_raw = try text(&reader)
    sample.stop_string = try text(&reader)
    sample.columns = try text(&reader)
    sample.dataset = try text(&reader)
    sample.row_id = try text(&reader)
    sample.channel = try text(&reader)
    (sample.message_count, sample.messages) = try messages(&reader, layout)
    (sample.completion_message_count, sample.completion_messages) = try messages(&reader, layout)
    sample.reference_count = try reader.integer(atMost: 1 << 20)
    if sample.reference_count > 0 {
      let size = sample.reference_count * MemoryLayout<attune_string>.stride
      guard let memory = layout.arena.allocate(size, "the array of references") else { throw tooLarge }
      let references = memory.bindMemory(to: attune_string.self, capacity: sample.reference_count)
      for i in 0..<sample.reference_count { references[i] = try text(&reader) }
      sample.references = UnsafePointer(references)
      sample.reference = references[0]
    }
    let ids = try reader.array(of: Int32.self)
    sample.token_count = ids?.count ?? 0
    sample.token_ids = ids?.baseAddress
    sample.token_offsets = try reader.array(of: UInt32.self)?.baseAddress
    sample.policy_mask = try reader.array(of: UInt8.self)?.baseAddress
    sample.logprobs = try reader.array(of: Float.self)?.baseAddress
    sample.entropies = try reader.array(of: Float.self)?.baseAddress
    let turnCount = try reader.integer(atMost: 1 << 20)
    let turns = try layout.pointers(to: attune_turn.self, turnCount, "the array of turns")
    for i in 0..<turnCount {
      let turn = try layout.make(attune_turn.self, "attune_turn") { $0.struct_size = $1 }
      turn.pointee.origin = Int32(clamping: try reader.signed())
      turn.pointee.first_token = UInt32(clamping: try reader.signed())
      turn.pointee.end_token = UInt32(clamping: try reader.signed())
      turn.pointee.reward = try reader.double()
      turns[i] = UnsafePointer(turn)
    }
    sample.turn_count = turnCount
    sample.turns = UnsafePointer(turns)
    let imageCount = try reader.integer(atMost: 1 << 20)
    let images = try layout.pointers(to: attune_image.self, imageCount, "the array of images")
    for i in 0..<imageCount { images[i] = UnsafePointer(try image(&reader, i, pictures, layout)) }
    sample.image_count = imageCount
    sample.images = UnsafePointer(images)
    made.pointee = sample
    return made
  }

  private static func messages(
    _ reader: inout ByteReader, _ layout: Layout
  ) throws -> (Int, UnsafePointer<UnsafePointer<attune_message>?>) {
    let count = try reader.integer(atMost: 1 << 20)
    let messages = try layout.pointers(to: attune_message.self, count, "the array of messages")
    for i in 0..<count {
      let message = try layout.make(attune_message.self, "attune_message") { $0.struct_size = $1 }
      message.pointee.origin = Int32(clamping: try reader.signed())
      message.pointee.role = try text(&reader)
      message.pointee.name = try text(&reader)
      message.pointee.text = try text(&reader)
      message.pointee.tool_calls = try text(&reader)
      message.pointee.json = try text(&reader)
      messages[i] = UnsafePointer(message)
    }
    return (count, UnsafePointer(messages))
  }

  private static func image(
    _ reader: inout ByteReader, _ ordinal: Int, _ pictures: [PictureBytes], _ layout: Layout
  ) throws -> UnsafeMutablePointer<attune_image> {
    let made = try layout.make(attune_image.self, "attune_image") { $0.struct_size = $1 }
    let number = try reader.integer()
    guard pictures.indices.contains(number) else { throw AttuneError.work("a batch names a picture that it lacks") }
    let picture = pictures[number]
    made.pointee.ordinal = UInt32(clamping: ordinal)
    made.pointee.width = picture.width
    made.pointee.height = picture.height
    made.pointee.row_stride = picture.width * 3
    made.pointee.pixels = picture.pixels?.baseAddress?.assumingMemoryBound(to: UInt8.self)
    made.pointee.encoded = picture.encoded
    made.pointee.mime_type = picture.mimeType
    made.pointee.kind = try reader.signed() == 0 ? ATTUNE_IMAGE : ATTUNE_VIDEO_FRAME
    made.pointee.message_index = Int32(clamping: try reader.signed())
    made.pointee.model_width = UInt32(clamping: try reader.signed())
    made.pointee.model_height = UInt32(clamping: try reader.signed())
    made.pointee.coordinate_range = try reader.double()
    let range = made.pointee.coordinate_range
    func scale(_ side: UInt32, _ model: UInt32) -> Double {
      if range > 0 { return Double(side) / range }
      return model > 0 ? Double(side) / Double(model) : .nan
    }
    made.pointee.scale_x = scale(picture.width, made.pointee.model_width)
    made.pointee.scale_y = scale(picture.height, made.pointee.model_height)
    made.pointee.timestamp = try reader.double()
    return made
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
