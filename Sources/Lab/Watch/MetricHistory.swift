/// What of a metric's past the alarms look at: its last values, how it began, and its extremes.
struct MetricTrack: Sendable, Equatable {
  /// Up to two windows and one value, oldest first; NaN where the metric is missing.
  private(set) var values: [Double] = []
  /// The first values that were there, up to `recentCount`.
  private(set) var opening: [Double] = []
  private(set) var highest = -Double.infinity
  private(set) var lowest = Double.infinity
  /// The largest median of `recentCount` values so far.
  private(set) var highestMedian = -Double.infinity
  private let window: Int
  private let recentCount: Int

  init(window: Int, recent: Int) {
    self.window = window
    recentCount = recent
  }

  mutating func append(_ value: Double) {
    values.append(value.isFinite ? value : .nan)
    if values.count > 2 * window + 1 { values.removeFirst() }
    guard value.isFinite else { return }
    if opening.count < recentCount { opening.append(value) }
    highest = max(highest, value)
    lowest = min(lowest, value)
    let last = recent
    if last.count == recentCount { highestMedian = max(highestMedian, Statistics.median(last)) }
  }

  /// The last value, NaN if it is missing.
  var last: Double { values.last ?? .nan }
  /// The last few values that were there.
  var recent: [Double] { values.suffix(recentCount).filter(\.isFinite) }
  /// The values that were there within two windows, oldest first.
  var known: [Double] { values.filter(\.isFinite) }
  /// The window that ends before the last value.
  var before: [Double] { values.dropLast().suffix(window).filter(\.isFinite) }
  /// The last window, and the one before it.
  var halves: (earlier: [Double], later: [Double]) {
    guard values.count >= 2 * window else { return ([], []) }
    let two = values.suffix(2 * window)
    return (two.prefix(window).filter(\.isFinite), two.suffix(window).filter(\.isFinite))
  }
}

/// The tracks of all metrics of a stage, fed step by step.
struct MetricHistory: Sendable {
  /// Steps that a value is compared with.
  let window: Int
  /// Steps that are taken together to be sure of a level.
  let recentCount: Int
  private var tracks: [String: MetricTrack] = [:]
  private(set) var steps = 0

  init(window: Int) {
    self.window = window
    recentCount = max(3, window / 4)
  }

  mutating func append(_ metrics: [String: Double]) {
    for name in Set(tracks.keys).union(metrics.keys) {
      tracks[name, default: MetricTrack(window: window, recent: recentCount)].append(metrics[name] ?? .nan)
    }
    steps += 1
  }

  /// An empty track if there is no such metric.
  subscript(_ name: String) -> MetricTrack { tracks[name] ?? MetricTrack(window: window, recent: recentCount) }

  /// The mean of the last few steps; NaN before there were enough of them.
  func level(_ name: String) -> Double {
    let recent = self[name].recent
    return recent.count == recentCount ? Statistics.mean(recent) : .nan
  }

  /// The mean of the stage's first few steps; NaN before there were enough of them, and a window of steps in all.
  func opening(_ name: String) -> Double {
    let track = self[name]
    return track.opening.count == recentCount && steps >= window ? Statistics.mean(track.opening) : .nan
  }
}
