import Core
import Foundation
import Objectives
import TestSupport
import Testing

@testable import Lab

@Suite struct RecipeTests {
  static let small = """
    model: {path: "preset:tiny"}
    data:
      train: {kind: digits, file: digits.csv}
    rewards:
      - source: exact_match
    stages:
      - {objective: sft, steps: 10}
      - {objective: grpo, steps: 5, optimizer: {learning_rate: 1e-4}}
    """

  private func parse(_ text: String, _ overrides: [String] = []) throws -> Recipe {
    try Recipe.parse(text, file: "/lab/recipes/r.yaml", overrides: overrides, checkFiles: false)
  }

  /// The error of a recipe with one line appended.
  private func refuse(
    _ text: String, _ overrides: [String] = [], _ fragments: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    do {
      _ = try parse(text, overrides)
      Issue.record("no error was thrown", sourceLocation: sourceLocation)
    } catch let error as AttuneError {
      #expect(error.exitStatus == 2, sourceLocation: sourceLocation)
      for fragment in fragments where !error.description.contains(fragment) {
        Issue.record("'\(error.description)' does not contain '\(fragment)'", sourceLocation: sourceLocation)
      }
    } catch {
      Issue.record("not an AttuneError: \(error)", sourceLocation: sourceLocation)
    }
  }

  @Test func defaultsAreFilledIn() throws {
    let recipe = try parse(Self.small)
    #expect(recipe.name == "r" && recipe.seed == 1 && recipe.threads == 0 && recipe.dtype == .f32)
    #expect(recipe.output == "runs" && recipe.text == Self.small && recipe.file == "/lab/recipes/r.yaml")
    #expect(recipe.model.path == "preset:tiny" && recipe.model.preset == "tiny" && recipe.model.train == .full)
    #expect(recipe.model.lora.rank == 16 && recipe.model.lora.alpha == 32 && recipe.model.lora.targets == .allLinear)
    #expect(recipe.optimizer.learningRate == 1e-6 && recipe.optimizer.schedule == .linear)
    #expect(recipe.optimizer.beta2 == 0.999 && recipe.optimizer.maxGradNorm == 1 && recipe.optimizer.numCycles == nil)
    let train = try #require(recipe.source("train"))
    #expect(train.file == "/lab/recipes/digits.csv" && train.seed == 1 && train.count == 0 && train.system == nil)
    guard case .digits(let digits) = train.content else { throw AttuneError.work("not digits") }
    #expect(digits.records == nil && digits.length == 2...4 && digits.canvasWidth == 128 && digits.canvasHeight == 32)
    #expect(recipe.stages.map(\.name) == ["sft", "grpo"] && recipe.stages.map(\.steps) == [10, 5])
    let sft = try #require(recipe.stages[0].objective as? SFT).configuration
    let grpo = try #require(recipe.stages[1].objective as? GRPO).configuration
    let rollouts = try #require(recipe.stages[1].rollouts)
    #expect(recipe.stages[0].batch == 8 && recipe.stages[0].rollouts == nil)
    #expect(sft.lossType == .nll && sft.labelSmoothing == 0)
    #expect(rollouts.prompts == 8 && rollouts.generations == 8 && rollouts.maxNewTokens == 512)
    #expect(rollouts.temperature == 1 && rollouts.iterations == 1 && !rollouts.isDynamic)
    #expect(grpo.lossType == .dapo && grpo.epsilon == 0.2 && grpo.epsilonHigh == 0.2 && grpo.delta == nil)
    #expect(grpo.scaling == .group && grpo.biasCorrectedKL && grpo.topEntropyQuantile == 1)
    #expect(grpo.maxCompletionLength == 512)
    #expect(recipe.stages[0].optimizer == recipe.optimizer)
    #expect(recipe.stages[1].optimizer.learningRate == 1e-4 && recipe.stages[1].optimizer.beta1 == 0.9)
    #expect(recipe.rewards.map(\.name) == ["exact_match"] && recipe.rewards[0].isolation == .worker)
    #expect(
      recipe.rewards[0].parameters == [:] && recipe.rewards[0].timeout == 5 && recipe.rewards[0].onFailure == .skip)
    #expect(recipe.evaluation.data == nil && recipe.evaluation.metric == .exactMatch)
    #expect(recipe.checkpoint.every == 50 && recipe.checkpoint.keep == 2)
    #expect(recipe.report.enabled && recipe.report.title == "r" && recipe.report.pictures == 24)
  }

  @Test func everyKeyIsRead() throws {
    let recipe = try parse(
      """
      name: everything
      seed: 9223372036854775807
      threads: 3
      dtype: bf16
      output: somewhere
      model:
        path: ../models/m
        train: lora
        adapter: /adapters/a
        lora: {rank: 4, alpha: 8.5, targets: [q_proj, v_proj], rank_stabilized: true}
      optimizer: &opt
        {learning_rate: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 1e-9, weight_decay: 0.01, max_grad_norm: 0,
         schedule: warmup_stable_decay, warmup_steps: 0.1, min_lr_rate: 0.05, num_cycles: 2, power: 3,
         end_learning_rate: 1e-8, decay_steps: 5, decay: 1-sqrt, timescale: 7}
      data:
        rows: {kind: jsonl, file: rows.jsonl, prompt: q, completion: c, reference: a, images: i, system: Be brief., count: 5}
        digits:
          {kind: digits, file: d.csv, records: [3, 9], length: [1, 6], count: 12, seed: 4, shift: 1.5, scale: [0.5, 2],
           contrast: [0.1, 0.2], noise: 0.3, question: "What?", answer: "{number}!", canvas: [64, 48], digit_size: 20}
      stages:
        - name: warm
          objective: sft
          steps: 0
          batch: 3
          data: rows
          micro_batch: 2
          optimizer: *opt
          sft: {loss_type: nll, label_smoothing_factor: 0.1}
        - name: rl
          objective: grpo
          steps: 7
          data: digits
          prompts: 2
          generations: 4
          max_new_tokens: 9
          temperature: 0.7
          top_k: 5
          top_p: 0.9
          min_p: 0.01
          iterations: 2
          mask_truncated_completions: true
          grpo:
            {loss_type: grpo, beta: 0.04, epsilon: 0.1, epsilon_high: 0.3, delta: 2, scale_rewards: none,
             importance_sampling_level: sequence, multi_objective_aggregation: normalize_then_sum,
             use_bias_correction_kl: false, top_entropy_quantile: 0.2, entropy_coef: 0.001}
      rewards:
        - {name: close, source: ../rewards/close.c, weight: 0.5, parameters: {tolerance: 0.1, words: [a, b]},
           isolation: inline, timeout: 0.5, on_failure: value, failure_value: -1}
        - source: "libm.so.6: double fabs(double column.delta)"
        - source: lib/my.so:entry
        - source: "half.c: double half(double column.x)"
      evaluation: {data: digits, every: 5, count: 3, max_new_tokens: 8, metric: exact_match}
      checkpoint: {every: 0, keep: 1}
      report: {title: "All of it", pictures: 0, enabled: false}
      """)
    #expect(recipe.seed == UInt64(Int64.max) && recipe.dtype == .bf16 && recipe.output == "somewhere")
    #expect(recipe.model.path == "/lab/models/m" && recipe.model.preset == nil && recipe.model.adapter == "/adapters/a")
    #expect(recipe.model.lora.targets == ["q_proj", "v_proj"] && recipe.model.lora.rankStabilized)
    #expect(recipe.optimizer.decay == .oneMinusSqrt && recipe.optimizer.timescale == 7)
    #expect(recipe.stages[0].optimizer == recipe.optimizer && recipe.stages[1].optimizer == recipe.optimizer)
    let rates = recipe.optimizer.learningRates(steps: 20).common
    #expect(rates.warmupSteps == 2 && rates.decaySteps == 5 && rates.minimum == 0.05 && rates.base == 0.1)
    guard case .jsonl(let columns) = try #require(recipe.source("rows")).content else { throw AttuneError.work("") }
    #expect(columns.prompt == "q" && columns.images == "i" && recipe.source("rows")?.system == "Be brief.")
    guard case .digits(let digits) = try #require(recipe.source("digits")).content else { throw AttuneError.work("") }
    #expect(digits.records == 3..<9 && digits.scale == 0.5...2 && digits.answer == "{number}!" && digits.noise == 0.3)
    #expect(recipe.rewards.map(\.name) == ["close", "fabs", "entry", "half"])
    #expect(
      recipe.rewards.map(\.source) == [
        "/lab/rewards/close.c", "libm.so.6: double fabs(double column.delta)", "/lab/recipes/lib/my.so:entry",
        "/lab/recipes/half.c: double half(double column.x)",
      ])
    #expect(recipe.rewards[0].failureValue == -1 && recipe.rewards[0].parameters["words"]?[1] == "b")
    #expect(recipe.evaluation.data == "digits" && recipe.report.title == "All of it" && !recipe.report.enabled)

    // No key was forgotten above: every value that has a default differs from it.
    let again = try Recipe(effective: recipe.effective, text: recipe.text, file: recipe.file)
    #expect(again == recipe)
  }

  /// A variant is its objective with other defaults, which what is written still overrides.
  @Test func variantsHaveDefaultsOfTheirOwn() throws {
    func stage(_ text: String) throws -> Recipe.Stage {
      try parse(Self.small.replacing("objective: grpo", with: text)).stages[1]
    }
    let dapo = try stage("objective: dapo")
    let configuration = try #require(dapo.objective as? GRPO).configuration
    #expect(dapo.entry.name == "dapo" && dapo.rollouts?.isDynamic == true && dapo.rollouts?.masksTruncated == true)
    #expect(configuration.epsilon == 0.2 && configuration.epsilonHigh == 0.28 && configuration.lossType == .dapo)
    let own = try stage("objective: dapo, grpo: {epsilon: 0.1, epsilon_high: 0.3}, dynamic_sampling: false")
    #expect(own.rollouts?.isDynamic == false && (own.objective as? GRPO)?.configuration.epsilonHigh == 0.3)
    let gspo = try #require(stage("objective: gspo").objective as? GRPO).configuration
    #expect(gspo.importanceLevel == .sequence && gspo.epsilon == 3e-4 && gspo.epsilonHigh == 4e-4)
  }

  @Test func theEffectiveRecipeMakesTheSameRecipe() throws {
    let recipe = try parse(Self.small, ["stages.grpo.steps=7", "seed=12"])
    #expect(recipe.effective["stages"]?[1]?["steps"]?.int == 7)
    #expect(recipe.effective["checkpoint"]?["keep"]?.int == 2)
    let stored = try JSON.parse(recipe.effective.text())
    #expect(try Recipe(effective: stored, text: recipe.text, file: recipe.file) == recipe)
    // Also as a recipe file of its own, wherever it lies.
    let asFile = try Recipe.parse(recipe.effective.text(.pretty), file: "/elsewhere/e.yaml", checkFiles: false)
    #expect(asFile.effective == recipe.effective)
  }

  /// A kind brings its own keys; a stage of the root's kind takes what is written there, one of another kind its own defaults.
  @Test func eachOptimizerHasItsKeys() throws {
    let root = Self.small + "\noptimizer: {kind: sgd, momentum: 0.5, nesterov: true, coupled_weight_decay: false}"
    let recipe = try parse(
      root, ["stages.grpo.optimizer={kind: muon, momentum: 0.8, newton_schulz_steps: 6, update_scale: original}"])
    var sgd = OptimizerMethod.SGD()
    sgd.momentum = 0.5
    sgd.nesterov = true
    sgd.couplesDecay = false
    #expect(recipe.optimizer.method == .sgd(sgd) && recipe.stages[0].optimizer.method == .sgd(sgd))
    var muon = OptimizerMethod.Muon()
    muon.momentum = 0.8
    muon.steps = 6
    muon.scale = .original
    #expect(recipe.stages[1].optimizer.method == .muon(muon))
    #expect(try Recipe(effective: recipe.effective, text: recipe.text, file: recipe.file) == recipe)
    let others = try parse(
      root,
      [
        "stages.grpo.optimizer={kind: muon}",
        "stages.sft.optimizer={kind: galore, rank: 8, update_proj_gap: 9, projection_scale: 1, beta1: 0.7}",
      ])
    #expect(others.stages[1].optimizer.method == OptimizerMethod(.muon))
    var galore = OptimizerMethod.GaLore()
    (galore.rank, galore.gap, galore.scale) = (8, 9, 1)
    #expect(others.stages[0].optimizer.method == .galore(galore))
    #expect(others.stages[0].optimizer.beta1 == 0.7 && others.stages[0].optimizer.beta2 == 0.999)
    let shared = try parse(
      Self.small + "\noptimizer: {beta1: 0.8}", ["stages.grpo.optimizer={kind: adamw_8bit}"])
    #expect(shared.optimizer.method == .adamW && shared.stages[1].optimizer.method == .adamW8Bit)
    #expect(shared.stages[1].optimizer.beta1 == 0.8)
  }

  @Test func keysOfOtherOptimizersAreRefused() {
    refuse(
      Self.small + "\noptimizer: {momentum: 0.9}", [], "'momentum' goes with kind: sgd or muon; here kind is adamw")
    refuse(Self.small + "\noptimizer: {kind: sgd, beta1: 0.9}", [], "'beta1' goes with kind: adamw")
    refuse(Self.small + "\noptimizer: {kind: adam}", [], "expected one of adamw, adamw_8bit", "did you mean 'adamw'?")
    refuse(Self.small + "\noptimizer: {kind: galore, rank: 0}", [], "optimizer.rank: found 0", "1 ≤ x")
    refuse(
      Self.small + "\noptimizer: {kind: sgd, momentum: 0, nesterov: true}", [],
      "optimizer.nesterov: there is nothing to look ahead by with momentum: 0")
  }

  @Test func mistakesAreNamedWithTheirPlace() {
    refuse(
      Self.small.replacing("learning_rate", with: "learing_rate"), [],
      "/lab/recipes/r.yaml:8:45: unknown key 'learing_rate' in stages.1.optimizer", "did you mean 'learning_rate'?")
    refuse(Self.small + "\nsteps: 5", [], "r.yaml:9:1: unknown key 'steps'", "there is 'stages[].steps'")
    refuse(Self.small + "\nzzz: 5", [], "known here: name, seed")
    refuse(Self.small + "\nseed: -1", [], "r.yaml:9:7: seed: found -1, expected a whole number, 0 ≤ x ≤ 2^63 - 1")
    refuse(Self.small + "\nseed: 1.5", [], "seed: found 1.5, expected a whole number")
    refuse(Self.small + "\nseed: '5'", [], "found '5'", "leave out the quotes")
    refuse(Self.small + "\nname: 5", [], "name: found 5, expected a string", "write it in quotes: '5'")
    refuse(Self.small + "\ndtype: bf61", [], "expected one of f32, bf16", "did you mean 'bf16'?")
    refuse(Self.small + "\nthreads:", [], "threads: found nothing, expected a whole number")
    refuse(Self.small + "\nreport: {enabled: yes}", [], "expected true or false", "write true")
    refuse(Self.small + "\nreport: 5", [], "report: found 5, expected a mapping")
    refuse(Self.small + "\noptimizer: {learning_rate: .inf}", [], "found .inf")
    refuse(
      Self.small + "\noptimizer: {beta1: 1}", [], "r.yaml:9:20: optimizer.beta1: found 1, expected a number, 0 ≤ x < 1")
    refuse(
      Self.small.replacing("exact_match", with: "'libm.so.6: double fabs(double delta)'"), [],
      "rewards.0.source: 'delta' says nothing about where it comes from, at column 20", "double column.delta")
    refuse("[1, 2]", [], "r.yaml:1:1: a recipe is a mapping")
    refuse("", [], "model.path is missing", "stages: found nothing, expected at least one entry")
    refuse(Self.small.replacing(", steps: 10", with: ""), [], "r.yaml:7:5: stages.0.steps is missing")
    refuse(Self.small.replacing("steps: 10", with: "steps: 10, prompts: 4"), [], "'prompts' goes with objective: grpo")
    refuse(Self.small.replacing("objective: grpo", with: "objective: gpro"), [], "did you mean 'grpo'?")
    refuse(Self.small.replacing("steps: 5", with: "steps: 5, generations: 1"), [], "generations: found 1", "at least 2")
    refuse(Self.small.replacing("kind: digits", with: "kind: digits, length: [4, 2]"), [], "found [4, 2]", "ascending")
    refuse(Self.small.replacing("kind: digits", with: "kind: digits, length: 3"), [], "a list of 2 whole numbers")
  }

  @Test func allMistakesAreToldTogether() throws {
    do {
      _ = try parse(
        "sed: 1\nmodel: {path: 'preset:x', train: ful}\nstages: [{objective: sft, steps: -1}]", ["dtype=f64"])
      Issue.record("no error was thrown")
    } catch let error as AttuneError {
      #expect(error.location == .init(file: "/lab/recipes/r.yaml", line: 1, column: 1))
      #expect(
        error.description == """
          /lab/recipes/r.yaml:1:1: unknown key 'sed'; did you mean 'seed'?
          /lab/recipes/r.yaml:2:34: model.train: found 'ful', expected one of full, lora; did you mean 'full'?
          /lab/recipes/r.yaml:3:10: stages.0.data: there is no data source 'train'; describe it under 'data: {train: ...}'
          /lab/recipes/r.yaml:3:34: stages.0.steps: found -1, expected a whole number, 0 ≤ x ≤ 1000000000
          --set dtype=f64: dtype: found 'f64', expected one of f32, bf16
          """)
    }
  }

  @Test func settingsThatExcludeEachOtherAreRefused() {
    let twice = Self.small.replacing("objective: grpo", with: "objective: sft").replacing("steps: 5", with: "steps: 1")
    refuse(twice, [], "stages.1: 'sft' is also the name of stages.0")
    refuse(
      Self.small.replacing("  - source: exact_match", with: "  []"), [],
      "r.yaml:8:17: stages.1: a grpo stage needs rewards")
    refuse(Self.small, ["stages.grpo.data=trian"], "there is no data source 'trian'", "did you mean 'train'?")
    refuse(Self.small, ["model.adapter=/a"], "an adapter can be trained only with train: lora")
    refuse(
      Self.small, ["model.weights=int8", "dtype=bf16"], "int8 codes hold frozen weights, but train: full changes them")
    refuse(
      Self.small, ["model.weights=int4", "model.train=lora"], "int4 is for products of bf16, but dtype is f32")
    refuse(
      Self.small, ["stages.sft.sft={loss_type: dft, label_smoothing_factor: 0.1}"],
      "label_smoothing_factor 0.1 has no meaning with loss_type 'dft'")
    refuse(Self.small, ["stages.grpo.grpo.delta=1.1"], "delta is 1.1, expected more than 1 + epsilon_high = 1.2")
    refuse(Self.small, ["optimizer.warmup_steps=2.5"], "expected a whole number of steps, or a fraction")
    refuse(Self.small, ["optimizer={schedule: polynomial, end_learning_rate: 1}"], "less than the learning rate")
    refuse(Self.small, ["data.train.records=[5, 5]"], "no record lies between")
    refuse(Self.small, ["data.train.digit_size=40"], "does not fit a canvas of 128 x 32")
    refuse(Self.small, ["data.train.answer=nothing"], "'{number}' is missing")
    refuse(Self.small, ["evaluation.every=5"], "there is no data to evaluate on")
    refuse(Self.small, ["evaluation.data=train"], "the source 'train' is endless")
    refuse(Self.small, ["evaluation.data=evil"], "there is no data source 'evil'")
    refuse(Self.small, ["rewards.0.on_failure=value"], "rewards.0.failure_value is missing")
    refuse(
      Self.small, ["rewards.0.failure_value=1"], "'failure_value' goes with on_failure: value; here on_failure is skip")
  }

  @Test func overridesReplaceValues() throws {
    let recipe = try parse(
      Self.small,
      [
        "stages.grpo.steps=100", "stages.0.steps=2", "stages[1].optimizer.learning_rate=1e-3", "optimizer.beta1=0.5",
        "rewards.exact_match.parameters.deep.er=[1, {a: b}]", "data.train.question=Answer: which?",
        "data.eval={kind: digits, file: e.csv, count: 3}", "model.train=lora", "name='5'",
        "stages.grpo.grpo.delta=none",
      ])
    #expect(recipe.stages.map(\.steps) == [2, 100])
    #expect(recipe.stages[1].optimizer.learningRate == 1e-3 && recipe.stages[1].optimizer.beta1 == 0.5)
    #expect(recipe.rewards[0].parameters == ["deep": ["er": [1, ["a": "b"]]]])
    guard case .digits(let digits) = try #require(recipe.source("train")).content else { throw AttuneError.work("") }
    #expect(digits.question == "Answer: which?")
    #expect(recipe.evaluation.data == "eval" && recipe.model.train == .lora && recipe.name == "5")
    #expect(recipe.source("eval")?.file == FileManager.default.currentDirectoryPath + "/e.csv")
  }

  @Test func overridesThatLeadNowhereAreRefused() {
    refuse(
      Self.small, ["optimizer.learing_rate=1"], "--set optimizer.learing_rate=1: unknown key",
      "did you mean 'learning_rate'?")
    refuse(Self.small, ["stages.gpro.steps=1"], "there is no 'gpro' in stages; it has 2", "did you mean 'grpo'?")
    refuse(Self.small, ["stages.2.steps=1"], "there is no '2' in stages", "known: sft, grpo")
    refuse(Self.small, ["data.trian.count=1"], "there is no 'trian' in data", "did you mean 'train'?")
    refuse(Self.small, ["seed.x=1"], "'seed' takes a whole number")
    refuse(Self.small, ["steps=1"], "there is 'stages[].steps'")
    refuse(Self.small, ["seed"], "expected key.path=value")
    refuse(Self.small, ["=1"], "expected a key")
    refuse(Self.small, ["seed=[1"], "--set seed=[1: not valid YAML")
    refuse(Self.small, ["seed=x"], "--set seed=x: seed: found 'x', expected a whole number")
  }

  @Test func missingFilesAreNamed() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("recipe-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    _ = FileManager.default.createFile(atPath: folder + "/digits.csv", contents: Data())
    let path = folder + "/r.yaml"
    try Self.small.write(toFile: path, atomically: true, encoding: .utf8)
    #expect(try Recipe.load(path: path).source("train")?.file == folder + "/digits.csv")
    try Self.small.replacing("digits.csv", with: "digit.csv").write(toFile: path, atomically: true, encoding: .utf8)
    expectAttuneError(containing: "r.yaml:3:31: data.train.file: there is no file at", "did you mean 'digits.csv'?") {
      _ = try Recipe.load(path: path)
    }
    expectAttuneError(containing: "model.path: there is no folder at") {
      _ = try Recipe.load(path: path, overrides: ["model.path=\(folder)/none", "data.train.file=\(folder)/digits.csv"])
    }
    expectAttuneError(containing: "rewards.0.source: there is no file at \(folder)/mine.c") {
      _ = try Recipe.load(path: path, overrides: ["rewards.0.source=\(folder)/mine.c"])
    }
    expectAttuneError(containing: "s.yaml: there is no recipe at this path", "did you mean 'r.yaml'?") {
      _ = try Recipe.load(path: folder + "/s.yaml")
    }
  }

  @Test func rewardsAreNamedAfterTheirSource() {
    #expect(RecipePaths.rewardName("rewards/my_reward.swift") == "my_reward")
    #expect(RecipePaths.rewardName("libm.so.6: double fabs(double x)") == "fabs")
    #expect(RecipePaths.rewardName("lib.so:thing") == "thing")
    #expect(RecipePaths.rewardName("9 lives.c") == "reward_9_lives")
    #expect(RecipePaths.rewardName("libx.so: char *f(void)") == "f")
    #expect(RecipePaths.rewardName("") == "recipe" || !RecipePaths.rewardName("").isEmpty)
  }

  /// The page's own example is a valid recipe, and the mistakes that it shows are told in its words.
  @Test func theDocumentedExampleParses() throws {
    let page = try String(contentsOfFile: Fixtures.root + "/docs/recipes.md", encoding: .utf8)
    let start = try #require(page.range(of: "```yaml\n")).upperBound
    let end = try #require(page[start...].range(of: "```")).lowerBound
    let text = String(page[start..<end])
    let recipe = try parse(text)
    #expect(recipe.stages.map(\.name) == ["sft", "grpo"] && recipe.evaluation.data == "eval")
    let wrong = text.replacing("learning_rate: 1e-3", with: "learing_rate: 1e-3")
      .replacing("generations: 8", with: "generations: 1")
    do {
      _ = try Recipe.parse(wrong, file: "recipe.yaml", checkFiles: false)
      Issue.record("no error was thrown")
    } catch let error as AttuneError {
      for line in error.description.split(separator: "\n") { #expect(page.contains("  \(line)\n"), "\(line)") }
    }
  }

  /// Damaged recipes are refused or read, and never end the process.
  @Test func damageNeverCrashes() throws {
    let text = Array(Self.small.utf8)
    var random = Randomness(seed: 21, for: .testing).stream()
    let pieces = [
      "-1", "[", "}", ": ", "null", "1e999", "&a ", "*a", "99999999999999999999", "stages", "\n", "  ", "'", "0",
    ]
    for _ in 0..<2_000 {
      var damaged = text
      for _ in 0..<(1 + random.integer(below: 3)) {
        let at = random.integer(below: damaged.count)
        let piece = Array(pieces[random.integer(below: pieces.count)].utf8)
        damaged.replaceSubrange(at..<min(damaged.count, at + random.integer(below: 4)), with: piece)
      }
      _ = try? parse(String(decoding: damaged, as: UTF8.self), ["stages.0.steps=\(pieces[random.integer(below: 14)])"])
    }
    let keys = RecipeTable.keys.map { $0.path.replacing("[]", with: ".1").replacing("*", with: "train") }
    for key in keys {
      for value in pieces + ["[1, 2]", "{a: b}", "true", "x", "0.5", "-0.0", ".nan", "[]", "{}", ""] {
        _ = try? parse(Self.small, ["\(key)=\(value)"])
      }
    }
  }
}
