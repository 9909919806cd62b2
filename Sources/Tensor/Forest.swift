/// Tokens of a packed batch as trees: a prompt is a root, its completions are children that see it.
///
/// Flat `[tokens]`, segments in depth-first order; there is no padding and no batch axis. Packing, groups, pairs, turns of a
/// dialogue and prefill all speak it.
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
  private var lastRoot = 0

  public init() {}

  /// Appends a segment of `count` tokens; returns its number. A child belongs to the tree that was begun last.
  @discardableResult
  public mutating func append(count: Int, parent: Int? = nil) -> Int {
    precondition(count > 0, "a segment has at least one token")
    var position = 0
    if let parent {
      position = segments[parent].position + segments[parent].count
      precondition(parent >= lastRoot, "a child is appended to the tree begun last")
    } else {
      lastRoot = segments.count
    }
    segments.append(Segment(parent: parent, start: tokenCount, count: count, position: position))
    tokenCount += count
    return segments.count - 1
  }

  /// Causal attention where keys and queries are the batch's own tokens.
  public var attentionPlan: AttentionPlan {
    var plan = AttentionPlan(causal: true)
    var paths: [[KeyPiece]] = []
    paths.reserveCapacity(segments.count)
    for (index, segment) in segments.enumerated() {
      if segment.parent == nil, index > 0 { plan.endTree() }
      let own = KeyPiece.pieces(segment.start..<segment.start + segment.count)
      let path = segment.parent.map { paths[$0] + own } ?? own
      paths.append(path)
      plan.addRun(query: segment.start, rows: segment.count, seen: segment.position + 1, path: path)
    }
    if !segments.isEmpty { plan.endTree() }
    return plan
  }
}
