/// How documents of different lengths are put into rows of the same length (arXiv 2404.10830).
public enum Packing: String, NamedChoice {
  /// Best fit, longest document first; what of a document is beyond the row's length is dropped.
  case bestFit = "bfd"
  /// The same with longer documents cut into pieces first, the short rest last.
  case bestFitSplit = "bfd_split"
  /// All documents one after another, cut wherever a row is full.
  case wrapped

  /// A run of one document's tokens.
  public struct Piece: Sendable, Equatable {
    /// Which document.
    public var document: Int
    /// Which of its tokens.
    public var tokens: Range<Int>

    public init(document: Int, tokens: Range<Int>) {
      self.document = document
      self.tokens = tokens
    }
  }

  /// The rows, each the pieces that stand in it from left to right.
  ///
  /// Equally long pieces keep their order; a piece goes into the row with the least space that takes it, of several the one
  /// that came to that space first; rows are listed in the order in which they were begun. n log n of the number of pieces.
  ///
  /// - Parameters:
  ///   - lengths: tokens of each document; empty ones are in no row.
  ///   - length: tokens of a row, at least 1.
  public func rows(ofLengths lengths: [Int], length: Int) -> [[Piece]] {
    precondition(length >= 1, "rows of \(length) tokens")
    switch self {
    case .bestFit:
      return Self.bestFit(
        lengths.indices.map { Piece(document: $0, tokens: 0..<min(lengths[$0], length)) }, length: length)
    case .bestFitSplit:
      let pieces = lengths.indices.flatMap { document in
        stride(from: 0, to: lengths[document], by: length).map {
          Piece(document: document, tokens: $0..<$0 + min(length, lengths[document] - $0))
        }
      }
      return Self.bestFit(pieces, length: length)
    case .wrapped: return Self.wrapped(lengths, length: length)
    }
  }

  private static func bestFit(_ pieces: [Piece], length: Int) -> [[Piece]] {
    let sorted = pieces.enumerated().filter { !$0.element.tokens.isEmpty }
      .sorted { ($1.element.tokens.count, $0.offset) < ($0.element.tokens.count, $1.offset) }.map(\.element)
    var rows: [[Piece]] = []
    // Rows with free space, ascending by space; of equal space in the order in which they came to it.
    var open: [(space: Int, row: Int)] = []
    for piece in sorted {
      let needed = piece.tokens.count
      let place = open.partition(atLeast: needed)
      let found: (space: Int, row: Int)
      if place < open.count {
        found = open.remove(at: place)
        rows[found.row].append(piece)
      } else {
        found = (length, rows.count)
        rows.append([piece])
      }
      let left = found.space - needed
      if left > 0 { open.insert((left, found.row), at: open.partition(atLeast: left + 1)) }
    }
    return rows
  }

  private static func wrapped(_ lengths: [Int], length: Int) -> [[Piece]] {
    var rows: [[Piece]] = []
    var space = 0
    for (document, count) in lengths.enumerated() {
      var from = 0
      while from < count {
        if space == 0 {
          rows.append([])
          space = length
        }
        let taken = min(space, count - from)
        rows[rows.count - 1].append(Piece(document: document, tokens: from..<from + taken))
        from += taken
        space -= taken
      }
    }
    return rows
  }
}

extension [(space: Int, row: Int)] {
  /// The first place whose row has at least so much space, by bisection.
  fileprivate func partition(atLeast space: Int) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = low + (high - low) / 2
      if self[middle].space < space { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
