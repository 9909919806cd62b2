import CRewardABI
import Core

/// One instance of a reward in this process: makes the calls, and watches over the memory that it lends.
///
/// Safety: used by one thread at a time; `InlineReward` holds a lock, a worker has one thread that scores.
final class PluginInstance: RewardInstance {
  /// Trials of a plugin that `check` makes.
  enum Variant: Int {
    case normal
    /// A host of a later version: larger structs, and a message buffer of one byte.
    case laterHost
    /// A host that offers fewer services.
    case earlierHost
  }

  let descriptor: RewardDescriptor
  private let reward: UnsafePointer<attune_reward>
  private let host: PluginHost
  private var instance: UnsafeMutableRawPointer?

  /// Calls the plugin's `create` with the complete parameters.
  init(
    _ reward: UnsafePointer<attune_reward>, _ descriptor: RewardDescriptor, parameters: JSON.Object,
    services: any PluginServices
  ) throws {
    self.reward = reward
    self.descriptor = descriptor
    host = PluginHost(parameters: parameters, services: services)
    guard let create = reward.pointee.create else { return }
    let text = JSON(.object(parameters)).text()
    let (status, message) = withMessage { error in
      text.utf8CString.withUnsafeBufferPointer { characters in
        create(
          reward, host.table, attune_string(data: characters.baseAddress, size: characters.count - 1), &instance, error)
      }
    }
    try checkGuards()
    host.endCall()
    guard status == ATTUNE_OK else {
      throw AttuneError.request(
        "the reward \(descriptor.reward) of \(descriptor.path) refused to start: "
          + (message.isEmpty ? "it gave no reason (status \(status))" : message))
    }
  }

  deinit { reward.pointee.destroy?(instance) }

  /// Scores the batch and writes the outcomes into `reply`.
  ///
  /// - Throws: `RewardViolation` if the plugin wrote where it must not.
  func score(_ view: BatchView, variant: Variant, into reply: ByteBuffer) throws {
    defer { host.endCall() }
    host.timeLimit = Double(view.batch.pointee.time_limit_ms) / 1000
    host.offerFewerServices(variant == .earlierHost)
    let outcomes = try Outcomes(count: view.count, larger: variant == .laterHost)
    defer { withExtendedLifetime(outcomes) {} }
    let (status, message) = withMessage(capacity: variant == .laterHost ? 1 : 2048) { error in
      reward.pointee.score(instance, host.table, view.batch, outcomes.pointers, error)
    }
    if let place = outcomes.violation ?? host.violation { throw RewardViolation(place: place) }
    reply.append(Int(status))
    reply.append(message)
    reply.append(view.count)
    for i in 0..<view.count { write(outcomes[i], into: reply) }
  }

  func saveState() throws -> [UInt8]? {
    let end = MemoryLayout<attune_reward>.offset(of: \.save_state)! + 8
    guard Int(reward.pointee.struct_size) >= end, let save = reward.pointee.save_state else { return nil }
    var state = attune_string()
    let (status, message) = withMessage { save(instance, host.table, &state, $0) }
    defer { host.endCall() }
    try checkGuards()
    guard status == ATTUNE_OK else { throw AttuneError.work("\(descriptor.reward) cannot save its state: \(message)") }
    guard let data = state.data else { return nil }
    return Array(UnsafeRawBufferPointer(start: data, count: state.size))
  }

  func loadState(_ state: UnsafeRawBufferPointer) throws {
    let end = MemoryLayout<attune_reward>.offset(of: \.load_state)! + 8
    guard Int(reward.pointee.struct_size) >= end, let load = reward.pointee.load_state else { return }
    var copy = Array(state)
    copy.append(0)
    let (status, message) = copy.withUnsafeBytes { bytes in
      withMessage { error in
        load(
          instance, host.table,
          attune_string(data: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), size: bytes.count - 1), error)
      }
    }
    defer { host.endCall() }
    try checkGuards()
    guard status == ATTUNE_OK else { throw AttuneError.work("\(descriptor.reward) cannot load its state: \(message)") }
  }

  /// Runs a call with a guarded buffer for its message.
  private func withMessage(
    capacity: Int = 2048, _ call: (UnsafeMutablePointer<attune_error>) -> attune_status
  ) -> (attune_status, String) {
    guard let memory = host.arena.allocate(capacity, "the message buffer of attune_error") else {
      preconditionFailure("an arena that is empty has room for a message")
    }
    let text = memory.bindMemory(to: CChar.self, capacity: capacity)
    var error = attune_error(message: text, capacity: capacity)
    let status = call(&error)
    var count = 0
    while count < capacity, text[count] != 0 { count += 1 }
    let bytes = UnsafeRawBufferPointer(start: memory, count: count)
    return (status, String(decoding: bytes, as: UTF8.self))
  }

  private func checkGuards() throws {
    if let place = host.violation { throw RewardViolation(place: place).error(descriptor) }
  }

  /// Copies what the outcome points to. The counts are the plugin's: absurd ones are refused before they are followed.
  private func write(_ outcome: attune_outcome, into reply: ByteBuffer) {
    func text(_ string: attune_string, limit: Int) {
      guard let data = string.data else { return reply.append("") }
      reply.append(bytes: UnsafeRawBufferPointer(start: data, count: max(0, min(string.size, limit))))
    }
    if let problem = Self.problem(of: outcome) {
      return OutcomeCoding.write(.none(.invalid, problem), into: reply)
    }
    reply.append(Int(outcome.status))
    reply.append(outcome.score)
    text(outcome.log, limit: 1 << 16)
    reply.append(outcome.component_count)
    for i in 0..<outcome.component_count {
      text(outcome.components[i].name, limit: 256)
      reply.append(outcome.components[i].value)
    }
    reply.append(outcome.note_count)
    for i in 0..<outcome.note_count {
      text(outcome.notes[i].name, limit: 256)
      text(outcome.notes[i].text, limit: 1 << 16)
    }
    if outcome.token_reward_count > 0 {
      reply.append(array: UnsafeBufferPointer(start: outcome.token_rewards, count: outcome.token_reward_count))
    } else {
      reply.append(UInt64.max)
    }
    reply.append(outcome.step_reward_count)
    for i in 0..<outcome.step_reward_count {
      let step = outcome.step_rewards[i]
      reply.append(Int(step.first_token))
      reply.append(Int(step.end_token))
      reply.append(step.value)
      text(step.label, limit: 1024)
    }
  }

  /// What no outcome can hold, or nil.
  private static func problem(of outcome: attune_outcome) -> String? {
    func check(_ what: String, _ count: Int, _ limit: Int, _ pointer: UnsafeRawPointer?) -> String? {
      guard count != 0 else { return nil }
      // size_t: what is negative here was beyond all memory.
      let number = UInt(bitPattern: count)
      if pointer == nil { return "the reward returned \(number) \(what) at NULL" }
      return number > UInt(limit) ? "the reward returned \(number) \(what), more than \(limit)" : nil
    }
    return check("components", outcome.component_count, 4096, outcome.components)
      ?? check("notes", outcome.note_count, 4096, outcome.notes)
      ?? check("token rewards", outcome.token_reward_count, 1 << 24, outcome.token_rewards)
      ?? check("step rewards", outcome.step_reward_count, 1 << 20, outcome.step_rewards)
  }
}

/// The outcomes that a plugin fills in, with a sentinel behind the last so that a score too many is seen.
private final class Outcomes {
  let pointers: UnsafeMutablePointer<UnsafeMutablePointer<attune_outcome>?>
  private let arena = GuardedArena()
  private let count: Int
  private let structSize: UInt32
  private let sentinel: UnsafeMutablePointer<attune_outcome>
  /// Entries behind the last that lead to the sentinel.
  private static let spare = 8

  init(count: Int, larger: Bool) throws {
    self.count = count
    let size = MemoryLayout<attune_outcome>.size + (larger ? BatchView.junkBytes : 0)
    structSize = UInt32(size)
    guard let memory = arena.allocate((count + Self.spare) * 8, "the array of outcomes") else {
      throw AttuneError.work("\(count) outcomes do not fit into memory")
    }
    pointers = memory.bindMemory(to: UnsafeMutablePointer<attune_outcome>?.self, capacity: count + Self.spare)
    var made: [UnsafeMutablePointer<attune_outcome>] = []
    for i in 0...count {
      let place =
        i < count
        ? arena.allocate(size, "outcome", index: i) : arena.allocate(size, "the place of a score after the last sample")
      guard let place else {
        throw AttuneError.work("\(count) outcomes do not fit into memory")
      }
      let outcome = place.bindMemory(to: attune_outcome.self, capacity: 1)
      outcome.pointee.struct_size = structSize
      outcome.pointee.status = ATTUNE_OK
      outcome.pointee.score = .nan
      made.append(outcome)
    }
    sentinel = made[count]
    for i in 0..<count { pointers[i] = made[i] }
    for i in count..<(count + Self.spare) { pointers[i] = sentinel }
    expected = made
  }

  private let expected: [UnsafeMutablePointer<attune_outcome>]

  subscript(i: Int) -> attune_outcome { expected[i].pointee }

  var violation: String? {
    for i in 0..<count where pointers[i] != expected[i] { return "entry \(i) of the array of outcomes" }
    for i in 0..<count where expected[i].pointee.struct_size != structSize { return "struct_size of outcome \(i)" }
    let last = sentinel.pointee
    if last.struct_size != structSize || last.status != ATTUNE_OK || !last.score.isNaN || last.log.data != nil
      || last.log.size != 0 || last.component_count != 0 || last.components != nil || last.note_count != 0
      || last.notes != nil || last.token_reward_count != 0
      || last.token_rewards != nil || last.step_reward_count != 0 || last.step_rewards != nil
      || last.score.bitPattern != Double.nan.bitPattern
    {
      return "outcome \(count) of a batch of \(count) samples (one score too many)"
    }
    return arena.violation()
  }
}
