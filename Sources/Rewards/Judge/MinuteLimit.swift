import Synchronization

/// Holds requests back so that no 60 seconds see more requests or tokens than allowed.
///
/// It remembers what it let through in the last minute, rather than filling a bucket at a steady rate: a full bucket lets
/// almost twice its size through in the first minute, which services that count by the minute refuse.
final class MinuteLimit: Sendable {
  private struct Entry {
    var number: Int
    var time: Double
    var tokens: Int
  }

  private struct State {
    var entries: [Entry] = []
    var next = 0
  }

  private static let window = 60.0
  private let requests: Int
  private let tokens: Int
  private let clock: any JudgeClock
  private let state = Mutex(State())

  /// - Parameters:
  ///   - requests: in a minute; 0 is no limit.
  ///   - tokens: in a minute; 0 is no limit.
  init(requests: Int, tokens: Int, clock: any JudgeClock) {
    self.requests = requests
    self.tokens = tokens
    self.clock = clock
  }

  /// Blocks until one more request fits.
  ///
  /// - Parameter estimate: tokens that it will take; more than the limit waits until the minute is empty.
  /// - Returns: the request's number, for `settle`.
  func admit(tokens estimate: Int) -> Int {
    while true {
      let now = clock.now
      let (number, wait) = state.withLock { state -> (Int?, Double) in
        state.entries.removeAll { now - $0.time >= Self.window }
        guard let wait = self.wait(for: estimate, state.entries, now) else {
          let number = state.next
          state.next += 1
          if requests > 0 || tokens > 0 {
            state.entries.append(Entry(number: number, time: now, tokens: estimate))
          }
          return (number, 0)
        }
        return (nil, wait)
      }
      if let number { return number }
      clock.sleep(wait)
    }
  }

  /// Puts what a request really took in the place of its estimate.
  func settle(_ number: Int, tokens: Int) {
    state.withLock { state in
      if let i = state.entries.firstIndex(where: { $0.number == number }) { state.entries[i].tokens = tokens }
    }
  }

  /// Seconds until so many of the oldest entries have left the window that the request fits; nil: it fits now.
  private func wait(for estimate: Int, _ entries: [Entry], _ now: Double) -> Double? {
    var count = entries.count
    var sum = entries.reduce(0) { $0 + $1.tokens }
    func fits() -> Bool {
      (requests == 0 || count < requests) && (tokens == 0 || sum + min(estimate, tokens) <= tokens || count == 0)
    }
    if fits() { return nil }
    // Entries are in the order of time.
    for entry in entries {
      count -= 1
      sum -= entry.tokens
      if fits() { return max(0.001, entry.time + Self.window - now) }
    }
    return nil
  }
}
