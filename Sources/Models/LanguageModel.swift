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
  /// False for the trunk of a classifier or critic, of which only hidden states may be asked for.
  public let hasHead: Bool
  /// All parameters of the checkpoint, in the order of the model's parts.
  public let parameters: [Parameter]
  /// Tensors of the checkpoint that hold several of the parameters.
  let stacks: [ExpertStack]
  /// The matrix `[vocabulary, hidden]` of the language-model head: the embedding where they are tied, or what the active
  /// adapter brings.
  public internal(set) var head: WeightGroup
  /// The head without any adapter.
  let ownHead: WeightGroup
  public internal(set) var adapters: [LoRAAdapter] = []
  /// The adapter that computes.
  public internal(set) var adapter: LoRAAdapter?
  var adapterCount = 0
  private let decoder: Decoder
  private let vision: (any VisionTower)?

  /// Builds the model that a configuration describes, with parameters from a source.
  ///
  /// - Parameter hasHead: false for checkpoints of classifiers, which have no language-model head: only hidden states may be
  ///   asked for then.
  public init(_ configuration: ModelConfiguration, from source: ParameterSource, hasHead: Bool = true) throws {
    self.configuration = configuration
    backend = source.backend
    precision = source.precision
    self.hasHead = hasHead
    vision =
      switch configuration.vision {
      case .qwen3VL(let vision): try Qwen3VLVision(vision, prefix: "model.visual", from: source)
      case .deepSeekVL2(let vision): try DeepSeekVL2Vision(vision, from: source)
      case nil: nil
      }
    decoder = try Decoder(
      configuration.text, prefix: configuration.decoderPrefix, tied: configuration.tiedEmbeddings && hasHead,
      from: source)
    head = WeightGroup([
      configuration.tiedEmbeddings || !hasHead
        ? decoder.embedding
        : try source.matrix(configuration.headName, [configuration.text.vocabularySize, configuration.text.hiddenSize])
    ])
    ownHead = head
    parameters = source.parameters
    stacks = source.stacks
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

  /// Trains the model's own parameters of these parts, all of them unless said otherwise, or none.
  public func setTrainable(_ trainable: Bool, parts: Set<ModelPart> = Set(ModelPart.allCases)) {
    for parameter in parameters { parameter.setTrainable(trainable && parts.contains(ModelPart(of: parameter.name))) }
  }

  /// The parts that the model has.
  public var parts: Set<ModelPart> { Set(parameters.map { ModelPart(of: $0.name) }) }

  /// Changes with every change of a weight, and with the adapter being switched: what a cache of keys and values stands for.
  public var weightsVersion: Int {
    parameters.reduce(0) { $0 &+ $1.version }
      &+ (adapter.map { $0.isEnabled ? $0.parameters.reduce($0.number << 32) { $0 &+ $1.version } : 0 } ?? 0)
  }

  /// Hidden states after the final norm, `[tokens, hidden]`, rounded to bf16 where the head reads that.
  public func hidden(_ tape: Tape, _ batch: PackedBatch, _ options: PassOptions = PassOptions()) -> Tensor {
    var features: VisionFeatures?
    tape.dropout = options.dropout
    if !batch.pictures.isEmpty {
      guard let vision else { preconditionFailure("pictures for a model without a vision tower") }
      features = backend.making(.vision) { vision(tape, batch.pictures, observe: options.observe) }
    }
    tape.dropout?.rows = batch.places
    defer { tape.dropout = nil }
    return decoder(tape, batch, pictures: features, options)
  }

  /// Per completion token of a batch the streams of its distribution, `[6, targets]` (`HeadStream`).
  public func streams(
    _ tape: Tape, _ batch: TrainingBatch, temperature: Double, wanted: Set<HeadStream>,
    _ options: PassOptions = PassOptions()
  ) -> Tensor {
    let states = predictingStates(tape, batch, options)
    return streams(tape, states, targets: batch.targets, temperature: temperature, wanted: wanted)
  }

  /// For every target of a batch the hidden state that predicts it, `[targets, hidden]`.
  public func predictingStates(
    _ tape: Tape, _ batch: TrainingBatch, _ options: PassOptions = PassOptions()
  ) -> Tensor {
    tape.gatherRows(hidden(tape, batch.batch, options), batch.predictingRows)
  }

  /// The streams of the targets that hidden states predict, `[6, targets]`.
  public func streams(
    _ tape: Tape, _ states: Tensor, targets: [Int32], temperature: Double, wanted: Set<HeadStream>
  ) -> Tensor {
    tape.head(states, head, targets: targets, temperature: temperature, wanted: wanted)
  }

  // MARK: Prompts

  /// Checks ids and pictures against the model and gives every token its position.
  ///
  /// - Parameters:
  ///   - ids: with the places of pictures and films already expanded, one id per place.
  ///   - pictures: in the order of their places.
  ///   - films: the parts of films, two frames each, in the order of their places.
  /// - Throws: `.request` if an id is outside the vocabulary, or places and pictures do not match. Where there are no pictures at
  ///   all, the ids that stand for places are tokens like others, as a policy may sample them.
  public func encode(ids: [Int32], pictures: [PictureInput] = [], films: [PictureInput] = []) throws -> EncodedPrompt {
    guard !ids.isEmpty else { throw AttuneError.request("there are no tokens, at least one was expected") }
    for (i, id) in ids.enumerated() where id < 0 || Int(id) >= configuration.text.vocabularySize {
      throw AttuneError.request(
        "token \(i) has id \(id), the vocabulary has \(configuration.text.vocabularySize) ids")
    }
    guard let vision = configuration.vision, !pictures.isEmpty || !films.isEmpty else {
      guard pictures.isEmpty, films.isEmpty else {
        throw AttuneError.request(
          "\(pictures.count + films.count) pictures for a \(configuration.family.name) model, which reads text alone")
      }
      return EncodedPrompt(
        ids: ids, positions: ids.indices.map { TokenPosition($0) }, pictures: [], pictureRows: [], pictureRanges: [],
        nextPosition: ids.count)
    }
    var positions: [TokenPosition] = []
    var placed: [PictureInput] = []
    var ranges: [Range<Int>] = []
    var next = 0
    var left = (pictures: pictures[...], films: films[...])
    while positions.count < ids.count {
      let i = positions.count
      let isFilm = ids[i] == configuration.videoTokenID
      guard isFilm || ids[i] == configuration.imageTokenID else {
        positions.append(TokenPosition(next))
        next += 1
        continue
      }
      let (number, given) =
        isFilm ? (films.count - left.films.count, films) : (pictures.count - left.pictures.count, pictures)
      let what = isFilm ? "part \(number + 1) of the films" : "picture \(number + 1)"
      guard let picture = isFilm ? left.films.popFirst() : left.pictures.popFirst() else {
        throw AttuneError.request(
          "token \(i) is a place of \(what), but there are \(given.count) \(isFilm ? "parts of films" : "pictures")")
      }
      let places: [TokenPosition]
      do { (places, next) = try vision.layOut(picture, from: next) } catch let error as AttuneError {
        throw AttuneError.request("\(what): \(error.message)")
      }
      guard i + places.count <= ids.count, ids[i..<i + places.count].allSatisfy({ $0 == ids[i] }) else {
        let found = ids[i...].prefix { $0 == ids[i] }.count
        throw AttuneError.request("\(what) has \(found) places in the tokens, its size needs \(places.count)")
      }
      ranges.append(i..<i + places.count)
      positions += places
      placed.append(picture)
    }
    guard left.pictures.isEmpty, left.films.isEmpty else {
      let unplaced = left.pictures.count + left.films.count
      throw AttuneError.request(
        "\(pictures.count + films.count) pictures, but places for only \(placed.count) of them in the tokens",
        hint: configuration.imageTokenID == nil
          ? "the id of the token that stands for a picture is not known"
          : "\(unplaced) too many, or placeholders are missing")
    }
    return EncodedPrompt(
      ids: ids, positions: positions, pictures: placed, pictureRows: ranges.flatMap { $0.map { Int32($0) } },
      pictureRanges: ranges, nextPosition: next)
  }
}
