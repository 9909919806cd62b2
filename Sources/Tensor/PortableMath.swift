import CKernels

/// exp, log, sine and cosine that give the same bits on every machine, for tables and schedules.
public enum PortableMath {
  /// e to the power x; relative error below 1e-15.
  public static func exp(_ x: Double) -> Double { atk_exp(x) }
  /// Natural logarithm; relative error below 1e-15.
  public static func log(_ x: Double) -> Double { atk_log(x) }
  /// base to the power exponent, for a positive base.
  public static func pow(_ base: Double, _ exponent: Double) -> Double { atk_exp(exponent * atk_log(base)) }
  /// Sine and cosine for |x| below 2^20 quarter turns; absolute error below 1e-15.
  public static func sineAndCosine(_ x: Double) -> (sine: Double, cosine: Double) {
    var s = 0.0
    var c = 0.0
    atk_sincos(x, &s, &c)
    return (s, c)
  }
}
