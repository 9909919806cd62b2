import AttuneTensor

/// What the cached pages hold: a radix tree of token sequences, each node a piece of one page.
///
/// Prompts that begin alike (one system prompt, the turns of a dialogue, a prompt sampled again) share the pages of their
/// common beginning, down to the token. A node holds one reference to its page.
final class PrefixTree {
  /// A token as the cache knows it: its id, or for a place of a picture a digest of the picture.
  typealias Key = UInt64

  final class Node {
    fileprivate(set) var keys: [Key]
    fileprivate(set) var piece: KeyPiece
    fileprivate(set) var children: [Node] = []
    fileprivate(set) unowned var parent: Node?
    fileprivate var lastUse = 0

    fileprivate init(_ keys: [Key], _ piece: KeyPiece, parent: Node?) {
      self.keys = keys
      self.piece = piece
      self.parent = parent
    }
  }

  let root = Node([], KeyPiece(page: -1, lane: 0, rows: 0), parent: nil)
  private let cache: KVCache
  private var clock = 0

  init(_ cache: KVCache) { self.cache = cache }

  /// The longest known beginning of `keys`, at most `limit` tokens: its node (split if it ends inside one) and its pieces.
  func match(_ keys: [Key], limit: Int) -> (node: Node, path: [KeyPiece], count: Int) {
    clock += 1
    var node = root
    var path: [KeyPiece] = []
    var count = 0
    while count < limit {
      guard var child = node.children.first(where: { $0.keys[0] == keys[count] }) else { break }
      var same = 0
      while same < child.keys.count, count + same < limit, child.keys[same] == keys[count + same] { same += 1 }
      if same < child.keys.count { child = split(child, at: same) }
      child.lastUse = clock
      path.append(child.piece)
      count += same
      node = child
    }
    return (node, path, count)
  }

  /// Cuts a node in two that share its page. The node itself stays the end of its tokens, since others may hold it.
  private func split(_ node: Node, at count: Int) -> Node {
    let front = Node(
      Array(node.keys[..<count]), KeyPiece(page: node.piece.page, lane: node.piece.lane, rows: Int32(count)),
      parent: node.parent)
    front.children = [node]
    front.lastUse = node.lastUse
    let place = node.parent!.children.firstIndex { $0 === node }!
    node.parent!.children[place] = front
    node.parent = front
    node.keys.removeSubrange(..<count)
    node.piece.lane += Int32(count)
    node.piece.rows -= Int32(count)
    cache.retain(front.piece.page)
    return front
  }

  /// Adds tokens that follow `node`, in the given pieces; returns the last node. The tree takes references of its own.
  @discardableResult
  func insert(_ keys: ArraySlice<Key>, pieces: [KeyPiece], after node: Node) -> Node {
    var node = node
    var at = keys.startIndex
    for piece in pieces {
      let end = at + Int(piece.rows)
      let child = Node(Array(keys[at..<end]), piece, parent: node)
      child.lastUse = clock
      cache.retain(piece.page)
      node.children.append(child)
      node = child
      at = end
    }
    return node
  }

  /// Gives back the page of the least recently used leaf that nobody else holds; false if there is none.
  func evictOne() -> Bool {
    var best: Node?
    var stack = root.children
    while let node = stack.popLast() {
      stack += node.children
      guard node.children.isEmpty, cache.references(of: node.piece.page) == 1 else { continue }
      if best == nil || node.lastUse < best!.lastUse { best = node }
    }
    // A page that was split is held once by each of its nodes: the last leaf of such a page counts as well.
    if best == nil {
      stack = root.children
      while let node = stack.popLast() {
        stack += node.children
        guard node.children.isEmpty, holders(of: node.piece.page) == cache.references(of: node.piece.page) else {
          continue
        }
        if best == nil || node.lastUse < best!.lastUse { best = node }
      }
    }
    guard let best, let parent = best.parent else { return false }
    parent.children.removeAll { $0 === best }
    cache.release(best.piece.page)
    return true
  }

  private func holders(of page: Int32) -> Int {
    var count = 0
    var stack = root.children
    while let node = stack.popLast() {
      stack += node.children
      if node.piece.page == page { count += 1 }
    }
    return count
  }

  /// Forgets everything.
  func clear() {
    var stack = root.children
    while let node = stack.popLast() {
      stack += node.children
      cache.release(node.piece.page)
    }
    root.children = []
  }
}
