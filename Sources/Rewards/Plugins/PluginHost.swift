import CRewardABI
import Core

/// The services behind the table of functions that a plugin sees.
protocol PluginServices: AnyObject {
  func begin(_ index: Int)
  func end(_ index: Int)
  /// Seconds since the sample being scored began, or nil between samples.
  var elapsed: Double? { get }
  func log(_ level: Int, _ text: String)
  func metric(_ name: String, _ value: Double)
  func decode(_ ids: [Int32]) -> String?
  func encode(_ text: String) -> [Int32]?
  func judge(_ request: JudgeRequest) -> JudgeReply
}

/// What `attune_host.host_data` points to: the state behind the services of one instance.
final class PluginHost {
  let arena = GuardedArena()
  let services: any PluginServices
  private let parameters: JSON.Object
  private var columns: [UnsafePointer<attune_sample>: JSON.Object] = [:]
  /// Seconds per sample; 0: none.
  var timeLimit: Double = 0
  let table: UnsafeMutablePointer<attune_host>
  private let tableArena = GuardedArena()

  init(parameters: JSON.Object, services: any PluginServices) {
    self.parameters = parameters
    self.services = services
    guard let memory = tableArena.allocate(MemoryLayout<attune_host>.size, "attune_host") else {
      preconditionFailure("an arena that is empty has room for a table")
    }
    table = memory.bindMemory(to: attune_host.self, capacity: 1)
    table.pointee.struct_size = UInt32(MemoryLayout<attune_host>.size)
    table.pointee.host_data = Unmanaged.passUnretained(self).toOpaque()
    table.pointee.name = constant("attune")
    table.pointee.version = constant(RewardLoader.programVersion)
    fillTable()
  }

  private func constant(_ text: String) -> UnsafePointer<CChar>? { copy(text, in: tableArena).data }

  private func copy(_ text: String, in arena: GuardedArena) -> attune_string {
    var text = text
    return text.withUTF8 { bytes in
      guard let memory = arena.allocate(bytes.count + 1, "a string of the host") else { return attune_string() }
      if let start = bytes.baseAddress { memory.copyMemory(from: start, byteCount: bytes.count) }
      return attune_string(data: memory.assumingMemoryBound(to: CChar.self), size: bytes.count)
    }
  }

  /// Takes back everything that was lent for one call.
  func endCall() {
    arena.clear()
    columns = [:]
    lastJSON = nil
  }

  /// Hides the services after `metric`, as an older host would; their places then hold an address that traps.
  func offerFewerServices(_ fewer: Bool) {
    let all = MemoryLayout<attune_host>.size
    let some = MemoryLayout<attune_host>.offset(of: \.decode_tokens) ?? all
    fillTable()
    table.pointee.struct_size = UInt32(fewer ? some : all)
    if fewer {
      let raw = UnsafeMutableRawPointer(table)
      for offset in stride(from: some, to: all, by: 8) {
        raw.storeBytes(of: 0x7FFF_DEAD_0000_0000, toByteOffset: offset, as: UInt64.self)
      }
    }
  }

  var violation: String? { tableArena.violation() ?? arena.violation() }

  private static func of(_ host: UnsafePointer<attune_host>?) -> PluginHost? {
    host?.pointee.host_data.map { Unmanaged<PluginHost>.fromOpaque($0).takeUnretainedValue() }
  }

  /// The `counter`-th random word of a sample.
  static func random(seed: UInt64, _ counter: UInt64) -> UInt64 {
    let words = Philox.block(
      key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)),
      counter: (UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32), 0x7265_7761, 0x7264))
    return UInt64(words.0) << 32 | UInt64(words.1)
  }

  private func store(
    _ json: JSON?, _ out: UnsafeMutablePointer<attune_value>?, _ arena: GuardedArena
  ) -> attune_status {
    var value = attune_value(type: ATTUNE_ABSENT, reserved: 0, number: .nan, text: attune_string())
    if let json {
      switch json.value {
      case .null: value.type = ATTUNE_NULL
      case .bool(let x):
        value.type = ATTUNE_BOOL
        value.number = x ? 1 : 0
      case .int(let x):
        value.type = ATTUNE_NUMBER
        value.number = Double(x)
      case .double(let x):
        value.type = ATTUNE_NUMBER
        value.number = x
      case .string: value.type = ATTUNE_STRING
      case .array(let list):
        value.type = ATTUNE_LIST
        value.number = Double(list.count)
      case .object(let object):
        value.type = ATTUNE_OBJECT
        value.number = Double(object.count)
      }
      value.text = copy(json.string ?? json.text(), in: arena)
    }
    out?.pointee = value
    return json == nil ? ATTUNE_NOT_APPLICABLE : ATTUNE_OK
  }

  private func row(_ sample: UnsafePointer<attune_sample>) -> JSON.Object {
    if let known = columns[sample] { return known }
    let text = sample.pointee.columns
    let bytes = UnsafeRawBufferPointer(start: text.data, count: text.data == nil ? 0 : text.size)
    let parsed = (try? JSON.parse(bytes))?.object ?? .init()
    columns[sample] = parsed
    return parsed
  }

  /// The last text that a plugin looked into, parsed: it usually asks about the same one several times.
  private var lastJSON: (bytes: [UInt8], json: JSON)?

  private func parsed(_ bytes: UnsafeRawBufferPointer) -> JSON? {
    if let lastJSON, lastJSON.bytes.count == bytes.count, lastJSON.bytes.elementsEqual(bytes) { return lastJSON.json }
    guard let json = try? JSON.parse(bytes) else { return nil }
    lastJSON = (Array(bytes), json)
    return json
  }

  private func judge(
    _ request: attune_judge_request, _ reply: UnsafeMutablePointer<attune_judge_reply>
  ) -> attune_status {
    func text(_ string: attune_string) -> String? {
      string.data.map {
        String(decoding: UnsafeRawBufferPointer(start: $0, count: min(string.size, 1 << 26)), as: UTF8.self)
      }
    }
    func answer(_ found: JudgeReply) -> attune_status {
      reply.pointee.text = found.text.map { copy($0, in: arena) } ?? attune_string()
      reply.pointee.message = found.message.isEmpty ? attune_string() : copy(found.message, in: arena)
      reply.pointee.prompt_tokens = UInt64(clamping: found.promptTokens)
      reply.pointee.completion_tokens = UInt64(clamping: found.completionTokens)
      reply.pointee.logprob = found.logprob ?? .nan
      switch found.status {
      case .ok: return ATTUNE_OK
      case .notApplicable: return ATTUNE_NOT_APPLICABLE
      case .failed: return ATTUNE_FAILED
      case .timedOut: return ATTUNE_TIMED_OUT
      case .invalid: return ATTUNE_INVALID
      }
    }
    var messages: JSON
    if let given = text(request.messages) {
      guard let parsed = try? JSON.parse(given), parsed.array != nil else {
        return answer(JudgeReply(status: .invalid, message: "messages of a judge request are no JSON list"))
      }
      messages = parsed
    } else {
      let turns = [("system", text(request.system)), ("user", text(request.prompt))]
      messages = .array(
        turns.compactMap { role, text in text.map { ["role": .string(role), "content": .string($0)] } })
    }
    return answer(
      services.judge(
        JudgeRequest(
          judge: text(request.judge), messages: messages,
          maxTokens: request.max_tokens == 0 ? nil : Int(request.max_tokens),
          temperature: request.temperature.isNaN ? nil : request.temperature,
          continuation: text(request.continuation))))
  }

  private func fillTable() {
    table.pointee.allocate = { host, size in
      PluginHost.of(host)?.arena.allocate(Int(clamping: size), "memory of allocate")
    }
    table.pointee.begin = { PluginHost.of($0)?.services.begin(Int(clamping: $1)) }
    table.pointee.end = { PluginHost.of($0)?.services.end(Int(clamping: $1)) }
    table.pointee.cancelled = { host in
      guard let self = PluginHost.of(host), self.timeLimit > 0, let elapsed = self.services.elapsed else {
        return false
      }
      return elapsed >= self.timeLimit
    }
    table.pointee.now_ms = { _ in MonotonicClock.now / 1_000_000 }
    table.pointee.random = { _, sample, counter in PluginHost.random(seed: sample?.pointee.seed ?? 0, counter) }
    table.pointee.column = { host, sample, name, value in
      guard let self = PluginHost.of(host), let sample, let name else { return ATTUNE_FAILED }
      return self.store(self.row(sample)[String(cString: name)], value, self.arena)
    }
    table.pointee.parameter = { host, name, value in
      guard let self = PluginHost.of(host), let name else { return ATTUNE_FAILED }
      return self.store(self.parameters[String(cString: name)], value, self.arena)
    }
    table.pointee.json = { host, text, path, value in
      value?.pointee = attune_value(type: ATTUNE_ABSENT, reserved: 0, number: .nan, text: attune_string())
      guard let self = PluginHost.of(host), let path, let data = text.data else { return ATTUNE_NOT_APPLICABLE }
      guard let json = self.parsed(UnsafeRawBufferPointer(start: data, count: text.size)) else { return ATTUNE_INVALID }
      return self.store(json.part(at: String(cString: path)), value, self.arena)
    }
    table.pointee.log = { host, level, text in
      guard let data = text.data else { return }
      let bytes = UnsafeRawBufferPointer(start: data, count: min(text.size, 1 << 16))
      PluginHost.of(host)?.services.log(Int(min(max(level, 0), 3)), String(decoding: bytes, as: UTF8.self))
    }
    table.pointee.metric = { host, name, value in
      if let name { PluginHost.of(host)?.services.metric(String(cString: name), value) }
    }
    table.pointee.decode_tokens = { host, ids, count, text in
      guard let self = PluginHost.of(host), let ids, count <= 1 << 24,
        let found = self.services.decode(Array(UnsafeBufferPointer(start: ids, count: Int(count))))
      else {
        text?.pointee = attune_string()
        return ATTUNE_NOT_APPLICABLE
      }
      text?.pointee = self.copy(found, in: self.arena)
      return ATTUNE_OK
    }
    table.pointee.encode_text = { host, text, ids, count in
      ids?.pointee = nil
      count?.pointee = 0
      guard let self = PluginHost.of(host), let data = text.data, text.size <= 1 << 26 else {
        return ATTUNE_NOT_APPLICABLE
      }
      let bytes = UnsafeRawBufferPointer(start: data, count: text.size)
      guard let found = self.services.encode(String(decoding: bytes, as: UTF8.self)),
        let memory = self.arena.allocate(found.count * 4, "token ids of the host")
      else { return ATTUNE_NOT_APPLICABLE }
      let list = memory.bindMemory(to: Int32.self, capacity: found.count)
      list.update(from: found, count: found.count)
      ids?.pointee = UnsafePointer(list)
      count?.pointee = found.count
      return ATTUNE_OK
    }
    table.pointee.judge = { host, request, reply in
      guard let self = PluginHost.of(host), let request, let reply,
        Int(reply.pointee.struct_size) >= MemoryLayout<attune_judge_reply>.size,
        Int(request.pointee.struct_size) >= MemoryLayout<attune_judge_request>.size
      else { return ATTUNE_FAILED }
      return self.judge(request.pointee, reply)
    }
    table.pointee.get_extension = { _, _ in nil }
  }
}
