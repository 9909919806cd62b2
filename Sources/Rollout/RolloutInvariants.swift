import AttuneTensor

/// A rule of the scheduler that does not hold.
struct BrokenInvariant: Error, CustomStringConvertible {
  let description: String
}

/// What must hold between the steps of a scheduler. Tests ask for it after every step; nothing else does.
extension RolloutScheduler {
  /// - Throws: `BrokenInvariant` for the first rule that does not hold.
  func checkInvariants() throws {
    try checkQueue()
    try checkPaths()
    try tree.checkInvariants()
    try cache.checkInvariants(
      holders: running.flatMap(\.pages) + prefills.flatMap(\.pages) + tree.nodes.map(\.piece.page))
  }

  /// First come, first served: nobody who waits came before one who is served.
  private func checkQueue() throws {
    let order = waiting.map(\.prompt.number)
    try require(zip(order, order.dropFirst()).allSatisfy { $0 <= $1 }, "the queue is out of order: \(order)")
    let served = running.map(\.prompt.number) + prefills.map(\.prompt.number)
    if let first = order.first, let last = served.max() {
      try require(last <= first, "request \(last) is served while request \(first) waits")
    }
    for sequence in waiting.flatMap(\.sequences) {
      try require(sequence.pages.isEmpty && sequence.path.isEmpty, "a sequence that waits holds pages")
      try require(sequence.finish == nil, "a sequence that has ended waits")
    }
  }

  private func checkPaths() throws {
    for sequence in running {
      try check(sequence.path, of: sequence.length - 1, heldBy: sequence.pages)
      // Pages begun after the prompt are written to: nobody else may read them.
      var tokens = 0
      for piece in sequence.path {
        if tokens >= sequence.prompt.keys.count {
          let count = cache.references(of: piece.page)
          try require(count == 1, "\(count) hold page \(piece.page), to which a sequence writes")
        }
        tokens += Int(piece.rows)
      }
    }
    for prefill in prefills {
      let whole = prefill.prompt.keys.count + prefill.sequences[0].ids.count
      try require(prefill.done < whole, "\(prefill.done) of \(whole) tokens are computed, and it still waits for more")
      try check(prefill.path, of: whole, heldBy: prefill.pages)
      try require(
        prefill.sequences.allSatisfy { $0.pages.isEmpty && $0.path.isEmpty }, "a sequence holds its prefill's pages")
    }
  }

  private func check(_ path: [KeyPiece], of tokens: Int, heldBy pages: [Int32]) throws {
    try path.forEach { try checkBorders($0) }
    let rows = path.reduce(0) { $0 + Int($1.rows) }
    try require(rows == tokens, "a path of \(rows) rows for \(tokens) tokens")
    try require(path.map(\.page) == pages, "the path leads over \(path.map(\.page)), \(pages) are held")
  }
}

extension PrefixTree {
  /// All nodes but the root.
  var nodes: [Node] {
    var result: [Node] = []
    var stack = root.children
    while let node = stack.popLast() {
      stack += node.children
      result.append(node)
    }
    return result
  }

  fileprivate func checkInvariants() throws {
    var taken: [Int32: [Bool]] = [:]
    for node in nodes {
      let piece = node.piece
      try checkBorders(piece)
      try require(node.keys.count == Int(piece.rows), "a node of \(node.keys.count) keys in a piece of \(piece.rows)")
      try require(node.children.allSatisfy { $0.parent === node }, "a node that is not its child's parent")
      var lanes = taken[piece.page] ?? [Bool](repeating: false, count: KeyPiece.pageSize)
      for lane in Int(piece.lane)..<Int(piece.lane + piece.rows) {
        try require(!lanes[lane], "two nodes share lane \(lane) of page \(piece.page)")
        lanes[lane] = true
      }
      taken[piece.page] = lanes
    }
  }
}

extension KVCache {
  /// - Parameter holders: a page once for everyone who holds it.
  fileprivate func checkInvariants(holders: [Int32]) throws {
    var counts = [Int32](repeating: 0, count: capacity)
    for page in holders {
      try require(counts.indices.contains(Int(page)), "page \(page) of \(capacity) is held")
      counts[Int(page)] += 1
    }
    for page in counts.indices {
      try require(
        counts[page] == references[page], "page \(page) has \(counts[page]) holders and counts \(references[page])")
    }
    try require(Set(free).count == free.count, "a page is free twice")
    try require(free.allSatisfy { references[Int($0)] == 0 }, "a page is free and held")
    try require(heldPages == counts.count { $0 > 0 }, "\(heldPages) pages are held, of which some by nobody")
    try require(capacity <= limit, "\(capacity) pages, \(limit) allowed")
  }
}

private func checkBorders(_ piece: KeyPiece) throws {
  try require(
    piece.page >= 0 && piece.lane >= 0 && piece.rows > 0 && Int(piece.lane + piece.rows) <= KeyPiece.pageSize,
    "a piece beyond its page: \(piece)")
}

private func require(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws {
  if !holds { throw BrokenInvariant(description: otherwise()) }
}
