import Core
import Text

/// The tokens of a vocabulary as byte strings, ordered for walking with an automaton; shared by all guides of a model.
public final class GuideVocabulary: Sendable {
  /// Ids from 0 up to, not including, this.
  public let count: Int
  /// Ids that end a completion; they stand for no text.
  public let endIDs: Set<Int32>
  /// Tokens as they stand behind others, and at the begin of a text where that is different.
  let tokens: ByteTrie
  let firstTokens: ByteTrie?
  /// By byte, whether a token of that byte alone exists.
  let singleBytes: [Bool]

  /// - Parameters:
  ///   - tokens: the bytes of each id; nil for an id that a guided completion never has (special tokens).
  ///   - firstTokens: the bytes at the begin of a text, where a tokenizer drops a space there; nil if they are the same.
  ///   - endIDs: their bytes do not count.
  /// - Throws: `.request` if there is no end id.
  public init(tokens: [[UInt8]?], firstTokens: [[UInt8]?]? = nil, endIDs: Set<Int32>) throws {
    guard let last = endIDs.max(), last >= 0 else {
      throw AttuneError.request(
        "no id ends a completion, one at least was expected: a guided completion ends by one",
        hint: "name it as eos_token_id in generation_config.json")
    }
    // A model may have ids, also that of an end, which its tokenizer does not know.
    count = max(tokens.count, Int(last) + 1)
    self.endIDs = endIDs.filter { $0 >= 0 }
    self.tokens = ByteTrie(tokens, without: endIDs)
    self.firstTokens = firstTokens.map { ByteTrie($0, without: endIDs) }
    var singleBytes = [Bool](repeating: false, count: 256)
    for (id, bytes) in tokens.enumerated() where !endIDs.contains(Int32(id)) {
      if let bytes, bytes.count == 1 { singleBytes[Int(bytes[0])] = true }
    }
    self.singleBytes = singleBytes
  }

  /// The vocabulary of a tokenizer; its special tokens are left out.
  ///
  /// - Parameter size: ids that the model has; those that only its tokenizer has are left out.
  public convenience init(_ tokenizer: Tokenizer, endIDs: some Sequence<Int32>, size: Int) throws {
    func tokens(atStart: Bool) -> [[UInt8]?] {
      (0..<Int32(min(tokenizer.vocabularySize, size))).map {
        tokenizer.isSpecial($0) ? nil : tokenizer.bytes(of: $0, atStart: atStart)
      }
    }
    try self.init(
      tokens: tokens(atStart: false), firstTokens: tokenizer.dropsSpaceAtStart ? tokens(atStart: true) : nil,
      endIDs: Set(endIDs.filter { $0 < size }))
  }

  func trie(isFirst: Bool) -> ByteTrie { isFirst ? firstTokens ?? tokens : tokens }
}

/// Byte strings as a tree in depth-first order: a walk goes through arrays from front to back and jumps over what fails.
struct ByteTrie: Sendable {
  /// The byte that leads to a node.
  private(set) var bytes: [UInt8] = []
  /// Its length in bytes, from 1.
  private(set) var depths: [Int32] = []
  /// The next node that is not below it.
  private(set) var skips: [Int32] = []
  /// Where the node's ids begin in `ids`; those of node i end where those of i + 1 begin.
  private(set) var starts: [Int32] = []
  private(set) var ids: [Int32] = []
  private(set) var deepest = 0
  private var text: [UInt8] = []
  private var textStarts: [Int] = [0]

  /// Ids without bytes are left out: they would never come to an end.
  init(_ tokens: [[UInt8]?], without left: Set<Int32>) {
    for (id, bytes) in tokens.enumerated() {
      if let bytes, !left.contains(Int32(id)) { text += bytes }
      textStarts.append(text.count)
    }
    let text = text
    let textStarts = textStarts
    var order = (0..<Int32(tokens.count)).filter { textStarts[Int($0) + 1] > textStarts[Int($0)] }
    text.withUnsafeBufferPointer { text in
      func own(_ id: Int32) -> Slice<UnsafeBufferPointer<UInt8>> { text[textStarts[Int(id)]..<textStarts[Int(id) + 1]] }
      order.sort { a, b in
        let (first, second) = (own(a), own(b))
        if first.elementsEqual(second) { return a < b }
        return first.lexicographicallyPrecedes(second)
      }
      var path: [Int] = []  // Nodes of the string before, by depth.
      var last = text[0..<0]
      for id in order {
        let current = own(id)
        let shared = zip(last, current).prefix { $0 == $1 }.count
        close(&path, to: shared)
        for byte in current.dropFirst(shared) {
          path.append(bytes.count)
          bytes.append(byte)
          depths.append(Int32(path.count))
          skips.append(0)
          starts.append(Int32(ids.count))
        }
        deepest = max(deepest, path.count)
        ids.append(id)
        last = current
      }
      close(&path, to: 0)
    }
    starts.append(Int32(ids.count))
  }

  private mutating func close(_ path: inout [Int], to depth: Int) {
    while path.count > depth { skips[path.removeLast()] = Int32(bytes.count) }
  }

  /// The bytes of an id, empty if it has none.
  func bytes(of id: Int32) -> ArraySlice<UInt8> {
    guard id >= 0, Int(id) + 1 < textStarts.count else { return [] }
    return text[textStarts[Int(id)]..<textStarts[Int(id) + 1]]
  }

  /// Calls `body` with the ids of every node that `automaton` reaches from `state`, and the state reached.
  func walk(
    _ automaton: inout LazyAutomaton, from state: Int32,
    _ body: (_ ids: ArraySlice<Int32>, _ next: Int32, _ isEasy: Bool) -> Void
  ) throws {
    var path = [Int32](repeating: state, count: deepest + 1)
    var node = 0
    while node < bytes.count {
      let depth = Int(depths[node])
      let next = try automaton.step(path[depth - 1], bytes[node])
      if next == LazyAutomaton.dead {
        node = Int(skips[node])
        continue
      }
      path[depth] = next
      let first = Int(starts[node])
      let last = Int(starts[node + 1])
      if last > first { body(ids[first..<last], next, automaton.isEasy[Int(next)]) }
      node += 1
    }
  }
}
