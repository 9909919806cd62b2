import Core

/// Which row of which tree of an update a row of a batch is: the same however the update is cut into batches.
public struct RowPlace: Sendable, Equatable {
  // The kernel reads two 32-bit words in this order.
  public var tree: UInt32
  public var row: UInt32

  public init(tree: Int, row: Int) {
    self.tree = UInt32(truncatingIfNeeded: tree)
    self.row = UInt32(truncatingIfNeeded: row)
  }
}

/// The elements of a matrix that dropout keeps.
///
/// Whether an element is kept is a function of the key, the row's place and the column alone: one word of Philox, compared
/// with the threshold.
public struct DropoutMask: Sendable {
  let key: (UInt32, UInt32)
  let threshold: UInt32
  let rows: [RowPlace]

  public init(key: (UInt32, UInt32), probability: Double, rows: [RowPlace]) {
    precondition(probability >= 0 && probability < 1, "a dropout probability of \(probability)")
    self.key = key
    threshold = UInt32((probability * 0x1p32).rounded(.down))
    self.rows = rows
  }
}

/// The dropout of one forward pass: its randomness, and what the rows that are computed at the moment are.
///
/// A tape without one computes without dropout, which is what sampling, references and evaluations do.
public struct DropoutPass: Sendable {
  private let randomness: Randomness
  private let step: Int
  /// One place for every row; products of joined rows (a vision merger's) take the first of each.
  public var rows: [RowPlace]

  /// - Parameter step: a number that no other update of the run has.
  public init(seed: UInt64, step: Int, rows: [RowPlace] = []) {
    randomness = Randomness(seed: seed, for: .dropout)
    self.step = step
    self.rows = rows
  }

  /// The mask of a layer for a matrix of so many rows.
  func mask(layer: UInt32, probability: Double, rows count: Int) -> DropoutMask {
    let words = randomness.block(step, Int(layer), step >> 32, 0)
    precondition(
      count > 0 ? rows.count % count == 0 && !rows.isEmpty : true, "\(rows.count) places for \(count) rows")
    let joined = count > 0 ? rows.count / count : 1
    let places = joined == 1 ? rows : stride(from: 0, to: rows.count, by: joined).map { rows[$0] }
    return DropoutMask(key: (words.0, words.1), probability: probability, rows: places)
  }

  /// The pass with the rows that an index takes; −1 takes a row that nothing depends on.
  func gathered(_ index: ArraySlice<Int32>) -> DropoutPass {
    var copy = self
    copy.rows = index.map { $0 < 0 ? RowPlace(tree: 0, row: 0) : rows[Int($0)] }
    return copy
  }
}
