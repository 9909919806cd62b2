import CFFI
import CRewardABI
import Core

/// An exported function as a reward, with the parameters of one entry of a recipe. Texts, tokens and pixels go to the
/// function as they stand in the batch; nothing is allocated for a call that takes only those.
///
/// Safety: used by one thread at a time; `InlineReward` holds a lock, a worker has one thread that scores.
final class FunctionInstance: RewardInstance {
  let descriptor: RewardDescriptor
  private let binding: FunctionBinding
  private let call: FunctionCall
  private let arguments: FunctionArguments
  /// libffi widens results to a word.
  private let result: UnsafeMutableRawPointer

  /// - Parameter parameters: complete, their types checked.
  init(_ binding: FunctionBinding, parameters: JSON.Object, file: String?, services: any PluginServices) throws {
    self.binding = binding
    descriptor = binding.descriptor
    call = FunctionCall(services)
    arguments = try FunctionArguments(binding.signature, parameters: parameters, file: file, call)
    result = .allocate(byteCount: 16, alignment: 16)
  }

  deinit { result.deallocate() }

  func score(_ view: BatchView, variant: PluginInstance.Variant, into reply: ByteBuffer) throws {
    defer { call.endBatch() }
    call.timeLimit = Double(view.batch.pointee.time_limit_ms) / 1000
    reply.append(Int(ATTUNE_OK))
    reply.append("")
    reply.append(view.count)
    for i in 0..<view.count {
      guard let sample = view.batch.pointee.samples[i] else { preconditionFailure("a batch holds its samples") }
      call.begin(sample)
      call.services.begin(i)
      if let trouble = arguments.fill(sample, view.batch) {
        OutcomeCoding.write(.none(.invalid, trouble), into: reply)
      } else {
        result.storeBytes(of: 0, as: UInt64.self)
        ffi_call(binding.interface.cif, binding.function, result, arguments.vector)
        write(into: reply)
      }
      call.services.end(i)
    }
    if let place = arguments.violation { throw RewardViolation(place: place) }
  }

  /// What became of the call, as `OutcomeCoding` reads it.
  private func write(into reply: ByteBuffer) {
    var status = ATTUNE_OK
    var score = Double.nan
    var why = ""
    func fail(_ result: String) {
      status = ATTUNE_FAILED
      why = "\(descriptor.reward) returned \(result)"
    }
    switch binding.signature.result {
    case .score(let number): score = number.load(result)
    case .success where CNumber.bool.load(result) == 0: fail("false")
    case .status(let number) where number.load(result) != 0: fail("\(Int(number.load(result)))")
    case .nothing, .success, .status: if let output = arguments.score { score = output.number.load(output.place) }
    }
    reply.append(Int(status))
    reply.append(score)
    writeLog(why, into: reply)
    writeComponents(into: reply)
    reply.append(0)
    if let tokens = arguments.tokenRewards, !tokens.isEmpty {
      reply.append(array: Array(tokens))
    } else {
      reply.append(UInt64.max)
    }
    reply.append(0)
  }

  private func writeLog(_ why: String, into reply: ByteBuffer) {
    guard let log = arguments.log else { return reply.append(why) }
    var count = 0
    while count < ArgumentSource.logBytes, log[count] != 0 { count += 1 }
    let bytes = UnsafeRawBufferPointer(start: log, count: count)
    guard !why.isEmpty else { return reply.append(bytes: bytes) }
    let text = String(decoding: bytes, as: UTF8.self)
    reply.append(text.isEmpty ? why : "\(why): \(text)")
  }

  private func writeComponents(into reply: ByteBuffer) {
    let values = arguments.components.map { $0.number.load($0.place) }
    // What the function left alone is no component.
    reply.append(values.count { !$0.isNaN })
    for (output, value) in zip(arguments.components, values) where !value.isNaN {
      reply.append(output.name)
      reply.append(value)
    }
  }
}
