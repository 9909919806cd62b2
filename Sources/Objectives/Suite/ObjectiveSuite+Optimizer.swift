import Core

/// Cases of the optimizer's side, by the plain arithmetic in `Reference/`.
extension ObjectiveSuite {
  static func optimizer(_ c: SuiteCase, learningRates: LearningRates?) throws -> SuiteOutputs {
    let names = c.inputNames.filter { $0.hasSuffix("_init") }.map { String($0.dropLast(5)) }
    guard let first = names.first else {
      throw AttuneError.request("an optimizer case needs a parameter '<name>_init' and its '<name>_grads'")
    }
    guard let steps = try c.tensor("\(first)_grads").shape.first else {
      throw AttuneError.request("'\(first)_grads' has no dimension for the steps")
    }
    let shapes = try names.map { try c.tensor("\($0)_init").shape }
    var parameters = try names.map { try c.tensor("\($0)_init").floats }
    let gradients = try zip(names, shapes).map { try c.tensor("\($0)_grads", shape: [steps] + $1).floats }
    let rates = try rates(c, count: steps, learningRates: learningRates)
    let maxNorm = try c.number("max_grad_norm") ?? 1
    let decay = try c.number("weight_decay") ?? 0
    let (beta1, beta2) = (try c.number("beta1") ?? 0.9, try c.number("beta2") ?? 0.999)
    let epsilon = try c.number("eps") ?? 1e-8
    // Weight decay spares biases and norms.
    var optimizers = zip(names, parameters).map { name, values in
      ReferenceAdamW(
        count: values.count, beta1: beta1, beta2: beta2, epsilon: epsilon,
        weightDecay: name.hasPrefix("bias") || name.hasPrefix("norm") ? 0 : decay)
    }
    var norms: [Double] = []
    var after = names.map { _ in [Float]() }
    for step in 0..<steps {
      var now = zip(gradients, parameters).map { Array($0[step * $1.count..<(step + 1) * $1.count]) }
      norms.append(ReferenceGradientClipping.clip(&now, maxNorm: maxNorm))
      for i in names.indices {
        optimizers[i].update(&parameters[i], gradients: now[i], learningRate: rates[step])
        after[i] += parameters[i]
      }
    }
    var values: [(String, JSON)] = [
      ("lr", SuiteTensor(.f32, [steps], rates).json), ("grad_norm", SuiteTensor(.f32, [steps], norms).json),
    ]
    for (i, name) in names.enumerated() {
      values.append(("\(name)_after_step", SuiteTensor([steps] + shapes[i], after[i]).json))
      values.append(("\(name)_exp_avg", SuiteTensor(shapes[i], optimizers[i].firstMoment).json))
      values.append(("\(name)_exp_avg_sq", SuiteTensor(shapes[i], optimizers[i].secondMoment).json))
    }
    return SuiteOutputs(values: values)
  }

  static func gradientClipping(_ c: SuiteCase) throws -> SuiteOutputs {
    let names = c.inputNames.filter { $0.hasPrefix("grad_") }
    let tensors = try names.map { try c.tensor($0) }
    var gradients = tensors.map(\.floats)
    let norm = ReferenceGradientClipping.clip(&gradients, maxNorm: try c.number("max_grad_norm") ?? 1)
    var values: [(String, JSON)] = [("total_norm", SuiteTensor(.f32, [], [norm]).json)]
    for (i, name) in names.enumerated() {
      values.append(("clipped_\(name.dropFirst(5))", SuiteTensor(tensors[i].shape, gradients[i]).json))
    }
    return SuiteOutputs(loss: norm, values: values)
  }

  static func schedule(_ c: SuiteCase, learningRates: LearningRates?) throws -> SuiteOutputs {
    guard learningRates != nil else { throw unknownSchedule(try c.word("lr_scheduler_type") ?? "") }
    guard let total = try c.integer("total_steps"), (0...1_000_000).contains(total) else {
      throw AttuneError.request("config key 'total_steps' must be a whole number in 0 ... 1000000")
    }
    // Three more steps than planned: what a schedule does past its end counts too.
    let rates = try rates(c, count: total + 3, learningRates: learningRates)
    return SuiteOutputs(values: [("lr_at_step", SuiteTensor(.f64, [rates.count], rates).json)])
  }

  private static func rates(_ c: SuiteCase, count: Int, learningRates: LearningRates?) throws -> [Double] {
    if let learningRates {
      let rates = try learningRates(JSON(.object(c.configuration)), count)
      guard rates.count == count else {
        throw AttuneError.work("the schedule gave \(rates.count) learning rates for \(count) steps")
      }
      return rates
    }
    let schedule = try c.word("lr_scheduler_type") ?? "constant"
    guard schedule == "constant" else { throw unknownSchedule(schedule) }
    return [Double](repeating: try c.number("lr") ?? 1e-3, count: count)
  }

  private static func unknownSchedule(_ name: String) -> AttuneError {
    .request("the learning-rate schedule '\(name)' can't be computed here: no schedules were given")
  }
}
