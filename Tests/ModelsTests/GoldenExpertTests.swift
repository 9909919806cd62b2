import AttuneTensor
import Core
import Models
import TestSupport
import Testing

/// What is peculiar to mixtures of experts, against transformers.
extension GoldenModelTests {
  @Test(arguments: ["qwen3_moe"])
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
      losses[row.name] = item["router_aux_loss"]!.double!
      let watch = balance.observe(backend)
      _ = Self.evaluate(model, try model.encode(ids: row.ids)) { name, tensor in
        watch(name, tensor)
        guard name.hasSuffix(".chosen") else { return }
        let key = "\(row.name).\(name.dropLast("chosen".count))experts"
        guard tensors.entry(key) != nil, let expected = try? tensors.integers(key) else { return }
        #expect(backend.floats(tensor).map { Int($0) } == expected, "\(key)")
        compared += 1
      }
    }
    #expect(compared == 3)
    #expect(losses.count == 4)
    for (name, loss) in losses {
      let balance = try #require(balances[name])
      expectClose([try #require(balance.loss)], [loss], absolute: 2e-4, "\(name) router loss")
      #expect(abs(balance.shares.reduce(0, +) - 1) < 1e-12)
    }
  }

  /// The reference took the repetition penalty of the folder's `generation_config.json`, and so does this.
  @Test(arguments: ["qwen3_moe"])
  func greedyIDsEqualTheReference(folder: String) throws {
    let model = try Self.load(folder)
    let vocabulary = model.configuration.text.vocabularySize
    let penalty = Float(
      try Fixtures.json("models/\(folder)/generation_config.json")["repetition_penalty"]?.double ?? 1)
    for (row, item) in try Self.rows(folder) {
      let expected = item["greedy_ids"]!.array![row.index].array!.map { Int32($0.int!) }
      var ids = row.ids
      for _ in expected {
        var last = Array(Self.evaluate(model, try model.encode(ids: ids)).logits.suffix(vocabulary))
        for id in Set(ids).map({ Int($0) }) { last[id] *= last[id] > 0 ? 1 / penalty : penalty }
        ids.append(Self.backend.likeliest(Self.backend.upload(last, [1, vocabulary]))[0])
      }
      #expect(Array(ids.dropFirst(row.ids.count)) == expected, "\(row.name) \(row.index)")
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
    #expect(try configuration([("norm_topk_prob", .null)]).text.experts?.isNormalized == false)
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

  /// Adapters stand beside experts by PEFT's names, and the routers have none.
  @Test func adaptersStandBesideExperts() throws {
    let model = try Self.load("qwen3_moe")
    try model.attachLoRA(LoRAConfiguration(rank: 2, targets: ["experts.5.up_proj", "down_proj"]), seed: 1)
    let names = Set(model.trainedParameters.map(\.name))
    #expect(names.count == 2 * (3 + 24))
    #expect(names.contains("base_model.model.model.layers.1.mlp.experts.5.up_proj.lora_A.weight"))
    expectAttuneError(containing: "no linear layer is called gate") {
      try Self.load("qwen3_moe").attachLoRA(LoRAConfiguration(rank: 2, targets: ["gate"]), seed: 1)
    }
    #expect(try model.mergedWeights().map(\.name) == model.parameters.map(\.name))
  }
}
