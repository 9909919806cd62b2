import AttuneTensor
import Core
import Foundation
import Models
import Rewards
import TestSupport
import Testing

@testable import Lab

/// Reward models and critics that are trained: what is saved scores as what was trained.
@Suite struct RewardModelTrainingTests {
  private static let pairs: [(question: String, chosen: String, rejected: String)] = [
    ("Which number is written here?", "The answer is 407.", "417"),
    ("What is the answer?", "7", "It is on the other side of the house, with you."),
    ("What is the answer?", "", "<think>hm</think>8"),
  ]

  private func folder(_ preset: String, head: Preset.Head = .languageModel) throws -> String {
    let folder = try Program.temporaryFolder()
    try Preset.named(preset).write(to: folder, seed: 3, head: head)
    return folder
  }

  private func sample(_ question: String, _ answer: String, picture: Int? = nil) -> RewardSample {
    var sample = RewardSample(prompt: question, completion: answer)
    sample.messages = [Message(role: "user", text: question)]
    if let picture {
      let pixels: [UInt8] = (0..<32 * 32 * 3).map { UInt8(($0 * 31 + picture * 57) % 251) }
      sample.messages = [Message(role: "user", parts: [.image(0), .text(question)])]
      sample.images = [RewardImage(Picture(width: 32, height: 32, pixels: pixels))]
    }
    return sample
  }

  private func samples(pictures: Bool) -> [[RewardSample]] {
    Self.pairs.enumerated().map { i, pair in
      let picture = pictures && i != 1 ? i : nil
      return [pair.chosen, pair.rejected].map { sample(pair.question, $0, picture: picture) }
    }
  }

  /// Some steps of the pairwise loss; its values, and the scores after it.
  @discardableResult
  private func train(
    _ model: RewardModel, _ samples: [[RewardSample]], steps: Int = 4
  ) throws -> (losses: [Double], scores: [Float]) {
    let trees = try samples.flatMap { try model.trees(of: $0) }
    #expect(trees.map(\.completions.count) == samples.map(\.count))
    let pass = model.pass()
    let optimizer = Optimizer(model.trainedParameters, on: model.policy.model.backend)
    var losses: [Double] = []
    for step in 1...steps {
      let forward = pass.scores(trees, recording: true)
      var loss = 0.0
      var gradients: [Float] = []
      for pair in 0..<samples.count {
        let gap = Double(forward.scores[2 * pair] - forward.scores[2 * pair + 1])
        loss += log(1 + exp(-gap))
        let slope = Float(-1 / (1 + exp(gap)))
        gradients += [slope, -slope]
      }
      losses.append(loss)
      pass.backward(forward, gradients)
      _ = try optimizer.update(AdamWStep(learningRate: 2e-3, step: step), maxNorm: 1)
    }
    return (losses, pass.scores(trees, recording: false).scores)
  }

  /// Scores of a saved checkpoint by the way that rewards go.
  private func read(_ folder: String, _ samples: [[RewardSample]]) throws -> [Float] {
    let reward = try RewardLoader.load(
      RewardSpecification(name: "rm", source: folder), workerCommand: [], models: CheckpointRewards(threads: 1))
    defer { reward.close() }
    return try reward.score(samples.flatMap { $0 }, context: RewardContext()).map { Float($0.score ?? .nan) }
  }

  private func config(_ folder: String) throws -> JSON {
    try JSON.parse(MappedFile.read(folder + "/config.json"))
  }

  private func expectNoHeadOfALanguageModel(_ folder: String) throws {
    let names = try SafeTensors(folder + "/model.safetensors").entries.map(\.name)
    #expect(!names.contains { $0.contains("lm_head") || $0.hasPrefix("v_head") }, "\(names)")
  }

  /// Puts a tensor of random numbers among a checkpoint's weights.
  private func add(_ name: String, _ shape: [Int], to folder: String) throws {
    let backend = try CPUBackend(threads: 1)
    let path = folder + "/model.safetensors"
    let old = try SafeTensors(path)
    var tensors = try old.entries.filter { $0.name != name }.map {
      ($0.name, backend.upload(try old.floats($0.name), $0.shape))
    }
    tensors.append((name, backend.upload(PassSupport.numbers(shape.reduce(1, *), 7, 0), shape)))
    try SafeTensors.write(tensors, to: path + ".new", from: backend)
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: path + ".new", toPath: path)
  }

  @Test(arguments: ["tiny", "tiny-llama", "tiny-moe", "tiny-deepseek"])
  func aLanguageModelBecomesAClassifier(preset: String) throws {
    let start = try folder(preset)
    let model = try RewardModel(training: start, backend: CPUBackend(threads: 2), precision: .full, seed: 7)
    model.policy.model.setTrainable(true)
    #expect(model.head.layout == .classification)
    let samples = samples(pictures: false)
    let (losses, scores) = try train(model, samples)
    #expect(losses.last! < losses.first! && scores.allSatisfy(\.isFinite))
    let target = try Program.temporaryFolder() + "/saved"
    try model.save(to: target)
    #expect(try read(target, samples).map(\.bitPattern) == scores.map(\.bitPattern))
    try expectNoHeadOfALanguageModel(target)
    let config = try config(target)
    let name = config["architectures"]?[0]?.string
    #expect(name == model.policy.model.configuration.family.classifier)
    #expect(config["num_labels"] == 1 && config["id2label"] == ["0": "LABEL_0"])
    #expect(config["pad_token_id"]?.int == model.policy.tokenizer.id(of: "<|endoftext|>").map(Int.init))
    // Training goes on from what was saved, with the same scores and without another fresh head.
    let again = try RewardModel(training: target, backend: CPUBackend(threads: 1), precision: .full, seed: 99)
    let trees = try samples.flatMap { try again.trees(of: $0) }
    #expect(again.pass().scores(trees, recording: false).scores.map(\.bitPattern) == scores.map(\.bitPattern))
    again.policy.model.setTrainable(true)
    try train(again, samples, steps: 1)
    try again.save(to: target + "-2")
    #expect(try SafeTensors(target + "-2/model.safetensors").entries.filter { $0.name.hasPrefix("score") }.count == 1)
  }

  /// transformers has no class for these: trunk and value head stand side by side.
  @Test(arguments: ["tiny-vl", "tiny-deepseek-vl"])
  func aVisionModelGetsAValueHead(preset: String) throws {
    let start = try folder(preset)
    let model = try RewardModel(training: start, backend: CPUBackend(threads: 2), precision: .full, seed: 7)
    model.policy.model.setTrainable(true)
    #expect(model.head.layout == .value)
    let samples = samples(pictures: true)
    let (losses, scores) = try train(model, samples)
    #expect(losses.last! < losses.first!)
    let target = try Program.temporaryFolder() + "/saved"
    try model.save(to: target)
    #expect(try read(target, samples).map(\.bitPattern) == scores.map(\.bitPattern))
    try expectNoHeadOfALanguageModel(target)
    #expect(try config(target)["architectures"] == config(start)["architectures"])
    let head = try SafeTensors(target + "/value_head.safetensors")
    #expect(head.entries.map(\.name).sorted() == ["v_head.summary.bias", "v_head.summary.weight"])
    // A pair's loss does not see what both scores have in common.
    #expect(try head.floats("v_head.summary.bias") == [0])
  }

  /// A value head among the weights goes to its file, and only there.
  @Test func aValueHeadStaysOne() throws {
    let start = try folder("tiny")
    let backend = try CPUBackend(threads: 1)
    try add("v_head.summary.weight", [1, 64], to: start)
    let model = try RewardModel(training: start, backend: backend, precision: .full, seed: 7)
    #expect(model.head.layout == .value && model.head.bias == nil)
    let samples = samples(pictures: false)
    let scores = try train(model, samples, steps: 2).scores
    let target = try Program.temporaryFolder() + "/saved"
    try model.save(to: target)
    #expect(try read(target, samples).map(\.bitPattern) == scores.map(\.bitPattern))
    try expectNoHeadOfALanguageModel(target)
    let reward = try folder("tiny", head: .reward)
    try add("score.weight", [2, 64], to: reward)
    expectAttuneError(containing: reward, "has 2 labels, one was expected") {
      _ = try RewardModel(training: reward, backend: backend, precision: .full, seed: 7)
    }
  }

  @Test(arguments: ["tiny", "tiny-vl"])
  func adaptersAndTheirHeads(preset: String) throws {
    let start = try folder(preset)
    func model(_ seed: UInt64) throws -> RewardModel {
      try RewardModel(training: start, backend: CPUBackend(threads: 2), precision: .full, seed: seed)
    }
    let trained = try model(7)
    try trained.policy.model.attachLoRA(
      LoRAConfiguration(rank: 4, alpha: 8, targets: ["q_proj", "down_proj"]), seed: 2)
    let samples = samples(pictures: preset == "tiny-vl")
    let (losses, scores) = try train(trained, samples)
    #expect(losses.last! < losses.first!)
    let target = try Program.temporaryFolder()
    try trained.save(to: target + "/merged")
    expectClose(try read(target + "/merged", samples).map(Double.init), scores.map(Double.init), absolute: 1e-4)
    let adapter = target + "/adapter"
    for path in [adapter, adapter + "-2"] {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    try trained.saveAdapter(folder: adapter, baseModel: start)
    let json = try JSON.parse(MappedFile.read(adapter + "/adapter_config.json"))
    let tensors = try SafeTensors(adapter + "/adapter_model.safetensors")
    let isClassifier = trained.head.layout == .classification
    #expect(json["task_type"]?.string == (isClassifier ? "SEQ_CLS" : "CAUSAL_LM"))
    #expect(json["modules_to_save"] == (isClassifier ? ["score"] : .null))
    #expect((tensors.entry("base_model.model.score.weight") != nil) == isClassifier)
    #expect(FileManager.default.fileExists(atPath: adapter + "/value_head.safetensors") != isClassifier)
    // Another fresh head gives way to the adapter's.
    let other = try model(8)
    try other.loadAdapter(folder: adapter)
    let trees = try samples.flatMap { try other.trees(of: $0) }
    #expect(other.pass().scores(trees, recording: false).scores.map(\.bitPattern) == scores.map(\.bitPattern))
    #expect(other.head.parameters.allSatisfy { $0.isTrainable })
    try other.saveAdapter(folder: adapter + "-2")
    let (first, second) = (
      try MappedFile.read(adapter + "/adapter_config.json"), try MappedFile.read(adapter + "-2/adapter_config.json")
    )
    #expect(first == second)
    // PEFT names the heads of all its classifiers.
    var object = json.object ?? .init()
    object["modules_to_save"] = ["classifier", "score"]
    try AtomicFile.write(adapter + "/adapter_config.json", text: JSON(.object(object)).text())
    if isClassifier {
      let third = try model(9)
      try third.loadAdapter(folder: adapter, trainable: false)
      #expect(third.pass().scores(trees, recording: false).scores.map(\.bitPattern) == scores.map(\.bitPattern))
    }
    // There is no language-model head that could be saved whole.
    var whole = LoRAConfiguration(rank: 2)
    whole.modulesToSave = ["lm_head"]
    let headless = try model(1)
    expectAttuneError(containing: "no module is called lm_head") {
      try headless.policy.model.attachLoRA(whole, seed: 1)
    }
  }

  /// A critic on the policy's trunk is saved beside the policy; both are read back from one folder.
  @Test func aValueHeadOnThePolicysTrunk() throws {
    let start = try folder("tiny")
    let backend = try CPUBackend(threads: 2)
    let policy = try Policy(folder: start, backend: backend, precision: .full)
    let head = ScoreHead(fresh: .value, hidden: 64, seed: 5, deviation: 0.3, on: backend)
    let target = try Program.temporaryFolder() + "/policy"
    try policy.save(to: target, scoreHead: head)
    let critic = try RewardModel(folder: target, backend: backend, precision: .full)
    let samples = samples(pictures: false)
    let trees = try samples.flatMap { try critic.trees(of: $0) }
    let pass = ScorePass(model: policy.model, head: head)
    let scores = pass.scores(trees, recording: false).scores
    #expect(try read(target, samples).map(\.bitPattern) == scores.map(\.bitPattern))
    let shared = TrainingPass(model: policy.model, temperature: 1, wanted: [.logprob], valueHead: head)
    #expect(shared.forward(trees, recording: false).values == critic.pass().values(trees, recording: false).scores)
    // The policy is whole too, and a policy without a critic leaves none behind.
    let again = try Policy(folder: target, backend: backend, precision: .full)
    #expect(again.remarks.isEmpty)
    try again.save(to: target + "-2", scoreHead: head)
    try policy.save(to: target + "-2")
    #expect(!FileManager.default.fileExists(atPath: target + "-2/value_head.safetensors"))
  }

  /// What samples have in common is computed once, were it a part of their answers; the tokens are those that rewards read.
  @Test func treesOfSamples() throws {
    let model = try RewardModel(
      training: folder("tiny-vl"), backend: CPUBackend(threads: 1), precision: .full, seed: 1)
    let answers = ["The answer is 407.", "The answer is 417.", "The answer is 407."]
    let trees = try model.trees(of: answers.map { sample("hm", $0, picture: 1) })
    #expect(trees.count == 1 && trees[0].completions[0] == trees[0].completions[2])
    for (answer, completion) in zip(answers, trees[0].completions) {
      let sequence = try model.sequence(sample("hm", answer, picture: 1), .auto)
      #expect(trees[0].prompt.ids + completion == sequence.encoded.ids)
      let next = trees[0].prompt.nextPosition
      #expect(
        trees[0].prompt.positions + completion.indices.map { TokenPosition(next + $0) } == sequence.encoded.positions)
    }
    let two = try model.trees(of: [sample("hm", "4", picture: 1), sample("hm", "4", picture: 2)])
    #expect(two.count == 2 && two.allSatisfy { $0.completions == [[]] })
  }
}
