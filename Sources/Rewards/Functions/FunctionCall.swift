import CRewardABI
import Core

/// What the host's functions know about the call that is being made.
///
/// Safety: used by the thread that scores, which is the one that a C function has to call back on.
final class FunctionCall {
  let services: any PluginServices
  /// Texts and lists that were lent for the batch.
  let arena = GuardedArena()
  /// Seconds per sample; 0: none.
  var timeLimit: Double = 0
  private var sample: UnsafePointer<attune_sample>?
  private var parsedRow: JSON.Object?

  init(_ services: any PluginServices) { self.services = services }

  func begin(_ sample: UnsafePointer<attune_sample>) {
    self.sample = sample
    parsedRow = nil
  }

  /// Takes back everything that was lent.
  func endBatch() {
    sample = nil
    parsedRow = nil
    arena.clear()
  }

  /// The sample's row of the data set, read when it is first asked for.
  var row: JSON.Object {
    if let parsedRow { return parsedRow }
    guard let columns = sample?.pointee.columns, let data = columns.data else { return .init() }
    let row = (try? JSON.parse(UnsafeRawBufferPointer(start: data, count: columns.size)))?.object ?? .init()
    parsedRow = row
    return row
  }

  // MARK: For the host's functions

  func random(_ counter: UInt64) -> UInt64 { PluginHost.random(seed: sample?.pointee.seed ?? 0, counter) }

  var isCancelled: Bool {
    guard timeLimit > 0, let elapsed = services.elapsed else { return false }
    return elapsed >= timeLimit
  }

  /// A number, or a truth value as 0 or 1.
  func number(ofColumn name: String) -> Double? {
    switch row[name]?.value {
    case .bool(let truth): truth ? 1 : 0
    case .int(let whole): Double(whole)
    case .double(let number): number
    default: nil
    }
  }

  func text(ofColumn name: String) -> UnsafeMutableRawPointer? {
    guard let value = row[name], !value.isNull else { return nil }
    return arena.copy(value.string ?? value.text())
  }

  func judge(_ question: String) -> UnsafeMutableRawPointer? {
    let reply = services.judge(JudgeRequest(messages: [["role": "user", "content": .string(question)]]))
    if let text = reply.text { return arena.copy(text) }
    services.log(
      Int(ATTUNE_LOG_WARNING),
      "the judge did not answer: \(reply.message.isEmpty ? reply.status.rawValue : reply.message)")
    return nil
  }
}
