/// Which experts the tokens of a batch go to, as rows sorted by expert: what the operations of a mixture of experts share.
///
/// An expert's rows stand together, its tokens ascending. What a token computes does not depend on the rows beside its own.
public struct ExpertPlan: Sendable {
  public let experts: Int
  /// Experts of one token.
  public let choices: Int
  /// Token t goes to experts `chosen[t * choices ..< (t + 1) * choices]`, ascending.
  public let chosen: [Int32]
  /// Rows of expert e: `offsets[e] ..< offsets[e + 1]`.
  public let offsets: [Int32]
  /// Every row's token; −1 for a row of no token, which is zero.
  public let tokens: [Int32]
  /// Every row's place in `chosen`; −1 for a row of no token.
  public let slots: [Int32]
  /// The row of each choice, `[tokens, choices]`.
  public let places: [Int32]

  /// - Parameters:
  ///   - chosen: `[tokens, choices]`, ascending for each token.
  ///   - evenWithin: the first token of each tree, where sums over tokens run in pairs (bf16 weight gradients): every
  ///     expert then takes an even number of rows from each tree, if need be with one of no token. Pairs that straddled two
  ///     trees would make a gradient depend on how a batch is cut.
  public init(chosen: [Int32], choices: Int, experts: Int, evenWithin trees: [Int]? = nil) {
    precondition(choices > 0 && chosen.count % choices == 0, "\(chosen.count) choices, \(choices) for each token")
    let count = chosen.count / choices
    let starts = trees ?? [0]
    precondition(starts.first ?? 0 == 0, "the first tree begins at token \(starts[0])")
    func eachTree(_ body: (Range<Int>) -> Void) {
      for (i, start) in starts.enumerated() {
        body(start * choices..<(i + 1 < starts.count ? starts[i + 1] : count) * choices)
      }
    }
    var ends = [Int32](repeating: 0, count: experts + 1)
    func closeTree() {
      guard trees != nil else { return }
      for e in ends.indices { ends[e] += ends[e] & 1 }
    }
    eachTree { slots in
      for slot in slots {
        precondition(chosen[slot] >= 0 && chosen[slot] < experts, "expert \(chosen[slot]) of \(experts)")
        ends[Int(chosen[slot]) + 1] += 1
      }
      closeTree()
    }
    for e in 0..<experts { ends[e + 1] += ends[e] }
    let offsets = ends
    var tokens = [Int32](repeating: -1, count: Int(offsets[experts]))
    var rowSlots = tokens
    var places = [Int32](repeating: 0, count: chosen.count)
    // From here on `ends` holds each expert's next row.
    eachTree { slots in
      for slot in slots {
        let row = ends[Int(chosen[slot])]
        ends[Int(chosen[slot])] += 1
        tokens[Int(row)] = Int32(slot / choices)
        rowSlots[Int(row)] = Int32(slot)
        places[slot] = row
      }
      closeTree()
    }
    active = (0..<experts).filter { offsets[$0] < offsets[$0 + 1] }
    self.experts = experts
    self.choices = choices
    self.chosen = chosen
    self.offsets = offsets
    self.tokens = tokens
    self.slots = rowSlots
    self.places = places
  }

  public var tokenCount: Int { chosen.count / choices }
  public var rowCount: Int { tokens.count }

  public func rows(of expert: Int) -> Range<Int> { Int(offsets[expert])..<Int(offsets[expert + 1]) }

  /// Experts that have rows, ascending.
  public let active: [Int]
}

extension AttentionPlan {
  /// The first query row of each tree.
  public var treeStarts: [Int] { treeRuns.dropLast().map { Int(runQuery[Int($0)]) } }
}
