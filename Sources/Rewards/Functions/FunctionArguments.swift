import CRewardABI
import Core

/// The arguments of one function: a slot of 8 bytes each, most of them filled once, the others for every sample.
///
/// Safety: used by the thread that scores.
final class FunctionArguments {
  /// For `ffi_call`: where each argument stands.
  let vector: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  private let slots: UnsafeMutableRawPointer
  private let call: FunctionCall
  private var closures: [HostClosure] = []

  // MARK: Filled by the function

  /// A number that the function fills.
  struct Output {
    var name: String
    var place: UnsafeMutableRawPointer
    var number: CNumber
  }
  private(set) var score: Output?
  private(set) var components: [Output] = []
  /// `ArgumentSource.logBytes` bytes.
  private(set) var log: UnsafeMutablePointer<CChar>?
  /// As long as the sample's tokens; nil unless the function asks for it.
  private(set) var tokenRewards: UnsafeMutableBufferPointer<Float>?
  private let fixed = GuardedArena()

  // MARK: Filled for every sample

  /// What changes from sample to sample, without references: this is walked for every call.
  private enum Filling {
    case text(offset: Int, SampleText)
    case textSize(offset: Int, CNumber)
    case tokens(TokenArray)
    case number(SampleNumber, CNumber)
    case pictureBytes(PictureField, index: Int)
    case picture(PictureField, index: Int, CNumber)
    /// An entry of `columns`.
    case column(Int)
    case tokenRewards
  }
  private var fillings: [(slot: UnsafeMutableRawPointer, filling: Filling)] = []
  private var columns: [(name: String, form: ValueForm, fallback: JSON?)] = []
  /// Stands for an absent text and for an empty array.
  private let nothing: UnsafeMutableRawPointer

  /// - Parameters:
  ///   - parameters: complete, their types checked.
  ///   - file: the recipe, for errors about parameters.
  /// - Throws: `AttuneError` for a parameter that its C type cannot hold.
  init(_ signature: FunctionSignature, parameters: JSON.Object, file: String?, _ call: FunctionCall) throws {
    self.call = call
    let count = signature.arguments.count
    slots = .allocate(byteCount: max(8, 8 * count), alignment: 16)
    slots.initializeMemory(as: UInt8.self, repeating: 0, count: max(8, 8 * count))
    vector = .allocate(capacity: max(1, count))
    for i in 0..<count { vector[i] = slots + 8 * i }
    guard let nothing = fixed.allocate(16, "an empty text") else { preconditionFailure("an empty arena has room") }
    self.nothing = nothing
    for (i, argument) in signature.arguments.enumerated() {
      try prepare(argument.source, slots + 8 * i, parameters: parameters, file: file, function: signature.name)
    }
  }

  deinit {
    slots.deallocate()
    vector.deallocate()
  }

  private func prepare(
    _ source: ArgumentSource, _ slot: UnsafeMutableRawPointer, parameters: JSON.Object, file: String?, function: String
  ) throws {
    func change(_ filling: Filling) { fillings.append((slot, filling)) }
    func output(_ name: String, _ number: CNumber) throws -> Output {
      let place = try lend(number.size, name, slot)
      return Output(name: name, place: place, number: number)
    }
    switch source {
    case .text(let text): change(.text(offset: text.offset, text))
    case .textSize(let text, let number): change(.textSize(offset: text.offset, number))
    case .tokens(let array): change(.tokens(array))
    case .number(let value, let number): change(.number(value, number))
    case .pictureBytes(let field, let index): change(.pictureBytes(field, index: index))
    case .picture(let field, let index, let number): change(.picture(field, index: index, number))
    case .column(let name, let form, let fallback):
      change(.column(columns.count))
      columns.append((name, form, fallback))
    case .parameter(let name, let form, _):
      guard let value = parameters[name] else { preconditionFailure("parameters are complete") }
      if let complaint = form.store(value, slot, fixed) {
        throw AttuneError.request(
          "the parameter '\(name)' of the function \(function) \(complaint)", at: file.map { value.location(in: $0) })
      }
    case .constant(let value, let form):
      if let complaint = form.store(value, slot, fixed) {
        throw AttuneError.request("the constant \(value.text()) of the function \(function) \(complaint)")
      }
    case .null: break
    case .score(let number): score = try output("score", number)
    case .component(let name, let number): components.append(try output(name, number))
    case .tokenRewards: change(.tokenRewards)
    case .log:
      log = try lend(ArgumentSource.logBytes, "log", slot).bindMemory(to: CChar.self, capacity: ArgumentSource.logBytes)
    case .logCapacity(let number): _ = number.store(ArgumentSource.logBytes, slot)
    case .callback(let callback):
      let closure = try HostClosure(callback, call)
      closures.append(closure)
      slot.storeBytes(of: closure.code, as: UnsafeMutableRawPointer.self)
    }
  }

  private func lend(_ size: Int, _ purpose: String, _ slot: UnsafeMutableRawPointer) throws -> UnsafeMutableRawPointer {
    guard let memory = fixed.allocate(size, purpose) else {
      throw AttuneError.work("there is no memory for '\(purpose)'")
    }
    slot.storeBytes(of: memory, as: UnsafeMutableRawPointer.self)
    return memory
  }

  /// What the function wrote beside what it was lent, or nil.
  var violation: String? { fixed.violation() ?? call.arena.violation() }

  // MARK: For every sample

  /// Prepares the arguments for a sample.
  ///
  /// - Returns: why the sample cannot be scored, or nil.
  func fill(_ sample: UnsafePointer<attune_sample>, _ batch: UnsafePointer<attune_batch>) -> String? {
    for (slot, filling) in fillings {
      if let trouble = fill(slot, filling, sample, batch) { return trouble }
    }
    if let score { Self.reset(score) }
    for component in components { Self.reset(component) }
    // All of it: a function that cuts a text off may write no NUL.
    log?.update(repeating: 0, count: ArgumentSource.logBytes)
    return nil
  }

  private static func reset(_ output: Output) {
    _ = output.number.store(output.number.isFloat ? .nan : 0, output.place)
  }

  private func fill(
    _ slot: UnsafeMutableRawPointer, _ filling: Filling, _ sample: UnsafePointer<attune_sample>,
    _ batch: UnsafePointer<attune_batch>
  ) -> String? {
    func put(_ pointer: UnsafeRawPointer?) { slot.storeBytes(of: pointer, as: UnsafeRawPointer?.self) }
    switch filling {
    case .text(let offset, let text):
      let string = (UnsafeRawPointer(sample) + offset).load(as: attune_string.self)
      if string.data == nil, text == .reference { return "there is no reference" }
      put(string.data ?? UnsafePointer(nothing.assumingMemoryBound(to: CChar.self)))
    case .textSize(let offset, let number):
      let string = (UnsafeRawPointer(sample) + offset).load(as: attune_string.self)
      let size = string.data == nil ? 0 : string.size
      if !number.store(size, slot) { return "a text has \(size) bytes, too many for the type of its size" }
    case .tokens(let array): return fillTokens(array, sample.pointee, put)
    case .number(let value, let number):
      return fillNumber(value, number, slot, sample.pointee, batch.pointee)
    case .pictureBytes(let field, let index):
      guard let image = Self.image(index, sample.pointee) else { return Self.noImage(index, sample.pointee) }
      let bytes: UnsafeRawPointer? =
        field == .pixels ? image.pixels.map { UnsafeRawPointer($0) } : image.encoded.data.map { UnsafeRawPointer($0) }
      guard let bytes else { return "picture \(index) has no \(field.rawValue)" }
      put(bytes)
    case .picture(let field, let index, let number):
      guard let image = Self.image(index, sample.pointee) else { return Self.noImage(index, sample.pointee) }
      return fillPicture(field, image, number, slot)
    case .column(let place):
      let (name, form, fallback) = columns[place]
      let found = call.row[name]
      guard let value = found.flatMap({ $0.isNull ? nil : $0 }) ?? fallback else {
        if found != nil { return "the column '\(name)' is null" }
        let near = nearestName(to: name, among: call.row.keys)
        return "the row has no column '\(name)'" + (near.map { ": did you mean '\($0)'?" } ?? "")
      }
      return form.store(value, slot, call.arena).map { "the column '\(name)' \($0)" }
    case .tokenRewards:
      let count = sample.pointee.token_count
      guard let memory = call.arena.allocate(count * 4, "token_rewards") else {
        return "\(count) token rewards do not fit into memory"
      }
      tokenRewards = UnsafeMutableBufferPointer(start: memory.bindMemory(to: Float.self, capacity: count), count: count)
      put(memory)
    }
    return nil
  }

  private func fillTokens(
    _ array: TokenArray, _ sample: attune_sample, _ put: (UnsafeRawPointer?) -> Void
  ) -> String? {
    let found: UnsafeRawPointer? =
      switch array {
      case .token_ids: sample.token_ids.map { UnsafeRawPointer($0) }
      case .token_offsets: sample.token_offsets.map { UnsafeRawPointer($0) }
      case .policy_mask: sample.policy_mask.map { UnsafeRawPointer($0) }
      case .logprobs: sample.logprobs.map { UnsafeRawPointer($0) }
      case .entropies: sample.entropies.map { UnsafeRawPointer($0) }
      }
    if let found {
      put(found)
    } else if sample.token_count == 0 {
      put(nothing)
    } else if array == .policy_mask {
      // Without a mask the policy wrote every token.
      guard let ones = call.arena.allocate(sample.token_count, "policy_mask") else {
        return "\(sample.token_count) tokens do not fit into memory"
      }
      ones.initializeMemory(as: UInt8.self, repeating: 1, count: sample.token_count)
      put(ones)
    } else {
      return "the sample has no \(array.rawValue)"
    }
    return nil
  }

  private func fillNumber(
    _ value: SampleNumber, _ number: CNumber, _ slot: UnsafeMutableRawPointer, _ sample: attune_sample,
    _ batch: attune_batch
  ) -> String? {
    let word: UInt64
    switch value {
    case .epoch:
      return number.store(batch.epoch, slot) ? nil : "epoch is \(batch.epoch), which its type cannot hold"
    case .seed:
      // Any bits are as good as others: the low ones for a type that is smaller.
      slot.storeBytes(of: sample.seed, as: UInt64.self)
      return nil
    case .step: word = batch.step
    case .total_steps: word = batch.total_steps
    case .policy_version: word = batch.policy_version
    case .phase: word = UInt64(clamping: batch.phase)
    case .time_limit_ms: word = batch.time_limit_ms
    case .sample_id: word = sample.sample_id
    case .group_id: word = sample.group_id
    case .index_in_group: word = UInt64(sample.index_in_group)
    case .group_size: word = UInt64(sample.group_size)
    case .token_count: word = UInt64(clamping: sample.token_count)
    case .image_count: word = UInt64(clamping: sample.image_count)
    case .truncated: word = UInt64(sample.truncated)
    case .finish_reason: word = UInt64(clamping: sample.finish_reason)
    }
    return number.store(word, slot) ? nil : "\(value.rawValue) is \(word), which its type cannot hold"
  }

  // MARK: Pictures

  private static func image(_ index: Int, _ sample: attune_sample) -> attune_image? {
    index < sample.image_count ? sample.images?[index]?.pointee : nil
  }

  private static func noImage(_ index: Int, _ sample: attune_sample) -> String {
    "there is no picture \(index): the sample has \(sample.image_count)"
  }

  private func fillPicture(
    _ field: PictureField, _ image: attune_image, _ number: CNumber, _ slot: UnsafeMutableRawPointer
  ) -> String? {
    let fits: Bool
    switch field {
    case .width: fits = number.store(image.width, slot)
    case .height: fits = number.store(image.height, slot)
    case .stride: fits = number.store(image.row_stride, slot)
    case .scaleX: fits = number.store(image.scale_x, slot)
    case .scaleY: fits = number.store(image.scale_y, slot)
    case .encodedSize: fits = number.store(image.encoded.size, slot)
    case .pixels, .encoded: preconditionFailure("bytes are no number")
    }
    return fits ? nil : "\(field.rawValue) is not known or does not fit its type"
  }
}
