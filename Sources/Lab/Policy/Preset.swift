import AttuneTensor
import Core
import Foundation
import Models
import Text

/// A small architecture that Attune can write as a fresh checkpoint, tokenizer and all.
public struct Preset: Sendable {
  public let name: String
  public let summary: String
  let architecture: Architecture
  let hidden: Int
  let layers: Int
  let heads: Int
  let kvHeads: Int
  let headSize: Int
  let intermediate: Int
  var visionHidden = 0
  var visionDepth = 0
  var visionIntermediate = 0
  var patch = 0
  var positions = 0
  /// Ids of the model; 0 takes the tokenizer's, more than it knows stay unused.
  var vocabulary = 0

  /// What the configuration says besides sizes.
  enum Architecture: Sendable { case llama, qwen3, qwen3MoE, qwen3VL, deepSeekV2, deepSeekVL2 }

  /// It sees pictures.
  public var vision: Bool { architecture == .qwen3VL || architecture == .deepSeekVL2 }

  /// All presets.
  public static let all: [Preset] = [
    Preset(
      name: "reader", summary: "Qwen3-VL, about 3 million parameters, 8-pixel patches: reads small pictures",
      architecture: .qwen3VL, hidden: 192, layers: 3, heads: 6, kvHeads: 2, headSize: 32, intermediate: 512,
      visionHidden: 128,
      visionDepth: 3, visionIntermediate: 384, patch: 8, positions: 64),
    Preset(
      name: "tiny-vl", summary: "Qwen3-VL, about 0.2 million parameters: for tests and smoke recipes",
      architecture: .qwen3VL, hidden: 64, layers: 2, heads: 4, kvHeads: 2, headSize: 16, intermediate: 128,
      visionHidden: 48, visionDepth: 2,
      visionIntermediate: 96, patch: 8, positions: 64),
    Preset(
      name: "tiny", summary: "Qwen3, about 0.1 million parameters: text alone, for tests and smoke recipes",
      architecture: .qwen3, hidden: 64, layers: 2, heads: 4, kvHeads: 2, headSize: 16, intermediate: 128),
    Preset(
      name: "mini", summary: "Qwen3, about 16 million parameters: what benchmarks measure", architecture: .qwen3,
      hidden: 384,
      layers: 8, heads: 6, kvHeads: 2, headSize: 64, intermediate: 1024, vocabulary: 8192),
    Preset(
      name: "mini-vl", summary: "Qwen3-VL, about 27 million parameters: what benchmarks measure",
      architecture: .qwen3VL, hidden: 384, layers: 8, heads: 6, kvHeads: 2, headSize: 64, intermediate: 1024,
      visionHidden: 256, visionDepth: 6,
      visionIntermediate: 1024, patch: 16, positions: 196, vocabulary: 8192),
    Preset(
      name: "tiny-llama", summary: "Llama, about 0.1 million parameters: text alone", architecture: .llama, hidden: 64,
      layers: 2, heads: 4, kvHeads: 2, headSize: 16, intermediate: 128),
    Preset(
      name: "tiny-moe", summary: "Qwen3-MoE, about 0.3 million parameters, 8 experts: text alone",
      architecture: .qwen3MoE, hidden: 64, layers: 2, heads: 4, kvHeads: 2, headSize: 16, intermediate: 64),
    Preset(
      name: "tiny-deepseek",
      summary: "DeepSeek-V2, about 0.3 million parameters: latent attention, experts, text alone",
      architecture: .deepSeekV2, hidden: 64, layers: 2, heads: 4, kvHeads: 4, headSize: 16, intermediate: 64),
    Preset(
      name: "tiny-deepseek-vl", summary: "DeepSeek-VL2, about 0.4 million parameters: pictures in tiles of 56 pixels",
      architecture: .deepSeekVL2, hidden: 64, layers: 2, heads: 4, kvHeads: 4, headSize: 16, intermediate: 64,
      visionHidden: 48, visionDepth: 2, visionIntermediate: 96, patch: 14),
  ]

  /// - Throws: `.request` with the nearest name.
  public static func named(_ name: String) throws -> Preset {
    if let preset = all.first(where: { $0.name == name }) { return preset }
    throw AttuneError.request(
      "there is no preset '\(name)'",
      hint: (nearestName(to: name, among: all.map(\.name)).map { "did you mean '\($0)'? " } ?? "")
        + "presets: \(all.map(\.name).joined(separator: ", "))")
  }

  /// What a fresh checkpoint ends in.
  public enum Head: String, Sendable, CaseIterable {
    /// Probabilities of the next token.
    case languageModel = "lm"
    /// One number: a reward model, as transformers' classes for sequence classification are.
    case reward
  }

  /// Writes the checkpoint folder in Hugging Face's layout; the same seed gives the same bytes.
  ///
  /// - Parameter isOutline: the file of the weights gets its header and its length, and no values.
  public func write(
    to folder: String, seed: UInt64, head: Head = .languageModel, isOutline: Bool = false
  ) throws {
    let tokenizer = try ByteLevelBPETrainer.train(
      texts: Self.corpus + Self.corpus, mergeCount: 160, specialTokens: Self.specialTokens)
    let ids = try tokenizer.tokenizer()
    func id(_ token: String) throws -> JSON {
      guard let id = ids.id(of: token) else { throw AttuneError.work("the tokenizer lacks \(token)") }
      return .int(id)
    }
    // A multiple of 16 keeps the head's panels full.
    let vocabulary = max(self.vocabulary, (ids.vocabularySize + 15) / 16 * 16)
    let end = try id("<|im_end|>")
    var config = try configuration(vocabulary: vocabulary, end: end, id: id)
    if head == .reward {
      config = try ModelConfiguration(json: config, file: folder + "/config.json").classifier(
        config, padding: ids.id(of: "<|endoftext|>"))
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, text) in tokenizer.files { try AtomicFile.write(folder + "/" + name, text: text) }
    try AtomicFile.write(folder + "/chat_template.jinja", text: Self.template)
    try AtomicFile.write(folder + "/config.json", text: config.text(.pretty) + "\n")
    let generation: JSON = ["eos_token_id": [end, try id("<|endoftext|>")], "pad_token_id": try id("<|endoftext|>")]
    try AtomicFile.write(folder + "/generation_config.json", text: generation.text(.pretty) + "\n")
    for (name, json) in processors { try AtomicFile.write(folder + "/" + name, text: json.text(.pretty) + "\n") }
    let backend = try CPUBackend(threads: 1, rehearsal: isOutline ? .unmeasured : nil)
    let model = try LanguageModel(
      ModelConfiguration(json: config, file: folder + "/config.json"),
      from: isOutline
        ? ShapeSource(backend: backend, precision: .full)
        : RandomSource(seed: seed, scheme: .fanIn, backend: backend, precision: .full))
    var tensors = model.parameters.map { ($0.name, $0.value) }
    if head == .reward {
      tensors.removeAll { $0.0 == model.configuration.headName }
      let width = model.configuration.text.hiddenSize
      var stream = Randomness(seed: seed, for: .initialization).stream(named: "score.weight")
      let deviation = 1 / Double(width).squareRoot()
      tensors.append(
        ("score.weight", backend.upload((0..<width).map { _ in Float(stream.normal() * deviation) }, [1, width])))
    }
    try SafeTensors.write(tensors, to: folder + "/model.safetensors", from: backend)
  }

  /// Texts whose common words become tokens.
  private static let corpus = [
    "Which number is written here?", "Which number is written here?", "What is the answer?",
    "Read the number in the picture.", "user", "assistant", "system",
    "the of and to in is it that for on with as at by",
    "Answer with the number alone.", "You are a helpful assistant.",
  ]

  private static let specialTokens: [(content: String, special: Bool)] = [
    ("<|endoftext|>", true), ("<|im_start|>", true), ("<|im_end|>", true), ("<|vision_start|>", true),
    ("<|vision_end|>", true), ("<|image_pad|>", true), ("<|video_pad|>", true), ("<answer>", false),
    ("</answer>", false),
    ("<think>", false), ("</think>", false),
  ]

  /// ChatML, with one placeholder for each picture and film.
  private static let template = """
    {%- for message in messages %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.content is string %}
            {{- message.content }}
        {%- else %}
            {%- for part in message.content %}
                {%- if part.type == 'image' or 'image' in part %}
                    {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
                {%- elif part.type == 'video' or 'video' in part %}
                    {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
                {%- elif 'text' in part %}
                    {{- part.text }}
                {%- endif %}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endfor %}
    {%- if add_generation_prompt %}
        {{- '<|im_start|>assistant\\n' }}
    {%- endif %}
    """
}
