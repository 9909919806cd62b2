import AttuneTensor
import Core
import Models
import TestSupport
import Testing

@testable import Lab

/// What recipes say of adapters, parts and their learning rates.
@Suite struct AdapterRecipeTests {
  private static let text = """
    model:
      path: preset:tiny-vl
      train: lora
      freeze: [vision]
      lora:
        rank: 4
        alpha: 8
        dropout: 0.1
        targets: '.*(q|v)_proj'
        exclude: [layers.0.self_attn.v_proj]
        rank_stabilized: true
        dora: true
        bias: lora_only
        modules_to_save: [lm_head]
        rank_pattern: {'layers.0.*q_proj': 2}
        alpha_pattern: {v_proj: 3.5}
    optimizer: {learning_rate: 0.1, aligner_learning_rate: 0.01, lora_plus_ratio: 4, schedule: linear}
    data: {train: {kind: jsonl, file: train.jsonl}}
    stages:
      - {objective: sft, steps: 5}
      - {objective: sft, name: again, steps: 5, optimizer: {language_learning_rate: 0.2}}
    """

  private func parse(_ overrides: [String] = []) throws -> Recipe {
    try Recipe.parse(Self.text, file: "/lab/r.yaml", overrides: overrides, checkFiles: false)
  }

  @Test func everyKeyOfAnAdapterIsRead() throws {
    let recipe = try parse()
    var expected = LoRAConfiguration(
      rank: 4, alpha: 8, targets: .pattern(".*(q|v)_proj"), rankStabilized: true,
      rankPattern: ["layers.0.*q_proj": 2], alphaPattern: ["v_proj": 3.5])
    expected.dropout = 0.1
    expected.excluded = .names(["layers.0.self_attn.v_proj"])
    expected.dora = true
    expected.bias = .loraOnly
    expected.modulesToSave = ["lm_head"]
    #expect(recipe.model.lora == expected)
    #expect(recipe.model.freeze == [.vision] && recipe.model.trainedParts == [.aligner, .language])
    #expect(try Recipe(effective: recipe.effective, text: recipe.text, file: recipe.file) == recipe)
  }

  @Test func wrongAdaptersAreRefusedBeforeTheRun() {
    func refuse(_ override: String, _ message: String) {
      expectAttuneError(containing: message) { _ = try parse([override]) }
    }
    refuse("model.freeze=[vison]", "did you mean 'vision'?")
    refuse("model.freeze=[vision, aligner, language]", "all parts are frozen")
    refuse("model.freeze=vision", "a list is written [vision]")
    refuse("model.lora.lora_bias=true", "does not go with dora")
    refuse("model.lora.targets='(q_proj'", "is no regular expression")
    refuse("model.lora.rank_pattern={q_proj: 0.5}", "'q_proj' is 0.5, expected a whole number")
    refuse("model.lora.alpha_pattern={'(': 2}", "is no regular expression")
    refuse("model.lora.dropout=1", "0 ≤ x < 1")
    refuse("model.lora.bias=some", "one of none, all, lora_only")
    expectAttuneError(containing: "model.lora.dropout: found 0.1, but stages.1 is on-policy") {
      _ = try Recipe.parse(
        Self.text.replacing("{objective: sft, name: again, ", with: "{objective: grpo, ")
          + "\nrewards: [{source: exact_match}]", file: "/lab/r.yaml", checkFiles: false)
    }
  }

  @Test func partsLearnAtTheirOwnRates() throws {
    let recipe = try parse()
    let first = recipe.stages[0].optimizer.learningRates(steps: 10)
    let second = recipe.stages[1].optimizer.learningRates(steps: 10)
    func rates(_ rates: LearningRates, _ step: Int) -> [Double] {
      [
        "model.visual.blocks.0.attn.qkv.weight", "model.visual.merger.linear_fc1.weight",
        "model.language_model.norm.weight", "base_model.model.model.visual.merger.linear_fc1.lora_B.weight",
        "base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight",
      ].map { rates.learningRate(of: $0, at: step) }
    }
    expectClose(rates(first, 0), [0.1, 0.01, 0.1, 0.04, 0.1], relative: 1e-12)
    expectClose(rates(first, 5), [0.05, 0.005, 0.05, 0.02, 0.05], relative: 1e-12)
    expectClose(rates(second, 0), [0.1, 0.01, 0.2, 0.04, 0.2], relative: 1e-12)
    #expect(first.learningRate(at: 0) == 0.1)
  }

  /// AdamW's first step moves every element by the rate.
  @Test func theOptimizerTakesEachParametersRate() throws {
    let backend = try CPUBackend(threads: 1)
    let parameters = ["model.visual.merger.norm.weight", "model.norm.weight", "x.lora_B.weight"].map {
      Parameter(name: $0, value: backend.zeros([4], .f32), precision: .full, trainable: true, backend: backend)
    }
    let ones = backend.upload([Float](repeating: 1, count: 4), [4])
    for parameter in parameters { backend.addScaled(parameter.gradient!, ones, 1) }
    let optimizer = Optimizer(parameters, on: backend)
    let rates = LearningRates(
      common: LearningRateSchedule(.constant, base: 0.5, steps: 1),
      parts: [.aligner: LearningRateSchedule(.constant, base: 0.25, steps: 1)], loraPlusRatio: 3)
    _ = try optimizer.update(rates, at: 0, try parse().optimizer)
    expectClose(parameters.map { -backend.floats($0.value)[0] }, [0.25, 0.5, 1.5], relative: 1e-6)
  }
}
