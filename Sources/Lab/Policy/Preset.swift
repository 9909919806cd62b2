import AttuneTensor
import Core
import Foundation
import Models
import Text

/// A small architecture that Attune can write as a fresh checkpoint, tokenizer and all.
public struct Preset: Sendable {
  public let name: String
  public let summary: String
  let vision: Bool
  let hidden: Int
  let layers: Int
  let heads: Int
  let kvHeads: Int
  let headSize: Int
  let intermediate: Int
  let visionHidden: Int
  let visionDepth: Int
  let visionIntermediate: Int
  let patch: Int
  let positions: Int
  /// Ids of the model; 0 takes the tokenizer's, more than it knows stay unused.
  var vocabulary = 0

  /// All presets.
  public static let all: [Preset] = [
    Preset(
      name: "reader", summary: "Qwen3-VL, about 3 million parameters, 8-pixel patches: reads small pictures",
      vision: true, hidden: 192, layers: 3, heads: 6, kvHeads: 2, headSize: 32, intermediate: 512, visionHidden: 128,
      visionDepth: 3, visionIntermediate: 384, patch: 8, positions: 64),
    Preset(
      name: "tiny-vl", summary: "Qwen3-VL, about 0.2 million parameters: for tests and smoke recipes", vision: true,
      hidden: 64, layers: 2, heads: 4, kvHeads: 2, headSize: 16, intermediate: 128, visionHidden: 48, visionDepth: 2,
      visionIntermediate: 96, patch: 8, positions: 64),
    Preset(
      name: "tiny", summary: "Qwen3, about 0.1 million parameters: text alone, for tests and smoke recipes",
      vision: false,
      hidden: 64, layers: 2, heads: 4, kvHeads: 2, headSize: 16, intermediate: 128, visionHidden: 0, visionDepth: 0,
      visionIntermediate: 0, patch: 0, positions: 0),
    Preset(
      name: "mini", summary: "Qwen3, about 16 million parameters: what benchmarks measure", vision: false, hidden: 384,
      layers: 8, heads: 6, kvHeads: 2, headSize: 64, intermediate: 1024, visionHidden: 0, visionDepth: 0,
      visionIntermediate: 0, patch: 0, positions: 0, vocabulary: 8192),
    Preset(
      name: "mini-vl", summary: "Qwen3-VL, about 27 million parameters: what benchmarks measure", vision: true,
      hidden: 384, layers: 8, heads: 6, kvHeads: 2, headSize: 64, intermediate: 1024, visionHidden: 256, visionDepth: 6,
      visionIntermediate: 1024, patch: 16, positions: 196, vocabulary: 8192),
  ]

  /// - Throws: `.request` with the nearest name.
  public static func named(_ name: String) throws -> Preset {
    if let preset = all.first(where: { $0.name == name }) { return preset }
    throw AttuneError.request(
      "there is no preset '\(name)'",
      hint: (nearestName(to: name, among: all.map(\.name)).map { "did you mean '\($0)'? " } ?? "")
        + "presets: \(all.map(\.name).joined(separator: ", "))")
  }

  /// Writes the checkpoint folder in Hugging Face's layout; the same seed gives the same bytes.
  public func write(to folder: String, seed: UInt64) throws {
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
    let config = try configuration(vocabulary: vocabulary, end: end, id: id)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, text) in tokenizer.files { try AtomicFile.write(folder + "/" + name, text: text) }
    try AtomicFile.write(folder + "/chat_template.jinja", text: Self.template)
    try AtomicFile.write(folder + "/config.json", text: config.text(.pretty) + "\n")
    let generation: JSON = ["eos_token_id": [end, try id("<|endoftext|>")], "pad_token_id": try id("<|endoftext|>")]
    try AtomicFile.write(folder + "/generation_config.json", text: generation.text(.pretty) + "\n")
    if vision {
      let preprocessor: JSON = [
        "image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen3VLProcessor",
        "patch_size": .int(patch), "temporal_patch_size": 2, "merge_size": 2,
        "size": ["shortest_edge": .int(4 * patch * patch), "longest_edge": .int(4096 * patch * patch)],
        "image_mean": [0.15, 0.15, 0.15], "image_std": [0.35, 0.35, 0.35],
      ]
      try AtomicFile.write(folder + "/preprocessor_config.json", text: preprocessor.text(.pretty) + "\n")
    }
    let backend = try CPUBackend(threads: 1)
    let model = try LanguageModel(
      ModelConfiguration(json: config, file: folder + "/config.json"),
      from: RandomSource(seed: seed, scheme: .fanIn, backend: backend, precision: .full))
    try SafeTensors.write(
      model.parameters.map { ($0.name, $0.value) }, to: folder + "/model.safetensors", from: backend)
  }

  private func configuration(vocabulary: Int, end: JSON, id: (String) throws -> JSON) throws -> JSON {
    let text: [(String, JSON)] = [
      ("vocab_size", .int(vocabulary)), ("hidden_size", .int(hidden)), ("intermediate_size", .int(intermediate)),
      ("num_hidden_layers", .int(layers)), ("num_attention_heads", .int(heads)), ("num_key_value_heads", .int(kvHeads)),
      ("head_dim", .int(headSize)), ("hidden_act", "silu"), ("rms_norm_eps", 1e-6), ("attention_bias", false),
      ("attention_dropout", 0.0), ("initializer_range", 0.02), ("max_position_embeddings", 4096),
      ("rope_theta", 10000.0),
      ("use_cache", true), ("tie_word_embeddings", true), ("eos_token_id", end),
      ("bos_token_id", try id("<|endoftext|>")),
    ]
    guard vision else {
      return .object(
        [("architectures", ["Qwen3ForCausalLM"]), ("model_type", "qwen3")] + text
          + [
            ("rope_scaling", .null), ("sliding_window", .null), ("use_sliding_window", false),
            ("torch_dtype", "float32"),
          ])
    }
    let half = headSize / 2
    let third = half / 3
    return .object([
      ("architectures", ["Qwen3VLForConditionalGeneration"]), ("model_type", "qwen3_vl"), ("tie_word_embeddings", true),
      ("image_token_id", try id("<|image_pad|>")), ("video_token_id", try id("<|video_pad|>")),
      ("vision_start_token_id", try id("<|vision_start|>")), ("vision_end_token_id", try id("<|vision_end|>")),
      (
        "text_config",
        .object(
          [("model_type", "qwen3_vl_text"), ("dtype", "float32")] + text + [
            (
              "rope_scaling",
              [
                "rope_type": "default", "mrope_interleaved": true,
                "mrope_section": [.int(half - 2 * third), .int(third), .int(third)],
              ]
            )
          ])
      ),
      (
        "vision_config",
        [
          "model_type": "qwen3_vl", "depth": .int(visionDepth), "hidden_size": .int(visionHidden), "num_heads": 4,
          "intermediate_size": .int(visionIntermediate), "in_channels": 3, "patch_size": .int(patch),
          "temporal_patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": .int(hidden),
          "num_position_embeddings": .int(positions), "hidden_act": "gelu_pytorch_tanh", "initializer_range": 0.02,
          "deepstack_visual_indexes": .array((0..<min(2, visionDepth)).map { .int($0) }),
        ]
      ),
    ])
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

  /// ChatML, with one placeholder per picture.
  private static let template = """
    {%- for message in messages %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.content is string %}
            {{- message.content }}
        {%- else %}
            {%- for part in message.content %}
                {%- if part.type == 'image' or 'image' in part %}
                    {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
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
