import AttuneTensor
import Core
import Models
import Rollout

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A checkpoint with made-up prompts, for benchmarks: figures depend on shapes, not on values.
public struct BenchModel {
  public let model: LanguageModel
  public let backend: CPUBackend
  private let randomness = Randomness(seed: 7, for: .testing)

  public init(model: LanguageModel, backend: CPUBackend) {
    self.model = model
    self.backend = backend
  }

  /// Random ids from the middle of the vocabulary.
  func ids(_ count: Int, _ seed: Int) -> [Int32] {
    let vocabulary = model.configuration.text.vocabularySize
    let low = min(300, vocabulary / 4)
    let high = min(8000, vocabulary - vocabulary / 8)
    var stream = randomness.stream(seed)
    return (0..<count).map { _ in Int32(low + stream.integer(below: high - low)) }
  }

  /// A prompt of `length` tokens, the places of its pictures (224 x 224 noise) among them.
  func prompt(_ length: Int, pictures: Int, _ seed: Int) throws -> EncodedPrompt {
    var ids = ids(length, seed)
    guard pictures > 0 else { return try model.encode(ids: ids) }
    guard let vision = model.configuration.vision, let imageID = model.configuration.imageTokenID else {
      throw AttuneError.request("--pictures for a \(model.configuration.family.name) model, which reads text alone")
    }
    var stream = randomness.stream(seed, 1)
    let inputs = (0..<pictures).map { _ in picture(vision, &stream) }
    let places = try vision.layOut(inputs[0], from: 0).positions.count
    guard pictures * (places + 2) < length else {
      throw AttuneError.request(
        "\(pictures) pictures take \(pictures * (places + 2)) tokens, the prompt has \(length)",
        hint: "raise --prompt-tokens or lower --pictures")
    }
    for picture in 0..<pictures {
      let first = 4 + picture * (places + 2)
      ids[first] = model.configuration.visionStartID ?? ids[first]
      for place in 0..<places { ids[first + 1 + place] = imageID }
      ids[first + 1 + places] = model.configuration.visionEndID ?? ids[first]
    }
    return try model.encode(ids: ids, pictures: inputs)
  }

  /// Noise: 224 x 224 pixels, or one tile where pictures are cut into tiles.
  private func picture(_ vision: VisionArchitecture, _ stream: inout Randomness.Stream) -> PictureInput {
    func noise(_ count: Int) -> [Float] { (0..<count).map { _ in Float(stream.uniform(-1, 1)) } }
    switch vision {
    case .qwen3VL(let vision):
      let side = 224 / vision.patchSize / vision.mergeSize * vision.mergeSize
      return PictureInput(
        patches: noise(side * side * vision.patchWidth), grid: (frames: 1, height: side, width: side))
    case .deepSeekVL2(let vision):
      return PictureInput(values: noise(2 * 3 * vision.viewSize * vision.viewSize), kind: .tiles(across: 1, down: 1))
    }
  }

  /// Weights of the decoder's products and of the head.
  var productWeights: (layers: Int, head: Int) {
    let layers = model.linears.reduce(0) { $0 + (isVision($1.name) ? 0 : $1.weight.shape.reduce(1, *)) }
    return (layers, model.head.weights.reduce(0) { $0 + $1.shape.reduce(1, *) })
  }
  var visionWeights: Int {
    model.linears.reduce(0) { $0 + (isVision($1.name) ? $1.weight.shape.reduce(1, *) : 0) }
  }

  private func isVision(_ name: String) -> Bool { !name.hasPrefix(model.configuration.decoderPrefix) }

  /// Floating-point operations of attention for one query that sees `keys` keys, all layers.
  func attentionFlops(_ keys: Double) -> Double {
    let c = model.configuration.text
    let heads = c.attentionHeads(layer: 0)
    return Double(2 * c.layers * heads.heads * (heads.size + heads.valueSize)) * keys
  }

  /// Floating-point operations of a forward pass over trees, the head for completion tokens alone.
  func forwardFlops(_ trees: [PromptTree]) -> Double {
    let (layers, head) = productWeights
    var sum = 0.0
    for tree in trees {
      let prompt = tree.prompt.ids.count
      sum += 2 * Double(layers * prompt) + attentionFlops(Double(prompt * (prompt + 1) / 2))
      sum += 2 * Double(visionWeights) * Double(tree.prompt.pictures.reduce(0) { $0 + $1.count })
      for completion in tree.completions {
        let n = max(0, completion.count - 1)
        sum += 2 * Double(layers * n) + attentionFlops(Double(n * prompt + n * (n + 1) / 2))
        sum += 2 * Double(head * completion.count)
      }
    }
    return sum
  }
}

/// How long this process has existed.
enum ProcessAge {
  /// Seconds since the system started the process, to a hundredth; nil where the system does not tell.
  static var seconds: Double? {
    #if canImport(Glibc)
      guard let file = fopen("/proc/self/stat", "r") else { return nil }
      defer { fclose(file) }
      var bytes = [UInt8](repeating: 0, count: 4096)
      bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
      // The program's name stands in parentheses and may hold anything; the start is the 20th word behind it.
      let words = String(decoding: bytes, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
      guard words.count > 19, let ticks = Double(words[19]) else { return nil }
      var t = timespec()
      clock_gettime(CLOCK_BOOTTIME, &t)
      return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9 - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    #else
      return nil
    #endif
  }
}

/// Ids as their numbers, for benchmarks that need no text.
struct NumberText: CompletionDecoder {
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { "" }
}
