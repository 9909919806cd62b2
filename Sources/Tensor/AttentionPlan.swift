/// Which key rows each query row of an attention call sees.
///
/// Spans are runs of key rows; a path lists spans from the root of a tree down; a run is a stretch of query rows that share
/// a path. Query i of a run sees all of its path but the last span, and of that span the first `offset + i + 1` rows (causal)
/// or all. One tree is the unit of work: what it computes does not depend on the trees beside it.
public struct AttentionPlan: Sendable {
  public let causal: Bool
  public private(set) var treeRuns: [Int32] = [0]
  public private(set) var treeSpans: [Int32] = [0]
  public private(set) var runQuery: [Int32] = []
  public private(set) var runRows: [Int32] = []
  public private(set) var runOffset: [Int32] = []
  public private(set) var runPath: [Int32] = [0]
  public private(set) var path: [Int32] = []
  public private(set) var spanRow: [Int32] = []
  public private(set) var spanRows: [Int32] = []
  public private(set) var longestPath = 0
  public private(set) var largestTree = 0

  public var treeCount: Int { treeRuns.count - 1 }

  public init(causal: Bool) { self.causal = causal }

  /// Adds key rows to the tree being built; returns the span's number.
  public mutating func addSpan(row: Int, count: Int) -> Int {
    precondition(count > 0, "a span has at least one row")
    spanRow.append(Int32(row))
    spanRows.append(Int32(count))
    return spanRow.count - 1
  }

  /// Adds query rows to the tree being built; `path` names spans of this tree in ascending order, root first.
  public mutating func addRun(query: Int, rows: Int, offset: Int, path spans: [Int]) {
    precondition(rows > 0 && !spans.isEmpty, "a run has rows and a path")
    precondition(!causal || offset + rows <= Int(spanRows[spans.last!]), "queries beyond the end of their span")
    runQuery.append(Int32(query))
    runRows.append(Int32(rows))
    runOffset.append(Int32(offset))
    path.append(contentsOf: spans.map(Int32.init))
    runPath.append(Int32(path.count))
    longestPath = max(longestPath, spans.reduce(0) { $0 + Int(spanRows[$1]) })
  }

  /// Closes the tree being built.
  public mutating func endTree() {
    let first = Int(treeSpans.last!)
    largestTree = max(largestTree, spanRows[first...].reduce(0) { $0 + Int($1) })
    treeRuns.append(Int32(runQuery.count))
    treeSpans.append(Int32(spanRow.count))
  }
}

/// Tokens of a packed batch as trees: a prompt is a root, its completions are children that see it.
///
/// Flat `[tokens]`, segments in depth-first order; there is no padding and no batch axis.
public struct Forest: Sendable {
  /// A run of tokens; all but the first segment of a tree continue where their parent ends.
  public struct Segment: Sendable, Equatable {
    /// Number of the segment that this one continues; nil for a root.
    public var parent: Int?
    /// First token in the flat batch.
    public var start: Int
    public var count: Int
    /// Tokens before this segment on the path from the root.
    public var position: Int
  }

  public private(set) var segments: [Segment] = []
  public private(set) var tokenCount = 0

  public init() {}

  /// Appends a segment of `count` tokens; returns its number. A child belongs to the tree that was begun last.
  @discardableResult
  public mutating func append(count: Int, parent: Int? = nil) -> Int {
    precondition(count > 0, "a segment has at least one token")
    var position = 0
    if let parent {
      position = segments[parent].position + segments[parent].count
      let lastRoot = segments.lastIndex { $0.parent == nil }
      precondition(parent >= lastRoot!, "a child is appended to the tree begun last")
    }
    segments.append(Segment(parent: parent, start: tokenCount, count: count, position: position))
    tokenCount += count
    return segments.count - 1
  }

  /// Causal attention where keys and queries are the batch's own tokens.
  public var attentionPlan: AttentionPlan {
    var plan = AttentionPlan(causal: true)
    for (index, segment) in segments.enumerated() {
      if segment.parent == nil, index > 0 { plan.endTree() }
      let span = plan.addSpan(row: segment.start, count: segment.count)
      var path = [span]
      var up = segment.parent
      while let parent = up {
        path.append(parent)
        up = segments[parent].parent
      }
      plan.addRun(query: segment.start, rows: segment.count, offset: 0, path: path.reversed())
    }
    if !segments.isEmpty { plan.endTree() }
    return plan
  }
}
