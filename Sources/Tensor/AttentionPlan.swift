/// A run of keys inside one page of 64: what paths of an attention plan are made of.
public struct KeyPiece: Sendable, Equatable {
  /// Keys of one page.
  public static let pageSize = 64

  public var page: Int32
  public var lane: Int32
  public var rows: Int32

  public init(page: Int32, lane: Int32, rows: Int32) {
    self.page = page
    self.lane = lane
    self.rows = rows
  }

  /// The pieces of a run of slots, slot s being key `s % 64` of page `s / 64`.
  public static func pieces(_ slots: Range<Int>) -> [KeyPiece] {
    var pieces: [KeyPiece] = []
    var slot = slots.lowerBound
    while slot < slots.upperBound {
      let end = min((slot / pageSize + 1) * pageSize, slots.upperBound)
      pieces.append(
        KeyPiece(page: Int32(slot / pageSize), lane: Int32(slot % pageSize), rows: Int32(end - slot)))
      slot = end
    }
    return pieces
  }
}

/// Which keys each query row of an attention call sees.
///
/// A run is a stretch of query rows that share a path: pieces of key pages from the root of a tree down. Query i of a run
/// sees the first `seen + i` keys of its path (causal), or the first `seen` (not causal). What a row computes does not
/// depend on the runs beside it, nor on how its path is cut into pieces: scoring, sampling and any paging agree bit for bit.
public struct AttentionPlan: Sendable {
  public let causal: Bool
  public private(set) var treeRuns: [Int32] = [0]
  public private(set) var runQuery: [Int32] = []
  public private(set) var runRows: [Int32] = []
  public private(set) var runSeen: [Int32] = []
  public private(set) var runPath: [Int32] = []
  public private(set) var piecePage: [Int32] = []
  public private(set) var pieceLane: [Int32] = []
  public private(set) var pieceRows: [Int32] = []
  public private(set) var blockRun: [Int32] = []
  public private(set) var blockRow: [Int32] = []
  public private(set) var blockRuns: [Int32] = []
  public private(set) var blockShared: [Int32] = []
  public private(set) var longestPath = 0

  /// Query rows of one unit of work.
  private static let blockRows = 16

  /// Pairs of a query and a key that it sees, about as many where there is a window.
  func pairCount(window: Int?) -> Double {
    var sum = 0.0
    for (rows, seen) in zip(runRows, runSeen) {
      let keys = Double(seen) + (causal ? Double(rows - 1) / 2 : 0)
      sum += Double(rows) * (window.map { min(Double($0), keys) } ?? keys)
    }
    return sum
  }

  /// Query rows that share what they read of their path, at most.
  var rowsTogether: Int { min(Self.blockRows, runRows.max().map(Int.init) ?? 1) }

  public var treeCount: Int { treeRuns.count - 1 }
  public var blockCount: Int { blockRun.count }

  public init(causal: Bool) { self.causal = causal }

  /// Adds query rows to the tree being built.
  ///
  /// - Parameters:
  ///   - query: the first row.
  ///   - seen: keys of the path that the first query sees, itself included.
  ///   - path: root first; a run of a backward pass ends in its own rows.
  public mutating func addRun(query: Int, rows: Int, seen: Int, path: [KeyPiece]) {
    let run = add(query: query, rows: rows, seen: seen, path: path)
    for row in stride(from: 0, to: rows, by: Self.blockRows) {
      blockRun.append(run)
      blockRow.append(Int32(row))
      blockRuns.append(1)
      blockShared.append(0)
    }
  }

  /// Adds consecutive query rows, one for each path: sequences that are being decoded. Neighbours whose paths begin alike
  /// multiply what they share together; the results are those of runs by themselves.
  ///
  /// - Parameters:
  ///   - query: the first row.
  ///   - paths: every one seen to its end.
  public mutating func addRows(query: Int, paths: [[KeyPiece]]) {
    func common(_ a: [KeyPiece], _ b: [KeyPiece], most: Int) -> Int {
      var n = 0
      while n < most, n < a.count, n < b.count, a[n] == b[n] { n += 1 }
      return n
    }
    var i = 0
    while i < paths.count {
      // Every path keeps a piece of its own.
      var end = i + 1
      var shared = paths[i].count - 1
      while end < paths.count, end - i < Self.blockRows {
        let left = common(paths[i], paths[end], most: min(shared, paths[end].count - 1))
        // Taking one more in must not cost more than half of what is shared.
        guard left > 0, 2 * left > shared || end == i + 1 else { break }
        shared = left
        end += 1
      }
      let runs = (i..<end).map { place in
        add(
          query: query + place, rows: 1, seen: paths[place].reduce(0) { $0 + Int($1.rows) }, path: paths[place])
      }
      blockRun.append(runs[0])
      blockRow.append(0)
      blockRuns.append(Int32(runs.count))
      blockShared.append(runs.count > 1 ? Int32(shared) : 0)
      i = end
    }
  }

  private mutating func add(query: Int, rows: Int, seen: Int, path: [KeyPiece]) -> Int32 {
    precondition(rows > 0 && seen > 0, "a run has rows that see something")
    let run = Int32(runQuery.count)
    runQuery.append(Int32(query))
    runRows.append(Int32(rows))
    runSeen.append(Int32(seen))
    runPath.append(Int32(piecePage.count))
    var length = 0
    for piece in path {
      piecePage.append(piece.page)
      pieceLane.append(piece.lane)
      pieceRows.append(piece.rows)
      length += Int(piece.rows)
    }
    let wanted = causal ? seen + rows - 1 : seen
    precondition(wanted <= length, "queries that see \(wanted) keys on a path of \(length)")
    longestPath = max(longestPath, wanted)
    return run
  }

  /// Closes the tree being built.
  public mutating func endTree() { treeRuns.append(Int32(runQuery.count)) }
}
