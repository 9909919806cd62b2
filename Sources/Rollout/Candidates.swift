import AttuneTensor

/// The ids of one row that may still be drawn, ascending, with their logits: what the truncations work on.
///
/// Every truncation finds its limit by selection on the bits of the values (`RadixSelection`), so a row of 150,000 ids is
/// never sorted, and takes probabilities of what the one before left. The limits follow transformers'
/// `generation/logits_process.py`.
public struct Candidates: Sendable {
  public private(set) var ids: [Int32] = []
  /// At the temperature, parallel to `ids`.
  public private(set) var logits: [Float] = []
  /// e^(logit − largest), parallel to `ids`; empty until a probability is asked for.
  private(set) var weights: [Float] = []
  /// How weights of many candidates are computed.
  private let backend: (any Backend)?

  /// - Parameter backend: computes the exponentials of long rows; without one they are computed here.
  public init(on backend: (any Backend)? = nil) { self.backend = backend }

  /// Takes the ids with a logit above −∞, divided by the temperature. Storage of the row before is used again.
  ///
  /// - Parameter allowed: nil allows all.
  public mutating func fill(
    _ row: UnsafeBufferPointer<Float>, temperature: Double = 1, allowed: TokenMask? = nil
  ) {
    weights.removeAll(keepingCapacity: true)
    resize(to: allowed.map(\.population) ?? row.count)
    let divisor = Float(temperature)
    let count = ids.withUnsafeMutableBufferPointer { ids in
      logits.withUnsafeMutableBufferPointer { logits in
        var count = 0
        // Every id is written, and the next one over it if it may not be drawn.
        func take(_ id: Int32, _ value: Float) {
          ids[count] = id
          logits[count] = value / divisor
          count += value > -.infinity ? 1 : 0
        }
        if let allowed {
          allowed.forEach { id in if Int(id) < row.count { take(id, row[Int(id)]) } }
        } else {
          for (id, value) in row.enumerated() { take(Int32(truncatingIfNeeded: id), value) }
        }
        return count
      }
    }
    shrink(to: count)
  }

  private mutating func resize(to count: Int) {
    if ids.count < count {
      ids += repeatElement(0, count: count - ids.count)
      logits += repeatElement(0, count: count - logits.count)
    } else {
      shrink(to: count)
    }
  }

  private mutating func shrink(to count: Int) {
    ids.removeLast(ids.count - count)
    logits.removeLast(logits.count - count)
    if !weights.isEmpty { weights.removeLast(weights.count - count) }
  }

  /// Keeps the candidates for which `body` is true; it is asked in ascending order of ids. Weights are 0 if there are none.
  @inline(__always)
  private mutating func keep(where body: (_ place: Int, _ logit: Float, _ weight: Float) -> Bool) {
    let all = ids.count
    let hasWeights = !weights.isEmpty
    let count = ids.withUnsafeMutableBufferPointer { ids in
      logits.withUnsafeMutableBufferPointer { logits in
        weights.withUnsafeMutableBufferPointer { weights in
          var count = 0
          for i in 0..<all where body(i, logits[i], hasWeights ? weights[i] : 0) {
            ids[count] = ids[i]
            logits[count] = logits[i]
            if hasWeights { weights[count] = weights[i] }
            count += 1
          }
          return count
        }
      }
    }
    shrink(to: count)
  }

  // MARK: Probabilities

  /// Below this many candidates the exponentials are computed one by one.
  private static let manyCandidates = 512

  private mutating func computeWeights() {
    guard weights.isEmpty, !logits.isEmpty else { return }
    if let backend, logits.count > Self.manyCandidates {
      let x = backend.upload(logits, [1, logits.count])
      let y = backend.empty([1, logits.count], .f32)
      backend.exponentials(y, x, 1)
      backend.withHostBytes(y) { weights.append(contentsOf: $0.bindMemory(to: Float.self)) }
      return
    }
    let largest = logits.reduce(-.infinity, max)
    for logit in logits { weights.append(Float(PortableMath.exp(Double(logit - largest)))) }
  }

  /// The sum of weights, ids ascending in f64.
  private var total: Double {
    var sum = 0.0
    for weight in weights { sum += Double(weight) }
    return sum
  }

  /// The logit of the `count`-th largest candidate.
  private func largest(_ count: Int) -> Float {
    let keys = RadixSelection(keys: logits.map { ~RadixSelection.key(of: $0) })
    return RadixSelection.value(of: ~keys.key(above: Double(count - 1)))
  }

  /// Entropy in nats, and the logarithm of the sum of weights over their largest logit.
  private func entropy(_ total: Double) -> (entropy: Double, logSum: Double) {
    let logSum = Double(logits.reduce(-.infinity, max)) + PortableMath.log(total)
    var mean = 0.0
    for (logit, weight) in zip(logits, weights) { mean += Double(weight) * Double(logit) }
    return (logSum - mean / total, logSum)
  }

  // MARK: Truncations

  /// Drops everything below the k-th largest value; equal values at the limit all stay. 0 drops nothing.
  public mutating func topK(_ k: Int) {
    guard k > 0, k < ids.count else { return }
    let limit = largest(k)
    keep { _, logit, _ in logit >= limit }
  }

  /// Keeps exactly the `count` largest, the lowest ids among equals.
  private mutating func keepLargest(_ count: Int) {
    guard count < ids.count else { return }
    let limit = largest(count)
    var ties = count
    for logit in logits where logit > limit { ties -= 1 }
    keep { _, logit, _ in
      if logit == limit { ties -= 1 }
      return logit > limit || (logit == limit && ties >= 0)
    }
  }

  /// Drops the least likely ids while their probability adds up to at most 1 − p (1904.09751).
  public mutating func topP(_ p: Double, keeping minimum: Int = 1) {
    guard p < 1, ids.count > 1 else { return }
    computeWeights()
    let limit = (1 - p) * total
    let border = Float(bitPattern: RadixSelection(keys: weights.map(\.bitPattern)).key(above: limit, weights: weights))
    var above = 0
    var equal = 0
    var sum = 0.0
    for weight in weights {
      if weight < border { sum += Double(weight) }
      above += weight > border ? 1 : 0
      equal += weight == border ? 1 : 0
    }
    // Of equals the lowest ids stay.
    while equal > 0, sum + Double(border) <= limit {
      sum += Double(border)
      equal -= 1
    }
    guard above + equal >= max(minimum, 1) else {
      keepLargest(max(minimum, 1))
      return
    }
    keep { _, _, weight in
      if weight == border { equal -= 1 }
      return weight > border || (weight == border && equal >= 0)
    }
  }

  /// Drops ids less probable than `share` of the likeliest (2407.01082).
  public mutating func minP(_ share: Double, keeping minimum: Int = 1) {
    guard share > 0 else { return }
    computeWeights()
    let limit = share * Double(weights.reduce(0, max))
    drop(keeping: minimum, below: limit)
  }

  /// Keeps the ids whose surprise is nearest to the entropy until their probability reaches `mass` (2202.00666).
  public mutating func typicalP(_ mass: Double, keeping minimum: Int = 1) {
    guard mass < 1, ids.count > 1 else { return }
    computeWeights()
    let total = total
    let (entropy, logSum) = entropy(total)
    let keys = logits.map { Float(abs(logSum - Double($0) - entropy)).bitPattern }
    let selection = RadixSelection(keys: keys)
    // The running sum may equal the mass: then the next id is not needed.
    var border = selection.key(above: (mass * total).nextDown, weights: weights)
    if minimum > 1 { border = max(border, selection.key(above: Double(min(minimum, ids.count) - 1))) }
    keep { place, _, _ in keys[place] <= border }
  }

  /// Drops ids less probable than `limit` (2210.15191).
  public mutating func epsilonCutoff(_ limit: Double, keeping minimum: Int = 1) {
    guard limit > 0 else { return }
    computeWeights()
    let limit = limit * total
    drop(keeping: minimum, below: limit)
  }

  /// Drops ids less probable than ε and than √ε · e^(−entropy) (2210.15191).
  public mutating func etaCutoff(_ epsilon: Double, keeping minimum: Int = 1) {
    guard epsilon > 0, !ids.isEmpty else { return }
    computeWeights()
    let total = total
    let limit = min(epsilon, epsilon.squareRoot() * PortableMath.exp(-entropy(total).entropy)) * total
    drop(keeping: minimum, below: limit)
  }

  /// Drops the candidates of less weight, but none of the `minimum` likeliest nor an equal of the last of them.
  private mutating func drop(keeping minimum: Int, below least: Double) {
    guard minimum < ids.count else { return }
    let limit = minimum <= 1 ? logits.reduce(-.infinity, max) : largest(minimum)
    keep { _, logit, weight in logit >= limit || Double(weight) >= least }
  }

  // MARK: Choices

  /// The likeliest id, the lowest among equals; nil if there is none.
  var likeliest: Int32? {
    var best: Int?
    for i in logits.indices where best == nil || logits[i] > logits[best!] { best = i }
    return best.map { ids[$0] }
  }

  /// The id at which the running sum, ids ascending in f64, passes the share `u` of the whole; nil if there is none.
  mutating func draw(_ u: Double) -> Int32? {
    computeWeights()
    let target = u * total
    var sum = 0.0
    var last: Int32?
    for (i, weight) in weights.enumerated() where weight > 0 {
      sum += Double(weight)
      last = ids[i]
      if sum > target { break }
    }
    return last ?? ids.first
  }
}
