import CFFI
import Core

/// A signature and the function that it declares, found in its library and ready to be called.
struct FunctionBinding {
  let signature: FunctionSignature
  let library: FunctionLibrary
  let function: @convention(c) () -> Void
  let interface: CallInterface

  /// Loads the library into this process.
  init(library name: String, signature text: String) throws {
    signature = try FunctionSignature(text)
    library = try FunctionLibrary(name)
    function = unsafeBitCast(try library.function(signature.name), to: (@convention(c) () -> Void).self)
    interface = try CallInterface(
      signature.resultType, signature.arguments.map(\.type), pointers: Self.callbacks(signature))
  }

  /// Arguments whose written type is the result of a function that they point to.
  private static func callbacks(_ signature: FunctionSignature) -> Set<Int> {
    Set(
      signature.arguments.indices.filter {
        if case .callback = signature.arguments[$0].source { true } else { false }
      })
  }

  var descriptor: RewardDescriptor { signature.descriptor(library: library.name, path: library.path) }
}
