import AttuneTensor
import Core
import Foundation
import Models
import Rewards
import TestSupport
import Testing

@testable import Lab

/// Reward models of known heads: their scores beside an explicit computation, one sequence at a time.
@Suite struct RewardModelTests {
  private func folder(_ preset: String, head: Preset.Head = .reward) throws -> String {
    let folder = try Program.temporaryFolder()
    try Preset.named(preset).write(to: folder, seed: 3, head: head)
    return folder
  }

  private func load(
    _ folder: String, _ parameters: [(String, JSON)] = [], threads: Int = 1
  ) throws -> any PluginReward {
    try RewardLoader.load(
      RewardSpecification(name: "rm", source: folder, parameters: JSON.Object(parameters)), workerCommand: [],
      models: CheckpointRewards(threads: threads))
  }

  private func sample(_ question: String, _ answer: String) -> RewardSample {
    var sample = RewardSample(prompt: question, completion: answer)
    sample.messages = [Message(role: "user", text: question)]
    return sample
  }

  private static let dialogues: [(String, String)] = [
    ("Which number is written here?", "The answer is 407."), ("Which number is written here?", "417"),
    ("Which number is written here?", ""), ("What is the answer?", "It is on the other side of the house, with you."),
    ("Which number is written here?", "The answer is 417."), ("What is the answer?", "<think>hm</think>7"),
  ]

  private var samples: [RewardSample] { Self.dialogues.map { sample($0.0, $0.1) } }

  /// The score of one text by hand: hidden state of its last token that is no padding, times the head's row.
  private func explicit(
    _ folder: String, text: String, label: Int = 0, weight: String = "score.weight", file: String? = nil
  ) throws -> Double {
    let policy = try Policy(folder: folder, backend: CPUBackend(threads: 1), precision: .full, hasHead: false)
    let prompt = try policy.encode(text: text)
    var forest = Forest()
    forest.append(count: prompt.ids.count)
    let tape = Tape(policy.model.backend, recording: false)
    let hidden = policy.model.backend.floats(
      policy.model.hidden(
        tape, PackedBatch(ids: prompt.ids, positions: prompt.positions, plan: forest.attentionPlan)))
    let width = policy.model.configuration.text.hiddenSize
    let head = try SafeTensors(file ?? folder + "/model.safetensors")
    let row = try head.floats(weight)[label * width..<(label + 1) * width]
    let padding = policy.tokenizer.id(of: "<|endoftext|>")
    let last = prompt.ids.lastIndex { $0 != padding || file != nil } ?? 0
    let bias = head.entry(weight.replacing("weight", with: "bias")).map { _ in
      (try? head.floats(weight.replacing("weight", with: "bias"))[label]) ?? .nan
    }
    var sum = 0.0
    for (x, w) in zip(hidden[last * width..<(last + 1) * width], row) { sum += Double(x) * Double(w) }
    return sum + Double(bias ?? 0)
  }

  private func rendered(_ question: String, _ answer: String) -> String {
    "<|im_start|>user\n\(question)<|im_end|>\n<|im_start|>assistant\n\(answer)<|im_end|>\n"
  }

  /// Another head in the same checkpoint.
  private func setHead(_ folder: String, to tensors: [(String, [Int], [Float])], config: [(String, JSON)] = []) throws {
    let backend = try CPUBackend(threads: 1)
    let path = folder + "/model.safetensors"
    let old = try SafeTensors(path)
    var all = try old.entries.filter { !$0.name.hasPrefix("score") }.map {
      ($0.name, backend.upload(try old.floats($0.name), $0.shape))
    }
    all += tensors.map { ($0.0, backend.upload($0.2, $0.1)) }
    try SafeTensors.write(all, to: path + ".new", from: backend)
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: path + ".new", toPath: path)
    var json = try JSON.parse(MappedFile.read(folder + "/config.json")).object ?? .init()
    for (key, value) in config { json[key] = value }
    try JSON(.object(json)).text().write(toFile: folder + "/config.json", atomically: true, encoding: .utf8)
  }

  @Test(arguments: ["tiny", "tiny-llama", "tiny-moe", "tiny-vl", "tiny-deepseek"])
  func scoresAreTheHeadAtTheLastToken(preset: String) throws {
    let folder = try folder(preset)
    let reward = try load(folder)
    defer { reward.close() }
    let outcomes = try reward.score(samples, context: RewardContext())
    let expected = try Self.dialogues.map { try explicit(folder, text: rendered($0.0, $0.1)) }
    #expect(outcomes.map(\.status) == expected.map { _ in .ok })
    #expect(outcomes.map { $0.score ?? .nan } == expected, "\(preset)")
    #expect(Set(expected).count == expected.count, "the model tells samples apart")
  }

  @Test func companyAndThreadsChangeNoBit() throws {
    let folder = try folder("tiny")
    let long = (0..<40).map { i in
      let question = "Which number is written here?" + String(repeating: " here", count: i % 3)
      return sample(question, "The answer is \(i * 37)." + String(repeating: " and", count: i))
    }
    let together = try load(folder).score(long, context: RewardContext()).map { $0.score ?? .nan }
    let alone = try load(folder)
    #expect(try long.map { try alone.score([$0], context: RewardContext())[0].score ?? .nan } == together)
    for (parameters, threads) in [([("batch", JSON.int(1))], 1), ([("batch", 100)], 2), ([], 3)] {
      let other = try load(folder, parameters, threads: threads)
      let shuffled = Array(long.reversed())
      #expect(try other.score(shuffled, context: RewardContext()).reversed().map { $0.score ?? .nan } == together)
    }
    let rough = try load(folder, [("dtype", "bf16")])
    let rounded = try rough.score(long, context: RewardContext()).map { $0.score ?? .nan }
    #expect(rounded != together)
    expectClose(rounded, together, absolute: 0.1)
    let narrow = try load(folder, [("dtype", "bf16"), ("batch", 64)], threads: 2)
    #expect(try narrow.score(long, context: RewardContext()).map { $0.score ?? .nan } == rounded)
  }

  @Test func labelsBiasAndActivation() throws {
    let folder = try folder("tiny")
    let weights: [Float] = (0..<3 * 64).map { Float(($0 * 37) % 101) / 400 - 0.125 }
    try setHead(folder, to: [("score.weight", [3, 64], weights), ("score.bias", [3], [0.5, -1, 2])])
    for label in 0..<3 {
      let raw = try load(folder, [("label", .int(label))]).score(samples, context: RewardContext())
      let expected = try Self.dialogues.map { try explicit(folder, text: rendered($0.0, $0.1), label: label) }
      expectClose(raw.map { $0.score ?? .nan }, expected, absolute: 1e-12)
      let squashed = try load(folder, [("label", .int(label)), ("activation", "sigmoid")]).score(
        samples, context: RewardContext())
      expectClose(squashed.map { $0.score ?? .nan }, expected.map { 1 / (1 + exp(-$0)) }, absolute: 1e-12)
      #expect(squashed.map { $0.components.first?.value } == raw.map(\.score))
    }
    expectAttuneError(containing: "the parameter 'label' of the reward rm is 3, but the head has 3 numbers") {
      _ = try load(folder, [("label", 3)])
    }
    expectAttuneError(containing: "'activation' of the reward rm is 'sigmod'", "did you mean 'sigmoid'?") {
      _ = try load(folder, [("activation", "sigmod")])
    }
    expectAttuneError(containing: "has no parameter 'lable'", "did you mean 'label'?") {
      _ = try load(folder, [("lable", 1)])
    }
  }

  /// The layouts of TRL, ms-swift and LLaMA-Factory: beside the weights, or among them.
  @Test(arguments: ["v_head.summary", "v_head", "summary", "among"])
  func valueHeads(name: String) throws {
    let folder = try folder("tiny", head: .languageModel)
    let weights: [Float] = (0..<64).map { Float(($0 * 29) % 97) / 200 - 0.24 }
    let head: String
    if name == "among" {
      head = folder + "/model.safetensors"
      try setHead(folder, to: [("v_head.summary.weight", [1, 64], weights), ("v_head.summary.bias", [1], [0.75])])
    } else {
      head = folder + "/value_head.safetensors"
      let backend = try CPUBackend(threads: 1)
      try SafeTensors.write(
        [("\(name).weight", backend.upload(weights, [1, 64])), ("\(name).bias", backend.upload([Float(0.75)], [1]))],
        to: head, from: backend)
    }
    let reward = try load(folder)
    let outcomes = try reward.score(samples, context: RewardContext())
    let weight = (name == "among" ? "v_head.summary" : name) + ".weight"
    let expected = try Self.dialogues.map {
      try explicit(folder, text: rendered($0.0, $0.1), weight: weight, file: head)
    }
    #expect(outcomes.map { $0.score ?? .nan } == expected)
    #expect(reward.descriptor.summary.contains("value head"))
  }

  /// transformers reads a classifier before the padding tokens at the end, also where the text itself ends in them.
  @Test func paddingAtTheEndIsPassedOver() throws {
    let folder = try folder("tiny")
    let reward = try load(folder, [("format", "text")])
    let texts = [
      "What is the answer? 407", "What is the answer? 407<|endoftext|>",
      "What is the answer? 407<|endoftext|><|endoftext|>", "<|endoftext|>",
    ]
    let scores = try reward.score(
      texts.map { RewardSample(prompt: "", completion: $0) }, context: RewardContext()
    ).map { $0.score ?? .nan }
    #expect(scores[1] == scores[0] && scores[2] == scores[0] && scores[3].isFinite && scores[3] != scores[0])
    #expect(scores[0] == (try explicit(folder, text: texts[0])))
    // A value head is read at the very last token.
    let backend = try CPUBackend(threads: 1)
    try SafeTensors.write(
      [("v_head.summary.weight", backend.upload([Float](repeating: 0.1, count: 64), [1, 64]))],
      to: folder + "/value_head.safetensors", from: backend)
    let values = try load(folder, [("format", "text")]).score(
      texts.map { RewardSample(prompt: "", completion: $0) }, context: RewardContext()
    ).map { $0.score ?? .nan }
    #expect(values[1] != values[0] && values[2] != values[1])
  }

  @Test func textsAndMessages() throws {
    let folder = try folder("tiny")
    let plain = RewardSample(prompt: "What is the answer? ", completion: "407")
    let joined = try explicit(folder, text: "What is the answer? 407")
    #expect(try load(folder).score([plain], context: RewardContext())[0].score == joined)
    // Messages that are known, but not wanted.
    var sample = sample("ignored", "407")
    sample.prompt = "What is the answer? "
    #expect(try load(folder, [("format", "text")]).score([sample], context: RewardContext())[0].score == joined)
    let chat = try load(folder, [("format", "chat")])
    let outcomes = try chat.score([plain, sample], context: RewardContext())
    #expect(outcomes[0].status == .invalid && outcomes[0].log.contains("messages are not known"))
    #expect(outcomes[1].score == (try explicit(folder, text: rendered("ignored", "407"))))
    // Turns of a completion stand where the assistant's one message would.
    sample.completionMessages = [
      Message(role: "assistant", text: "let me look"), Message(role: "tool", text: "407"),
      Message(role: "assistant", text: "407"),
    ]
    let turns = try chat.score([sample], context: RewardContext())[0].score
    let text =
      "<|im_start|>user\nignored<|im_end|>\n<|im_start|>assistant\nlet me look<|im_end|>\n<|im_start|>tool\n407<|im_end|>\n<|im_start|>assistant\n407<|im_end|>\n"
    #expect(turns == (try explicit(folder, text: text)))
  }

  @Test func longSamplesAreInvalid() throws {
    let reward = try load(try folder("tiny"), [("max_length", 40)])
    let outcomes = try reward.score(
      [sample("hm", "7"), sample("hm", String(repeating: "long ", count: 60)), sample("hm", "8")],
      context: RewardContext())
    #expect(outcomes.map(\.status) == [.ok, .invalid, .ok])
    #expect(outcomes[1].log.contains("tokens, the model takes 40"))
  }

  @Test func pictures() throws {
    let folder = try folder("tiny-vl")
    let reward = try load(folder)
    func picture(_ seed: Int) -> Picture {
      let pixels: [UInt8] = (0..<32 * 32 * 3).map { UInt8(($0 * 31 + seed * 57) % 251) }
      return Picture(width: 32, height: 32, pixels: pixels)
    }
    func sample(_ picture: Picture, _ answer: String) -> RewardSample {
      var sample = RewardSample(prompt: "", completion: answer)
      sample.messages = [Message(role: "user", parts: [.image(0), .text("What is the answer?")])]
      sample.images = [RewardImage(picture)]
      return sample
    }
    let all = [
      sample(picture(1), "4"), sample(picture(2), "4"), sample(picture(1), "5"), sample(picture(2), "5 and 6"),
    ]
    let together = try reward.score(all, context: RewardContext()).map { $0.score ?? .nan }
    #expect(Set(together).count == 4 && together.allSatisfy(\.isFinite))
    #expect(try all.map { try reward.score([$0], context: RewardContext())[0].score ?? .nan } == together)
    // A model that reads text alone cannot judge a picture.
    let blind = try load(try self.folder("tiny")).score(all, context: RewardContext())
    #expect(blind.allSatisfy { $0.status == .invalid && $0.log.contains("reads text alone") })
  }

  @Test func whatIsNoRewardModel() throws {
    let folder = try folder("tiny", head: .languageModel)
    expectAttuneError(
      containing: folder, "this checkpoint has no reward head", "a model that answers in words is a judge"
    ) {
      _ = try load(folder)
    }
    let backend = try CPUBackend(threads: 1)
    try SafeTensors.write(
      [("v_head.summary.weight", backend.upload([Float](repeating: 0, count: 32), [1, 32]))],
      to: folder + "/value_head.safetensors", from: backend)
    expectAttuneError(containing: "v_head.summary.weight has shape [1, 32], expected [1, 64]") { _ = try load(folder) }
    try SafeTensors.write(
      [("head.weight", backend.upload([Float](repeating: 0, count: 64), [1, 64]))],
      to: folder + "/value_head.safetensors", from: backend)
    expectAttuneError(containing: "there is no v_head.summary.weight", "it has head.weight") { _ = try load(folder) }
    expectAttuneError(containing: "no models are loaded here") {
      _ = try RewardLoader.load(RewardSpecification(name: "rm", source: folder), workerCommand: [])
    }
  }
}
