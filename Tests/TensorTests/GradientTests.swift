import AttuneTensor
import Core
import TestSupport
import Testing

/// One way to call an operation: inputs and parameters in, output out.
private struct GradientCase: Sendable {
  let name: String
  /// Shapes of the inputs that the tape watches.
  var inputs: [[Int]] = []
  /// Shapes of the trained parameters.
  var parameters: [[Int]] = []
  let run: @Sendable (Tape, [Tensor], [Parameter]) -> Tensor
}

/// Every differentiable operation against central differences in f64, relative 1e-6.
@Suite struct GradientTests {
  private static let backend = try! CPUBackend(threads: 2)

  private static func angles(_ rows: Int, _ half: Int) -> RotaryAngles {
    let values = (0..<rows * half).map { PortableMath.sineAndCosine(Double($0) * 0.37) }
    return RotaryAngles(
      cosine: backend.upload(values.map(\.cosine), [rows, half]),
      sine: backend.upload(values.map(\.sine), [rows, half]))
  }

  private static var forest: Forest {
    var forest = Forest()
    let root = forest.append(count: 5)
    let child = forest.append(count: 3, parent: root)
    forest.append(count: 2, parent: child)
    forest.append(count: 4, parent: root)
    forest.append(count: 6)
    return forest
  }

  private static func frames() -> AttentionPlan {
    var plan = AttentionPlan(causal: false)
    for (row, count) in [(0, 7), (7, 5)] {
      plan.addRun(query: row, rows: count, seen: count, path: KeyPiece.pieces(row..<row + count))
      plan.endTree()
    }
    return plan
  }

  /// Four tokens with two of four experts each.
  private static let experts = ExpertPlan(chosen: [0, 3, 1, 3, 0, 1, 0, 2], choices: 2, experts: 4)
  private static let evenExperts = ExpertPlan(
    chosen: [0, 3, 1, 3, 0, 1, 0, 2], choices: 2, experts: 4, evenWithin: [0, 1])

  private static func dropout(rows: Int) -> DropoutPass {
    DropoutPass(seed: 5, step: 2, rows: (0..<rows).map { RowPlace(tree: $0 / 3, row: $0 % 3) })
  }

  /// Three frozen weights side by side, two of them with frozen factors, whose magnitudes are the operands of a case.
  private struct MagnitudeGroup: @unchecked Sendable {
    // Safety: the cases of one test run one after the other.
    let weights: WeightGroup
    let factors: [(a: Parameter, b: Parameter)]

    init() {
      var random = Randomness(seed: 12, for: .testing).stream()
      func frozen(_ shape: [Int]) -> Parameter {
        let values = (0..<shape[0] * shape[1]).map { _ in random.normal() }
        return Parameter(
          name: "w", value: backend.upload(values, shape), precision: .full, trainable: false, backend: backend)
      }
      weights = WeightGroup([frozen([9, 5]), frozen([2, 5]), frozen([6, 5])])
      factors = [(frozen([2, 5]), frozen([9, 2])), (frozen([3, 5]), frozen([6, 3]))]
    }

    func lowRank(_ magnitudes: [Parameter], _ dropout: Double) -> LowRankGroup {
      LowRankGroup(
        factors: [
          LowRankFactors(factors[0].a, factors[0].b, 0.7, magnitude: magnitudes[0]), nil,
          LowRankFactors(factors[1].a, factors[1].b, 1.3, magnitude: magnitudes[1]),
        ], columns: [0..<9, 9..<11, 11..<17], dropout: dropout)
    }
  }
  private static let magnitudeGroup = MagnitudeGroup()

  /// Cases by operation; the test below fails for an operation without one.
  private static let cases: [DifferentiableOperation: [GradientCase]] = [
    .linear: [
      GradientCase(name: "with bias", inputs: [[7, 5]], parameters: [[19, 5], [19]]) {
        $0.linear($1[0], $2[0], bias: $2[1])
      },
      GradientCase(name: "wide", inputs: [[3, 40]], parameters: [[33, 40]]) { $0.linear($1[0], $2[0]) },
      GradientCase(name: "side by side", inputs: [[7, 5]], parameters: [[19, 5], [3, 5], [19]]) {
        $0.linear($1[0], WeightGroup([$2[0], $2[1]]), biases: [$2[2], nil])
      },
      GradientCase(
        name: "low rank beside two of three", inputs: [[7, 5]],
        parameters: [[19, 5], [3, 5], [6, 5], [4, 5], [19, 4], [2, 5], [6, 2]]
      ) {
        $0.linear(
          $1[0], WeightGroup(Array($2[0...2])),
          lowRank: LowRankGroup(
            factors: [LowRankFactors($2[3], $2[4], 0.7), nil, LowRankFactors($2[5], $2[6], 1.3)],
            columns: [0..<19, 19..<22, 22..<28]))
      },
      GradientCase(
        name: "low rank with a bias", inputs: [[7, 5]], parameters: [[19, 5], [4, 5], [19, 4], [19], [19]]
      ) {
        $0.linear(
          $1[0], WeightGroup([$2[0]]), biases: [$2[4]],
          lowRank: LowRankGroup(
            factors: [LowRankFactors($2[1], $2[2], 0.7, bias: $2[3])], columns: [0..<19]))
      },
      GradientCase(
        name: "low rank with dropout", inputs: [[6, 70]], parameters: [[19, 70], [3, 70], [4, 70], [19, 4]]
      ) {
        $0.dropout = dropout(rows: 6)
        return $0.linear(
          $1[0], WeightGroup(Array($2[0...1])),
          lowRank: LowRankGroup(
            factors: [LowRankFactors($2[2], $2[3], 0.7), nil], columns: [0..<19, 19..<22], dropout: 0.4, layer: 9))
      },
      // The norm of the adapted weight is a constant on the way back, so its own operands stand still here.
      GradientCase(name: "magnitudes", inputs: [[7, 5]], parameters: [[9], [6], [9]]) {
        $0.linear($1[0], magnitudeGroup.weights, biases: [$2[2], nil, nil], lowRank: magnitudeGroup.lowRank($2, 0))
      },
      GradientCase(name: "magnitudes with dropout", inputs: [[7, 5]], parameters: [[9], [6], [9]]) {
        $0.dropout = dropout(rows: 7)
        return $0.linear(
          $1[0], magnitudeGroup.weights, biases: [$2[2], nil, nil], lowRank: magnitudeGroup.lowRank($2, 0.3))
      },
    ],
    .embedding: [
      GradientCase(name: "repeated ids", parameters: [[6, 5]]) { tape, _, p in tape.embedding(p[0], [2, 0, 2, 5, 2]) }
    ],
    .add: [
      GradientCase(name: "two", inputs: [[3, 4], [3, 4]]) { tape, x, _ in tape.add(x[0], x[1]) },
      GradientCase(name: "one tensor twice", inputs: [[3, 4]]) { tape, x, _ in tape.add(x[0], x[0]) },
    ],
    .gatherRows: [
      GradientCase(name: "repeated", inputs: [[5, 3]]) { tape, x, _ in tape.gatherRows(x[0], [4, 1, 4]) }
    ],
    .putRows: [
      GradientCase(name: "some", inputs: [[5, 3], [2, 3]]) { tape, x, _ in tape.putRows(x[0], x[1], at: [3, 0]) }
    ],
    .addRows: [
      GradientCase(name: "some", inputs: [[5, 3], [2, 3]]) { tape, x, _ in tape.addRows(x[0], x[1], at: [1, 4]) }
    ],
    .rmsNorm: [
      GradientCase(name: "rows", inputs: [[3, 20]], parameters: [[20]]) { $0.rmsNorm($1[0], $2[0], epsilon: 1e-6) },
      GradientCase(name: "heads", inputs: [[3, 24]], parameters: [[8]]) { $0.rmsNorm($1[0], $2[0], epsilon: 1e-6) },
    ],
    .layerNorm: [
      GradientCase(name: "rows", inputs: [[3, 21]], parameters: [[21], [21]]) {
        $0.layerNorm($1[0], $2[0], $2[1], epsilon: 1e-6)
      }
    ],
    .swiGLU: [
      GradientCase(name: "plain", inputs: [[3, 14]]) { tape, x, _ in tape.swiGLU(x[0]) },
      GradientCase(name: "wide", inputs: [[2, 40]]) { tape, x, _ in tape.swiGLU(x[0]) },
    ],
    .gelu: [
      GradientCase(name: "tanh", inputs: [[3, 7]]) { tape, x, _ in tape.gelu(x[0], .tanh) },
      GradientCase(name: "exact", inputs: [[3, 7]]) { tape, x, _ in tape.gelu(x[0], .exact) },
    ],
    .attention: [
      GradientCase(name: "causal forest, grouped heads", inputs: [[20, 48]]) { tape, x, _ in
        tape.attention(
          x[0], HeadTransform(angles: angles(20, 3)), forest.attentionPlan,
          AttentionHeads(heads: 4, kvHeads: 2, size: 6, scale: 0.4))
      },
      GradientCase(name: "normed heads", inputs: [[20, 48]], parameters: [[6], [6]]) { tape, x, p in
        tape.attention(
          x[0], HeadTransform(queryNorm: p[0], keyNorm: p[1], epsilon: 1e-6, angles: angles(20, 3)),
          forest.attentionPlan, AttentionHeads(heads: 4, kvHeads: 2, size: 6, scale: 0.4))
      },
      GradientCase(name: "a window, nothing turned", inputs: [[20, 48]]) { tape, x, _ in
        tape.attention(
          x[0], HeadTransform(angles: nil), forest.attentionPlan,
          AttentionHeads(heads: 4, kvHeads: 2, size: 6, scale: 0.4, window: 4))
      },
      GradientCase(name: "frames", inputs: [[12, 48]]) { tape, x, _ in
        tape.attention(
          x[0], HeadTransform(angles: angles(12, 4)), frames(),
          AttentionHeads(heads: 2, kvHeads: 2, size: 8, scale: 0.35))
      },
    ],
    .latentAttention: [
      GradientCase(name: "values of another size", inputs: [[20, 30], [20, 33], [20, 4]]) { tape, x, _ in
        tape.latentAttention(
          x[0], x[1], x[2], angles(20, 2), forest.attentionPlan,
          LatentHeads(heads: 3, plain: 6, turned: 4, value: 5, scale: 0.4))
      }
    ],
    .split: [
      GradientCase(name: "three parts", inputs: [[4, 9]]) { tape, x, _ in
        let parts = tape.split(x[0], [2, 3, 4])
        return tape.add(tape.add(tape.gelu(parts[0], .tanh), parts[0]), tape.split(parts[2], [2, 2])[1])
      }
    ],
    .groupRows: [
      GradientCase(name: "some missing", inputs: [[5, 3]]) { tape, x, _ in
        tape.groupRows(x[0], [3, -1, 0, 4, 1, -1, -1, 2], group: 4)
      }
    ],
    .recomputed: [
      GradientCase(name: "a gated layer", inputs: [[3, 5]], parameters: [[8, 5], [5, 4]]) { tape, x, p in
        tape.recomputed(x[0], parameters: p) { tape, x in
          tape.add(x, tape.linear(tape.swiGLU(tape.linear(x, p[0])), p[1]))
        }
      }
    ],
    .mixRows: [
      GradientCase(name: "two rows", parameters: [[3, 5]]) { tape, _, p in
        tape.mixRows(p[0], by: tape.backend.upload([0.5, 0.2, 0.3, 0, 1, -1] as [Double], [2, 3]))
      }
    ],
    .route: [
      GradientCase(name: "normalised over the chosen", inputs: [[6, 21]]) { tape, x, _ in
        tape.route(x[0], RoutingRule(choices: 4, normalized: true)).weights
      },
      GradientCase(name: "over all experts", inputs: [[6, 21]]) { tape, x, _ in
        tape.route(x[0], RoutingRule(choices: 4, normalized: false)).weights
      },
      GradientCase(name: "more choices than lanes", inputs: [[3, 21]]) { tape, x, _ in
        tape.route(x[0], RoutingRule(choices: 18, normalized: false)).weights
      },
      GradientCase(name: "scaled, in groups", inputs: [[6, 21]]) { tape, x, _ in
        tape.route(x[0], RoutingRule(choices: 4, normalized: false, scale: 2.5, groups: 3, keptGroups: 2)).weights
      },
      GradientCase(name: "sigmoids", inputs: [[6, 21]]) { tape, x, _ in
        tape.route(x[0], RoutingRule(choices: 4, gate: .sigmoid, normalized: false, scale: 2.5)).weights
      },
      GradientCase(name: "sigmoids over their sum", inputs: [[6, 21]]) { tape, x, _ in
        tape.route(
          x[0],
          RoutingRule(choices: 4, gate: .sigmoid, normalized: true, scale: 2.5, groups: 3, keptGroups: 2, groupBest: 2)
        ).weights
      },
    ],
    .expertRows: [
      GradientCase(name: "some experts twice, some never", inputs: [[4, 5]]) { tape, x, _ in
        tape.expertRows(x[0], experts)
      },
      GradientCase(name: "with rows of no token", inputs: [[4, 5]]) { tape, x, _ in
        tape.expertRows(x[0], evenExperts)
      },
    ],
    .expertLinear: [
      GradientCase(
        name: "two side by side", inputs: [[8, 5]], parameters: (0..<8).map { [$0 % 2 == 0 ? 19 : 3, 5] }
      ) { tape, x, p in
        tape.expertLinear(x[0], (0..<4).map { WeightGroup([p[2 * $0], p[2 * $0 + 1]]) }, experts)
      },
      GradientCase(
        name: "low rank beside some", inputs: [[8, 5]],
        parameters: [[7, 5], [7, 5], [7, 5], [7, 5], [2, 5], [7, 2], [3, 5], [7, 3]]
      ) { tape, x, p in
        let factors = [LowRankFactors(p[4], p[5], 0.7), nil, nil, LowRankFactors(p[6], p[7], 1.3)]
        return tape.expertLinear(
          x[0], p[..<4].map { WeightGroup([$0]) }, experts,
          lowRank: factors.map { $0.map { LowRankGroup(factors: [$0], columns: [0..<7]) } })
      },
      GradientCase(name: "low rank with dropout", inputs: [[8, 5]], parameters: [[7, 5], [3, 5], [7, 3]]) {
        tape, x, p in
        tape.dropout = dropout(rows: 4)
        let group = LowRankGroup(factors: [LowRankFactors(p[1], p[2], 1.3)], columns: [0..<7], dropout: 0.3)
        return tape.expertLinear(
          x[0], (0..<4).map { _ in WeightGroup([p[0]]) }, experts, lowRank: [nil, group, nil, group])
      },
      GradientCase(name: "magnitudes beside some", inputs: [[8, 5]], parameters: [[9], [6]]) { tape, x, p in
        tape.expertLinear(
          x[0], (0..<4).map { _ in magnitudeGroup.weights }, experts,
          lowRank: [magnitudeGroup.lowRank(p, 0), nil, nil, magnitudeGroup.lowRank(p, 0)])
      },
    ],
    .combineExperts: [
      GradientCase(name: "two for each token", inputs: [[8, 21], [4, 2]]) { tape, x, _ in
        tape.combineExperts(x[0], x[1], experts)
      },
      GradientCase(name: "with rows of no token", inputs: [[12, 5], [4, 2]]) { tape, x, _ in
        tape.combineExperts(x[0], x[1], evenExperts)
      },
    ],
    .scores: [
      GradientCase(name: "one, with a bias", inputs: [[7, 21]], parameters: [[1, 21], [1]]) {
        $0.scores($1[0], $2[0], bias: $2[1])
      },
      GradientCase(name: "three", inputs: [[4, 6]], parameters: [[3, 6]]) { $0.scores($1[0], $2[0]) },
    ],
    .head: [
      GradientCase(name: "all streams", inputs: [[5, 6]], parameters: [[21, 6]]) { tape, x, p in
        tape.head(
          x[0], WeightGroup([p[0]]), targets: [3, 20, 0, 7, 7], temperature: 0.8,
          wanted: [.logprob, .entropy, .logSumExp, .meanLogit, .logSumSquares])
      },
      GradientCase(name: "logprob alone", inputs: [[5, 6]], parameters: [[21, 6]]) { tape, x, p in
        tape.head(x[0], WeightGroup([p[0]]), targets: [3, 20, 0, 7, 7], temperature: 1, wanted: [.logprob])
      },
    ],
  ]

  @Test(arguments: DifferentiableOperation.allCases)
  func gradientEqualsFiniteDifferences(operation: DifferentiableOperation) throws {
    let cases = try #require(Self.cases[operation], "no finite-difference case for \(operation)")
    #expect(!cases.isEmpty)
    for item in cases { check(item, operation) }
  }

  private func check(_ item: GradientCase, _ operation: DifferentiableOperation) {
    let backend = Self.backend
    var random = Randomness(seed: 11, for: .testing).stream(operation.rawValue.utf8.count, item.name.utf8.count)
    var values = (item.inputs + item.parameters).map { shape in
      (0..<shape.reduce(1, *)).map { _ in random.normal() }
    }
    var weights: [Double]?
    // The loss is a fixed random weighting of the output; returns it, and the analytic gradients if wanted.
    func evaluate(gradients: Bool) -> (loss: Double, gradients: [[Double]]) {
      let tape = Tape(backend, recording: gradients)
      let inputs = item.inputs.enumerated().map { backend.upload(values[$0], $1) }
      let parameters = item.parameters.enumerated().map {
        Parameter(
          name: "p\($0)", value: backend.upload(values[item.inputs.count + $0], $1), precision: .full, trainable: true,
          backend: backend)
      }
      for input in inputs { tape.watch(input) }
      let output = item.run(tape, inputs, parameters)
      if gradients { #expect(tape.operations.contains(operation)) }
      let y = backend.doubles(output)
      if weights == nil { weights = y.map { _ in random.normal() } }
      let loss = zip(y, weights!).reduce(0) { $0 + $1.0 * $1.1 }
      guard gradients else { return (loss, []) }
      tape.backward(from: output, seed: backend.upload(weights!, output.shape))
      let found =
        inputs.map { tape.gradient(of: $0).map(backend.doubles) ?? [] }
        + parameters.map { backend.doubles($0.gradient!) }
      return (loss, found)
    }
    let analytic = evaluate(gradients: true).gradients
    for which in values.indices {
      guard analytic[which].count == values[which].count else {
        Issue.record("\(operation) \(item.name): no gradient for operand \(which)")
        continue
      }
      let scale = analytic[which].map(abs).max() ?? 0
      let numeric = values[which].indices.map { i in
        let x = values[which][i]
        let h = 1e-5
        values[which][i] = x + h
        let above = evaluate(gradients: false).loss
        values[which][i] = x - h
        let below = evaluate(gradients: false).loss
        values[which][i] = x
        return (above - below) / (2 * h)
      }
      expectClose(
        analytic[which], numeric, absolute: 1e-6 * max(scale, 1e-3), relative: 1e-6,
        "\(operation) \(item.name), operand \(which)")
    }
  }

  /// A parameter's gradient adds up over calls, and two tapes on two threads do not see each other.
  @Test func tapesShareNothing() async throws {
    let results = await withTaskGroup(of: [Float].self) { group in
      for seed in 0..<4 {
        group.addTask {
          let backend = try! CPUBackend(threads: 1)
          var random = Randomness(seed: UInt64(seed / 2), for: .testing).stream()
          let weight = Parameter(
            name: "w", value: backend.upload((0..<64).map { _ in Float(random.normal()) }, [8, 8]), precision: .full,
            trainable: true, backend: backend)
          let x = backend.upload((0..<24).map { _ in Float(random.normal()) }, [3, 8])
          for _ in 0..<50 {
            let tape = Tape(backend, recording: true)
            tape.watch(x)
            let y = tape.linear(tape.gelu(x, .exact), weight)
            tape.backward(from: y, seed: y)
            #expect(tape.gradient(of: x) != nil)
          }
          return backend.floats(weight.gradient!)
        }
      }
      var all: [[Float]] = []
      for await result in group { all.append(result) }
      return Set(all)
    }
    // Two seeds, each run twice at once: two distinct results.
    #expect(results.count == 2)
  }
}
