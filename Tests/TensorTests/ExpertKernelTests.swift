import AttuneTensor
import Core
import TestSupport
import Testing

/// The kernels of mixtures of experts against plain twins, bit for bit.
extension KernelTests {
  /// e^x as the kernels compute it in f32.
  private func exponential(_ x: Float) -> Float {
    guard x > -.infinity else { return 0 }
    let clamped = min(max(x, -88), 89)
    let n = (0x1.8p23 as Float).addingProduct(clamped, 0x1.715476p0) - 0x1.8p23
    let r = clamped.addingProduct(n, -0x1.63p-1).addingProduct(n, 0x1.bd0106p-13)
    var p: Float = 1.9875691500e-4
    for c in [1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1] as [Float] {
      p = c.addingProduct(p, r)
    }
    p = r.addingProduct(p, r * r) + 1
    return x < -87.3 ? 0 : p * Float(sign: .plus, exponent: Int(n), significand: 1)
  }

  /// Element i into lane i mod 16, ascending; lanes folded 8, 4, 2, 1.
  private func laneSum(_ count: Int, _ add: (Int, Float) -> Float) -> Float {
    var lanes = [Float](repeating: 0, count: 16)
    for i in 0..<count { lanes[i % 16] = add(i, lanes[i % 16]) }
    for width in [8, 4, 2, 1] { for i in 0..<width { lanes[i] += lanes[i + width] } }
    return lanes[0]
  }

  private func naiveRoute(_ z: ArraySlice<Float>, _ choices: Int, _ normalized: Bool) -> (
    ids: [Int32], weights: [Float]
  ) {
    let z = Array(z)
    let order = z.indices.sorted { z[$0] != z[$1] ? z[$0] > z[$1] : $0 < $1 }
    let ids = order.prefix(choices).sorted()
    let largest = z.max()!
    let chosen = ids.map { exponential(z[$0] - largest) }
    let sum =
      normalized
      ? laneSum(choices) { chosen[$0] + $1 } : laneSum(z.count) { self.exponential(z[$0] - largest) + $1 }
    return (ids.map { Int32($0) }, chosen.map { $0 / sum })
  }

  @Test(arguments: CPUBackend.instructionSets, [1, 2, 3])
  func routingEqualsItsDefinitionBitForBit(isa: String, threads: Int) throws {
    let backend = try CPUBackend(threads: threads, isa: isa)
    for (rows, experts, choices) in [(1, 8, 3), (50, 64, 6), (7, 21, 18), (3, 5, 5), (400, 128, 8)] {
      // Coarse values, so that many are equal.
      let z = values(rows * experts, 1).map { ($0 * 4).rounded() / 4 }
      for normalized in [true, false] {
        let scores = backend.upload(z, [rows, experts])
        let weights = backend.empty([rows, choices], .f32)
        let rule = RoutingRule(choices: choices, normalized: normalized)
        let ids = backend.route(weights, scores, bias: nil, rule)
        let expected = (0..<rows).map { naiveRoute(z[$0 * experts..<($0 + 1) * experts], choices, normalized) }
        #expect(ids == expected.flatMap(\.ids), "\(rows) \(experts) \(choices)")
        let w = backend.floats(weights)
        #expect(bits(w) == bits(expected.flatMap(\.weights)), "\(rows) \(experts) \(choices) \(normalized)")

        let dw = values(rows * choices, 2)
        let dScores = backend.empty([rows, experts], .f32)
        backend.routeBackward(dScores, backend.upload(dw, [rows, choices]), weights, scores, ids, rule)
        let gradient = (0..<rows).flatMap { row -> [Float] in
          let own = z[row * experts..<(row + 1) * experts]
          let (first, largest) = (row * choices, own.max()!)
          let pull = laneSum(choices) { $1.addingProduct(w[first + $0], dw[first + $0]) }
          let sum = laneSum(experts) { self.exponential(own[own.startIndex + $0] - largest) + $1 }
          var d = own.map { normalized ? 0 : exponential($0 - largest) / sum * -pull }
          for j in 0..<choices { d[Int(ids[first + j])] = w[first + j] * (dw[first + j] - pull) }
          return d
        }
        #expect(bits(backend.floats(dScores)) == bits(gradient), "gradient \(rows) \(experts) \(choices) \(normalized)")
      }
    }
  }

  /// Groups compete by their best experts, and only the kept ones give any; a bias moves choices and no weight.
  @Test(arguments: [RoutingRule.Gate.softmax, .sigmoid])
  func groupsAndBiasesChoose(gate: RoutingRule.Gate) throws {
    let backend = try CPUBackend(threads: 2)
    for (experts, groups, kept, best, choices) in [
      (8, 4, 2, 1, 3), (24, 3, 1, 2, 8), (12, 1, 1, 2, 5), (6, 3, 3, 2, 6),
    ] {
      let rows = 30
      let z = values(rows * experts, 3)
      let bias = gate == .sigmoid ? values(experts, 4) : [Float](repeating: 0, count: experts)
      for normalized in [true, false] {
        let rule = RoutingRule(
          choices: choices, gate: gate, normalized: normalized, scale: 2.5, groups: groups, keptGroups: kept,
          groupBest: best)
        let weights = backend.empty([rows, choices], .f32)
        let ids = backend.route(
          weights, backend.upload(z, [rows, experts]), bias: gate == .sigmoid ? backend.upload(bias, [experts]) : nil,
          rule)
        var expectedIDs: [Int32] = []
        var expectedWeights: [Double] = []
        for row in 0..<rows {
          let own = z[row * experts..<(row + 1) * experts].map(Double.init)
          let p: [Double]
          switch gate {
          case .softmax:
            let e = own.map { PortableMath.exp($0 - own.max()!) }
            p = e.map { $0 / e.reduce(0, +) }
          case .sigmoid: p = own.map { 1 / (1 + PortableMath.exp(-$0)) }
          }
          let competing = zip(p, bias).map { $0 + Double($1) }
          let size = experts / groups
          let strength = (0..<groups).map { g in
            competing[g * size..<(g + 1) * size].sorted(by: >).prefix(gate == .softmax ? 1 : best).reduce(0, +)
          }
          let allowed = (0..<groups).sorted { strength[$0] > strength[$1] }.prefix(kept)
          let chosen = (0..<experts).filter { allowed.contains($0 / size) }.sorted { competing[$0] > competing[$1] }
            .prefix(choices).sorted()
          let sum = normalized ? chosen.reduce(0) { $0 + p[$1] } : 1
          expectedIDs += chosen.map { Int32($0) }
          expectedWeights += chosen.map { 2.5 * p[$0] / sum }
        }
        // Softmax keeps the order of the scores, and so the best of a group.
        if gate == .softmax, best > 1, groups > 1 { continue }
        #expect(ids == expectedIDs, "\(gate) \(experts) \(groups)")
        expectClose(backend.floats(weights).map(Double.init), expectedWeights, relative: 1e-5, "\(gate) \(experts)")
      }
    }
  }

  /// Scores that are not numbers choose experts all the same.
  @Test func routingSurvivesAnything() throws {
    let backend = try CPUBackend(threads: 1)
    for z in [
      [Float.nan, .nan, .nan, .nan], [1, .nan, 2, .infinity], [-.infinity, -.infinity, -.infinity, -.infinity],
    ] {
      for rule in [
        RoutingRule(choices: 2, normalized: true), RoutingRule(choices: 2, normalized: false, groups: 2, keptGroups: 1),
        RoutingRule(choices: 2, gate: .sigmoid, normalized: true, groups: 2, keptGroups: 1, groupBest: 2),
      ] {
        let ids = backend.route(backend.empty([1, 2], .f32), backend.upload(z, [1, 4]), bias: nil, rule)
        #expect(ids[0] < ids[1] && ids[0] >= 0 && ids[1] < 4)
      }
    }
  }

  /// Random choices; experts in `unused` get none.
  private func choices(_ tokens: Int, of experts: Int, _ count: Int, unused: Set<Int>, seed: Int) -> [Int32] {
    var random = Randomness(seed: 4, for: .testing).stream(seed)
    return (0..<tokens).flatMap { _ in
      var left = (0..<experts).filter { !unused.contains($0) }
      return (0..<count).map { _ in Int32(left.remove(at: random.integer(below: left.count))) }.sorted()
    }
  }

  @Test func plansSortTokensByExpert() {
    let chosen = choices(23, of: 7, 3, unused: [2], seed: 1)
    for trees in [nil, [0, 4, 5, 16]] as [[Int]?] {
      let plan = ExpertPlan(chosen: chosen, choices: 3, experts: 7, evenWithin: trees)
      for (slot, row) in plan.places.enumerated() {
        #expect(plan.slots[Int(row)] == Int32(slot) && plan.tokens[Int(row)] == Int32(slot / 3))
        #expect(plan.rows(of: Int(chosen[slot])).contains(Int(row)))
      }
      #expect(plan.slots.filter { $0 >= 0 }.count == chosen.count)
      for expert in 0..<7 {
        let tokens = plan.rows(of: expert).map { plan.tokens[$0] }
        #expect(tokens.filter { $0 >= 0 } == tokens.filter { $0 >= 0 }.sorted())
        guard let trees else {
          #expect(!tokens.contains(-1))
          continue
        }
        // Both rows of a pair are of one tree, or the second is of none.
        for pair in stride(from: 0, to: tokens.count, by: 2) where tokens[pair + 1] >= 0 {
          #expect(
            trees.lastIndex { $0 <= tokens[pair] } == trees.lastIndex { $0 <= tokens[pair + 1] } && tokens[pair] >= 0)
        }
      }
      #expect(!plan.active.contains(2) && plan.active.count == 6)
    }
  }

  @Test(arguments: CPUBackend.instructionSets, [1, 2, 3])
  func rowsOfExpertsEqualTheirDefinitionBitForBit(isa: String, threads: Int) throws {
    let backend = try CPUBackend(threads: threads, isa: isa)
    for (tokens, width, trees) in [(23, 37, [0, 4, 5, 16]), (300, 64, nil), (1, 7, nil)] as [(Int, Int, [Int]?)] {
      let plan = ExpertPlan(
        chosen: choices(tokens, of: 7, 3, unused: [2], seed: 2), choices: 3, experts: 7, evenWithin: trees)
      let x = values(tokens * width, 3)
      func row(_ x: [Float], _ r: Int) -> ArraySlice<Float> { x[r * width..<(r + 1) * width] }
      let xt = backend.upload(x, [tokens, width])
      let sorted = backend.empty([plan.rowCount, width], .f32)
      backend.gatherExpertRows(sorted, xt, plan)
      let zero = [Float](repeating: 0, count: width)[...]
      let expected = plan.tokens.flatMap { $0 < 0 ? zero : row(x, Int($0)) }
      #expect(bits(backend.floats(sorted)) == bits(expected))
      let narrow = backend.empty([tokens, width], .bf16)
      let narrowSorted = backend.empty([plan.rowCount, width], .bf16)
      backend.convert(narrow, xt)
      backend.gatherExpertRows(narrowSorted, narrow, plan)
      #expect(bits(backend.floats(narrowSorted)) == bits(expected.map(rounded)))

      let rows = values(plan.rowCount * width, 4)
      let weights = values(tokens * 3, 5)
      let rt = backend.upload(rows, [plan.rowCount, width])
      let wt = backend.upload(weights, [tokens, 3])
      let y = backend.empty([tokens, width], .f32)
      for weighted in [true, false] {
        backend.combineExperts(y, rt, weighted ? wt : nil, plan)
        let sums = (0..<tokens * width).map { i in
          (0..<3).reduce(Float(0)) { sum, j in
            let slot = i / width * 3 + j
            return sum.addingProduct(weighted ? weights[slot] : 1, rows[Int(plan.places[slot]) * width + i % width])
          }
        }
        #expect(bits(backend.floats(y)) == bits(sums), "weighted \(weighted)")
      }

      let dRows = backend.empty([plan.rowCount, width], .f32)
      let dWeights = backend.empty([tokens, 3], .f32)
      backend.combineExpertsBackward(dRows, dWeights, xt, rt, wt, plan)
      #expect(
        bits(backend.floats(dRows))
          == bits(
            plan.slots.flatMap { slot in slot < 0 ? Array(zero) : row(x, Int(slot) / 3).map { weights[Int(slot)] * $0 }
            }))
      let dots = plan.places.enumerated().map { slot, r in
        laneSum(width) { $1.addingProduct(x[slot / 3 * width + $0], rows[Int(r) * width + $0]) }
      }
      #expect(bits(backend.floats(dWeights)) == bits(dots))
    }
  }

  /// One job over all experts gives the products of each alone, whatever the sizes and however few or many rows an expert has.
  @Test(arguments: CPUBackend.instructionSets, [1, 2, 3])
  func productsOfExpertsEqualTheirDefinitionBitForBit(isa: String, threads: Int) throws {
    let backend = try CPUBackend(threads: threads, isa: isa)
    for (tokens, n, k, experts) in [
      (1, 16, 8, 7), (2, 200, 37, 7), (40, 33, 64, 5), (3, 600, 700, 9), (600, 40, 48, 4),
    ] {
      let plan = ExpertPlan(
        chosen: choices(tokens, of: experts, 2, unused: [2], seed: n), choices: 2, experts: experts,
        evenWithin: tokens == 40 ? [0, 7] : nil)
      let m = plan.rowCount
      let x = values(m * k, 1)
      let dy = values(m * n, 3)
      let w = (0..<experts).map { values(n * k, 10 + $0) }
      let transposed = w.map { w in (0..<k).flatMap { l in (0..<n).map { w[$0 * k + l] } } }
      func each(_ product: (Int, Range<Int>) -> [Float]) -> [Float] {
        plan.active.flatMap { product($0, plan.rows(of: $0)) }
      }
      for precision in [Precision.full, .bf16] {
        let definition = precision == .full ? naive : naivePairs
        let panels = (0..<experts).map { expert in
          plan.rows(of: expert).isEmpty ? nil : backend.pack([backend.upload(w[expert], [n, k])], for: precision)
        }
        let y = backend.empty([m, n], .f32)
        backend.matmulExperts(y, backend.upload(x, [m, k]), panels, plan)
        #expect(
          bits(backend.floats(y))
            == bits(each { definition(Array(x[$1.lowerBound * k..<$1.upperBound * k]), w[$0], $1.count, n, k) }),
          "\(precision) \(tokens) \(n) \(k)")
        let dx = backend.empty([m, k], .f32)
        backend.matmulExpertsTurned(dx, backend.upload(dy, [m, n]), panels, plan)
        #expect(
          bits(backend.floats(dx))
            == bits(
              each { definition(Array(dy[$1.lowerBound * n..<$1.upperBound * n]), transposed[$0], $1.count, k, n) }),
          "\(precision) dx \(tokens) \(n) \(k)")
      }
    }
  }

  /// bf16 gradients of expert weights, one tree at a time or all at once.
  @Test func expertGradientsDoNotDependOnTreeBorders() throws {
    let backend = try CPUBackend(threads: 2)
    let chosen = choices(23, of: 5, 2, unused: [2], seed: 6)
    let trees = [0, 3, 4, 15, 23]
    let x = values(23 * 20, 1)
    let seeds = values(23 * 12, 2)
    func gradients(_ cuts: [Range<Int>]) -> [[UInt32]] {
      let weights = (0..<5).map {
        Parameter(
          name: "w\($0)", value: backend.upload(values(12 * 20, 10 + $0), [12, 20]), precision: .bf16, trainable: true,
          backend: backend)
      }
      for cut in cuts {
        let tokens = trees[cut.lowerBound]..<trees[cut.upperBound]
        let tape = Tape(backend, recording: true)
        let plan = ExpertPlan(
          chosen: Array(chosen[2 * tokens.lowerBound..<2 * tokens.upperBound]), choices: 2, experts: 5,
          evenWithin: trees[cut].map { $0 - tokens.lowerBound })
        let own = backend.upload(Array(x[20 * tokens.lowerBound..<20 * tokens.upperBound]), [tokens.count, 20])
        let ones = backend.upload([Float](repeating: 1, count: 2 * tokens.count), [tokens.count, 2])
        let y = tape.combineExperts(
          tape.expertLinear(tape.expertRows(own, plan), weights.map { WeightGroup([$0]) }, plan), ones, plan)
        let seed = Array(seeds[12 * tokens.lowerBound..<12 * tokens.upperBound])
        tape.backward(from: y, seed: backend.upload(seed, y.shape))
      }
      return weights.map { bits(backend.floats($0.gradient!)) }
    }
    let whole = gradients([0..<4])
    #expect(whole[0].contains { $0 != 0 })
    #expect(gradients([0..<1, 1..<2, 2..<3, 3..<4]) == whole)
    #expect(gradients([0..<3, 3..<4]) == whole)
  }
}
