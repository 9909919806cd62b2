import Core
import Models
import Objectives

/// Every key that a recipe may hold. The parser, its errors, the defaults, `explain` and the reference page are all
/// read from this one table.
public enum RecipeTable {
  /// All rows in the order in which they are resolved and documented; a section's row comes before its keys.
  public static let keys: [RecipeKey] =
    run + model + optimizer(in: "", perStage: false) + data + stages + judges + rewards + watch + evaluation
    + checkpoint
    + report

  // MARK: Rows

  static func row(
    _ path: String, _ kind: RecipeKey.Kind, _ fallback: RecipeKey.Default, in bounds: RecipeKey.Bounds? = nil,
    only condition: RecipeKey.Condition? = nil, _ summary: String
  ) -> RecipeKey {
    RecipeKey(
      path: path, kind: kind, fallback: fallback, bounds: bounds, condition: condition, summary: summary)
  }

  static func section(
    _ path: String, as kind: RecipeKey.Kind = .section, only condition: RecipeKey.Condition? = nil, _ summary: String
  ) -> RecipeKey {
    row(path, kind, .derived(meaning: "its keys' defaults") { _ in .null }, only: condition, summary)
  }

  /// How many of something: large enough for any run, small enough that products of two fit 64 bits.
  static func count(from low: Double) -> RecipeKey.Bounds { .within(low, 1_000_000_000) }

  static func choice<T: CaseIterable & RawRepresentable>(_ type: T.Type) -> RecipeKey.Kind
  where T.RawValue == String { .choice(T.allCases.map(\.rawValue)) }

  private static let run: [RecipeKey] = [
    row(
      "name", .string, .derived(meaning: "the file's name") { .string(RecipePaths.baseName($0.file)) },
      "The run's name; part of its folder's name."),
    row("seed", .int, .value(1), in: .within(0, 0x1p63), "All randomness follows from it."),
    row(
      "threads", .int, .value(0), in: .within(0, 1024),
      "Processor threads; 0 takes all cores. Results never depend on it."),
    row("dtype", choice(Recipe.Precision.self), .value("f32"), "Type of weights and activations; masters stay f32."),
    row("output", .path(.output), .value("runs"), "The folder that holds the runs' folders."),
  ]

  private static let model: [RecipeKey] = [
    section("model", "The policy: a checkpoint, and what of it is trained."),
    row(
      "model.path", .path(.model), .required,
      "A checkpoint folder in Hugging Face's layout, or a small random preset."),
    row(
      "model.weights", choice(Recipe.Model.Weights.self), .value("bf16"),
      "How frozen weights are held: bf16 as the checkpoint has them, or as 8- or 4-bit codes; codes need `train: lora` and `dtype: bf16`."
    ),
    row("model.train", choice(Recipe.Model.Training.self), .value("full"), "Train all weights, or a LoRA adapter."),
    row(
      "model.adapter", .path(.folder), .unset(meaning: "a new adapter"),
      "A PEFT adapter's folder to start from; needs `train: lora`."),
    row(
      "model.freeze", .choices(ModelPart.allCases.map(\.rawValue)), .value([]),
      "Parts that are not trained: the picture encoder, what brings its features to the decoder, the decoder."),
    section("model.lora", "Shape of a new adapter, for `train: lora`."),
    row("model.lora.rank", .int, .value(16), in: .within(1, 65_536), "Rank of the two factors."),
    row("model.lora.alpha", .number, .value(32), in: .above(0), "The adapter's output is scaled by alpha / rank."),
    row(
      "model.lora.dropout", .number, .value(0), in: .below(1),
      "Probability that an input of the factors is dropped in training; 0 in on-policy stages."),
    row(
      "model.lora.targets", .modules(all: "all-linear"), .value("all-linear"),
      "The linear layers that get an adapter: ends of names, a regular expression for whole names, or all but the head."
    ),
    row(
      "model.lora.exclude", .modules(all: "all-linear"), .unset(meaning: "none"),
      "Linear layers that get none all the same: ends of names, or a regular expression."),
    row("model.lora.rank_stabilized", .bool, .value(false), "Scale by alpha / √rank instead."),
    row("model.lora.dora", .bool, .value(false), "Weight-decomposed: train a magnitude for each output too (DoRA)."),
    row(
      "model.lora.bias", choice(LoRAConfiguration.Bias.self), .value("none"),
      "Biases of the model that are trained: none, all, or those of adapted layers."),
    row("model.lora.lora_bias", .bool, .value(false), "A bias behind the second factor; not with dora."),
    row(
      "model.lora.modules_to_save", .names, .value([]),
      "Modules that are trained whole and saved with the adapter, such as lm_head or embed_tokens."),
    row(
      "model.lora.rank_pattern", .parameters, .value(.object([])),
      "Other ranks by regular expressions over names or their ends: `{'layers.0.*': 4}`."),
    row(
      "model.lora.alpha_pattern", .parameters, .value(.object([])), "Other alphas, in the same way."),
  ]

  /// The optimizer's rows, once at the root with defaults, once in each stage where the root's values are the defaults.
  static func optimizer(in parent: String, perStage: Bool) -> [RecipeKey] {
    func only(_ kinds: OptimizerMethod.Kind...) -> RecipeKey.Condition {
      RecipeKey.Condition(key: "kind", values: kinds.map(\.rawValue))
    }
    let adamW = only(.adamW, .adamW8Bit, .muon, .galore)
    let (sgd, muon, galore) = (OptimizerMethod.SGD(), OptimizerMethod.Muon(), OptimizerMethod.GaLore())
    @Sendable func isMuon(_ scope: RecipeKey.Scope) -> Bool {
      scope.siblings["kind"]?.string == OptimizerMethod.Kind.muon.rawValue
    }
    let root: [RecipeKey] = [
      row(
        "kind", choice(OptimizerMethod.Kind.self), .value("adamw"),
        "How gradients become steps; what each kind keeps in memory is in optimizers.md."),
      row("learning_rate", .number, .value(1e-6), in: .within(0, 1000), "Peak learning rate."),
      row(
        "vision_learning_rate", .number, .unset(meaning: "that of `learning_rate`"), in: .within(0, 1000),
        "Peak learning rate of the picture encoder."),
      row(
        "aligner_learning_rate", .number, .unset(meaning: "that of `learning_rate`"), in: .within(0, 1000),
        "Peak learning rate of what brings picture features to the decoder."),
      row(
        "language_learning_rate", .number, .unset(meaning: "that of `learning_rate`"), in: .within(0, 1000),
        "Peak learning rate of the decoder."),
      row(
        "lora_plus_ratio", .number, .value(1), in: .above(0, upTo: 1000),
        "The second factors of an adapter learn so many times faster (LoRA+)."),
      row("beta1", .number, .value(0.9), in: .below(1), only: adamW, "Decay of the gradient's running mean."),
      row("beta2", .number, .value(0.999), in: .below(1), only: adamW, "Decay of the squared gradient's running mean."),
      row("epsilon", .number, .value(1e-8), in: .above(0), only: adamW, "Added to the root of the second moment."),
      row(
        "momentum", .number,
        .derived(meaning: "\(sgd.momentum) for sgd, \(muon.momentum) for muon") {
          .double(isMuon($0) ? muon.momentum : sgd.momentum)
        }, in: .below(1), only: only(.sgd, .muon), "Decay of the gradient's running sum (sgd) or mean (muon)."),
      row(
        "nesterov", .bool,
        .derived(meaning: "\(sgd.nesterov) for sgd, \(muon.nesterov) for muon") {
          .bool(isMuon($0) ? muon.nesterov : sgd.nesterov)
        }, only: only(.sgd, .muon), "Look one update of the momentum ahead."),
      row(
        "coupled_weight_decay", .bool, .value(.bool(sgd.couplesDecay)), only: only(.sgd),
        "Weight decay is part of the gradient (L2, as in torch) and goes through the momentum."),
      row(
        "newton_schulz_steps", .int, .value(.int(muon.steps)), in: .within(1, 99), only: only(.muon),
        "Steps that make the momentum orthogonal."),
      row(
        "update_scale", choice(OptimizerMethod.Muon.Scale.self), .value(.string(muon.scale.rawValue)),
        only: only(.muon),
        "Length of a step: as AdamW's, 0.2 √max(rows, columns), or √max(1, rows / columns)."),
      row(
        "adamw_rate_ratio", .number, .value(.double(muon.adamWRateRatio)), in: .above(0, upTo: 1000),
        only: only(.muon), "Embeddings, heads, norms and biases, which AdamW updates, learn so many times as fast."),
      row(
        "rank", .int, .value(.int(galore.rank)), in: .within(1, 1_000_000), only: only(.galore),
        "Dimensions of the subspace; matrices whose smaller side is not larger are updated by AdamW."),
      row(
        "update_proj_gap", .int, .value(.int(galore.gap)), in: count(from: 1), only: only(.galore),
        "Steps between two choices of the subspace."),
      row(
        "projection_scale", .number, .value(.double(galore.scale)), in: .above(0, upTo: 1000), only: only(.galore),
        "Multiplies the steps inside the subspace."),
      row(
        "weight_decay", .number, .value(0), in: .atLeast(0),
        "Weight decay, decoupled but where sgd couples it; biases and norms are exempt."),
      row(
        "max_grad_norm", .number, .value(1.0), in: .atLeast(0), "Gradients are scaled down to this norm; 0 leaves them."
      ),
      row("schedule", choice(LearningRateSchedule.Shape.self), .value("linear"), "Curve of the learning rate."),
      row(
        "warmup_steps", .number, .value(0), in: .within(0, 1_000_000_000),
        "Steps from 0 up to the learning rate; below 1 a fraction of the stage's steps, rounded up."),
      row(
        "min_lr_rate", .number, .value(0), in: .within(0, 1),
        "Least rate as a fraction of the peak, for cosine_with_min_lr and warmup_stable_decay."),
      row(
        "num_cycles", .number, .unset(meaning: "0.5 for cosine, 1 for cosine_with_restarts"),
        in: .above(0, upTo: 10_000),
        "Waves of the cosine schedules."),
      row("power", .number, .value(1), in: .above(0, upTo: 1000), "Exponent of the polynomial schedule."),
      row("end_learning_rate", .number, .value(1e-7), in: .atLeast(0), "Rate at the end of the polynomial schedule."),
      row(
        "decay_steps", .number, .value(0.1), in: .within(0, 1_000_000_000),
        "Falling steps of warmup_stable_decay; below 1 a fraction of the stage's steps, rounded up."),
      row("decay", choice(LearningRateSchedule.Decay.self), .value("linear"), "How warmup_stable_decay falls."),
      row(
        "timescale", .number, .unset(meaning: "the warm-up's steps, or 10000 without one"), in: .above(0, upTo: 1e9),
        "Steps over which inverse_sqrt falls to 1/√2."),
    ]
    let heading =
      perStage
      ? "This stage's optimizer; what is not given is taken from the recipe's `optimizer`."
      : "How gradients become steps, and the learning rate, for all stages."
    return [section(parent + "optimizer", heading)]
      + root.map { key in
        var copy = key
        copy.path = parent + "optimizer." + key.path
        if perStage {
          switch key.fallback {
          case .unset: copy.fallback = .unset(meaning: "the recipe's `optimizer.\(key.path)`")
          case .value(let value) where key.condition != nil:
            // The recipe's optimizer may be of a kind without this key.
            copy.fallback = .derived(
              meaning: "the recipe's `optimizer.\(key.path)`, \(key.defaultText) where its kind has none"
            ) { $0.root["optimizer"]?[key.path] ?? value }
          case .derived(let meaning, let make):
            copy.fallback = .derived(
              meaning: "the recipe's `optimizer.\(key.path)` if the kind is the same, else \(meaning)"
            ) { scope in
              let recipe = scope.root["optimizer"]
              return recipe?["kind"] == scope.siblings["kind"] ? recipe?[key.path] ?? make(scope) : make(scope)
            }
          default: copy.fallback = .sameAs(".optimizer." + key.path)
          }
        }
        return copy
      }
  }

  private static let data: [RecipeKey] = {
    let digits = RecipeKey.Condition(key: "kind", values: ["digits"])
    let rows = RecipeKey.Condition(key: "kind", values: ["jsonl"])
    let files = RecipeKey.Condition(key: "kind", values: ["digits", "jsonl"])
    return [
      section("data", as: .namedSections, "Data sources by name; `train` and `eval` are the names used by default."),
      row("data.*.kind", choice(Recipe.Source.Kind.self), .required, "What the file holds, or that there is none."),
      row(
        "data.*.file", .path(.file), .required, only: files,
        "jsonl: one sample a line. digits: a CSV of handwritten digits, a label and 64 intensities a line."),
      row(
        "data.*.count", .int, .value(0), in: count(from: 0), only: files,
        "Samples to take; 0 takes all of jsonl, and endless digits."),
      row("data.*.seed", .int, .sameAs(".seed"), in: .within(0, 0x1p63), "Randomness of this source alone."),
      row("data.*.prompt", .string, .value("prompt"), only: rows, "Column with the prompt: a text, or messages."),
      row("data.*.completion", .string, .value("completion"), only: rows, "Column with the completion to learn."),
      row("data.*.chosen", .string, .value("chosen"), only: rows, "Column with the better completion of a pair."),
      row("data.*.rejected", .string, .value("rejected"), only: rows, "Column with the worse completion of a pair."),
      row(
        "data.*.label", .string, .value("label"), only: rows,
        "Column that says whether a completion is desirable: true or false, yes or no, 1 or 0."),
      row(
        "data.*.margin", .string, .value("margin"), only: rows,
        "Column with a number: how much better the chosen completion is. `a - b` is the difference of two columns."),
      row("data.*.reference", .string, .value("reference"), only: rows, "Column with the reference answer."),
      row("data.*.images", .string, .value("images"), only: rows, "Column with the pictures' paths."),
      row(
        "data.*.system", .string, .unset(meaning: "no system message"), only: files,
        "Text of a system message before each prompt that has none."),
      row(
        "data.*.records", .ints(count: 2, ascending: true), .unset(meaning: "all of them"), in: count(from: 0),
        only: digits,
        "Records of the CSV to draw from: the first, and the one after the last."),
      row(
        "data.*.length", .ints(count: 2, ascending: true), .value([2, 4]), in: .within(1, 18), only: digits,
        "Fewest and most digits of a number."),
      row(
        "data.*.canvas", .ints(count: 2, ascending: false), .value([128, 32]), in: .within(1, 4096), only: digits,
        "Width and height of the picture, pixels."),
      row(
        "data.*.placement", .choice(["scattered", "cells", "centered"]), .value("scattered"), only: digits,
        "`cells`: the canvas is a row of square cells, one digit a cell, beginning anywhere; `scattered`: any place, random gaps."
      ),
      row("data.*.digit_size", .int, .value(24), in: .within(1, 4096), only: digits, "Side of one digit, pixels."),
      row(
        "data.*.shift", .number, .value(2), in: .within(0, 1024), only: digits,
        "Largest random shift of a digit, pixels."),
      row(
        "data.*.scale", .numbers(count: 2, ascending: true), .value([0.9, 1.1]), in: .above(0, upTo: 16), only: digits,
        "Smallest and largest random scale of a digit."),
      row(
        "data.*.rotation", .number, .value(0), in: .within(0, 45), only: digits,
        "Largest random turn of a digit, degrees."),
      row(
        "data.*.shear", .number, .value(0), in: .within(0, 1), only: digits,
        "Largest random slant of a digit, pixels sideways per pixel of height."),
      row(
        "data.*.elastic", .number, .value(0), in: .within(0, 64), only: digits,
        "Standard deviation of a random elastic deformation of each digit, pixels."),
      row(
        "data.*.contrast", .numbers(count: 2, ascending: true), .value([0.8, 1.0]), in: .within(0, 1), only: digits,
        "Weakest and strongest random contrast of a picture."),
      row(
        "data.*.noise", .number, .value(0), in: .within(0, 1), only: digits,
        "Standard deviation of the noise on each pixel, as a fraction of full intensity."),
      row(
        "data.*.question", .string, .value("What number is in the picture?"), only: digits,
        "Text of the user's message, after the picture."),
      row(
        "data.*.answer", .string, .value("<answer>{number}</answer>"), only: digits,
        "Template of the completion; `{number}` is the number."),
    ] + sampled
  }()

  private static func trainsRewardModel(_ scope: RecipeKey.Scope) -> Bool {
    let rewardModels = ObjectiveRegistry.names(of: .scores)
    return scope.root["stages"]?.array?.contains { rewardModels.contains($0["objective"]?.string ?? "") } ?? false
  }

  private static let evaluation: [RecipeKey] = [
    section("evaluation", "Greedy completions on held-out data."),
    row(
      "evaluation.data", .string,
      .derived(meaning: "eval if there is such a source, else none; none where a reward model is trained") {
        $0.root["data"]?["eval"] == nil || trainsRewardModel($0) ? .null : "eval"
      }, "Name of the data source of prompts."),
    row(
      "evaluation.preferences", .string,
      .derived(meaning: "none; eval if there is such a source where a reward model is trained") {
        $0.root["data"]?["eval"] != nil && trainsRewardModel($0) ? "eval" : .null
      }, "Name of a data source of held-out pairs, for stages that learn from preferences."),
    row(
      "evaluation.every", .int, .value(0), in: count(from: 0),
      "Steps between evaluations; 0 evaluates only before the first stage and after each."),
    row("evaluation.count", .int, .value(0), in: count(from: 0), "Samples to evaluate; 0 all."),
    row("evaluation.max_new_tokens", .int, .value(512), in: .within(1, 10_000_000), "Longest completion, tokens."),
    row("evaluation.rewards", .bool, .value(true), "Score the completions with the rewards too."),
    row(
      "evaluation.metric", choice(Recipe.Evaluation.Metric.self), .value("exact_match"),
      "What is measured beside the rewards."),
  ]

  private static let checkpoint: [RecipeKey] = [
    section("rollout", "How much sampling may hold and compute at a time; no result depends on it."),
    row(
      "rollout.cache_mib", .int, .value(2048), in: count(from: 1),
      "MiB that keys and values may take. What does not fit waits, or is set aside and computed again."),
    row("rollout.sequences", .int, .value(256), in: count(from: 1), "Completions that grow at once."),
    row(
      "rollout.prefill_tokens", .int, .value(2048), in: count(from: 1),
      "Prompt tokens of one forward pass; longer prompts are computed in parts."),
    section("memory", "What the run may need of the machine's memory."),
    row(
      "memory.limit_gib", .number, .unset(meaning: "the machine's memory and swap"), in: .within(0, 1e9),
      "A run does not begin if it would need more GiB by the estimate of `attune check`; 0 lets it begin without one."),
    section("checkpoint", "What a killed run goes on from."),
    row(
      "checkpoint.every", .int, .value(50), in: count(from: 0), "Steps between checkpoints; 0 saves at stage ends only."
    ),
    row("checkpoint.keep", .int, .value(2), in: count(from: 1), "Checkpoints to keep; older ones are deleted."),
  ]

  private static let report: [RecipeKey] = [
    section("report", "The page that is written at the end."),
    row("report.enabled", .bool, .value(true), "Write it."),
    row("report.title", .string, .sameAs(".name"), "Its title."),
    row("report.pictures", .int, .value(24), in: .within(0, 10_000), "Pictures in the contact sheet."),
  ]
}
