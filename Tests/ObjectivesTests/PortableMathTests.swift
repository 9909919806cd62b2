import Foundation
import Testing

@testable import Objectives

@Suite struct PortableMathTests {
  /// Largest error over `values` in units of the last place of the reference.
  static func worst(_ values: [Double], _ f: (Double) -> Double, _ reference: (Double) -> Double) -> Double {
    var worst = 0.0
    for x in values {
      let (a, b) = (f(x), reference(x))
      if a == b || a.isNaN && b.isNaN { continue }
      let error = abs(a - b) / b.ulp
      worst = error > worst || error.isNaN ? error : worst
    }
    return worst
  }

  /// `count` values from `low` to `high`, irregular in the low bits.
  static func sweep(_ low: Double, _ high: Double, _ count: Int = 40_001) -> [Double] {
    let step = (high - low) / Double(count)
    return (0..<count).map { (i: Int) -> Double in low + step * (Double(i) + 0.053 * Double(i % 7)) }
  }

  /// Positive values over the whole range of exponents.
  static let magnitudes: [Double] = {
    let step: UInt64 = 0x7FEF_FFFF_FFFF_FFFF / 40_000
    return (0..<40_000).map { (i: UInt64) -> Double in Double(bitPattern: 1 + i * step) }
  }()

  @Test func exponential() {
    #expect(Self.worst(Self.sweep(-745, 709.7), PortableMath.exp, Foundation.exp) <= 1)
    #expect(Self.worst(Self.sweep(-2, 2), PortableMath.exp, Foundation.exp) <= 1)
    #expect(PortableMath.exp(0) == 1)
    #expect(PortableMath.exp(-0.0) == 1)
    #expect(PortableMath.exp(1) == 2.718281828459045)
    #expect(PortableMath.exp(710) == .infinity)
    #expect(PortableMath.exp(.infinity) == .infinity)
    #expect(PortableMath.exp(-746) == 0)
    #expect(PortableMath.exp(-.infinity) == 0)
    #expect(PortableMath.exp(-745.13) == .leastNonzeroMagnitude)
    #expect(PortableMath.exp(.nan).isNaN)
  }

  @Test func logarithm() {
    #expect(Self.worst(Self.magnitudes, PortableMath.log, Foundation.log) <= 2)
    #expect(Self.worst(Self.sweep(0.5, 2), PortableMath.log, Foundation.log) <= 2)
    #expect(PortableMath.log(1) == 0)
    #expect(PortableMath.log(2) == 0.6931471805599453)
    #expect(PortableMath.log(10) == 2.302585092994046)
    #expect(PortableMath.log(0) == -.infinity)
    #expect(PortableMath.log(-1).isNaN)
    #expect(PortableMath.log(.infinity) == .infinity)
    #expect(PortableMath.log(.nan).isNaN)
    #expect(abs(PortableMath.log(.leastNonzeroMagnitude) + 744.4400719213812) < 1e-12)
  }

  @Test func nearZero() {
    let tiny = Self.magnitudes.filter { $0 < 1 }
    #expect(Self.worst(tiny, PortableMath.log1p, Foundation.log1p) <= 2)
    #expect(Self.worst(tiny.map { -$0 }, PortableMath.log1p, Foundation.log1p) <= 2)
    #expect(Self.worst(Self.sweep(-0.999, 5), PortableMath.log1p, Foundation.log1p) <= 3)
    #expect(Self.worst(Self.magnitudes.filter { $0 > 1 }, PortableMath.log1p, Foundation.log1p) <= 2)
    #expect(Self.worst(tiny, PortableMath.expm1, Foundation.expm1) <= 2)
    #expect(Self.worst(tiny.map { -$0 }, PortableMath.expm1, Foundation.expm1) <= 2)
    #expect(Self.worst(Self.sweep(-50, 709), PortableMath.expm1, Foundation.expm1) <= 3)
    #expect(Self.worst(Self.sweep(-1, 1), PortableMath.expm1, Foundation.expm1) <= 3)
    #expect(PortableMath.log1p(-1) == -.infinity)
    #expect(PortableMath.log1p(-1.5).isNaN)
    #expect(PortableMath.expm1(0) == 0)
    #expect(PortableMath.expm1(-.infinity) == -1)
    #expect(PortableMath.expm1(.infinity) == .infinity)
  }

  @Test func tanhAndSigmoid() {
    #expect(Self.worst(Self.sweep(-25, 25), PortableMath.tanh, Foundation.tanh) <= 4)
    #expect(PortableMath.tanh(.infinity) == 1)
    #expect(PortableMath.tanh(.nan).isNaN)
    #expect(PortableMath.sigmoid(0) == 0.5)
    #expect(PortableMath.sigmoid(-1000) == 0)
    #expect(PortableMath.sigmoid(.infinity) == 1)
    #expect(abs(PortableMath.sigmoid(-2) - 0.11920292202211755) < 1e-16)
  }

  @Test func clampKeepsNaN() {
    #expect(PortableMath.clamp(3, 0, 1) == 1)
    #expect(PortableMath.clamp(-3, 0, 1) == 0)
    #expect(PortableMath.clamp(.nan, 0, 1).isNaN)
  }

  @Test func logSigmoid() {
    let values = Self.sweep(-800, 800) + Self.sweep(-2, 2)
    #expect(
      Self.worst(values, PortableMath.logSigmoid) {
        $0 < 0 ? $0 - Foundation.log1p(Foundation.exp($0)) : -Foundation.log1p(Foundation.exp(-$0))
      } <= 3)
    #expect(PortableMath.logSigmoid(0) == -PortableMath.log(2))
    #expect(PortableMath.logSigmoid(-.infinity) == -.infinity)
    #expect(PortableMath.logSigmoid(.infinity) == 0)
    #expect(PortableMath.logSigmoid(.nan).isNaN)
    #expect(PortableMath.sigmoidSlope(0) == 0.25)
    #expect(PortableMath.sigmoidSlope(800) == PortableMath.sigmoidSlope(-800))
  }
}
