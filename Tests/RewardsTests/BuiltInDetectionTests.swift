import Core
import TestSupport
import Testing

@testable import Rewards

/// What the model's coordinates measure.
@Suite struct BuiltInDetectionTests {
  private static func sample(
    _ box: [Double], modelWidth: Int = 0, modelHeight: Int = 0, range: Double = 0
  ) -> RewardSample {
    let numbers = JSON.array(box.map(JSON.double))
    var sample = RewardSample(
      prompt: "p", completion: JSON.array([.object([("bbox_2d", numbers), ("label", "cat")])]).text())
    sample.reference = #"[{"bbox_2d": [20, 10, 100, 40], "label": "cat"}]"#
    var image = RewardImage(Picture(width: 200, height: 50, pixels: [UInt8](repeating: 0, count: 200 * 50 * 3)))
    image.modelWidth = modelWidth
    image.modelHeight = modelHeight
    image.coordinateRange = range
    sample.images = [image]
    return sample
  }

  private static func outcome(_ sample: RewardSample, _ coordinates: String) throws -> RewardOutcome {
    let reward = try Workshop.load(
      "detection", parameters: JSON.Object([("coordinates", .string(coordinates))]), isolation: .worker)
    defer { reward.close() }
    return try reward.score([sample], context: RewardContext())[0]
  }

  @Test func pixelsOfTheModelsResize() throws {
    // The picture of 200 × 50 was shown as 100 × 100.
    let sample = Self.sample([10, 20, 50, 80], modelWidth: 100, modelHeight: 100)
    #expect(try Self.outcome(sample, "model").score == 1)
    #expect(try Self.outcome(sample, "picture").score == 0)
  }

  @Test func thousandthsOfASide() throws {
    let sample = Self.sample([100, 200, 500, 800], modelWidth: 100, modelHeight: 100, range: 1000)
    #expect(try Self.outcome(sample, "model").score == 1)
  }

  @Test func sharesOfASide() throws {
    #expect(try Self.outcome(Self.sample([0.1, 0.2, 0.5, 0.8]), "normalized").score == 1)
  }

  @Test func aResizeThatIsNotKnown() throws {
    let outcome = try Self.outcome(Self.sample([10, 20, 50, 80]), "model")
    #expect(outcome.status == .invalid)
    #expect(outcome.log == "the size of the picture after the model's resize is not known")
  }
}
