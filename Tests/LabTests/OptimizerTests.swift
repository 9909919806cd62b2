import AttuneTensor
import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

/// Every optimizer against torch's numbers or a plain reference in f64, and what is kept of it in checkpoints.
@Suite struct OptimizerTests {
  private static let backend = try! CPUBackend(threads: 2)
  private var backend: CPUBackend { Self.backend }

  /// An embedding, matrices both taller and wider than square, one of more than 4096 elements, and a vector.
  private static let shapes: [(name: String, shape: [Int])] = [
    ("model.embed_tokens.weight", [50, 24]), ("model.layers.0.mlp.up_proj.weight", [40, 24]),
    ("model.layers.0.mlp.down_proj.weight", [24, 40]), ("model.layers.0.self_attn.qkv.weight", [70, 64]),
    ("model.norm.weight", [24]),
  ]

  /// Each kind, with sizes that fit the shapes.
  private static let methods: [OptimizerMethod] = {
    var galore = OptimizerMethod.GaLore()
    galore.rank = 6
    galore.gap = 2
    return OptimizerMethod.Kind.allCases.map { $0 == .galore ? .galore(galore) : OptimizerMethod($0) }
  }()

  private func values(_ count: Int, _ seed: Int) -> [Double] {
    var random = Randomness(seed: 5, for: .testing).stream(seed, count)
    return (0..<count).map { _ in Double(Float(random.normal())) }
  }

  private func parameter(_ name: String, _ shape: [Int], _ values: [Double], _ dtype: DType, _ backend: CPUBackend)
    -> Parameter
  {
    Parameter(
      name: name, value: backend.upload(values, shape, as: dtype), precision: .full, trainable: true, backend: backend)
  }

  private func parameters(on backend: CPUBackend, _ dtype: DType = .f32) -> [Parameter] {
    Self.shapes.enumerated().map { i, item in
      parameter(item.name, item.shape, values(item.shape.reduce(1, *), i), dtype, backend)
    }
  }

  /// Fills the gradients of a step, the same for every run.
  private func fill(_ parameters: [Parameter], _ step: Int, on backend: CPUBackend) {
    for (i, parameter) in parameters.enumerated() {
      let gradient = values(parameter.value.count, 100 + 10 * step + i)
      backend.addScaled(
        parameter.gradient!, backend.upload(gradient, parameter.shape, as: parameter.value.dtype), 0.1)
    }
  }

  private func run(_ optimizer: Optimizer, _ steps: ClosedRange<Int>, on backend: CPUBackend) throws {
    for step in steps {
      fill(optimizer.parameters, step, on: backend)
      _ = try optimizer.update(AdamWStep(learningRate: 0.01, weightDecay: 0.1, step: 0), maxNorm: 1)
    }
  }

  private func bits(_ parameters: [Parameter], on backend: CPUBackend) -> [[UInt32]] {
    parameters.map { backend.floats($0.value).map(\.bitPattern) }
  }

  // MARK: Numbers

  private func numbers(_ json: JSON?) -> [Double] { (json?.array ?? []).compactMap(\.double) }

  /// `Tests/Fixtures/objectives/optimizers.py`: SGD and Muon of torch in f64.
  @Test func torchTakesTheSameSteps() throws {
    let cases = try #require(try Fixtures.json("objectives/optimizers.json")["cases"]?.array)
    #expect(cases.count == 7)
    for item in cases {
      let id = try #require(item["id"]?.string)
      let options = try #require(item["options"])
      let method = method(try #require(item["kind"]?.string), options)
      let shape = numbers(item["shape"]).map { Int($0) }
      for dtype in [DType.f64, .f32] {
        let only = parameter("model.layers.0.mlp.up_proj.weight", shape, numbers(item["start"]), dtype, backend)
        let optimizer = Optimizer([only], method, on: backend)
        let rate = try #require(options["lr"]?.double)
        // torch's Muon decays by 0.1 unless told otherwise, SGD not at all.
        let decay = options["weight_decay"]?.double ?? (method.kind == .muon ? 0.1 : 0)
        let steps = zip(item["gradients"]?.array ?? [], item["after"]?.array ?? [])
        for (number, (gradient, after)) in steps.enumerated() {
          backend.addScaled(only.gradient!, backend.upload(numbers(gradient), shape, as: dtype), 1)
          _ = try optimizer.update(AdamWStep(learningRate: rate, weightDecay: decay, step: 0), maxNorm: 0)
          expectClose(
            backend.doubles(only.value), numbers(after), absolute: dtype == .f64 ? 1e-12 : 2e-6,
            "\(id), step \(number), \(dtype)")
        }
      }
    }
  }

  private func method(_ kind: String, _ options: JSON) -> OptimizerMethod {
    if kind == "sgd" {
      var sgd = OptimizerMethod.SGD()
      sgd.momentum = options["momentum"]?.double ?? 0
      sgd.nesterov = options["nesterov"]?.bool ?? false
      return .sgd(sgd)
    }
    var muon = OptimizerMethod.Muon()
    muon.momentum = options["momentum"]?.double ?? muon.momentum
    muon.nesterov = options["nesterov"]?.bool ?? true
    muon.steps = options["ns_steps"]?.int ?? muon.steps
    muon.scale = OptimizerMethod.Muon.Scale(rawValue: options["adjust_lr_fn"]?.string ?? "original")!
    return .muon(muon)
  }

  @Test(arguments: [[24, 40], [40, 24], [24, 24]]) func galoreEqualsItsReference(shape: [Int]) throws {
    var settings = OptimizerMethod.GaLore()
    settings.rank = 5
    settings.gap = 3
    let name = "model.layers.0.mlp.up_proj.weight"
    var reference = ReferenceGaLore(settings, seed: 9, name: name, Matrix(shape[0], shape[1], values(960, 1)))
    for dtype in [DType.f64, .f32] {
      reference.restart()
      let only = parameter(name, shape, reference.value.elements, dtype, backend)
      let optimizer = Optimizer([only], .galore(settings), seed: 9, on: backend)
      for step in 1...7 {
        let gradient = Matrix(shape[0], shape[1], values(960, 50 + step))
        backend.addScaled(only.gradient!, backend.upload(gradient.elements, shape, as: dtype), 1)
        _ = try optimizer.update(AdamWStep(learningRate: 0.01, weightDecay: 0.1, step: 0), maxNorm: 0)
        reference.update(gradient, learningRate: 0.01, weightDecay: 0.1)
        expectClose(
          backend.doubles(only.value), reference.value.elements, absolute: dtype == .f64 ? 1e-9 : 1e-4,
          "\(shape), step \(step), \(dtype)")
      }
    }
  }

  /// A gradient with four large singular values and noise: the basis has nearly all that any subspace of four could hold.
  @Test func galoreFindsTheLeadingSubspace() throws {
    let left = Matrix(60, 4, values(240, 1))
    let right = Matrix(4, 32, values(128, 2))
    var gradient = left.times(right)
    let noise = values(gradient.elements.count, 3)
    for i in noise.indices { gradient.elements[i] += 0.01 * noise[i] }
    var settings = OptimizerMethod.GaLore()
    settings.rank = 4
    let only = parameter("model.layers.0.a.weight", [60, 32], values(1920, 4), .f32, backend)
    let optimizer = Optimizer([only], .galore(settings), on: backend)
    backend.addScaled(only.gradient!, backend.upload(gradient.elements, [60, 32], as: .f32), 1)
    _ = try optimizer.update(AdamWStep(learningRate: 0.01, step: 0), maxNorm: 0)
    let saved = try #require(optimizer.state.first { $0.name == "basis.model.layers.0.a.weight" })
    let basis = Matrix(4, 32, backend.doubles(saved.tensor))
    let kept = gradient.times(basis.transposed).elements.reduce(0) { $0 + $1 * $1 }
    let all = gradient.elements.reduce(0) { $0 + $1 * $1 }
    // The noise has 1920 · 10^-4 of energy, of which 4 of 32 dimensions are inside.
    #expect(all - kept < 0.2 && all - kept > 0)
  }

  /// Where the gradient has fewer directions than the subspace, the others stay empty: AdamW makes no step of rounding.
  @Test func galoreTakesNoStepAlongRounding() throws {
    let gradient = Matrix(30, 1, values(30, 1)).times(Matrix(1, 20, values(20, 2)))
    var settings = OptimizerMethod.GaLore()
    settings.rank = 4
    let only = parameter("model.layers.0.a.weight", [30, 20], [Double](repeating: 0, count: 600), .f32, backend)
    let optimizer = Optimizer([only], .galore(settings), on: backend)
    backend.addScaled(only.gradient!, backend.upload(gradient.elements, [30, 20], as: .f32), 1)
    _ = try optimizer.update(AdamWStep(learningRate: 1, step: 0), maxNorm: 0)
    let basis = backend.doubles(try #require(optimizer.state.last?.tensor))
    #expect(basis.count == 80 && basis[20...].allSatisfy { $0 == 0 } && basis[..<20].contains { $0 != 0 })
    // One step of AdamW's first is a sign: rank one.
    let moved = Matrix(30, 20, backend.doubles(only.value))
    let size = moved.elements.reduce(0) { $0 + $1 * $1 }.squareRoot()
    expectClose([size], [0.25 * 30.0.squareRoot()], relative: 1e-5)
  }

  /// Quantized moments lead to nearly the same place as f32 moments.
  @Test func adamWInEightBitsStaysNearAdamW() throws {
    let name = "model.layers.0.mlp.up_proj.weight"
    let start = values(8192, 1)
    var ends: [[Double]] = []
    for method in [OptimizerMethod.adamW, .adamW8Bit] {
      let only = parameter(name, [64, 128], start, .f32, backend)
      let optimizer = Optimizer([only], method, on: backend)
      let drift = values(8192, 2)
      for step in 0..<100 {
        // Gradients with a mean of their own, and magnitudes over three decades from block to block.
        let noise = values(8192, 10 + step)
        let gradient = drift.indices.map { (drift[$0] + noise[$0]) * [1, 0.1, 0.01, 0.001][$0 / 256 % 4] }
        backend.addScaled(only.gradient!, backend.upload(gradient, [64, 128], as: .f32), 1)
        _ = try optimizer.update(AdamWStep(learningRate: 0.01, step: 0), maxNorm: 0)
      }
      ends.append(zip(backend.doubles(only.value), start).map { $0 - $1 })
    }
    func size(_ x: [Double]) -> Double { x.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let apart = size(zip(ends[0], ends[1]).map { $0 - $1 }) / size(ends[0])
    #expect(apart < 0.05 && apart > 0, "\(apart) of the way")
  }

  @Test func muonLeavesTheOuterParametersToAdamW() throws {
    var settings = OptimizerMethod.Muon()
    settings.adamWRateRatio = 0.5
    let names = [
      "model.embed_tokens.weight", "lm_head.weight", "model.visual.patch_embed.proj.weight",
      "model.visual.pos_embed.weight", "score.weight", "model.norm.weight", "model.layers.0.mlp.up_proj.weight",
      "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
    ]
    let all = names.map {
      parameter(
        $0, $0.contains("norm") ? [4] : [2, 4], [Double](repeating: 0, count: $0.contains("norm") ? 4 : 8), .f32,
        backend)
    }
    for one in all {
      backend.addScaled(one.gradient!, backend.upload(values(one.value.count, 1), one.shape, as: .f32), 1)
    }
    let optimizer = Optimizer(all, .muon(settings), on: backend)
    _ = try optimizer.update(AdamWStep(learningRate: 0.1, step: 0), maxNorm: 0)
    for one in all {
      // AdamW's first step moves every element by the rate.
      let isSign = backend.doubles(one.value).allSatisfy { abs(abs($0) - 0.05) < 1e-5 }
      #expect(isSign == !one.name.contains("layers"), "\(one.name)")
    }
  }

  // MARK: Determinism and state

  @Test(arguments: methods) func bitsDependOnNeitherThreadsNorInstructions(method: OptimizerMethod) throws {
    var reference: [[UInt32]]?
    for isa in CPUBackend.instructionSets {
      for threads in [1, 3] {
        let backend = try CPUBackend(threads: threads, isa: isa)
        let all = parameters(on: backend)
        try run(Optimizer(all, method, seed: 3, on: backend), 1...3, on: backend)
        let found = bits(all, on: backend)
        if let reference { #expect(found == reference, "\(method.kind), \(isa), \(threads) threads") }
        reference = reference ?? found
      }
    }
  }

  private func save(_ optimizer: Optimizer) throws -> SafeTensors {
    let path = try Program.temporaryFolder() + "/optimizer.safetensors"
    try SafeTensors.write(optimizer.state, metadata: optimizer.metadata, to: path, from: backend)
    return try SafeTensors(path)
  }

  @Test(arguments: methods) func aResumedRunEndsWithTheSameBits(method: OptimizerMethod) throws {
    let whole = parameters(on: backend)
    try run(Optimizer(whole, method, seed: 3, on: backend), 1...5, on: backend)
    let cut = parameters(on: backend)
    let first = Optimizer(cut, method, seed: 3, on: backend)
    try run(first, 1...3, on: backend)
    let second = Optimizer(cut, method, seed: 3, on: backend)
    try second.restore(save(first), step: first.step)
    try run(second, 4...5, on: backend)
    #expect(bits(cut, on: backend) == bits(whole, on: backend))
    #expect(second.step == 5)
  }

  @Test func stateOfAnotherOptimizerIsRefused() throws {
    let optimizers = Self.methods.map { Optimizer(parameters(on: backend), $0, on: backend) }
    let saved = try optimizers.map { try save($0) }
    for (i, optimizer) in optimizers.enumerated() {
      for j in saved.indices where j != i {
        let (own, other) = (optimizer.method.kind.rawValue, optimizers[j].method.kind.rawValue)
        expectAttuneError(
          containing: "holds the state of the optimizer \(other), this stage's is \(own)",
          "set optimizer.kind to \(other)", "optimizer.safetensors"
        ) { try optimizer.restore(saved[j], step: 1) }
      }
    }
    var galore = OptimizerMethod.GaLore()
    galore.rank = 7
    expectAttuneError(containing: "is F32 of shape [6, 40], F32 of shape [7, 40] was expected") {
      try Optimizer(parameters(on: backend), .galore(galore), on: backend).restore(saved[4], step: 1)
    }
    var still = OptimizerMethod.SGD()
    still.momentum = 0
    expectAttuneError(containing: "tensor momentum.", "belongs to no parameter that this stage trains with sgd") {
      try Optimizer(parameters(on: backend), .sgd(still), on: backend).restore(saved[2], step: 1)
    }
    expectAttuneError(containing: "tensor momentum.model.embed_tokens.weight is missing") {
      let none = Optimizer(parameters(on: backend), .sgd(still), on: backend)
      try optimizers[2].restore(save(none), step: 1)
    }
  }

  // MARK: Memory

  @Test(arguments: methods) func memoryIsKnownBeforehand(method: OptimizerMethod) throws {
    let all = parameters(on: backend)
    let optimizer = Optimizer(all, method, on: backend)
    let bytes = method.stateBytes(for: Self.shapes)
    #expect(optimizer.stateBytes == bytes)
    #expect(optimizer.state.reduce(0) { $0 + $1.tensor.count * $1.tensor.dtype.size } == bytes)
  }

  @Test func memoryByKind() {
    let matrix = [(name: "model.layers.0.mlp.up_proj.weight", shape: [2048, 1024])]
    let count = 2048 * 1024
    func bytes(_ kind: OptimizerMethod.Kind) -> Int { OptimizerMethod(kind).stateBytes(for: matrix) }
    #expect(bytes(.adamW) == 8 * count)
    #expect(bytes(.adamW8Bit) == 2 * count + 2 * 4 * count / 256)
    #expect(bytes(.sgd) == 4 * count && bytes(.muon) == 4 * count)
    #expect(bytes(.galore) == 4 * 128 * (2 * 2048 + 1024))
    var still = OptimizerMethod.SGD()
    still.momentum = 0
    #expect(OptimizerMethod.sgd(still).stateBytes(for: matrix) == 0)
    // What is small or outside the layers is AdamW's.
    #expect(OptimizerMethod.adamW8Bit.stateBytes(for: [("model.norm.weight", [4095])]) == 8 * 4095)
    for kind in [OptimizerMethod.Kind.muon, .galore] {
      #expect(OptimizerMethod(kind).stateBytes(for: [("lm_head.weight", [500, 200])]) == 8 * 100_000)
    }
    #expect(OptimizerMethod(.galore).stateBytes(for: [("model.layers.0.a.weight", [500, 128])]) == 8 * 64_000)
  }
}
