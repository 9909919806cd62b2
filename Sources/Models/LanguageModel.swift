import AttuneTensor
import Core

/// A causal language model, with a vision tower if its family has one.
///
/// Sampling and training run the same forward pass over packed batches; only where keys and values are kept differs.
/// Not for use by two threads at once.
public final class LanguageModel {
  public let configuration: ModelConfiguration
  public let backend: any Backend
  public let precision: Precision
  /// All parameters of the checkpoint, in the order of the model's parts.
  public let parameters: [Parameter]
  /// The matrix `[vocabulary, hidden]` of the language-model head: the embedding where they are tied.
  public let head: WeightGroup
  public internal(set) var adapter: LoRAAdapter?
  var adapterTargets: [String]?
  private let decoder: Decoder
  private let vision: Qwen3VLVision?

  /// Builds the model that a configuration describes, with parameters from a source.
  public init(_ configuration: ModelConfiguration, from source: ParameterSource) throws {
    self.configuration = configuration
    backend = source.backend
    precision = source.precision
    switch configuration.family {
    case .qwen2, .qwen3, .qwen3MoE:
      decoder = try Decoder(configuration.text, prefix: "model", tied: configuration.tiedEmbeddings, from: source)
      vision = nil
    case .qwen3VL:
      vision = try Qwen3VLVision(configuration.vision!, prefix: "model.visual", from: source)
      decoder = try Decoder(
        configuration.text, prefix: "model.language_model", tied: configuration.tiedEmbeddings, from: source)
    }
    head = WeightGroup([
      configuration.tiedEmbeddings
        ? decoder.embedding
        : try source.matrix("lm_head.weight", [configuration.text.vocabularySize, configuration.text.hiddenSize])
    ])
    parameters = source.parameters
  }

  /// Loads a Hugging Face checkpoint folder; parameters are frozen until `setTrainable`.
  public static func load(
    folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain
  ) throws -> LanguageModel {
    try CheckpointFolder.explaining(folder) {
      let configuration = try ModelConfiguration.load(folder: folder)
      let source = try CheckpointSource(folder: folder, backend: backend, precision: precision, weights: weights)
      let model = try LanguageModel(configuration, from: source)
      try source.checkTiedHead()
      return model
    }
  }

  /// All linear layers that an adapter can stand beside.
  public var linears: [Linear] { (vision?.linears ?? []) + decoder.linears }

  /// What an optimizer updates: the adapter's parameters if there is one, else the model's own that are trainable.
  public var trainedParameters: [Parameter] {
    adapter?.parameters.filter(\.isTrainable) ?? parameters.filter(\.isTrainable)
  }

  /// Trains all of the model's own parameters (or none).
  public func setTrainable(_ trainable: Bool) {
    for parameter in parameters { parameter.setTrainable(trainable) }
  }

  /// Changes with every change of a weight, and with the adapter being switched: what a cache of keys and values stands for.
  public var weightsVersion: Int {
    parameters.reduce(0) { $0 &+ $1.version }
      &+ (adapter.map { $0.isEnabled ? $0.parameters.reduce(1) { $0 &+ $1.version } : 0 } ?? 0)
  }

  /// Hidden states after the final norm, `[tokens, hidden]`, rounded to bf16 where the head reads that.
  public func hidden(_ tape: Tape, _ batch: PackedBatch, _ options: PassOptions = PassOptions()) -> Tensor {
    var features: VisionFeatures?
    if !batch.pictures.isEmpty {
      guard let vision else { preconditionFailure("pictures for a model without a vision tower") }
      features = vision(tape, batch.pictures, observe: options.observe)
    }
    return decoder(tape, batch, pictures: features, options)
  }

  /// Per completion token of a batch the streams of its distribution, `[6, targets]` (`HeadStream`).
  public func streams(
    _ tape: Tape, _ batch: TrainingBatch, temperature: Double, wanted: Set<HeadStream>,
    _ options: PassOptions = PassOptions()
  ) -> Tensor {
    let rows = tape.gatherRows(hidden(tape, batch.batch, options), batch.predictingRows)
    return tape.head(rows, head, targets: batch.targets, temperature: temperature, wanted: wanted)
  }

  // MARK: Prompts

  /// Checks ids and pictures against the model and gives every token its position.
  ///
  /// - Parameters:
  ///   - ids: with picture places already expanded, one id per place.
  ///   - pictures: in the order of their places.
  /// - Throws: `.request` if an id is outside the vocabulary, or places and pictures do not match.
  public func encode(ids: [Int32], pictures: [PictureInput] = []) throws -> EncodedPrompt {
    guard !ids.isEmpty else { throw AttuneError.request("there are no tokens, at least one was expected") }
    for (i, id) in ids.enumerated() where id < 0 || Int(id) >= configuration.text.vocabularySize {
      throw AttuneError.request(
        "token \(i) has id \(id), the vocabulary has \(configuration.text.vocabularySize) ids")
    }
    guard let vision = configuration.vision, let imageID = configuration.imageTokenID else {
      guard pictures.isEmpty else {
        throw AttuneError.request(
          "\(pictures.count) pictures for a \(configuration.family.rawValue) model, which reads text alone")
      }
      return EncodedPrompt(
        ids: ids, positions: ids.indices.map { TokenPosition($0) }, pictures: [], pictureRows: [], pictureRanges: [],
        nextPosition: ids.count)
    }
    let merge = vision.mergeSize
    var positions: [TokenPosition] = []
    var rows: [Int32] = []
    var ranges: [Range<Int>] = []
    var next = 0
    var picture = 0
    var i = 0
    while i < ids.count {
      guard ids[i] == imageID else {
        positions.append(TokenPosition(next))
        next += 1
        i += 1
        continue
      }
      guard picture < pictures.count else {
        throw AttuneError.request(
          "token \(i) is a place of picture \(picture + 1), but there are \(pictures.count) pictures")
      }
      let grid = pictures[picture].grid
      guard pictures[picture].patches.count == pictures[picture].patchCount * vision.patchWidth,
        grid.height % merge == 0,
        grid.width % merge == 0
      else {
        throw AttuneError.request("picture \(picture + 1) was cut into patches of another size than the model's")
      }
      let (height, width) = (grid.height / merge, grid.width / merge)
      let places = grid.frames * height * width
      guard i + places <= ids.count, ids[i..<i + places].allSatisfy({ $0 == imageID }) else {
        let found = ids[i...].prefix { $0 == imageID }.count
        throw AttuneError.request("picture \(picture + 1) has \(found) places in the tokens, its size needs \(places)")
      }
      for place in 0..<places {
        let frame = place / (height * width)
        let row = place / width % height
        positions.append(
          TokenPosition(time: Int32(next + frame), height: Int32(next + row), width: Int32(next + place % width)))
        rows.append(Int32(i + place))
      }
      ranges.append(i..<i + places)
      // The next token follows the largest position used.
      next += max(height, width)
      picture += 1
      i += places
    }
    guard picture == pictures.count else {
      throw AttuneError.request("\(pictures.count) pictures, but places for only \(picture) of them in the tokens")
    }
    return EncodedPrompt(
      ids: ids, positions: positions, pictures: pictures, pictureRows: rows, pictureRanges: ranges,
      nextPosition: next)
  }

  // MARK: Saving

  /// The model's weights with the adapter folded in, in the checkpoint's names; f32, or bf16 when products are bf16.
  public func mergedWeights() -> [(name: String, tensor: Tensor)] {
    let adapted = Dictionary(
      linears.filter { $0.lora != nil }.map { ($0.weight.name, $0) }, uniquingKeysWith: { a, _ in a })
    return parameters.map { parameter in
      let value = adapted[parameter.name].map { merged($0) } ?? parameter.value
      guard precision == .bf16, value.dtype == .f32 else { return (parameter.name, value) }
      let narrow = backend.empty(value.shape, .bf16)
      backend.convert(narrow, value)
      return (parameter.name, narrow)
    }
  }
}
