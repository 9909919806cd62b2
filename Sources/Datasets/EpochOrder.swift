import Core
import Synchronization

/// The order in which a finite source is read: a pure function of (seed, epoch), the same for any number of workers.
///
/// Position k lies in epoch k / count. Each epoch is its own Fisher–Yates shuffle, drawn from the Philox stream that
/// belongs to it, so position k is found without walking through the positions before it.
public final class EpochOrder: Sendable {
  /// Rows per epoch.
  public let count: Int
  public let seed: UInt64
  /// False reads the rows as they stand, in every epoch.
  public let shuffled: Bool

  /// The last epochs asked for: prefetching straddles at most two.
  private let cache = Mutex<[(epoch: Int, rows: [Int32])]>([])

  /// - Parameter count: rows of the source, 1 or more and below 2^31.
  public init(count: Int, seed: UInt64, shuffled: Bool = true) {
    precondition(count > 0 && count <= Int(Int32.max), "an order needs 1 to 2^31 - 1 rows, not \(count)")
    self.count = count
    self.seed = seed
    self.shuffled = shuffled
  }

  /// The row to read at `position`, counted from 0 through all epochs.
  public func row(at position: Int) -> Int {
    precondition(position >= 0, "position \(position) is negative")
    let (epoch, place) = position.quotientAndRemainder(dividingBy: count)
    guard shuffled else { return place }
    return cache.withLock { cache in
      if let known = cache.first(where: { $0.epoch == epoch }) { return Int(known.rows[place]) }
      let rows = shuffledRows(epoch)
      if cache.count == 2 { cache.removeFirst() }
      cache.append((epoch, rows))
      return Int(rows[place])
    }
  }

  /// All rows of one epoch in reading order. O(count).
  public func rows(inEpoch epoch: Int) -> [Int] {
    precondition(epoch >= 0, "epoch \(epoch) is negative")
    return shuffled ? shuffledRows(epoch).map(Int.init) : Array(0..<count)
  }

  private func shuffledRows(_ epoch: Int) -> [Int32] {
    var stream = Randomness(seed: seed, for: .shuffling).stream(epoch, epoch >> 32)
    var rows = Array(0..<Int32(count))
    rows.withUnsafeMutableBufferPointer { rows in
      for last in stride(from: rows.count - 1, to: 0, by: -1) {
        rows.swapAt(last, stream.integer(below: last + 1))
      }
    }
    return rows
  }
}
