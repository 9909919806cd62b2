import AttuneTensor
import Core
import Models
import TestSupport
import Testing

/// What is peculiar to mixtures of experts, against transformers.
extension GoldenModelTests {
  @Test(arguments: [
    "qwen3_moe", "qwen3_vl_moe", "deepseek_v2", "deepseek_v2_lite", "deepseek_vl2_mha", "deepseek_vl2_noaux",
  ])
  func routersChooseAsTheReference(folder: String) throws {
    let backend = Self.backend
    let model = try Self.load(folder)
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/expected.safetensors"))
    var balances: [String: RouterBalance] = [:]
    var losses: [String: Double] = [:]
    var compared = 0
    for (row, item) in try Self.rows(folder) {
      let balance = balances[row.name] ?? RouterBalance()
      balances[row.name] = balance
      losses[row.name] = item["router_aux_loss"]?.double
      let watch = balance.observe(backend)
      _ = Self.evaluate(model, try model.encode(ids: row.ids, pictures: row.pictures, films: row.films)) {
        name, tensor in
        watch(name, tensor)
        guard name.hasSuffix(".chosen") else { return }
        let key = "\(row.name).\(name.dropLast("chosen".count))experts"
        guard tensors.entry(key) != nil, let expected = try? tensors.integers(key) else { return }
        #expect(backend.floats(tensor).map { Int($0) } == expected, "\(key)")
        compared += 1
      }
    }
    #expect(compared >= 2)
    #expect(losses.count == (folder == "qwen3_moe" ? 4 : 0))
    for (name, loss) in losses {
      let balance = try #require(balances[name])
      expectClose([try #require(balance.loss)], [loss], absolute: 2e-4, "\(name) router loss")
      #expect(abs(balance.shares.reduce(0, +) - 1) < 1e-12)
    }
  }

  /// The reference took the repetition penalty of the folder's `generation_config.json`, over padding too, and so does this.
  /// In prompts that came without a mask it took the id 0 for padding, and saw none of it; and it wrote zeros behind an end of
  /// sequence where other rows went on.
  @Test(arguments: folders)
  func greedyIDsEqualTheReference(folder: String) throws {
    let model = try Self.load(folder)
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/expected.safetensors"))
    let vocabulary = model.configuration.text.vocabularySize
    let penalty = Float(
      (try? Fixtures.json("models/\(folder)/generation_config.json"))?["repetition_penalty"]?.double ?? 1)
    for (row, item) in try Self.rows(folder) {
      let expected = item["greedy_ids"]!.array![row.index].array!.map { Int32($0.int!) }
      let isMasked = tensors.entry("\(row.name).attention_mask") != nil || folder.contains("vl2")
      let prompt = isMasked ? row.ids : row.ids.filter { $0 != 0 }
      let length = item["length"]!.int!
      let padding =
        row.padding > 0
        ? try tensors.integers("\(row.name).input_ids")[row.index * length..<row.index * length + row.padding] : []
      var ids = prompt
      for _ in expected {
        var last = Array(
          Self.evaluate(model, try model.encode(ids: ids, pictures: row.pictures, films: row.films)).logits.suffix(
            vocabulary))
        for id in Set(ids.map { Int($0) } + padding) { last[id] *= last[id] > 0 ? 1 / penalty : penalty }
        ids.append(Self.backend.likeliest(Self.backend.upload(last, [1, vocabulary]))[0])
      }
      let found = ids.dropFirst(prompt.count)
      let compared = expected.count - (item["batch"]?.int ?? 1 > 1 ? expected.reversed().prefix { $0 == 0 }.count : 0)
      #expect(Array(found.prefix(compared)) == Array(expected.prefix(compared)), "\(row.name) \(row.index)")
    }
  }

  /// Dense layers among sparse ones, and what a configuration may not say.
  @Test func expertConfigurationsAreReadAndChecked() throws {
    func configuration(_ changes: [(String, JSON)]) throws -> ModelConfiguration {
      let kept = TinyModels.qwen3MoE.object!.entries.filter { key, _ in !changes.contains { $0.0 == key } }
      return try ModelConfiguration(json: .object(kept.map { ($0, $1) } + changes), file: "config.json")
    }
    #expect(try configuration([]).text.experts?.layers == [1, 2])
    #expect(try configuration([("mlp_only_layers", []), ("decoder_sparse_step", 2)]).text.experts?.layers == [1])
    #expect(try configuration([("norm_topk_prob", .null)]).text.experts?.rule.normalized == false)
    expectAttuneError(containing: "num_experts_per_tok is 9, more than num_experts 7") {
      _ = try configuration([("num_experts_per_tok", 9)])
    }
    expectAttuneError(containing: "mlp_only_layers holds 3") { _ = try configuration([("mlp_only_layers", [3])]) }
    expectAttuneError(containing: "norm_topk_prob is 1, true or false") {
      _ = try configuration([("norm_topk_prob", 1)])
    }
    expectAttuneError(containing: "moe_intermediate_size is missing") {
      _ = try configuration([("moe_intermediate_size", .null)])
    }
  }

  /// Adapters stand beside experts and routers by PEFT's names.
  @Test func adaptersStandBesideExperts() throws {
    let model = try Self.load("qwen3_moe")
    try model.attachLoRA(LoRAConfiguration(rank: 2, targets: ["gate", "down_proj"]), seed: 1)
    let names = Set(model.trainedParameters.map(\.name))
    #expect(names.count == 2 * (3 + 24))
    #expect(names.contains("base_model.model.model.layers.1.mlp.experts.5.down_proj.lora_A.weight"))
    #expect(names.contains("base_model.model.model.layers.1.mlp.gate.lora_B.weight"))
    #expect(try model.writtenWeights().map(\.name) == model.parameters.map(\.name))
  }
}
