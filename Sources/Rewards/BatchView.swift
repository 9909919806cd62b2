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
    sample.prompt_messages = try text(&reader)
    sample.generation_prefix = try text(&reader)
    sample.completion = try text(&reader)
    sample.completion_raw = try text(&reader)
    sample.completion_messages = try text(&reader)
    sample.stop_string = try text(&reader)
    sample.reference = try text(&reader)
    sample.columns = try text(&reader)
    sample.dataset = try text(&reader)
    sample.row_id = try text(&reader)
    sample.channel = try text(&reader)
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
    made.pointee.timestamp = try reader.double()
    return made
  }
}
