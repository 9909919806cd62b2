import AttuneTensor

/// A token's place on the three axes of multi-axis rotary embedding; text has the same number on all of them.
public struct TokenPosition: Sendable, Equatable {
  public var time: Int32
  public var height: Int32
  public var width: Int32

  public init(time: Int32, height: Int32, width: Int32) {
    self.time = time
    self.height = height
    self.width = width
  }

  /// A text token at `position`.
  public init(_ position: Int) {
    self.init(time: Int32(position), height: Int32(position), width: Int32(position))
  }
}

/// Cosines and sines by position and frequency, computed once and looked up per token.
///
/// As the reference: frequencies and angles are rounded to f32, so that long contexts see the angles that the checkpoints
/// were trained with. Not for use by two threads at once.
final class RotaryTable {
  private let frequencies: [Float]
  /// Axis of each frequency: 0 time, 1 height, 2 width.
  private let axes: [Int]
  private let magnitude: Double
  private var cosines: [Float] = []
  private var sines: [Float] = []
  private var positions = 0

  init(_ configuration: RopeConfiguration, size: Int) {
    let half = size / 2
    let logTheta = PortableMath.log(configuration.theta)
    let plain = (0..<half).map { PortableMath.exp(-logTheta * Double(2 * $0) / Double(size)) }
    switch configuration.scaling {
    case .none:
      frequencies = plain.map(Float.init)
      magnitude = 1
    case .linear(let factor):
      frequencies = plain.map { Float($0 / factor) }
      magnitude = 1
    case .llama3(let factor, let lowFrequency, let highFrequency, let original):
      frequencies = plain.map { f in
        let wavelengths = original * f / (2 * Double.pi)
        let ramp = min(max((wavelengths - lowFrequency) / (highFrequency - lowFrequency), 0), 1)
        return Float(f / factor * (1 - ramp) + f * ramp)
      }
      magnitude = 1
    case .yarn(let yarn):
      // Equations 18 and 23 of the paper: low frequencies are interpolated, high ones kept, a ramp between.
      func dimension(_ rotations: Double) -> Double {
        Double(size) * PortableMath.log(yarn.original / (rotations * 2 * Double.pi)) / (2 * logTheta)
      }
      var low = dimension(yarn.betaFast)
      var high = dimension(yarn.betaSlow)
      if yarn.truncate {
        low = low.rounded(.down)
        high = high.rounded(.up)
      }
      low = max(low, 0)
      high = min(high, Double(size - 1))
      if low == high { high += 0.001 }
      frequencies = plain.enumerated().map { j, f in
        let ramp = min(max((Double(j) - low) / (high - low), 0), 1)
        return Float(f / yarn.factor * ramp + f * (1 - ramp))
      }
      magnitude = yarn.magnitude
    }
    // Interleaved sections: height takes frequencies 1, 4, 7, ... and width 2, 5, 8, ..., each as many as its section says.
    var axes = [Int](repeating: 0, count: half)
    if configuration.sections.count == 3 {
      for axis in 1...2 {
        for j in stride(from: axis, to: min(3 * configuration.sections[axis], half), by: 3) { axes[j] = axis }
      }
    }
    self.axes = axes
  }

  private func grow(to count: Int) {
    guard count > positions else { return }
    let wanted = max(count, 2 * positions, 256)
    for position in positions..<wanted {
      for f in frequencies {
        let (s, c) = PortableMath.sineAndCosine(Double(Float(position) * f))
        cosines.append(Float(c * magnitude))
        sines.append(Float(s * magnitude))
      }
    }
    positions = wanted
  }

  /// The angles of every token, each `[tokens, size/2]`.
  func angles(_ tokens: [TokenPosition], on backend: any Backend) -> RotaryAngles {
    let half = frequencies.count
    grow(to: 1 + tokens.reduce(0) { max($0, Int(max($1.time, $1.height, $1.width))) })
    var c = [Float](repeating: 0, count: tokens.count * half)
    var s = c
    for (t, token) in tokens.enumerated() {
      let rows = (Int(token.time) * half, Int(token.height) * half, Int(token.width) * half)
      for j in 0..<half {
        let row = axes[j] == 0 ? rows.0 : axes[j] == 1 ? rows.1 : rows.2
        c[t * half + j] = cosines[row + j]
        s[t * half + j] = sines[row + j]
      }
    }
    return RotaryAngles(
      cosine: backend.upload(c, [tokens.count, half]), sine: backend.upload(s, [tokens.count, half]))
  }
}
