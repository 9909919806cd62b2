import CConfinement
import Core
import Foundation

/// Why a worker ended before it answered.
struct WorkerDeath: Error {
  enum Cause {
    case ended(ChildProcess.End)
    /// It was killed: no answer within these seconds.
    case timedOut(Double)
    /// It was killed: what it sent was no message, or a reply that cannot be.
    case garbled
    /// It was killed: it touched what was not its own.
    case violated(String)
    /// It reported that it cannot score.
    case reported(String)
    /// After it had died it could not be started again.
    case notRestarted(String)
  }

  var cause: Cause
  /// What is likely behind it, as far as that can be known.
  var reason: String?

  init(_ cause: Cause, reason: String? = nil) {
    self.cause = cause
    self.reason = reason
  }

  /// What happened, to be followed by " while ...".
  private var event: String {
    switch cause {
    case .ended(.signal(let number)): "the plugin was stopped by \(ChildProcess.End.signal(number).words)"
    case .ended(.exit(let status)): "the plugin ended its process with exit status \(status)"
    case .timedOut(let seconds): "the plugin was stopped after \(JSON.double(seconds).text()) s, its time limit,"
    case .garbled: "the plugin damaged its worker's messages and was stopped"
    case .violated(let place): "the plugin wrote outside its outcomes (\(place) was touched) and was stopped"
    case .reported(let message): "the plugin could not be called (\(message))"
    case .notRestarted(let why): "the plugin could not be started again (\(why))"
    }
  }

  /// The event, and why.
  var words: String { event + (reason.map { ": \($0)" } ?? "") }

  func words(while occasion: String) -> String { "\(event) while \(occasion)" + (reason.map { ": \($0)" } ?? "") }

  /// True if marks of progress can be believed.
  var leavesMarks: Bool {
    switch cause {
    case .ended, .timedOut: true
    case .garbled, .violated, .reported, .notRestarted: false
    }
  }

  // MARK: Reasons

  /// What the fault's last words and the limits say about an end.
  ///
  /// - Parameters:
  ///   - fault: written by the worker, perhaps by the plugin in it: only numbers are taken from it.
  ///   - taken: bytes of address space that the worker took before it was limited.
  ///   - printed: the last line that the worker printed in this call.
  static func reason(
    _ end: ChildProcess.End, _ fault: attune_fault, limits: WorkerLimits, taken: UInt64, printed: String?
  ) -> String? {
    var reasons: [String] = []
    switch end {
    case .signal(let number):
      if fault.signal == UInt64(number) { reasons += reason(fault, limits, taken) }
      if number == SIGXCPU { reasons.append("its processor time was used up") }
      if number == SIGSYS { reasons.append("it made a system call of another processor's convention") }
      if number == SIGKILL {
        reasons.append("it was killed from outside, perhaps by the system because memory ran out")
      }
    case .exit:
      if fault.kind == UInt64(ATTUNE_FAULT_DESCRIPTORS) {
        reasons.append("it closed its worker's descriptors, which are not its own")
      }
    }
    if let printed { reasons.append("the last that it printed: \(printed)") }
    return reasons.isEmpty ? nil : reasons.joined(separator: "; ")
  }

  private static func reason(_ fault: attune_fault, _ limits: WorkerLimits, _ taken: UInt64) -> [String] {
    var reasons: [String] = []
    switch Int(truncatingIfNeeded: fault.kind) {
    case ATTUNE_FAULT_IN_INPUTS: reasons.append("it wrote into its inputs, which are read-only")
    case ATTUNE_FAULT_IN_STACK: reasons.append("its stack was used up (endless recursion?)")
    default: break
    }
    let page = UInt64(sysconf(Int32(_SC_PAGESIZE)))
    let limit = UInt64(limits.memoryMiB) << 20
    let (bytes, overflow) = fault.pages.multipliedReportingOverflow(by: page)
    // Memory is asked for in pieces: the piece that was refused was never taken.
    if !overflow, taken > 0, bytes > taken, bytes - taken >= limit / 4 * 3 {
      let own = (bytes - taken) >> 20
      reasons.append("it had taken \(own) of the \(limits.memoryMiB) MiB that it may, and was likely refused more")
    }
    return reasons
  }
}
