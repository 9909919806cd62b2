import CFFI
import Core

/// The types of a call, prepared for libffi.
final class CallInterface {
  let cif = UnsafeMutablePointer<ffi_cif>.allocate(capacity: 1)
  private let types: UnsafeMutablePointer<UnsafeMutablePointer<ffi_type>?>

  /// - Parameter pointers: arguments that are pointers whatever their type says.
  init(_ result: CType, _ arguments: [CType], pointers: Set<Int> = []) throws {
    types = .allocate(capacity: max(1, arguments.count))
    cif.initialize(to: ffi_cif())
    for (i, argument) in arguments.enumerated() {
      types[i] = pointers.contains(i) ? attune_ffi_type(UInt16(FFI_TYPE_POINTER)) : argument.ffi
    }
    let status = ffi_prep_cif(cif, FFI_DEFAULT_ABI, UInt32(arguments.count), result.ffi, types)
    guard status == FFI_OK else {
      throw AttuneError.work("libffi cannot prepare a call with \(arguments.count) arguments (\(status))")
    }
  }

  deinit {
    cif.deallocate()
    types.deallocate()
  }
}
