/// 256 numbers that a byte can stand for: dynamic tree quantization (2110.02861, section 2.2).
///
/// Decades from 10^-6 to 1 hold ever more values: decade i (0 ... 6) has 2^i of each sign in the signed code and 2^(i+1) in the
/// unsigned one, the middles of equal parts of [0.1, 1] times 10^(i-6); 0 and 1 are added. Value j of n in decade i is
/// (0.1 + 0.9 (j + 1/2) / n) / 10^(6-i).
public struct DynamicCode: Sendable {
  /// In ascending order.
  public let values: [Float]
  /// Between neighbouring values, 255 of them: a number has the code that as many borders as its byte are at or below. They
  /// are the middles; in the unsigned code the lowest is the least normal number, so that a second moment above 0 never
  /// becomes 0 and no quotient by its root explodes (a departure from the paper).
  public let borders: [Float]

  /// For first moments, scaled to [-1, 1]; 0 has code 127.
  public static let signed = DynamicCode(signed: true)
  /// For second moments, scaled to [0, 1]; 0 has code 0.
  public static let unsigned = DynamicCode(signed: false)

  private init(signed: Bool) {
    var values: [Double] = [0, 1]
    var power = 1.0
    for decade in (0...6).reversed() {
      let count = 1 << (signed ? decade : decade + 1)
      for j in 0..<count {
        let value = (0.1 + 0.9 * (Double(j) + 0.5) / Double(count)) / power
        values.append(value)
        if signed { values.append(-value) }
      }
      power *= 10
    }
    values.sort()
    self.values = values.map { Float($0) }
    var borders = zip(values, values.dropFirst()).map { Float(($0 + $1) / 2) }
    if !signed { borders[0] = .leastNormalMagnitude }
    self.borders = borders
  }

  /// Values, then borders: what the kernel reads.
  var table: [Float] { values + borders }
}
