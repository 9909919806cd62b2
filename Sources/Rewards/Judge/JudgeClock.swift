import Foundation

/// Time as judges see it; tests pass one that they turn themselves.
public protocol JudgeClock: Sendable {
  /// Seconds from some fixed moment; never falls.
  var now: Double { get }
  func sleep(_ seconds: Double)
}

/// The machine's own clock.
public struct SystemClock: JudgeClock {
  public init() {}
  public var now: Double { Double(MonotonicClock.now) * 1e-9 }
  public func sleep(_ seconds: Double) { Thread.sleep(forTimeInterval: max(0, seconds)) }
}
