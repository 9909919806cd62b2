import AttuneTensor

/// Reads a patch kernel, `[out, channels, (time,) height, width]` in the file, as the matrix `[out, patchWidth]` that it is.
final class PatchKernelSource: ParameterSource {
  private let inner: ParameterSource
  private let shape: [Int]

  init(_ inner: ParameterSource, shape: [Int]) {
    self.inner = inner
    self.shape = shape
    super.init(backend: inner.backend, precision: inner.precision, weights: .plain)
  }

  override func parameter(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Parameter {
    try inner.parameter(name, shape, initialization)
  }
  override func matrix(_ name: String, _ shape: [Int]) throws -> Parameter {
    try inner.parameter(name, self.shape, .normal)
  }
}
