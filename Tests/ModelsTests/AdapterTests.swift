import AttuneTensor
import Core
import Foundation
import Models
import TestSupport
import Testing

/// Adapters of every kind: chosen modules, files, names, merging.
@Suite struct AdapterTests {
  private static let backend = try! CPUBackend(threads: 2)

  private static func model(_ json: JSON, precision: Precision = .full) throws -> LanguageModel {
    try LanguageModel(
      ModelConfiguration(json: json, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: precision))
  }

  private static let ids: [Int32] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]

  private static func logits(_ model: LanguageModel) throws -> [UInt32] {
    GoldenModelTests.evaluate(model, try model.encode(ids: ids)).logits.map(\.bitPattern)
  }
  private static func values(_ model: LanguageModel) throws -> [Float] {
    try logits(model).map { Float(bitPattern: $0) }
  }

  /// Gives every trained parameter of the active adapter other values.
  private static func shake(_ model: LanguageModel, seed: Int = 1) {
    var random = Randomness(seed: 3, for: .testing).stream(seed)
    for parameter in model.trainedParameters {
      let old = backend.floats(parameter.value)
      parameter.setValue(backend.upload(old.map { $0 + Float(random.normal() * 0.1) }, parameter.shape))
    }
  }

  private static func adapted(_ model: LanguageModel) -> Set<String> { Set(model.adapter!.layers.map(\.module)) }

  // MARK: Which modules

  private func chosen(_ json: JSON, _ change: (inout LoRAConfiguration) -> Void) throws -> Set<String> {
    let model = try Self.model(json)
    var configuration = LoRAConfiguration(rank: 2)
    change(&configuration)
    try model.attachLoRA(configuration, seed: 1)
    return Self.adapted(model)
  }

  @Test func modulesAreChosenAsPEFTDoes() throws {
    let qwen3 = TinyModels.qwen3
    let all = try chosen(qwen3) { _ in }
    #expect(all.count == 14 && !all.contains("lm_head"))
    #expect(try chosen(qwen3) { $0.targets = ["q_proj"] } == all.filter { $0.hasSuffix(".q_proj") })
    #expect(
      try chosen(qwen3) { $0.targets = .pattern(#"model\.layers\.1\..*(q|up)_proj"#) }
        == ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"])
    #expect(
      try chosen(qwen3) {
        $0.targets = ["q_proj", "v_proj"]
        $0.layers = [1]
        $0.excluded = ["v_proj"]
      } == ["model.layers.1.self_attn.q_proj"])
    #expect(
      try chosen(qwen3) {
        $0.targets = ["q_proj"]
        $0.layers = [0]
        $0.layersPatterns = ["layers"]
      } == ["model.layers.0.self_attn.q_proj"])
    #expect(
      try chosen(qwen3) { $0.excluded = .pattern(".*mlp.*") } == all.filter { $0.contains("self_attn") })
    #expect(try chosen(qwen3) { $0.modulesToSave = ["down_proj"] } == all.filter { !$0.hasSuffix("down_proj") })
    let vision = try chosen(TinyModels.qwen3VL) { _ in }
    #expect(vision.contains("model.visual.merger.linear_fc1") && vision.contains("model.visual.blocks.0.attn.qkv"))
    #expect(!vision.contains { $0.contains("patch_embed") })
    // Routed experts are stacked parameters in transformers 5.
    #expect(try chosen(TinyModels.qwen3MoE) { _ in }.allSatisfy { !$0.contains(".experts.") })
    #expect(try chosen(TinyModels.qwen3MoE) { $0.targets = .pattern(#".*experts\.\d\.\w+_proj"#) }.count == 42)
  }

  @Test func ranksFollowTheirPatterns() throws {
    let model = try Self.model(TinyModels.qwen3)
    var configuration = LoRAConfiguration(
      rank: 4, alpha: 8, rankStabilized: true, rankPattern: ["layers.0.*q_proj": 2, "q_proj": 3],
      alphaPattern: ["up_proj": 32])
    configuration.targets = ["q_proj", "up_proj", "v_proj"]
    try model.attachLoRA(configuration, seed: 1)
    func layer(_ module: String) -> LoRALayer { model.adapter!.layers.first { $0.module == module }! }
    #expect(layer("model.layers.0.self_attn.q_proj").a.shape[0] == 2)
    #expect(layer("model.layers.1.self_attn.q_proj").a.shape[0] == 3)
    #expect(layer("model.layers.1.self_attn.v_proj").a.shape[0] == 4)
    expectClose([layer("model.layers.0.mlp.up_proj").scaling], [16], relative: 1e-12)
    expectClose([layer("model.layers.1.self_attn.q_proj").scaling], [8 / 3.0.squareRoot()], relative: 1e-12)
  }

  @Test func settingsThatMeanNothingAreRefused() throws {
    func refuse(_ message: String, _ change: (inout LoRAConfiguration) -> Void) {
      expectAttuneError(containing: message) { _ = try chosen(TinyModels.qwen3, change) }
    }
    refuse("no linear layer is called q_poj") { $0.targets = ["q_poj"] }
    refuse("lm_head takes no low-rank factors") { $0.targets = ["lm_head"] }
    refuse("no linear layer matches the pattern 'q_proj'") { $0.targets = .pattern("q_proj") }
    refuse("is no regular expression") { $0.targets = .pattern("(q_proj") }
    refuse("lora_bias does not go with DoRA") { ($0.dora, $0.factorBias) = (true, true) }
    refuse("the LoRA dropout is 1.0") { $0.dropout = 1 }
    refuse("layers_to_transform and layers_pattern do not go with a pattern") {
      ($0.targets, $0.layers) = (.pattern(".*"), [1])
    }
    refuse("no module is called scoer") { $0.modulesToSave = ["scoer"] }
    refuse("the LoRA rank is 0") { $0.rank = 0 }
  }

  @Test func partsAreToldApartByName() {
    for (name, part) in [
      ("model.visual.blocks.0.attn.qkv.weight", ModelPart.vision), ("model.visual.merger.norm.weight", .aligner),
      ("model.visual.deepstack_merger_list.1.linear_fc1.bias", .aligner), ("model.visual.pos_embed.weight", .vision),
      ("model.language_model.layers.0.mlp.up_proj.weight", .language), ("lm_head.weight", .language),
      ("model.layers.0.self_attn.q_proj.weight", .language), ("vision.blocks.0.attn.qkv.weight", .vision),
      ("projector.layers.0.weight", .aligner), ("image_newline", .aligner), ("view_seperator", .aligner),
      ("language.model.layers.0.mlp.gate.weight", .language),
      ("base_model.model.model.visual.merger.linear_fc1.lora_A.weight", .aligner),
    ] { #expect(ModelPart(of: name) == part, "\(name)") }
  }

  @Test func frozenPartsTakeNothing() throws {
    let model = try Self.model(TinyModels.qwen3VL)
    model.setTrainable(true, parts: [.aligner])
    #expect(!model.trainedParameters.isEmpty)
    #expect(model.trainedParameters.allSatisfy { $0.name.contains("merger") })
    #expect(model.parameters.allSatisfy { ($0.gradient != nil) == $0.name.contains("merger") })
    model.setTrainable(false)
    try model.attachLoRA(LoRAConfiguration(rank: 2), seed: 1, parts: [.language])
    #expect(Self.adapted(model).allSatisfy { $0.contains("language_model") })
    // Nothing of the tower waits for the way back.
    let patches = (0..<1536).map { Float($0 % 7) / 7 }
    let prompt = try model.encode(
      ids: [1, 91, 90, 90, 90, 90, 92, 2],
      pictures: [PictureInput(patches: patches, grid: (frames: 1, height: 4, width: 4))])
    func operations() -> Int {
      let tape = Tape(Self.backend, recording: true)
      _ = model.streams(
        tape, TrainingBatch([PromptTree(prompt: prompt, completions: [[1, 2]])]), temperature: 1, wanted: [.logprob])
      return tape.operations.count
    }
    let languageAlone = operations()
    try model.removeAdapter("default")
    try model.attachLoRA(LoRAConfiguration(rank: 2), seed: 1)
    #expect(operations() > languageAlone + 20)
  }

  // MARK: Files

  private static let kinds: [(String, @Sendable (inout LoRAConfiguration) -> Void)] = [
    ("plain", { _ in }),
    ("dora", { $0.dora = true }),
    ("lora_only", { $0.bias = .loraOnly }),
    ("all biases", { ($0.bias, $0.targets) = (.all, ["q_proj"]) }),
    ("factor bias", { ($0.factorBias, $0.targets) = (true, ["q_proj", "v_proj"]) }),
    ("whole modules", { $0.modulesToSave = ["lm_head", "embed_tokens", "model.norm"] }),
    ("embedding", { $0.modulesToSave = ["embed_tokens"] }),
    ("head", { $0.modulesToSave = ["lm_head"] }),
    (
      "patterns",
      {
        $0.rankPattern = ["layers.0.*q_proj": 2]
        $0.targets = .pattern(".*(q|up)_proj")
        ($0.dropout, $0.rankStabilized) = (0.1, true)
      }
    ),
  ]

  /// What is written is read again to the bit, switched off it leaves the model as it was, and merged it computes the same.
  @Test(arguments: kinds.map(\.0), [TinyModels.qwen2, TinyModels.qwen3])
  func adaptersComeBack(kind: String, json: JSON) throws {
    let model = try Self.model(json)
    let plain = try Self.logits(model)
    var configuration = LoRAConfiguration(rank: 3, alpha: 5)
    Self.kinds.first { $0.0 == kind }!.1(&configuration)
    try model.attachLoRA(configuration, seed: 4)
    if configuration.dora {
      expectClose(try Self.values(model), plain.map { Float(bitPattern: $0) }, absolute: 1e-4, "fresh magnitudes")
    } else {
      #expect(try Self.logits(model) == plain, "a fresh adapter changes nothing")
    }
    Self.shake(model)
    let changed = try Self.logits(model)
    #expect(changed != plain)
    model.adapter!.isEnabled = false
    #expect(try Self.logits(model) == plain)
    model.adapter!.isEnabled = true
    #expect(try Self.logits(model) == changed)
    let folder = try Program.temporaryFolder()
    try model.saveAdapter(folder: folder, baseModel: "base")
    let other = try Self.model(json)
    try other.loadAdapter(folder: folder, name: "again", trainable: false)
    #expect(try Self.logits(other) == changed)
    #expect(other.adapter!.configuration == configuration || configuration.targets == .allLinear)
    try FileManager.default.createDirectory(atPath: folder + "/twice", withIntermediateDirectories: true)
    try other.saveAdapter(folder: folder + "/twice")
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
      let first = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))
      #expect(try Data(contentsOf: URL(fileURLWithPath: folder + "/twice/" + name)) == first, "\(name)")
    }
    if !configuration.factorBias || json == TinyModels.qwen2 {
      try other.mergeAdapter()
      expectClose(try Self.values(other), changed.map { Float(bitPattern: $0) }, absolute: 2e-4, "merged")
      other.adapter!.isEnabled = false
      #expect(try Self.logits(other) == plain, "merged and switched off")
      other.adapter!.isEnabled = true
      try other.unmergeAdapter()
      #expect(try Self.logits(other) == changed)
    } else {
      expectAttuneError(containing: "has no bias that the adapter's lora_bias could be folded into") {
        try other.mergeAdapter()
      }
    }
    try other.removeAdapter("again")
    #expect(try Self.logits(other) == plain)
  }

  /// A folder with an adapter, whose files a test breaks.
  private func folder(_ change: (inout LoRAConfiguration) -> Void = { _ in }) throws -> String {
    let model = try Self.model(TinyModels.qwen3)
    var configuration = LoRAConfiguration(rank: 2, targets: ["q_proj", "up_proj"])
    change(&configuration)
    try model.attachLoRA(configuration, seed: 4)
    Self.shake(model)
    let folder = try Program.temporaryFolder()
    try model.saveAdapter(folder: folder)
    return folder
  }

  private func rewrite(
    _ folder: String, _ change: (inout [(name: String, tensor: Tensor)]) -> Void
  ) throws {
    let path = folder + "/adapter_model.safetensors"
    let file = try SafeTensors(path)
    var tensors = try file.entries.map { (name: $0.name, tensor: try file.tensor($0.name, on: Self.backend)) }
    change(&tensors)
    try SafeTensors.write(tensors, to: path, from: Self.backend)
  }

  private func configure(_ folder: String, _ key: String, _ value: JSON) throws {
    let path = folder + "/adapter_config.json"
    var object = try JSON.parse(String(contentsOfFile: path, encoding: .utf8)).object!
    object[key] = value
    try JSON(.object(object)).text(.pretty).write(toFile: path, atomically: true, encoding: .utf8)
  }

  @Test func brokenFilesAreRefusedByName() throws {
    let q = "base_model.model.model.layers.0.self_attn.q_proj"
    func refuse(_ parts: String..., breaking: (String) throws -> Void) throws {
      let folder = try folder()
      try breaking(folder)
      for part in parts {
        expectAttuneError(containing: part) {
          try Self.model(TinyModels.qwen3).loadAdapter(folder: folder)
        }
      }
    }
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
      try refuse(name) { try FileManager.default.removeItem(atPath: $0 + "/" + name) }
    }
    try refuse("tensor \(q).lora_B.weight is missing") {
      try rewrite($0) { $0.removeAll { $0.name == q + ".lora_B.weight" } }
    }
    try refuse("tensor \(q).lora_A.weight is missing") {
      try rewrite($0) { $0.removeAll { $0.name.hasPrefix(q) } }
    }
    try refuse("tensor \(q).lora_A.weight has shape [3, 40], [2, 40] was expected") {
      try rewrite($0) {
        let i = $0.firstIndex { $0.name == q + ".lora_A.weight" }!
        $0[i].tensor = Self.backend.zeros([3, 40], .f32)
      }
    }
    try refuse("tensor base_model.model.model.norm.weight is not one of this adapter's", "modules_to_save") {
      try rewrite($0) { $0.append(("base_model.model.model.norm.weight", Self.backend.zeros([40], .f32))) }
    }
    try refuse("does not begin with base_model.model.") {
      try rewrite($0) { $0.append(("stray", Self.backend.zeros([40], .f32))) }
    }
    try refuse("the model has no such linear layer", "q_proj") {
      try rewrite($0) {
        let i = $0.firstIndex { $0.name == q + ".lora_A.weight" }!
        $0[i].name = q.replacing("q_proj", with: "q_prj") + ".lora_A.weight"
      }
    }
    try refuse("adapts an embedding") {
      try rewrite($0) {
        $0.append(("base_model.model.model.embed_tokens.lora_embedding_A", Self.backend.zeros([2, 97], .f32)))
      }
    }
    for (key, value, message) in [
      ("peft_type", "IA3", "\"LORA\" was expected"), ("fan_in_fan_out", true, "fan_in_fan_out is true"),
      ("use_dora", true, "lora_magnitude_vector is missing"), ("r", "four", "a whole number was expected"),
      ("r", 4, "was expected"), ("target_parameters", ["experts.up"], "target_parameters is"),
      ("init_lora_weights", "pissa_niter_4", "belongs to weights that pissa has changed"),
      ("bias", "some", "one of none, all, lora_only"), ("use_dorra", true, "did you mean use_dora?"),
      ("modules_to_save", ["lm_head"], "base_model.model.lm_head.weight is missing"),
      ("rank_pattern", ["q_proj": "x"], "a mapping from names to numbers was expected"),
      ("layer_replication", [[0, 1]], "layer_replication is"),
    ] as [(String, JSON, String)] {
      try refuse(message) { try configure($0, key, value) }
    }
    try refuse("adapter_config.json:1:2") {
      try "[".write(toFile: $0 + "/adapter_config.json", atomically: true, encoding: .utf8)
    }
  }

  /// PEFT would take gate_proj for the stacked experts' and drop the factors of dense layers and shared experts.
  @Test func unitsBesideExpertsAreNamedAsParameters() throws {
    let model = try Self.model(TinyModels.deepSeekV2)
    try model.attachLoRA(LoRAConfiguration(rank: 4, rankPattern: ["up_proj": 2]), seed: 1)
    Self.shake(model)
    let folder = try Program.temporaryFolder()
    try model.saveAdapter(folder: folder)
    let path = folder + "/adapter_config.json"
    let json = try JSON.parse(MappedFile.read(path), file: path)
    let modules = json["target_modules"]?.array?.compactMap(\.string) ?? []
    #expect(modules.contains("o_proj") && !modules.contains { $0.hasSuffix("up_proj") || $0.hasSuffix("gate_proj") })
    #expect(json["target_parameters"] == ["down_proj.weight", "gate_proj.weight", "up_proj.weight"])
    // Patterns are compared with the names of the weights.
    #expect(json["rank_pattern"]?[#"model\.layers\.0\.mlp\.up_proj(\.weight)?"#]?.int == 2)
    let other = try Self.model(TinyModels.deepSeekV2)
    try other.loadAdapter(folder: folder)
    #expect(try Self.logits(other) == Self.logits(model))
  }

  /// A configuration with nothing but what PEFT always writes takes PEFT's defaults; unknown keys are kept.
  @Test func configurationsMayLackKeys() throws {
    let folder = try folder { ($0.rank, $0.alpha) = (8, 8) }
    let path = folder + "/adapter_config.json"
    let text = #"{"peft_type": "LORA", "target_modules": ["q_proj", "up_proj"], "a_new_key": 7}"#
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    let model = try Self.model(TinyModels.qwen3)
    try model.loadAdapter(folder: folder)
    let c = model.adapter!.configuration
    #expect(c.rank == 8 && c.alpha == 8 && c.dropout == 0 && c.bias == .none && !c.dora && c.modulesToSave.isEmpty)
    try model.saveAdapter(folder: folder)
    #expect(try JSON.parse(String(contentsOfFile: path, encoding: .utf8))["a_new_key"]?.int == 7)
  }

  @Test func halfPrecisionTensorsAreRead() throws {
    let folder = try folder()
    try rewrite(folder) { tensors in
      for i in tensors.indices {
        let narrow = Self.backend.empty(tensors[i].tensor.shape, .bf16)
        Self.backend.convert(narrow, tensors[i].tensor)
        tensors[i].tensor = narrow
      }
    }
    let model = try Self.model(TinyModels.qwen3)
    try model.loadAdapter(folder: folder)
    #expect(model.adapter!.layers[0].a.value.dtype == .f32)
  }

  // MARK: Names

  @Test func severalAdaptersShareAModel() throws {
    let model = try Self.model(TinyModels.qwen3)
    let plain = try Self.logits(model)
    try model.attachLoRA(LoRAConfiguration(rank: 2, targets: ["q_proj"]), seed: 1, name: "a")
    Self.shake(model, seed: 1)
    let a = try Self.logits(model)
    var whole = LoRAConfiguration(rank: 3, targets: ["up_proj"])
    whole.modulesToSave = ["lm_head"]
    try model.attachLoRA(whole, seed: 2, name: "b")
    Self.shake(model, seed: 2)
    let b = try Self.logits(model)
    #expect(model.adapterNames == ["a", "b"] && a != b)
    for (name, expected) in [("a", a), (nil, plain), ("b", b), ("a", a)] as [(String?, [UInt32])] {
      try model.activateAdapter(name)
      #expect(try Self.logits(model) == expected, "\(name ?? "none")")
      model.adapter?.isEnabled = false
      #expect(try Self.logits(model) == plain)
      model.adapter?.isEnabled = true
    }
    // What a cache of keys and values stands for is never the same for two of them.
    let versions = try ["a", "b", nil].map { name -> Int in
      try model.activateAdapter(name)
      return model.weightsVersion
    }
    #expect(Set(versions).count == 3)
    expectAttuneError(containing: "there is no adapter 'c'") { try model.activateAdapter("c") }
    expectAttuneError(containing: "there is an adapter 'a' already") {
      try model.attachLoRA(LoRAConfiguration(rank: 2), seed: 1, name: "a")
    }
    try model.activateAdapter("b")
    try model.removeAdapter("b")
    #expect(try model.adapterNames == ["a"] && model.adapter == nil && Self.logits(model) == plain)
  }

  @Test func combinedAdaptersAddUp() throws {
    let model = try Self.model(TinyModels.qwen3)
    try model.attachLoRA(LoRAConfiguration(rank: 2, targets: ["q_proj", "v_proj"]), seed: 1, name: "a")
    Self.shake(model, seed: 1)
    let linear = model.linears.first { $0.name.hasSuffix("0.self_attn.q_proj") }!
    func added() -> [Float] {
      zip(Self.backend.floats(model.merged(linear)), Self.backend.floats(linear.weight.value)).map(-)
    }
    let a = added()
    try model.attachLoRA(LoRAConfiguration(rank: 3, targets: ["q_proj", "up_proj"]), seed: 2, name: "b")
    Self.shake(model, seed: 2)
    let b = added()
    try model.combineAdapters([("a", 0.25), ("b", -2)], by: .cat, as: "both")
    expectClose(added(), zip(a, b).map { 0.25 * $0 - 2 * $1 }, absolute: 1e-5)
    #expect(model.adapter!.configuration.rank == 5 && model.adapter!.layers.count == 6)
    expectAttuneError(containing: "linear needs one rank for all") {
      try model.combineAdapters([("a", 1), ("b", 1)], by: .linear, as: "c")
    }
    try model.combineAdapters([("a", 1)], by: .linear, as: "same")
    expectClose(added(), a, absolute: 1e-5)
  }
}
