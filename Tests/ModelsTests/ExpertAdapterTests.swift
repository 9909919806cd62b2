import AttuneTensor
import Core
import Foundation
import Models
import TestSupport
import Testing

/// Adapters on mixtures of experts: what PEFT reads is written and read, what it would drop is refused.
@Suite struct ExpertAdapterTests {
  private static let backend = try! CPUBackend(threads: 2)
  private static let mixtures = [
    ("qwen3_moe", TinyModels.qwen3MoE), ("deepseek_v2", TinyModels.deepSeekV2), ("qwen3_vl_moe", TinyModels.qwen3VLMoE),
    ("deepseek_vl_v2", TinyModels.deepSeekVL2),
  ]

  private static func model(_ family: String) throws -> LanguageModel {
    try LanguageModel(
      ModelConfiguration(json: mixtures.first { $0.0 == family }!.1, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: .full))
  }

  private static func attached(
    _ family: String, _ change: (inout LoRAConfiguration) -> Void
  ) throws -> LanguageModel {
    let model = try model(family)
    var configuration = LoRAConfiguration(rank: 2, alpha: 3)
    change(&configuration)
    try model.attachLoRA(configuration, seed: 1)
    var random = Randomness(seed: 3, for: .testing).stream(1)
    for parameter in model.trainedParameters {
      let old = backend.floats(parameter.value)
      parameter.setValue(backend.upload(old.map { $0 + Float(random.normal() * 0.1) }, parameter.shape))
    }
    return model
  }

  private static func logits(_ model: LanguageModel) throws -> [Float] {
    GoldenModelTests.evaluate(model, try model.encode(ids: [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9])).logits
  }

  private static func saved(_ model: LanguageModel) throws -> (folder: String, configuration: JSON) {
    let folder = try Program.temporaryFolder()
    try model.saveAdapter(folder: folder)
    return (folder, try JSON.parse(String(contentsOfFile: folder + "/adapter_config.json", encoding: .utf8)))
  }

  private static func strings(_ value: JSON?) -> [String] { value?.array?.compactMap(\.string) ?? [] }

  // MARK: Coming back

  private static let kinds: [(String, @Sendable (inout LoRAConfiguration) -> Void)] = [
    ("all linear layers", { _ in }),
    ("everything", { $0.targets = .pattern(".*") }),
    ("rank-stabilised", { ($0.targets, $0.rankStabilized) = (.pattern(".*"), true) }),
    (
      "patterns",
      {
        $0.targets = .pattern(".*")
        $0.rankStabilized = true
        $0.rankPattern = [#".*layers\.1\..*"#: 3, "o_proj": 1]
        $0.alphaPattern = [#".*layers\.2\..*(down|gate_up)_proj"#: 7, "q_proj": 5]
      }
    ),
    ("down", { $0.targets = ["experts.down_proj", "gate"] }),
    ("one layer", { $0.targets = .pattern(#".*layers\.2\.mlp\.experts.*"#) }),
  ]

  @Test(arguments: kinds.map(\.0), mixtures.map(\.0))
  func adaptersComeBack(kind: String, family: String) throws {
    let model = try Self.attached(family) { c in Self.kinds.first { $0.0 == kind }!.1(&c) }
    let changed = try Self.logits(model)
    let (folder, _) = try Self.saved(model)
    let other = try Self.model(family)
    let plain = try Self.logits(other)
    #expect(plain != changed)
    try other.loadAdapter(folder: folder)
    #expect(try Self.logits(other) == changed)
    #expect(other.adapter!.layers.map(\.module) == model.adapter!.layers.map(\.module))
    let (again, _) = try Self.saved(other)
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
      let first = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))
      #expect(try Data(contentsOf: URL(fileURLWithPath: again + "/" + name)) == first, "\(name)")
    }
    try other.mergeAdapter()
    expectClose(try Self.logits(other), changed, absolute: 3e-4, "merged")
    try other.unmergeAdapter()
    #expect(try Self.logits(other) == changed)
    try other.removeAdapter("default")
    #expect(try Self.logits(other) == plain)
  }

  @Test(arguments: mixtures.map(\.0)) func mergedCheckpointsComputeTheSame(family: String) throws {
    let model = try Self.attached(family) { $0.targets = .pattern(".*") }
    let folder = try Program.temporaryFolder()
    let text = model.configuration.json(for: .f32).text(.pretty)
    try text.write(toFile: folder + "/config.json", atomically: true, encoding: .utf8)
    try SafeTensors.write(model.writtenWeights(as: .f32), to: folder + "/model.safetensors")
    let merged = try LanguageModel.load(folder: folder, backend: Self.backend, precision: .full)
    expectClose(try Self.logits(merged), try Self.logits(model), absolute: 3e-4)
  }

  @Test func combinedAdaptersAddUp() throws {
    for (family, _) in Self.mixtures {
      let (a, _) = try Self.saved(Self.attached(family) { $0.targets = .pattern(".*") })
      let (b, _) = try Self.saved(Self.attached(family) { $0.targets = ["o_proj", "down_proj", "experts.down_proj"] })
      let model = try Self.model(family)
      for (name, folder) in [("a", a), ("b", b)] { try model.loadAdapter(folder: folder, name: name, trainable: false) }
      try model.combineAdapters([("a", 0.5), ("b", -2)], by: .cat, as: "both")
      let sum = try Self.logits(model)
      let (folder, _) = try Self.saved(model)
      let other = try Self.model(family)
      try other.loadAdapter(folder: folder)
      #expect(try Self.logits(other) == sum, "\(family)")
    }
  }

  // MARK: What is written

  @Test func parametersAreNamedForPEFT() throws {
    func written(_ family: String, _ change: (inout LoRAConfiguration) -> Void) throws -> JSON {
      try Self.saved(Self.attached(family, change)).configuration
    }
    // transformers joins experts; dense layers of the same names need a way of their own.
    var c = try written("deepseek_v2") { ($0.targets, $0.rankStabilized) = (.pattern(".*"), true) }
    #expect(Set(Self.strings(c["target_modules"])).isSuperset(of: ["gate_proj", "up_proj", "down_proj", "o_proj"]))
    #expect(
      Self.strings(c["target_parameters"]) == [
        "down_proj.weight", "gate.weight", "gate_proj.weight", "up_proj.weight",
      ])
    #expect(c["use_rslora"]?.bool == false && c["lora_dropout"]?.double == 0)
    #expect(abs(c["lora_alpha"]!.double! - 3 * 2.0.squareRoot()) < 1e-12)
    // Without experts the dense layers alone.
    c = try written("deepseek_v2") { _ in }
    #expect(!Self.strings(c["target_modules"]).contains("gate_proj"))
    #expect(Self.strings(c["target_parameters"]) == ["down_proj.weight", "gate_proj.weight", "up_proj.weight"])
    // Experts without the dense layer.
    c = try written("qwen3_moe") { $0.targets = .pattern(#".*experts.*"#) }
    #expect(Self.strings(c["target_modules"]) == ["experts.down_proj", "experts.gate_proj", "experts.up_proj"])
    #expect(c["target_parameters"]?.isNull == true)
    c = try written("qwen3_moe") { $0.targets = ["q_proj"] }
    #expect(Self.strings(c["target_modules"]) == ["q_proj"] && c["target_parameters"]?.isNull == true)
    c = try written("qwen3_vl_moe") { $0.targets = ["gate_up_proj", "down_proj", "q_proj"] }
    #expect(Self.strings(c["target_modules"]) == ["q_proj"])
    #expect(Self.strings(c["target_parameters"]) == ["experts.down_proj", "experts.gate_up_proj"])
    c = try written("deepseek_vl_v2") { ($0.targets, $0.dora) = (["q_proj", "up_proj"], true) }
    #expect(Self.strings(c["target_modules"]) == ["q_proj", "up_proj"] && c["target_parameters"]?.isNull == true)
  }

  @Test func whatPEFTCannotReadIsRefused() throws {
    func refuse(_ family: String, _ message: String, _ change: (inout LoRAConfiguration) -> Void) {
      expectAttuneError(containing: message) { _ = try Self.attached(family, change) }
    }
    for family in ["qwen3_moe", "deepseek_v2"] {
      refuse(family, "an adapter on gate_proj and up_proj of the experts alone") {
        $0.targets = ["gate_proj", "up_proj"]
      }
      refuse(family, "an adapter on up_proj of the experts alone") { $0.targets = ["o_proj", "up_proj"] }
      refuse(family, "down_proj of 1 of the") { $0.targets = ["experts.3.down_proj"] }
      refuse(family, "various ranks or alphas") {
        ($0.targets, $0.rankPattern) = (["experts.down_proj"], [#"experts\.3\.down_proj"#: 1])
      }
    }
    for family in ["qwen3_moe", "deepseek_v2", "qwen3_vl_moe"] {
      refuse(family, "DoRA does not go with an adapter on") { ($0.targets, $0.dora) = (.pattern(".*"), true) }
      refuse(family, "dropout does not go with an adapter on") { ($0.targets, $0.dropout) = (["down_proj"], 0.1) }
      refuse(family, "lora_bias does not go with an adapter on") {
        ($0.targets, $0.factorBias) = (["o_proj", "gate"], true)
      }
      refuse(family, "holds experts") { $0.modulesToSave = ["mlp.experts"] }
    }
  }

  /// All linear layers are those that go with the rest of the settings.
  @Test func allLinearLeavesOutWhatDoesNotGoWithDropout() throws {
    func adapted(_ family: String, _ change: (inout LoRAConfiguration) -> Void) throws -> (Set<String>, String?) {
      let adapter = try Self.attached(family, change).adapter!
      return (Set(adapter.layers.map { String($0.module.split(separator: ".").last!) }), adapter.remark)
    }
    let (all, none) = try adapted("deepseek_v2") { _ in }
    #expect(all.isSuperset(of: ["gate_proj", "down_proj", "o_proj"]) && !all.contains("gate") && none == nil)
    let (some, remark) = try adapted("deepseek_v2") { $0.dropout = 0.1 }
    #expect(some == all.subtracting(["gate_proj", "up_proj", "down_proj"]))
    #expect(try #require(remark).hasPrefix("down_proj, gate_proj, up_proj get no factors: dropout"))
    #expect(try adapted("deepseek_vl_v2") { $0.dora = true }.0.isSuperset(of: ["gate_proj", "down_proj"]))
  }

  // MARK: PEFT's present form

  /// A file of factors for all experts together, whose products are known.
  private func native(
    _ family: String, _ change: (inout [(name: String, tensor: Tensor)]) -> Void = { _ in }
  ) throws -> (folder: String, delta: (_ name: String) -> [Float]?) {
    let (experts, hidden, inner, rank) = (7, 40, 21, 2)
    let prefix = family == "qwen3_vl_moe" ? "model.language_model.layers.1.mlp" : "model.layers.1.mlp"
    var random = Randomness(seed: 4, for: .testing).stream(2)
    func noise(_ count: Int) -> [Float] { (0..<count).map { _ in Float(random.normal()) } }
    let sizes = [("experts.base_layer", hidden, 2 * inner), ("experts", inner, hidden)]
    var tensors: [(name: String, tensor: Tensor)] = []
    var products: [String: [Float]] = [:]
    for (module, width, out) in sizes {
      let (a, b) = (noise(rank * experts * width), noise(out * rank * experts))
      let key = "base_model.model.\(prefix).\(module)"
      tensors.append(("\(key).lora_A.weight", Self.backend.upload(a, [rank * experts, width])))
      tensors.append(("\(key).lora_B.weight", Self.backend.upload(b, [out, rank * experts])))
      for e in 0..<experts {
        // Scale 6 / 2: row e · r + j of A, column j · E + e of B.
        var product = [Float](repeating: 0, count: out * width)
        for o in 0..<out {
          for i in 0..<width {
            for j in 0..<rank {
              product[o * width + i] += 3 * b[o * rank * experts + j * experts + e] * a[(e * rank + j) * width + i]
            }
          }
        }
        let place = "\(prefix).experts"
        if family == "qwen3_vl_moe" {
          products["\(place).\(width == hidden ? "gate_up_proj" : "down_proj")[\(e)]"] = product
        } else if width == hidden {
          products["\(place).\(e).gate_proj"] = Array(product.prefix(inner * width))
          products["\(place).\(e).up_proj"] = Array(product.suffix(inner * width))
        } else {
          products["\(place).\(e).down_proj"] = product
        }
      }
    }
    change(&tensors)
    let folder = try Program.temporaryFolder()
    try SafeTensors.write(tensors, to: folder + "/adapter_model.safetensors", from: Self.backend)
    let text = #"""
      {"peft_type": "LORA", "r": 5, "lora_alpha": 15, "target_modules": [], "rank_pattern": {".*experts\\..*_proj": 2},
       "alpha_pattern": {".*experts\\..*_proj": 6},
       "target_parameters": ["layers.1.mlp.experts.gate_up_proj", "layers.1.mlp.experts.down_proj"]}
      """#
    try text.write(toFile: folder + "/adapter_config.json", atomically: true, encoding: .utf8)
    return (folder, { products[$0] })
  }

  @Test(arguments: ["qwen3_moe", "qwen3_vl_moe"]) func factorsOfAllExpertsAreRead(family: String) throws {
    let (folder, delta) = try native(family)
    let model = try Self.model(family)
    try model.loadAdapter(folder: folder)
    #expect(model.adapter!.layers.count == (family == "qwen3_moe" ? 21 : 14))
    for linear in model.linears where linear.lora != nil {
      let expected = zip(Self.backend.floats(linear.weight.value), try #require(delta(linear.name))).map { $0 + $1 }
      expectClose(Self.backend.floats(model.merged(linear)), expected, absolute: 1e-4, linear.name)
    }
    let changed = try Self.logits(model)
    let other = try Self.model(family)
    try other.loadAdapter(folder: Self.saved(model).folder)
    #expect(try Self.logits(other) == changed)
  }

  @Test func oneMatrixOfTheExpertsIsToldByItsSizes() throws {
    let (folder, delta) = try native("qwen3_vl_moe") { tensors in
      tensors.removeLast(2)
      for i in tensors.indices { tensors[i].name = tensors[i].name.replacing(".base_layer", with: "") }
    }
    let path = folder + "/adapter_config.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    expectAttuneError(containing: "target_parameters means", "experts.down_proj", "no factors") {
      try Self.model("qwen3_vl_moe").loadAdapter(folder: folder)
    }
    try text.replacing(#", "layers.1.mlp.experts.down_proj""#, with: "")
      .write(toFile: path, atomically: true, encoding: .utf8)
    let model = try Self.model("qwen3_vl_moe")
    try model.loadAdapter(folder: folder)
    #expect(model.adapter!.layers.allSatisfy { delta($0.module) != nil && $0.module.contains("gate_up_proj") })
  }

  @Test func brokenFactorsOfAllExpertsAreRefusedByName() throws {
    func refuse(_ parts: String..., breaking: (inout [(name: String, tensor: Tensor)]) -> Void) throws {
      let (folder, _) = try native("qwen3_moe", breaking)
      for part in parts {
        expectAttuneError(containing: part) { try Self.model("qwen3_moe").loadAdapter(folder: folder) }
      }
    }
    let experts = "base_model.model.model.layers.1.mlp.experts"
    try refuse("tensor \(experts).lora_B.weight is missing") { $0.removeLast() }
    try refuse("fit no experts of the model", "lora_A.weight [14, 20]") {
      $0[2].tensor = Self.backend.zeros([14, 20], .f32)
    }
    try refuse("fit no experts of the model", "the model has none at model.layers.0.mlp.experts") {
      for i in $0.indices { $0[i].name = $0[i].name.replacing("layers.1", with: "layers.0") }
    }
    try refuse("has shape [21, 21], [14, 21] was expected") {
      $0[2].tensor = Self.backend.zeros([21, 21], .f32)
    }
  }
}
