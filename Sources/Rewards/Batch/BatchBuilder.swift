import CRewardABI
import Core

/// Lays out the C structs of one call in a room, the batch itself first.
struct BatchBuilder<Room: BatchRoom> {
  private let room: Room
  private let context: RewardContext
  private let needs: UInt32
  private let isLarger: Bool
  private var pictures = PictureList()
  private var lastRow: (key: StorageKey, text: attune_string)?
  private var lastMessages: (key: UInt, list: MessageList)?
  private let nothing: UnsafeMutableRawPointer

  private typealias MessageList = UnsafePointer<UnsafePointer<attune_message>?>?

  /// Builds the batch of these samples, pictures only as far as the reward `needs` them, each once.
  ///
  /// - Parameters:
  ///   - timeLimit: seconds per sample.
  ///   - larger: makes structs larger than this program knows them, filled up with junk, as a later host's would be.
  /// - Returns: the batch, at its address in this process; complete when the room says so.
  static func build(
    _ samples: some Collection<RewardSample>, _ context: RewardContext, needs: UInt32, timeLimit: Double, larger: Bool,
    in room: Room
  ) throws -> UnsafeMutablePointer<attune_batch> {
    var builder = try BatchBuilder(room, context, needs, larger)
    return try builder.batch(samples, timeLimit: timeLimit)
  }

  private let first: UnsafeMutablePointer<attune_batch>

  private init(_ room: Room, _ context: RewardContext, _ needs: UInt32, _ larger: Bool) throws {
    self.room = room
    self.context = context
    self.needs = needs
    isLarger = larger
    first = try Self.make(attune_batch.self, "attune_batch", in: room, larger: larger)
    // What lists without members point to.
    nothing = try room.allocate(16, "a list without members")
  }

  private static func make<T>(
    _ type: T.Type, _ purpose: String, in room: Room, larger: Bool
  ) throws -> UnsafeMutablePointer<T> {
    let extra = larger ? BatchView.junkBytes : 0
    let memory = try room.allocate(MemoryLayout<T>.size + extra, purpose)
    for i in 0..<extra { memory.storeBytes(of: 0xEE, toByteOffset: MemoryLayout<T>.size + i, as: UInt8.self) }
    // Every struct that is made here begins with its size.
    memory.storeBytes(of: UInt32(MemoryLayout<T>.size + extra), as: UInt32.self)
    return memory.bindMemory(to: T.self, capacity: 1)
  }

  private func make<T>(_ type: T.Type, _ purpose: String) throws -> UnsafeMutablePointer<T> {
    try Self.make(type, purpose, in: room, larger: isLarger)
  }

  private func seen<T>(_ pointer: UnsafeMutablePointer<T>) -> UnsafePointer<T>? {
    UnsafePointer(bitPattern: room.seen(UnsafeRawPointer(pointer)))
  }

  /// A list of pointers, as the plugin will see them.
  private func list<T>(
    _ count: Int, _ purpose: String, _ member: (Int) throws -> UnsafeMutablePointer<T>
  ) throws -> UnsafePointer<UnsafePointer<T>?>? {
    let size = MemoryLayout<UnsafePointer<T>?>.stride
    let memory = count == 0 ? nothing : try room.allocate(count * size, purpose)
    for i in 0..<count {
      memory.storeBytes(of: room.seen(UnsafeRawPointer(try member(i))), toByteOffset: i * size, as: UInt.self)
    }
    return UnsafePointer(bitPattern: room.seen(memory))
  }

  private mutating func batch(
    _ samples: some Collection<RewardSample>, timeLimit: Double
  ) throws -> UnsafeMutablePointer<attune_batch> {
    func milliseconds(_ seconds: Double) -> UInt64 {
      seconds.isFinite && seconds > 0 ? UInt64(min(seconds * 1000, 1e15)) : 0
    }
    first.pointee.phase = context.phase.rawValue
    first.pointee.step = UInt64(clamping: context.step)
    first.pointee.total_steps = UInt64(clamping: context.totalSteps)
    first.pointee.epoch = context.epoch
    first.pointee.policy_version = context.policyVersion
    first.pointee.seed = context.seed
    first.pointee.time_limit_ms = milliseconds(timeLimit)
    first.pointee.call_time_limit_ms = milliseconds(context.callTimeLimit)
    first.pointee.recipe = try room.copy(context.recipe)
    first.pointee.run_id = try room.copy(context.runID)
    var made: [UnsafeMutablePointer<attune_sample>] = []
    made.reserveCapacity(samples.count)
    for sample in samples { made.append(try self.sample(sample)) }
    first.pointee.sample_count = made.count
    first.pointee.samples = try list(made.count, "the array of samples") { made[$0] }
    try pictures.lend(in: room, needs: needs)
    return first
  }

  private mutating func sample(_ sample: RewardSample) throws -> UnsafeMutablePointer<attune_sample> {
    let made = try make(attune_sample.self, "attune_sample")
    let raw = UnsafeMutableRawPointer(made)
    made.pointee.finish_reason = Self.finishReason(sample.finishReason)
    made.pointee.sample_id = sample.id
    made.pointee.group_id = sample.groupID
    made.pointee.index_in_group = UInt32(clamping: sample.indexInGroup)
    made.pointee.group_size = UInt32(clamping: sample.groupSize)
    made.pointee.truncated = sample.finishReason == .length ? 1 : 0
    made.pointee.seed = seed(of: sample)
    try room.lend(sample.prompt, .prompt, to: raw + Places.prompt)
    try room.lend(sample.generationPrefix, .prefix, to: raw + Places.generationPrefix)
    try room.lend(sample.completion, .completion, to: raw + Places.completion)
    // Mostly the same text.
    try room.lend(sample.rawCompletion, .completion, to: raw + Places.rawCompletion)
    if let stop = sample.stopString { try room.lend(stop, .stop, to: raw + Places.stopString) }
    made.pointee.columns = try row(sample.columns)
    try room.lend(sample.dataset, .dataset, to: raw + Places.dataset)
    try room.lend(sample.rowID, .row, to: raw + Places.rowID)
    try room.lend(sample.channel, .channel, to: raw + Places.channel)
    made.pointee.message_count = sample.messages.count
    made.pointee.messages = try prompt(sample.messages)
    made.pointee.completion_message_count = sample.completionMessages.count
    made.pointee.completion_messages = try messages(sample.completionMessages, origin: nil)
    if !sample.references.isEmpty {
      made.pointee.reference_count = sample.references.count
      let size = MemoryLayout<attune_string>.stride
      let list = try room.allocate(sample.references.count * size, "the array of references")
      for (i, text) in sample.references.enumerated() { try room.lend(text, .reference, to: list + i * size) }
      try room.lend(sample.references[0], .reference, to: raw + Places.reference)
      made.pointee.references = UnsafePointer(bitPattern: room.seen(list))
    }
    try tokens(of: sample, raw)
    made.pointee.turn_count = sample.turns.count
    made.pointee.turns = try list(sample.turns.count, "the array of turns") { try turn(sample.turns[$0]) }
    if needs & (ATTUNE_NEEDS_IMAGES | ATTUNE_NEEDS_IMAGE_BYTES) != 0 {
      let images = try sample.images.enumerated().map { try image($1, ordinal: $0) }
      made.pointee.image_count = images.count
      made.pointee.images = try list(images.count, "the array of images") { images[$0] }
    } else {
      made.pointee.images = try list(0, "") { _ in try make(attune_image.self, "attune_image") }
    }
    return made
  }

  private func seed(of sample: RewardSample) -> UInt64 {
    let words = Philox.block(
      key: (UInt32(truncatingIfNeeded: context.seed), UInt32(truncatingIfNeeded: context.seed >> 32)),
      counter: (
        UInt32(truncatingIfNeeded: context.step), UInt32(truncatingIfNeeded: sample.groupID),
        UInt32(truncatingIfNeeded: sample.groupID >> 32), UInt32(truncatingIfNeeded: sample.indexInGroup)
      ))
    return UInt64(words.0) << 32 | UInt64(words.1)
  }

  private func tokens(of sample: RewardSample, _ raw: UnsafeMutableRawPointer) throws {
    let count = sample.tokenIDs.count
    raw.storeBytes(of: count, toByteOffset: Places.tokenCount, as: Int.self)
    // An array of another length than the ids would be read past its end.
    func lend<T: BitwiseCopyable>(_ array: [T]?, _ place: Int) throws {
      if let array, array.count == count { try room.lend(array, to: [raw + place]) }
    }
    guard count > 0 else {
      raw.storeBytes(of: room.seen(nothing), toByteOffset: Places.tokenIDs, as: UInt.self)
      return
    }
    try lend(sample.tokenIDs, Places.tokenIDs)
    try lend(sample.tokenOffsets, Places.tokenOffsets)
    // A Bool is a byte of 0 or 1.
    try lend(sample.policyMask, Places.policyMask)
    try lend(sample.logprobs, Places.logprobs)
    try lend(sample.entropies, Places.entropies)
  }

  private func turn(_ turn: RewardTurn) throws -> UnsafeMutablePointer<attune_turn> {
    let made = try make(attune_turn.self, "attune_turn")
    made.pointee.origin = turn.origin.rawValue
    made.pointee.first_token = UInt32(clamping: turn.tokens.lowerBound)
    made.pointee.end_token = UInt32(clamping: turn.tokens.upperBound)
    made.pointee.reward = turn.reward ?? .nan
    return made
  }

  /// The row as JSON; completions of a group share it.
  private mutating func row(_ columns: JSON.Object) throws -> attune_string {
    let key = StorageKey(columns)
    if let lastRow, lastRow.key == key { return lastRow.text }
    let text = try room.copy(JSON(.object(columns)).text())
    lastRow = (key, text)
    return text
  }

  private mutating func prompt(_ messages: [Message]) throws -> MessageList {
    let key = messages.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
    if let lastMessages, lastMessages.key == key, !messages.isEmpty { return lastMessages.list }
    let list = try self.messages(messages, origin: ATTUNE_ORIGIN_DATA)
    lastMessages = (key, list)
    return list
  }

  private func messages(_ messages: [Message], origin: Int32?) throws -> MessageList {
    try list(messages.count, "the array of messages") { i in
      let message = messages[i]
      let made = try make(attune_message.self, "attune_message")
      let policy = message.role == "assistant" ? ATTUNE_ORIGIN_POLICY : ATTUNE_ORIGIN_ENVIRONMENT
      made.pointee.origin = origin ?? (message.role == "tool" ? ATTUNE_ORIGIN_TOOL : policy)
      made.pointee.role = try room.copy(message.role)
      let json = message.json
      if let name = json["name"]?.string { made.pointee.name = try room.copy(name) }
      made.pointee.text = try room.copy(message.text)
      if let calls = json["tool_calls"] { made.pointee.tool_calls = try room.copy(calls.text()) }
      made.pointee.json = try room.copy(json.text())
      return made
    }
  }

  private mutating func image(_ image: RewardImage, ordinal: Int) throws -> UnsafeMutablePointer<attune_image> {
    let made = try make(attune_image.self, "attune_image")
    made.pointee.ordinal = UInt32(clamping: ordinal)
    made.pointee.kind = image.timestamp == nil ? ATTUNE_IMAGE : ATTUNE_VIDEO_FRAME
    made.pointee.message_index = Int32(clamping: image.messageIndex ?? -1)
    let (width, height) = (UInt32(clamping: image.picture.width), UInt32(clamping: image.picture.height))
    made.pointee.width = width
    made.pointee.height = height
    made.pointee.row_stride = width * 3
    made.pointee.model_width = UInt32(clamping: image.modelWidth)
    made.pointee.model_height = UInt32(clamping: image.modelHeight)
    made.pointee.coordinate_range = image.coordinateRange
    func scale(_ side: UInt32, _ model: UInt32) -> Double {
      if image.coordinateRange > 0 { return Double(side) / image.coordinateRange }
      return model > 0 ? Double(side) / Double(model) : .nan
    }
    made.pointee.scale_x = scale(width, made.pointee.model_width)
    made.pointee.scale_y = scale(height, made.pointee.model_height)
    made.pointee.timestamp = image.timestamp ?? .nan
    pictures.add(image, made)
    return made
  }

  private static func finishReason(_ reason: FinishReason) -> Int32 {
    switch reason {
    case .stop: ATTUNE_FINISH_STOP
    case .length: ATTUNE_FINISH_LENGTH
    case .stopString: ATTUNE_FINISH_STOP_STRING
    }
  }
}

/// Where an object's entries lie: equal for copies of one object, and only while both live.
private struct StorageKey: Equatable {
  let keys: UInt
  let values: UInt

  init(_ object: JSON.Object) {
    keys = object.keys.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
    values = object.values.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
  }
}

/// The different pictures of a batch, each with all that show it.
private struct PictureList {
  private var places: [UInt: Int] = [:]
  private var pictures: [(image: RewardImage, shown: [UnsafeMutablePointer<attune_image>])] = []

  mutating func add(_ image: RewardImage, _ made: UnsafeMutablePointer<attune_image>) {
    // Completions of a group hold the same array, so that equal storage means an equal picture.
    let key = image.picture.pixels.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
    if !image.picture.pixels.isEmpty, let place = places[key],
      pictures[place].image.picture.width == image.picture.width
    {
      pictures[place].shown.append(made)
    } else {
      places[key] = pictures.count
      pictures.append((image, [made]))
    }
  }

  func lend(in room: some BatchRoom, needs: UInt32) throws {
    for (image, shown) in pictures {
      if needs & ATTUNE_NEEDS_IMAGES != 0, !image.picture.pixels.isEmpty {
        try room.lend(image.picture.pixels, to: shown.map { UnsafeMutableRawPointer($0) + Places.pixels })
      }
      let mimeType = try image.mimeType.map(room.copy)
      var encoded: attune_string?
      if needs & ATTUNE_NEEDS_IMAGE_BYTES != 0, let bytes = image.encoded {
        encoded = try bytes.withUnsafeBytes { try room.copy($0) }
      }
      for picture in shown {
        if let mimeType { picture.pointee.mime_type = mimeType }
        if let encoded { picture.pointee.encoded = encoded }
      }
    }
  }
}

/// Bytes from a struct's beginning.
private enum Places {
  static let prompt = place(\attune_sample.prompt)
  static let generationPrefix = place(\attune_sample.generation_prefix)
  static let completion = place(\attune_sample.completion)
  static let rawCompletion = place(\attune_sample.completion_raw)
  static let stopString = place(\attune_sample.stop_string)
  static let reference = place(\attune_sample.reference)
  static let dataset = place(\attune_sample.dataset)
  static let rowID = place(\attune_sample.row_id)
  static let channel = place(\attune_sample.channel)
  static let tokenCount = place(\attune_sample.token_count)
  static let tokenIDs = place(\attune_sample.token_ids)
  static let tokenOffsets = place(\attune_sample.token_offsets)
  static let policyMask = place(\attune_sample.policy_mask)
  static let logprobs = place(\attune_sample.logprobs)
  static let entropies = place(\attune_sample.entropies)
  static let pixels = place(\attune_image.pixels)

  private static func place<Root, Value>(_ field: KeyPath<Root, Value>) -> Int {
    guard let offset = MemoryLayout<Root>.offset(of: field) else {
      preconditionFailure("a field of a C struct lies in it")
    }
    return offset
  }
}
