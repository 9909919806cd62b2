import AttuneTensor
import Core
import Models
import Objectives
import TestSupport
import Testing

@testable import Lab

/// Small models and updates for the passes between model and objective.
enum PassSupport {
  static func model(
    _ json: JSON, _ precision: Precision = .full, threads: Int = 2, hasHead: Bool = true
  ) throws -> LanguageModel {
    let backend = try CPUBackend(threads: threads)
    let model = try LanguageModel(
      ModelConfiguration(json: json, file: "test"),
      from: RandomSource(seed: 5, deviation: 0.15, backend: backend, precision: precision), hasHead: hasHead)
    model.setTrainable(true)
    return model
  }

  static func head(_ model: LanguageModel, _ layout: ScoreHead.Layout = .value) -> ScoreHead {
    let head = ScoreHead(
      fresh: layout, hidden: model.configuration.text.hiddenSize, seed: 8, deviation: 0.2, on: model.backend)
    head.setTrainable(true)
    return head
  }

  /// Prompts of various lengths, some with pictures where the family takes them, and completions of 0 to 7 tokens.
  static func trees(_ model: LanguageModel, _ count: Int) throws -> [PromptTree] {
    var random = Randomness(seed: 9, for: .testing).stream(4)
    return try (0..<count).map { i in
      var ids = (0..<1 + random.integer(below: 20)).map { _ in Int32(random.integer(below: 90)) }
      var pictures: [PictureInput] = []
      if let vision = model.configuration.vision, i % 3 != 2 {
        let picture = TinyModels.picture(vision, &random)
        let places = try vision.layOut(picture, from: 0).positions.count
        pictures.append(picture)
        ids.insert(contentsOf: [91] + [Int32](repeating: 90, count: places) + [92], at: ids.count / 2)
      }
      return PromptTree(
        prompt: try model.encode(ids: ids, pictures: pictures),
        completions: (0..<1 + random.integer(below: 4)).map { _ in
          (0..<random.integer(below: 8)).map { _ in Int32(random.integer(below: 90)) }
        })
    }
  }

  /// Random numbers by their place alone.
  static func numbers(_ count: Int, _ kind: Int, _ tree: Int) -> [Float] {
    var random = Randomness(seed: 10, for: .testing).stream(kind, tree)
    return (0..<count).map { _ in Float(random.normal()) }
  }

  static func gradients(_ parameters: [Parameter], on backend: any Backend) -> [[Float]] {
    parameters.map { backend.floats($0.gradient!) }
  }

  static func bits(_ values: [[Float]]) -> [[UInt32]] { values.map { $0.map(\.bitPattern) } }

  /// A prompt with one completion as one sequence.
  static func sequence(_ tree: PromptTree, _ completion: [Int32]) -> PackedBatch {
    var forest = Forest()
    let prompt = tree.prompt
    forest.append(count: prompt.ids.count + completion.count)
    return PackedBatch(
      ids: prompt.ids + completion,
      positions: prompt.positions + completion.indices.map { TokenPosition(prompt.nextPosition + $0) },
      plan: forest.attentionPlan, pictures: prompt.pictures, pictureRows: prompt.pictureRows)
  }
}

/// Values and prompts beside the completions' streams: the numbers and gradients of sequences that are computed one by one.
@Suite struct TrainingPassTests {
  /// Numbers and gradients of an update that is cut into parts of these sizes.
  private func run(
    _ model: LanguageModel, _ head: ScoreHead, _ trees: [PromptTree], _ sizes: [Int]
  ) -> (numbers: [[Float]], gradients: [[Float]]) {
    let parameters = model.trainedParameters + head.parameters
    for parameter in parameters { parameter.clearGradient() }
    let pass = TrainingPass(
      model: model, temperature: 0.8, wanted: [.logprob, .entropy], valueHead: head, scoresPrompts: true)
    var numbers: [[Float]] = [[], [], []]
    var first = 0
    for size in sizes {
      let part = Array(trees[first..<first + size])
      let forward = pass.forward(part, recording: true, firstTree: first)
      let streams = pass.streams(forward)
      numbers[0] += streams.policyLogprobs
      numbers[1] += streams.values!
      numbers[2] += streams.prompts!.policyLogprobs
      var gradients = StreamGradients(logprob: [], entropy: [], value: [], promptLogprob: [])
      for (tree, number) in zip(part, first...) {
        let count = tree.completions.reduce(0) { $0 + $1.count }
        gradients.logprob += PassSupport.numbers(count, 0, number)
        gradients.entropy! += PassSupport.numbers(count, 1, number)
        gradients.value! += PassSupport.numbers(count, 2, number)
        gradients.promptLogprob! += PassSupport.numbers(tree.prompt.ids.count - 1, 3, number)
      }
      pass.backward(forward, gradients)
      first += size
    }
    return (numbers, PassSupport.gradients(parameters, on: model.backend))
  }

  /// The same of every completion as a sequence of its own, the gradients of all of them added.
  private func runAlone(
    _ model: LanguageModel, _ head: ScoreHead, _ trees: [PromptTree]
  ) -> (numbers: [[Float]], gradients: [[Float]]) {
    let parameters = model.trainedParameters + head.parameters
    for parameter in parameters { parameter.clearGradient() }
    var numbers: [[Float]] = [[], [], []]
    for (number, tree) in trees.enumerated() {
      let own = (0..<3).map { PassSupport.numbers(tree.completions.reduce(0) { $0 + $1.count }, $0, number) }
      var at = 0
      // The prompt's own tokens once, behind the completions.
      for (c, completion) in (tree.completions + [[]]).enumerated() {
        let prompt = tree.prompt.ids.count
        let ids = tree.prompt.ids + completion
        let tape = Tape(model.backend, recording: true)
        let hidden = model.hidden(tape, PassSupport.sequence(tree, completion))
        let states = tape.gatherRows(hidden, (0..<ids.count).map { Int32($0) })
        let targets = ids.dropFirst() + [0]
        let output = model.streams(
          tape, states, targets: Array(targets), temperature: 0.8, wanted: [.logprob, .entropy])
        let values = head.scores(tape, states)
        let (found, scores) = (model.backend.floats(output), model.backend.floats(values))
        var seed = [Float](repeating: 0, count: output.count)
        var valueSeed = [Float](repeating: 0, count: ids.count)
        for i in 0..<completion.count {
          let row = prompt - 1 + i
          numbers[0].append(found[row])
          numbers[1].append(scores[row])
          (seed[row], seed[ids.count + row], valueSeed[row]) = (own[0][at], own[1][at], own[2][at])
          at += 1
        }
        if c == tree.completions.count {
          numbers[2] += found[..<(prompt - 1)]
          seed.replaceSubrange(0..<prompt - 1, with: PassSupport.numbers(prompt - 1, 3, number))
        }
        tape.seed(output, with: model.backend.upload(seed, output.shape))
        tape.seed(values, with: model.backend.upload(valueSeed, values.shape))
        tape.backward()
      }
    }
    return (numbers, PassSupport.gradients(parameters, on: model.backend))
  }

  @Test(arguments: ["qwen3", "qwen2", "qwen3_vl", "deepseek_v2"])
  func packedEqualsOneByOne(family: String) throws {
    let model = try PassSupport.model(TinyModels.all.first { $0.name == family }!.json)
    let head = PassSupport.head(model)
    let trees = try PassSupport.trees(model, 6)
    let packed = run(model, head, trees, [6])
    let alone = runAlone(model, head, trees)
    for (a, b) in zip(packed.numbers, alone.numbers) {
      expectClose(a.map(Double.init), b.map(Double.init), absolute: 1e-5)
    }
    let names = model.trainedParameters.map(\.name) + head.parameters.map(\.name)
    for (name, (a, b)) in zip(names, zip(packed.gradients, alone.gradients)) {
      let scale = b.map { Double(abs($0)) }.max() ?? 0
      expectClose(
        a.map(Double.init), b.map(Double.init), absolute: 1e-5 * max(scale, 1e-3), relative: 1e-5, "\(family) \(name)")
    }
    #expect(packed.gradients.suffix(2).allSatisfy { $0.contains { $0 != 0 } })
  }

  /// No bit depends on how an update is cut, on threads or on which other streams are asked for.
  @Test(arguments: ["qwen3", "qwen2", "qwen3_vl", "qwen3_moe"], [Precision.full, .bf16])
  func anyCutGivesTheSameBits(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    func found(_ threads: Int, _ sizes: [Int]) throws -> [[[UInt32]]] {
      let model = try PassSupport.model(json, precision, threads: threads)
      let result = run(model, PassSupport.head(model), try PassSupport.trees(model, 6), sizes)
      return [PassSupport.bits(result.numbers), PassSupport.bits(result.gradients)]
    }
    let whole = try found(2, [6])
    for (threads, sizes) in [(1, [1, 1, 1, 1, 1, 1]), (3, [2, 1, 3]), (2, [5, 1])] {
      #expect(try found(threads, sizes) == whole, "\(sizes) on \(threads) threads")
    }
    let model = try PassSupport.model(json, precision)
    let plain = TrainingPass(model: model, temperature: 0.8, wanted: [.logprob])
    let forward = plain.forward(try PassSupport.trees(model, 6), recording: false)
    #expect(PassSupport.bits([forward.stream(.logprob)]) == [whole[0][0]])
    #expect(forward.values == nil && forward.promptLogprobs == nil && plain.streams(forward).prompts == nil)
  }

  /// Places of pictures are among the targets and not in the mask.
  @Test func placesOfPicturesAreMasked() throws {
    let model = try PassSupport.model(TinyModels.qwen3VL)
    let trees = try PassSupport.trees(model, 3)
    let pass = TrainingPass(model: model, temperature: 1, wanted: [.logprob], scoresPrompts: true)
    let streams = pass.streams(pass.forward(trees, recording: false))
    try streams.validate()
    let prompts = try #require(streams.prompts)
    #expect(prompts.rowCount == 3 && prompts.tokenCount == trees.reduce(0) { $0 + $1.prompt.ids.count - 1 })
    for (i, tree) in trees.enumerated() {
      #expect(prompts.mask[prompts.row(i)].elementsEqual(tree.prompt.ids.dropFirst().map { $0 != 90 }))
    }
  }
}
