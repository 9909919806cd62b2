import CFFI
import CRewardABI
import Core

/// A function of the host at an address of its own, made by libffi. It works as long as this object lives.
final class HostClosure {
  /// What a C function is given.
  let code: UnsafeMutableRawPointer
  private let closure: UnsafeMutablePointer<ffi_closure>
  private let interface: CallInterface
  private let callback: HostCallback
  private unowned let call: FunctionCall

  /// - Throws: `AttuneError` if the system refuses memory that can be executed.
  init(_ callback: HostCallback, _ call: FunctionCall) throws {
    self.callback = callback
    self.call = call
    interface = try CallInterface(callback.result, callback.parameters)
    var code: UnsafeMutableRawPointer?
    guard let memory = ffi_closure_alloc(MemoryLayout<ffi_closure>.size, &code), let code else {
      throw AttuneError.work("the system gives no memory for the function \(callback.service.rawValue) of the host")
    }
    closure = memory.assumingMemoryBound(to: ffi_closure.self)
    self.code = code
    let status = ffi_prep_closure_loc(
      closure, interface.cif,
      { _, result, arguments, user in
        guard let user, let arguments else { return }
        Unmanaged<HostClosure>.fromOpaque(user).takeUnretainedValue().answer(result, arguments)
      }, Unmanaged.passUnretained(self).toOpaque(), code)
    guard status == FFI_OK else {
      throw AttuneError.work("libffi cannot make the function \(callback.service.rawValue) of the host (\(status))")
    }
  }

  deinit { ffi_closure_free(closure) }

  private func answer(
    _ result: UnsafeMutableRawPointer?, _ arguments: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  ) {
    func argument<T>(_ i: Int, _ type: T.Type) -> T? { arguments[callback.first + i]?.load(as: type) }
    /// At most 64 KiB of a text that the function passes.
    func text() -> String? {
      guard let start = argument(0, UnsafePointer<CChar>?.self) ?? nil else { return nil }
      var count = 0
      while count < 1 << 16, start[count] != 0 { count += 1 }
      return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }
    // A result narrower than a word is widened to one.
    func give(_ word: UInt64) { result?.storeBytes(of: word, as: UInt64.self) }
    func give(_ text: UnsafeMutableRawPointer?) { give(UInt64(UInt(bitPattern: text))) }
    switch callback.service {
    case .log: if let text = text() { call.services.log(Int(ATTUNE_LOG_INFO), text) }
    case .metric:
      if let name = text(), let value = argument(1, Double.self) { call.services.metric(name, value) }
    case .random: give(call.random(argument(0, UInt64.self) ?? 0))
    case .cancelled: give(call.isCancelled ? 1 : 0)
    case .column: give((text().flatMap { call.number(ofColumn: $0) } ?? .nan).bitPattern)
    case .column_text: give(text().flatMap { call.text(ofColumn: $0) })
    case .judge: give(text().flatMap { call.judge($0) })
    }
  }
}
