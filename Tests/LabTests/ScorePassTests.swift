import AttuneTensor
import Core
import Models
import TestSupport
import Testing

@testable import Lab

/// Scores of sequences and values of states, and their gradients.
@Suite struct ScorePassTests {
  private enum Kind: String, CaseIterable { case scores, values }

  private func forward(
    _ kind: Kind, _ pass: ScorePass, _ trees: [PromptTree], firstTree: Int = 0
  ) -> (ScorePass.Forward, counts: [Int]) {
    switch kind {
    case .scores: (pass.scores(trees, recording: true, firstTree: firstTree), trees.map(\.completions.count))
    case .values:
      (
        pass.values(trees, recording: true, firstTree: firstTree),
        trees.map { $0.completions.reduce(0) { $0 + $1.count } }
      )
    }
  }

  private func run(
    _ kind: Kind, _ model: LanguageModel, _ head: ScoreHead, _ trees: [PromptTree], _ sizes: [Int],
    recomputes: Bool = false
  ) -> (numbers: [Float], gradients: [[Float]]) {
    let parameters = model.trainedParameters + head.parameters
    for parameter in parameters { parameter.clearGradient() }
    let pass = ScorePass(model: model, head: head, padding: 7, recomputesLayers: recomputes)
    var numbers: [Float] = []
    var first = 0
    for size in sizes {
      let (forward, counts) = forward(kind, pass, Array(trees[first..<first + size]), firstTree: first)
      numbers += forward.scores
      pass.backward(forward, counts.enumerated().flatMap { PassSupport.numbers($1, 5, first + $0) })
      first += size
    }
    return (numbers, PassSupport.gradients(parameters, on: model.backend))
  }

  @Test(arguments: ["qwen3", "qwen3_vl"], ["scores", "values"])
  func packedEqualsOneByOne(family: String, kind: String) throws {
    let kind = Kind(rawValue: kind)!
    let model = try PassSupport.model(TinyModels.all.first { $0.name == family }!.json, hasHead: false)
    let head = PassSupport.head(model)
    let trees = try PassSupport.trees(model, 6)
    let packed = run(kind, model, head, trees, [6])
    let parameters = model.trainedParameters + head.parameters
    for parameter in parameters { parameter.clearGradient() }
    var numbers: [Float] = []
    for (number, tree) in trees.enumerated() {
      let wanted = PassSupport.numbers(kind == .scores ? tree.completions.count : 99, 5, number)
      var at = 0
      for completion in tree.completions {
        let tape = Tape(model.backend, recording: true)
        let ids = tree.prompt.ids + completion
        let output = head.scores(tape, model.hidden(tape, PassSupport.sequence(tree, completion)))
        let all = model.backend.floats(output)
        var seed = [Float](repeating: 0, count: all.count)
        let rows =
          kind == .scores
          ? [ids.lastIndex { $0 != 7 } ?? 0] : completion.indices.map { tree.prompt.ids.count - 1 + $0 }
        for row in rows {
          numbers.append(all[row])
          seed[row] = wanted[at]
          at += 1
        }
        tape.backward(from: output, seed: model.backend.upload(seed, output.shape))
      }
    }
    expectClose(packed.numbers.map(Double.init), numbers.map(Double.init), absolute: 1e-5)
    for (parameter, found) in zip(parameters, packed.gradients) {
      let alone = model.backend.doubles(parameter.gradient!)
      expectClose(
        found.map(Double.init), alone, absolute: 1e-5 * max(alone.map(abs).max() ?? 0, 1e-3), relative: 1e-5,
        "\(family) \(parameter.name)")
    }
  }

  @Test(arguments: ["qwen3", "qwen3_vl", "qwen3_moe"], [Precision.full, .bf16])
  func anyCutGivesTheSameBits(family: String, precision: Precision) throws {
    let json = TinyModels.all.first { $0.name == family }!.json
    for kind in Kind.allCases {
      func found(_ threads: Int, _ sizes: [Int], recomputes: Bool = false) throws -> [[UInt32]] {
        let model = try PassSupport.model(json, precision, threads: threads, hasHead: false)
        let result = run(
          kind, model, PassSupport.head(model), try PassSupport.trees(model, 6), sizes, recomputes: recomputes)
        return PassSupport.bits([result.numbers] + result.gradients)
      }
      let whole = try found(2, [6])
      for (threads, sizes, recomputes) in [(1, [1, 1, 1, 1, 1, 1], false), (3, [2, 1, 3], false), (2, [5, 1], true)] {
        #expect(try found(threads, sizes, recomputes: recomputes) == whole, "\(kind) \(sizes) on \(threads) threads")
      }
    }
  }

  /// The gradient of the sum of squared scores against central differences of the head's own weights.
  @Test func headGradientEqualsFiniteDifferences() throws {
    let model = try PassSupport.model(TinyModels.qwen3, .bf16, hasHead: false)
    let head = PassSupport.head(model)
    let pass = ScorePass(model: model, head: head)
    let trees = try PassSupport.trees(model, 3)
    func loss() -> Double { pass.scores(trees, recording: false).scores.reduce(0) { $0 + Double($1) * Double($1) } }
    let forward = pass.scores(trees, recording: true)
    pass.backward(forward, forward.scores.map { 2 * $0 })
    for parameter in head.parameters {
      let values = model.backend.floats(parameter.value)
      let numeric = values.indices.map { i in
        let sides = [Float(0.0625), -0.0625].map { step in
          var moved = values
          moved[i] += step
          parameter.setValue(model.backend.upload(moved, parameter.shape))
          return loss()
        }
        return (sides[0] - sides[1]) / 0.125
      }
      parameter.setValue(model.backend.upload(values, parameter.shape))
      let found = model.backend.doubles(parameter.gradient!)
      expectClose(found, numeric, absolute: 1e-5 * (found.map(abs).max() ?? 0), relative: 1e-5, parameter.name)
    }
  }

  /// Where sequences are read: at the last token that is no padding, were it in the prompt.
  @Test func lastRows() throws {
    let model = try PassSupport.model(TinyModels.qwen3)
    func tree(_ prompt: [Int32], _ completions: [[Int32]]) throws -> PromptTree {
      PromptTree(prompt: try model.encode(ids: prompt), completions: completions)
    }
    let trees = [try tree([1, 2, 7], [[3, 4], [], [5, 7, 7], [7]]), try tree([7, 7], [[7], [8]])]
    let read = TrainingBatch(trees, readsLastTokens: true)
    #expect(read.lastRows.map { read.batch.ids[Int($0)] } == [4, 7, 7, 7, 7, 8])
    #expect(read.batch.ids.count % 2 == 0 && read.completionRanges.map(\.count) == [2, 0, 3, 1, 1, 1])
    let padded = TrainingBatch(trees, readsLastTokens: true, padding: 7)
    #expect(padded.lastRows.map { padded.batch.ids[Int($0)] } == [4, 2, 5, 2, 7, 8])
    #expect(padded.lastRows[1] == 1 && padded.lastRows[4] == Int32(padded.batch.places.firstIndex { $0.tree == 1 }!))
    let plain = TrainingBatch(trees)
    #expect(plain.lastRows.isEmpty && plain.promptRanges.isEmpty && plain.targets == read.targets)
    let scored = TrainingBatch(trees, scoresPrompts: true)
    #expect(scored.promptRanges.map { Array(scored.targets[$0]) } == [[2, 7], [7]])
    #expect(scored.completionRanges.map { Array(scored.targets[$0]) } == trees.flatMap(\.completions))
    #expect(scored.promptRanges.flatMap { scored.predictingRows[$0] }.map { scored.batch.ids[Int($0)] } == [1, 2, 7])
  }

  /// A fresh head is a function of its seed; a row's score is that of the hidden state alone, rounded from f64.
  @Test func freshHeads() throws {
    let backend = try CPUBackend(threads: 2)
    let (a, b) = (
      ScoreHead(fresh: .classification, hidden: 512, seed: 4, on: backend),
      ScoreHead(fresh: .classification, hidden: 512, seed: 4, on: backend)
    )
    let weights = backend.floats(a.weight.value)
    #expect(weights == backend.floats(b.weight.value) && a.weight.name == "score.weight" && a.bias == nil)
    #expect(
      weights != backend.floats(ScoreHead(fresh: .classification, hidden: 512, seed: 5, on: backend).weight.value))
    let deviation = (weights.reduce(0.0) { $0 + Double($1) * Double($1) } / 512).squareRoot()
    #expect(abs(deviation - 0.02) < 0.002)
    let value = ScoreHead(fresh: .value, hidden: 512, seed: 4, on: backend)
    #expect(value.parameters.map(\.name) == ["v_head.summary.weight", "v_head.summary.bias"])
    #expect(backend.floats(value.bias!.value) == [0] && value.parameters.allSatisfy { !$0.isTrainable })
    let hidden = PassSupport.numbers(9 * 512, 6, 0)
    let tape = Tape(backend, recording: false)
    let scores = backend.floats(a.scores(tape, backend.upload(hidden, [9, 512])))
    for row in 0..<9 {
      var sum = 0.0
      for (x, w) in zip(hidden[row * 512..<(row + 1) * 512], weights) { sum += Double(x) * Double(w) }
      #expect(scores[row] == Float(sum))
      #expect(a.scores(backend.upload(Array(hidden[row * 512..<(row + 1) * 512]), [1, 512]), label: 0) == [sum])
    }
  }
}
