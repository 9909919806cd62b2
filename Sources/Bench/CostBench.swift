import AttuneTensor
import Core
import Models
import Rollout

/// What a longer completion, a larger group and a longer prompt cost, beside the operations they need.
public struct CostBench {
  /// One measured size.
  public struct Point: Sendable {
    public let size: Int
    public let seconds: Double
    public let gigaflops: Double
  }

  /// How time grows along one axis.
  public struct Line: Sendable {
    public let axis: String
    public let points: [Point]

    /// Slope of the straight line through the values (least squares), over their mean.
    private func slope(_ value: (Point) -> Double) -> Double {
      let n = Double(points.count)
      let mx = points.reduce(0) { $0 + Double($1.size) } / n
      let my = points.reduce(0) { $0 + value($1) } / n
      let sxy = points.reduce(0) { $0 + (Double($1.size) - mx) * (value($1) - my) }
      let sxx = points.reduce(0) { $0 + (Double($1.size) - mx) * (Double($1.size) - mx) }
      return sxy / sxx / my
    }

    /// Growth of the time over growth of the operations: 1 where each operation costs the same everywhere.
    public var slopeRatio: Double { slope(\.seconds) / slope(\.gigaflops) }

    public var json: JSON {
      [
        "axis": .string(axis), "slope_ratio": .double(slopeRatio),
        "points": .array(
          points.map { ["size": .int($0.size), "seconds": .double($0.seconds), "gflop": .double($0.gigaflops)] }),
      ]
    }
  }

  /// 8 prompts of 128 tokens with 8 completions of 128, one of the three varied.
  public static func run(_ bench: BenchModel, repeats: Int) throws -> [Line] {
    func line(_ axis: String, _ sizes: [Int], _ workload: (Int) -> RolloutBench.Workload) throws -> Line {
      Line(
        axis: axis,
        points: try sizes.map { size in
          let (seconds, flops) = try RolloutBench.time(bench, workload(size), repeats: repeats)
          return Point(size: size, seconds: seconds, gigaflops: flops / 1e9)
        })
    }
    return [
      try line("new tokens", [32, 64, 96, 128, 160, 192, 224, 256]) {
        .init(prompts: 8, completions: 8, promptTokens: 128, newTokens: $0)
      },
      try line("completions of a prompt", [4, 8, 12, 16, 20, 24, 28, 32]) {
        .init(prompts: 8, completions: $0, promptTokens: 128, newTokens: 64)
      },
      try line("prompt tokens", [64, 128, 256, 384, 512, 640, 768, 1024]) {
        .init(prompts: 8, completions: 8, promptTokens: $0, newTokens: 32)
      },
    ]
  }
}
