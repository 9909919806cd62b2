import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

@Suite struct ScheduleTests {
  /// Learning rates of the Transformers library's `get_scheduler`, three steps past the end included.
  @Test func goldenRates() throws {
    let cases = try #require(Fixtures.json("objectives/lr_schedule.json")["cases"]?.array)
    #expect(cases.count == 10)
    for item in cases {
      let id = try #require(item["id"]?.string)
      let config = try #require(item["config"])
      let more = config["scheduler_kwargs"]
      let name = try #require(config["lr_scheduler_type"]?.string)
      let schedule = LearningRateSchedule(
        try #require(LearningRateSchedule.Shape(rawValue: name)), base: try #require(config["lr"]?.double),
        steps: try #require(config["total_steps"]?.int), warmupSteps: try #require(config["warmup_steps"]?.int),
        cycles: more?["num_cycles"]?.double, power: more?["power"]?.double ?? 1, end: more?["lr_end"]?.double ?? 1e-7,
        minimum: more?["min_lr_rate"]?.double ?? more?["min_lr_ratio"]?.double ?? 0,
        decaySteps: more?["num_decay_steps"]?.int ?? 0)
      let expected = try #require(item["outputs"]?["values"]?["lr_at_step"]?["data"]?.array).compactMap(\.double)
      expectClose(expected.indices.map { schedule.learningRate(at: $0) }, expected, relative: 1e-9, id)
    }
  }

  @Test func fractionsOfTheStepsAreRoundedUp() {
    #expect(LearningRateSchedule.wholeSteps(0, of: 10) == 0)
    #expect(LearningRateSchedule.wholeSteps(0.01, of: 10) == 1)
    #expect(LearningRateSchedule.wholeSteps(0.25, of: 10) == 3)
    #expect(LearningRateSchedule.wholeSteps(1, of: 10) == 1)
    #expect(LearningRateSchedule.wholeSteps(20, of: 10) == 20)
    #expect(LearningRateSchedule.wholeSteps(1e300, of: 10) == .max)
    #expect(LearningRateSchedule.wholeSteps(.nan, of: 10) == 0)
  }

  @Test(arguments: LearningRateSchedule.Shape.allCases)
  func everyShapeStaysBetweenZeroAndTheBase(shape: LearningRateSchedule.Shape) {
    for (steps, warmup, decay) in [(0, 0, 0), (1, 0, 1), (1, 1, 1), (10, 3, 4), (10, 20, 30), (7, 7, 7)] {
      let schedule = LearningRateSchedule(shape, base: 0.5, steps: steps, warmupSteps: warmup, decaySteps: decay)
      for step in 0..<(steps + 40) {
        let rate = schedule.learningRate(at: step)
        #expect(rate >= 0 && rate <= 0.5, "\(shape) of \(steps) steps, warm-up \(warmup): \(rate) at \(step)")
      }
    }
  }

  /// warmup_stable_decay by hand: 4 of 8 steps fall; at the second falling step a quarter of the way is gone.
  @Test func decayCurves() {
    let at = { (decay: LearningRateSchedule.Decay) in
      LearningRateSchedule(.warmupStableDecay, base: 1, steps: 8, minimum: 0.2, decaySteps: 4, decay: decay)
        .learningRate(at: 5)
    }
    expectClose([at(.linear)], [0.75 * 0.8 + 0.2], relative: 1e-15)
    expectClose([at(.cosine)], [0.5 * (1 + 0.5.squareRoot()) * 0.8 + 0.2], relative: 1e-15)
    expectClose([at(.oneMinusSqrt)], [0.5 * 0.8 + 0.2], relative: 1e-15)
  }

  @Test func cosineIsAccurate() {
    #expect(ScheduleMath.cos(0) == 1)
    #expect(ScheduleMath.cos(.pi) == -1)
    // cos(π/2) of the double nearest π/2, to 17 digits.
    expectClose([ScheduleMath.cos(.pi / 2)], [6.123233995736766e-17], relative: 1e-15)
    expectClose([ScheduleMath.cos(1e6)], [0.93675212753314474], relative: 1e-15)
    var random = Randomness(seed: 3, for: .testing).stream()
    for _ in 0..<20_000 {
      let x = random.uniform(-100, 100)
      #expect(abs(ScheduleMath.cos(x) - Foundation.cos(x)) <= 2.3e-16, "cos(\(x))")
    }
    #expect(ScheduleMath.cos(.infinity).isNaN)
  }

  @Test func powersAreAccurate() {
    #expect(ScheduleMath.power(0.3, 1) == 0.3)
    #expect(ScheduleMath.power(0.3, 2) == 0.3 * 0.3)
    #expect(ScheduleMath.power(0.25, 0.5) == 0.5)
    #expect(ScheduleMath.power(0, 3) == 0)
    #expect(ScheduleMath.power(0, 0) == 1)
    #expect(ScheduleMath.power(-1, 2).isNaN)
    var random = Randomness(seed: 4, for: .testing).stream()
    for _ in 0..<2_000 {
      let (x, y) = (random.uniform(), random.uniform(0, 5))
      expectClose([ScheduleMath.power(x, y)], [Foundation.pow(x, y)], relative: 5e-15, "\(x) to the \(y)")
    }
  }
}
