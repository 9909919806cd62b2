import AttuneTensor
import Core

/// How a fresh parameter starts.
public enum Initialization: Sendable {
  /// Normal with the standard deviation of the source (0.02 unless said otherwise).
  case normal
  case zeros
  case ones
}

/// Where a model's parameters come from; it also keeps the list of them, in the order in which the model asked.
public class ParameterSource {
  public let backend: any Backend
  public let precision: Precision
  public private(set) var parameters: [Parameter] = []

  init(backend: any Backend, precision: Precision) {
    self.backend = backend
    self.precision = precision
  }

  func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    fatalError("a subclass answers")
  }

  /// The parameter of that name, frozen; matrices keep the file's bf16, vectors become f32.
  func parameter(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Parameter {
    var value = try value(name, shape, initialization)
    if value.dtype == .bf16, shape.count == 1 {
      let wide = backend.empty(shape, .f32)
      backend.convert(wide, value)
      value = wide
    }
    let parameter = Parameter(name: name, value: value, precision: precision, trainable: false, backend: backend)
    parameters.append(parameter)
    return parameter
  }
}

/// Parameters of a checkpoint folder.
public final class CheckpointSource: ParameterSource {
  private let weights: SafeTensorsFolder

  public init(folder: String, backend: any Backend, precision: Precision) throws {
    weights = try SafeTensorsFolder(folder)
    super.init(backend: backend, precision: precision)
  }

  override func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    try weights.tensor(name, shape: shape, on: backend)
  }
}

/// Fresh parameters, a function of the seed and of each parameter's name alone.
public final class RandomSource: ParameterSource {
  private let randomness: Randomness
  private let deviation: Double

  public init(seed: UInt64, deviation: Double = 0.02, backend: any Backend, precision: Precision) {
    randomness = Randomness(seed: seed, for: .initialization)
    self.deviation = deviation
    super.init(backend: backend, precision: precision)
  }

  override func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    let count = shape.reduce(1, *)
    switch initialization {
    case .zeros: return backend.zeros(shape, .f32)
    case .ones: return backend.upload([Float](repeating: 1, count: count), shape)
    case .normal:
      // FNV-1a of the name picks the stream.
      let hash = name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
      var stream = randomness.stream(Int(hash))
      return backend.upload((0..<count).map { _ in Float(stream.normal() * deviation) }, shape)
    }
  }
}
