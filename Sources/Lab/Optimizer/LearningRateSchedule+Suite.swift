import Core
import Objectives

extension LearningRateSchedule {
  /// The rates that a suite's configuration asks for (transformers' names), for `attune objective eval`.
  public static let suite: ObjectiveSuite.LearningRates = { config, count in
    let more = config["scheduler_kwargs"]
    let name = config["lr_scheduler_type"]?.string ?? "constant"
    guard let shape = Shape(rawValue: name) else {
      throw AttuneError.request(
        "there is no learning-rate schedule '\(name)'",
        hint: nearestName(to: name, among: Shape.allCases.map(\.rawValue)).map { "did you mean '\($0)'?" })
    }
    let decayName = more?["decay_type"]?.string ?? "linear"
    guard let decay = Decay(rawValue: decayName) else {
      throw AttuneError.request("there is no decay '\(decayName)'")
    }
    guard let base = config["lr"]?.double else { throw AttuneError.request("lr is missing") }
    let steps = config["total_steps"]?.int ?? count
    guard steps >= 0, config["warmup_steps"]?.int ?? 0 >= 0, more?["num_decay_steps"]?.int ?? 0 >= 0 else {
      throw AttuneError.request("a number of steps is negative")
    }
    let schedule = LearningRateSchedule(
      shape, base: base, steps: steps, warmupSteps: config["warmup_steps"]?.int ?? 0,
      cycles: more?["num_cycles"]?.double,
      power: more?["power"]?.double ?? 1, end: more?["lr_end"]?.double ?? 1e-7,
      minimum: more?["min_lr_rate"]?.double ?? more?["min_lr_ratio"]?.double ?? 0,
      decaySteps: more?["num_decay_steps"]?.int ?? 0, decay: decay, timescale: more?["timescale"]?.double)
    return (0..<count).map { schedule.learningRate(at: $0) }
  }
}
