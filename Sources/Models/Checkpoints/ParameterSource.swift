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
  /// How frozen matrices of linear layers and of the head are held; all other parameters are plain.
  public let weights: WeightFormat
  public private(set) var parameters: [Parameter] = []
  /// Tensors that hold several of the parameters.
  private(set) var stacks: [ExpertStack] = []

  init(backend: any Backend, precision: Precision, weights: WeightFormat) {
    self.backend = backend
    self.precision = precision
    self.weights = weights
  }

  func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    fatalError("a subclass answers")
  }

  /// The parameter of that name, frozen; matrices keep the file's bf16 or f16, vectors become f32.
  func parameter(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Parameter {
    try parameter(name, shape, initialization, heldAs: .plain)
  }

  /// The matrix `[out, in]` that a linear layer or the head multiplies by.
  func matrix(_ name: String, _ shape: [Int]) throws -> Parameter {
    try parameter(name, shape, .normal, heldAs: weights)
  }

  /// A matrix `[out, in]`, or `[in, out]` if it is turned, whose values are part of a tensor that was read already.
  func matrix(_ name: String, _ value: Tensor, isTurned: Bool) throws -> Parameter {
    keep(name, value, isTurned: isTurned, heldAs: weights)
  }

  func add(_ stack: ExpertStack) { stacks.append(stack) }

  /// Whether a tensor of all experts is `[experts, in, out]`, and not `[experts, out, in]`; the published layout unless a file says
  /// otherwise.
  func isTurned(_ name: String, count: Int, out: Int, in width: Int) -> Bool { out != width }

  private func parameter(
    _ name: String, _ shape: [Int], _ initialization: Initialization, heldAs format: WeightFormat
  ) throws -> Parameter {
    keep(name, try value(name, shape, initialization), heldAs: format)
  }

  private func keep(
    _ name: String, _ value: Tensor, isTurned: Bool = false, heldAs format: WeightFormat
  ) -> Parameter {
    var value = value
    if value.dtype == .bf16 || value.dtype == .f16, value.shape.count == 1 {
      let wide = backend.making(backend.modelPart) { backend.empty(value.shape, .f32) }
      backend.convert(wide, value)
      value = wide
    }
    let parameter = Parameter(
      name: name, value: value, precision: precision, format: format, trainable: false, isTurned: isTurned,
      backend: backend)
    parameters.append(parameter)
    return parameter
  }
}

/// Parameters of a checkpoint folder: matrices stay in the mapped files until products pack them.
public final class CheckpointSource: ParameterSource {
  private let files: SafeTensorsFolder
  /// What a person should know of the files; sentences.
  public var remarks: [String] { files.remarks }

  public init(folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain) throws {
    files = try SafeTensorsFolder(folder)
    super.init(backend: backend, precision: precision, weights: weights)
  }

  override func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    try files.tensor(name, shape: shape, on: backend)
  }

  override func isTurned(_ name: String, count: Int, out: Int, in width: Int) -> Bool {
    files.entry(name).map { $0.shape == [count, width, out] && out != width } ?? (out != width)
  }

  private static let headName = "lm_head.weight"

  /// To be called once a model has taken its parameters: a head that the model ties to its embedding, but that the file has
  /// too, must be the same.
  ///
  /// - Throws: `.request` if it is not: it would be ignored.
  public func checkTiedHead() throws {
    // A rehearsal reads no weights.
    guard backend.computes else { return }
    for name in files.unasked where name.hasSuffix(Self.headName) {
      guard let embedding = parameters.first(where: { $0.name.hasSuffix("embed_tokens.weight") })?.name,
        !files.areEqual(name, embedding)
      else { continue }
      throw AttuneError.request(
        "\(name) differs from \(embedding), but config.json ties them", at: .init(file: files.folder + "/config.json"),
        hint: "set \"tie_word_embeddings\": false to use both, or remove \(name) from the weights")
    }
  }

  /// Tensors of the folder that the model has no place for, sorted. Copies of a tied embedding are not among them.
  public var unusedTensors: [String] { files.unasked.filter { !$0.hasSuffix(Self.headName) } }

  /// The unused tensors as they are, to be written beside the model's own.
  public func unusedToWrite() -> [WrittenTensor] { unusedTensors.compactMap { files.written($0) } }

  /// A sentence about unused tensors that may be missed; nil if there are none. Old checkpoints carry rotary frequencies, which
  /// every program computes anew.
  public var unusedRemark: String? {
    let names = unusedTensors.filter { !$0.hasSuffix("rotary_emb.inv_freq") }
    guard !names.isEmpty else { return nil }
    let some = names.prefix(3).joined(separator: ", ") + (names.count > 3 ? ", …" : "")
    return
      "\(files.folder): \(names.count) tensor\(names.count == 1 ? "" : "s") of the weights not used by this model (\(some))"
  }
}

/// Parameters of which nothing but their shapes is wanted, on a backend that computes nothing.
public final class ShapeSource: ParameterSource {
  override public init(backend: any Backend, precision: Precision, weights: WeightFormat = .plain) {
    precondition(!backend.computes, "parameters without values for a backend that computes")
    super.init(backend: backend, precision: precision, weights: weights)
  }

  override func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    backend.empty(shape, .f32)
  }
}

/// Fresh parameters, a function of the seed and of each parameter's name alone.
public final class RandomSource: ParameterSource {
  /// How wide the normal distribution of a fresh matrix is.
  public enum Scheme: Sendable {
    /// One standard deviation for all, as checkpoints are configured (`initializer_range`).
    case constant(Double)
    /// For small models that are trained from nothing: 1/√in, what is added to the residual stream narrower by √8
    /// (1/√(2 · layers) with four layers), tokens 0.05, learned positions 0.3.
    case fanIn
  }

  private let randomness: Randomness
  private let scheme: Scheme

  public init(
    seed: UInt64, scheme: Scheme, backend: any Backend, precision: Precision, weights: WeightFormat = .plain
  ) {
    randomness = Randomness(seed: seed, for: .initialization)
    self.scheme = scheme
    super.init(backend: backend, precision: precision, weights: weights)
  }

  public convenience init(
    seed: UInt64, deviation: Double = 0.02, backend: any Backend, precision: Precision, weights: WeightFormat = .plain
  ) {
    self.init(seed: seed, scheme: .constant(deviation), backend: backend, precision: precision, weights: weights)
  }

  private func deviation(_ name: String, _ shape: [Int]) -> Double {
    switch scheme {
    case .constant(let deviation): return deviation
    case .fanIn:
      if name.hasSuffix("embed_tokens.weight") || name == "image_newline" || name == "view_seperator" { return 0.05 }
      if name.hasSuffix("pos_embed.weight") || name.hasSuffix("pos_embed") { return 0.3 }
      let plain = 1 / Double(shape.dropFirst().reduce(1, *)).squareRoot()
      let isResidual =
        name.hasSuffix("o_proj.weight") || name.hasSuffix("down_proj.weight") || name.hasSuffix("attn.proj.weight")
        || (name.contains(".blocks.") && name.hasSuffix("fc2.weight"))
      if isResidual { return plain / 8.0.squareRoot() }
      return name.contains("deepstack_merger_list") && name.hasSuffix("linear_fc2.weight") ? plain / 2 : plain
    }
  }

  override func value(_ name: String, _ shape: [Int], _ initialization: Initialization) throws -> Tensor {
    let count = shape.reduce(1, *)
    switch initialization {
    case .zeros: return backend.zeros(shape, .f32)
    case .ones: return backend.upload([Float](repeating: 1, count: count), shape)
    case .normal:
      let deviation = deviation(name, shape)
      var stream = randomness.stream(named: name)
      return backend.upload((0..<count).map { _ in Float(stream.normal() * deviation) }, shape)
    }
  }
}
