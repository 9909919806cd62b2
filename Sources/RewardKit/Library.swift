public import CRewardABI
import Synchronization

/// What the exported function of a plugin returns.
public typealias RewardLibrary = UnsafePointer<attune_library>

/// The library of these rewards, for the one exported line of a plugin:
///
///     @c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(AnswerFormat.self) }
public func rewards(_ types: any RewardDescription.Type...) -> RewardLibrary {
  library(types.map { Definition($0) })
}

/// The library of these functions: name, then a closure that gives the score of one sample, or nil for no opinion.
///
///     @c(attune_reward_entry) public func entry() -> RewardLibrary {
///       rewards(["brief": { 1 / Double(1 + $0.completion.utf8.count) }])
///     }
public func rewards(_ functions: KeyValuePairs<String, (Sample) throws -> Double?>) -> RewardLibrary {
  library(
    functions.map { name, function in
      Definition(name: name, function: function)
    })
}

/// The library of this image, built once: the host may ask for it again.
private let built = Mutex<UInt>(0)

private func library(_ definitions: [Definition]) -> RewardLibrary {
  let address = built.withLock { address in
    if address != 0 { return address }
    let list = UnsafeMutablePointer<UnsafePointer<attune_reward>?>.allocate(capacity: definitions.count)
    for (i, definition) in definitions.enumerated() { list[i] = definition.cReward() }
    let made = UnsafeMutablePointer<attune_library>.allocate(capacity: 1)
    made.initialize(
      to: attune_library(
        struct_size: UInt32(MemoryLayout<attune_library>.size), magic: ATTUNE_MAGIC, abi_major: ATTUNE_ABI_MAJOR,
        abi_minor: ATTUNE_ABI_MINOR, name: permanent(definitions.first?.name ?? ""), version: permanent("1.0"),
        reward_count: definitions.count, rewards: list))
    address = UInt(bitPattern: made)
    return address
  }
  guard let library = RewardLibrary(bitPattern: address) else { preconditionFailure("a library has an address") }
  return library
}

/// Scores a batch into outcomes.
private typealias BatchFunction = ([Sample], UnsafePointer<UnsafeMutablePointer<attune_outcome>?>) throws -> Void

/// A reward as the host sees it. Lives as long as the process: the host never unloads a library.
private final class Definition {
  let name: String
  private let summary: String
  private let range: ClosedRange<Double>?
  private let parameters: [Parameter]?
  private let columns: [String]
  private let needs: UInt32
  private let flags: UInt32
  private let make: (Parameters) throws -> BatchFunction

  init(_ type: any RewardDescription.Type) {
    name = type.name
    summary = type.summary
    range = type.range
    parameters = type.parameters
    columns = type.columns
    needs = type.needs.rawValue | (type is any GroupReward.Type ? ATTUNE_NEEDS_GROUP : 0)
    flags = type.isDeterministic ? ATTUNE_DETERMINISTIC : 0
    make = { parameters in
      var reward = type.init()
      try reward.configure(parameters)
      if let reward = reward as? any Reward { return eachSample(reward) }
      if let reward = reward as? any GroupReward { return eachGroup(reward) }
      throw RewardError("\(type) is neither a Reward nor a GroupReward: it has no score method")
    }
  }

  init(name: String, function: @escaping (Sample) throws -> Double?) {
    self.name = name
    summary = ""
    range = nil
    parameters = []
    columns = []
    needs = 0
    flags = ATTUNE_DETERMINISTIC
    make = { _ in each { try function($0).score } }
  }

  func cReward() -> UnsafePointer<attune_reward> {
    let made = UnsafeMutablePointer<attune_reward>.allocate(capacity: 1)
    made.initialize(to: attune_reward())
    made.pointee.struct_size = UInt32(MemoryLayout<attune_reward>.size)
    made.pointee.flags = flags
    made.pointee.needs = needs
    made.pointee.reward_data = Unmanaged.passRetained(self).toOpaque()
    made.pointee.name = permanent(name)
    made.pointee.summary = permanent(summary)
    made.pointee.minimum = range?.lowerBound ?? 0
    made.pointee.maximum = range?.upperBound ?? 0
    if let parameters {
      let list = UnsafeMutablePointer<UnsafePointer<attune_parameter>?>.allocate(capacity: parameters.count + 1)
      for (i, parameter) in parameters.enumerated() {
        let entry = UnsafeMutablePointer<attune_parameter>.allocate(capacity: 1)
        entry.initialize(
          to: attune_parameter(
            struct_size: UInt32(MemoryLayout<attune_parameter>.size), type: parameter.type,
            name: permanent(parameter.name), default_json: parameter.defaultJSON.map(permanent),
            summary: permanent(parameter.summary), minimum: parameter.bounds?.lowerBound ?? 0,
            maximum: parameter.bounds?.upperBound ?? 0))
        list[i] = UnsafePointer(entry)
      }
      list[parameters.count] = nil
      made.pointee.parameters = UnsafePointer(list)
    }
    let list = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: columns.count + 1)
    for (i, column) in columns.enumerated() { list[i] = permanent(column) }
    list[columns.count] = nil
    made.pointee.columns = UnsafePointer(list)

    made.pointee.create = { reward, host, _, instance, buffer in
      guard let data = reward?.pointee.reward_data, let host, let instance else { return ATTUNE_FAILED }
      do {
        let definition = Unmanaged<Definition>.fromOpaque(data).takeUnretainedValue()
        let function = try definition.make(Parameters(host: host))
        instance.pointee = Unmanaged.passRetained(Instance(function)).toOpaque()
        return ATTUNE_OK
      } catch {
        return report(error, into: buffer)
      }
    }
    made.pointee.score = { instance, host, batch, outcomes, buffer in
      guard let instance, let host, let batch, let outcomes else { return ATTUNE_FAILED }
      do {
        let samples = (0..<batch.pointee.sample_count).compactMap { i in
          batch.pointee.samples[i].map { Sample(raw: $0, batch: batch, host: host) }
        }
        try Unmanaged<Instance>.fromOpaque(instance).takeUnretainedValue().function(samples, outcomes)
        return ATTUNE_OK
      } catch {
        return report(error, into: buffer)
      }
    }
    made.pointee.destroy = { instance in
      if let instance { Unmanaged<Instance>.fromOpaque(instance).release() }
    }
    return UnsafePointer(made)
  }
}

private final class Instance {
  let function: BatchFunction
  init(_ function: @escaping BatchFunction) { self.function = function }
}

private func eachSample(_ reward: some Reward) -> BatchFunction {
  each { try reward.score($0).score }
}

private func each(_ function: @escaping (Sample) throws -> Score) -> BatchFunction {
  { samples, outcomes in
    for (i, sample) in samples.enumerated() {
      guard let outcome = outcomes[i] else { continue }
      let host = sample.host
      host.pointee.begin(host, i)
      do {
        write(try function(sample), into: outcome, host)
      } catch {
        write(error, into: outcome, host)
      }
      host.pointee.end(host, i)
    }
  }
}

private func eachGroup(_ reward: some GroupReward) -> BatchFunction {
  { samples, outcomes in
    var members: [UInt64: [Int]] = [:]
    var order: [UInt64] = []
    for (i, sample) in samples.enumerated() {
      if members[sample.groupID] == nil { order.append(sample.groupID) }
      members[sample.groupID, default: []].append(i)
    }
    for id in order {
      let indices = members[id] ?? []
      guard let host = indices.first.map({ samples[$0].host }) else { continue }
      for i in indices { host.pointee.begin(host, i) }
      do {
        let scores = try reward.score(group: indices.map { samples[$0] })
        guard scores.count == indices.count else {
          throw RewardError("\(scores.count) scores for a group of \(indices.count) completions")
        }
        for (i, score) in zip(indices, scores) {
          if let outcome = outcomes[i] { write(score.score, into: outcome, host) }
        }
      } catch {
        for i in indices { if let outcome = outcomes[i] { write(error, into: outcome, host) } }
      }
      for i in indices { host.pointee.end(host, i) }
    }
  }
}

// MARK: - Results in the host's memory

private func write(
  _ score: Score, into outcome: UnsafeMutablePointer<attune_outcome>, _ host: UnsafePointer<attune_host>
) {
  if let value = score.value {
    outcome.pointee.score = value
  } else {
    outcome.pointee.status = ATTUNE_NOT_APPLICABLE
  }
  outcome.pointee.log = lent(score.log, host)
  if !score.components.isEmpty, let list = array(attune_component.self, score.components.count, host) {
    for (i, component) in score.components.enumerated() {
      list[i] = attune_component(name: lent(component.name, host), value: component.value)
    }
    outcome.pointee.components = UnsafePointer(list)
    outcome.pointee.component_count = score.components.count
  }
  if !score.notes.isEmpty, let list = array(attune_note.self, score.notes.count, host) {
    for (i, note) in score.notes.enumerated() {
      list[i] = attune_note(name: lent(note.name, host), text: lent(note.text, host))
    }
    outcome.pointee.notes = UnsafePointer(list)
    outcome.pointee.note_count = score.notes.count
  }
  if let rewards = score.tokenRewards, let list = array(Float.self, rewards.count, host) {
    list.update(from: rewards, count: rewards.count)
    outcome.pointee.token_rewards = UnsafePointer(list)
    outcome.pointee.token_reward_count = rewards.count
  }
  if !score.stepRewards.isEmpty, let list = array(attune_step_reward.self, score.stepRewards.count, host) {
    for (i, step) in score.stepRewards.enumerated() {
      list[i] = attune_step_reward(
        first_token: UInt32(clamping: step.tokens.lowerBound), end_token: UInt32(clamping: step.tokens.upperBound),
        value: step.value, label: lent(step.label, host))
    }
    outcome.pointee.step_rewards = UnsafePointer(list)
    outcome.pointee.step_reward_count = score.stepRewards.count
  }
}

private func write(
  _ error: any Error, into outcome: UnsafeMutablePointer<attune_outcome>, _ host: UnsafePointer<attune_host>
) {
  outcome.pointee.status = (error as? RewardError)?.status ?? ATTUNE_FAILED
  outcome.pointee.log = lent("\(error)", host)
}

private func array<T>(_ type: T.Type, _ count: Int, _ host: UnsafePointer<attune_host>) -> UnsafeMutablePointer<T>? {
  host.pointee.allocate(host, max(1, count) * MemoryLayout<T>.stride)?.bindMemory(to: type, capacity: count)
}

/// A copy of the text in the host's arena; absent if it is empty.
private func lent(_ text: String, _ host: UnsafePointer<attune_host>) -> attune_string {
  var copy = text
  return copy.withUTF8 { bytes in
    guard bytes.count > 0, let memory = host.pointee.allocate(host, bytes.count + 1) else { return attune_string() }
    memory.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    return attune_string(data: memory.assumingMemoryBound(to: CChar.self), size: bytes.count)
  }
}

/// The error as a status, its description in the caller's buffer, cut at a whole character.
private func report(_ error: any Error, into buffer: UnsafeMutablePointer<attune_error>?) -> attune_status {
  if let buffer, buffer.pointee.capacity > 0, let message = buffer.pointee.message {
    var count = 0
    for character in "\(error)" {
      let bytes = Array(String(character).utf8)
      guard count + bytes.count < buffer.pointee.capacity else { break }
      for byte in bytes {
        message[count] = CChar(bitPattern: byte)
        count += 1
      }
    }
    message[count] = 0
  }
  return (error as? RewardError)?.status ?? ATTUNE_FAILED
}

/// A C string that is never freed.
private func permanent(_ text: String) -> UnsafePointer<CChar> {
  let bytes = Array(text.utf8CString)
  let memory = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
  memory.initialize(from: bytes, count: bytes.count)
  return UnsafePointer(memory)
}
