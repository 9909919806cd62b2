import AttuneTensor

/// A packed batch as models take it: flat tokens, who sees whom, and pictures with the places of their features.
public struct PackedBatch: Sendable {
  public var ids: [Int32]
  /// One per token.
  public var positions: [TokenPosition]
  public var plan: AttentionPlan
  /// In the order of their places.
  public var pictures: [PictureInput]
  /// Token rows that take the pictures' merged features, in order.
  public var pictureRows: [Int32]
  /// One per token, for dropout; empty where there is none.
  public var places: [RowPlace] = []

  public init(
    ids: [Int32], positions: [TokenPosition], plan: AttentionPlan, pictures: [PictureInput] = [],
    pictureRows: [Int32] = []
  ) {
    precondition(ids.count == positions.count, "\(positions.count) positions for \(ids.count) tokens")
    self.ids = ids
    self.positions = positions
    self.plan = plan
    self.pictures = pictures
    self.pictureRows = pictureRows
  }
}

/// A prompt ready for the model: ids with picture places expanded, positions, pictures.
public struct EncodedPrompt: Sendable {
  public let ids: [Int32]
  public let positions: [TokenPosition]
  public let pictures: [PictureInput]
  /// Tokens that stand for places of pictures.
  public let pictureRows: [Int32]
  /// Tokens of each picture, in order.
  public let pictureRanges: [Range<Int>]
  /// Position of the token that follows.
  public let nextPosition: Int

  /// The first `count` tokens alone, all pictures among them.
  public func beginning(_ count: Int) -> EncodedPrompt {
    precondition(
      count > 0 && count >= pictureRanges.last?.upperBound ?? 0,
      "\(count) tokens of \(ids.count), of pictures among them")
    guard count < ids.count else { return self }
    return EncodedPrompt(
      ids: Array(ids[..<count]), positions: Array(positions[..<count]), pictures: pictures, pictureRows: pictureRows,
      pictureRanges: pictureRanges, nextPosition: Int(positions[count].time))
  }
}

/// A prompt with the completions that continue it, packed as a root and its children.
public struct PromptTree: Sendable {
  public let prompt: EncodedPrompt
  public let completions: [[Int32]]

  public init(prompt: EncodedPrompt, completions: [[Int32]]) {
    self.prompt = prompt
    self.completions = completions
  }
}

/// A batch of trees, and where each completion token is predicted.
public struct TrainingBatch: Sendable {
  public let batch: PackedBatch
  /// For every target: the row whose hidden state predicts it.
  public let predictingRows: [Int32]
  /// The completions' tokens, tree after tree and completion after completion; before those of a tree the prompt's own, where
  /// they are scored. A tree with an odd number of targets is followed by one that belongs to nothing.
  public let targets: [Int32]
  /// One range of `targets` per completion.
  public let completionRanges: [Range<Int>]
  /// One range of `targets` per tree, the prompt's tokens from the second on; empty unless prompts are scored.
  public let promptRanges: [Range<Int>]
  /// One per completion: the row at which a head reads the sequence of prompt and completion; empty unless last tokens are
  /// read.
  public let lastRows: [Int32]

  /// Packs trees. A completion's last token predicts nothing, so it takes no row unless it is read.
  ///
  /// Every tree takes an even number of rows and of targets, if need be with one that nothing depends on: a bf16 sum over
  /// tokens adds them in pairs, and pairs that straddled two trees would make a gradient depend on how a batch is cut.
  /// - Parameters:
  ///   - firstTree: the first tree's number within the update, for dropout.
  ///   - readsLastTokens: gives each completion's last token a row too; an empty completion is read at the prompt's last token.
  ///   - padding: a token at which no sequence is read unless it has no other: the reading is at the one before.
  ///   - scoresPrompts: makes the tokens of prompts targets too. Places of pictures (`EncodedPrompt.pictureRows`) are among
  ///     them.
  public init(
    _ trees: [PromptTree], firstTree: Int = 0, readsLastTokens: Bool = false, padding: Int32? = nil,
    scoresPrompts: Bool = false
  ) {
    var forest = Forest()
    var places: [RowPlace] = []
    var ids: [Int32] = []
    var positions: [TokenPosition] = []
    var pictures: [PictureInput] = []
    var pictureRows: [Int32] = []
    var predicting: [Int32] = []
    var targets: [Int32] = []
    var ranges: [Range<Int>] = []
    var promptRanges: [Range<Int>] = []
    var lastRows: [Int32] = []
    for (number, tree) in zip(firstTree..., trees) {
      let prompt = tree.prompt
      let root = forest.append(count: prompt.ids.count)
      let start = forest.segments[root].start
      ids += prompt.ids
      positions += prompt.positions
      pictures += prompt.pictures.enumerated().map { index, picture in
        var placed = picture
        placed.origin = RowPlace(tree: number, row: index << 20)
        return placed
      }
      pictureRows += prompt.pictureRows.map { $0 + Int32(start) }
      let lastOfPrompt = Int32(start + prompt.ids.count - 1)
      if scoresPrompts {
        let first = targets.count
        predicting += Int32(start)..<lastOfPrompt
        targets += prompt.ids.dropFirst()
        promptRanges.append(first..<targets.count)
      }
      for completion in tree.completions {
        let first = targets.count
        let rows = readsLastTokens ? completion.count : max(0, completion.count - 1)
        var row = lastOfPrompt
        if rows > 0 {
          let child = forest.append(count: rows, parent: root)
          row = Int32(forest.segments[child].start)
          ids += completion.prefix(rows)
          positions += (0..<rows).map { TokenPosition(prompt.nextPosition + $0) }
        }
        if !completion.isEmpty {
          predicting.append(lastOfPrompt)
          predicting += (0..<Int32(completion.count - 1)).map { row + $0 }
        }
        targets += completion
        ranges.append(first..<targets.count)
        guard readsLastTokens else { continue }
        if let last = completion.lastIndex(where: { $0 != padding }) {
          lastRows.append(row + Int32(last))
        } else {
          lastRows.append(Int32(start + (prompt.ids.lastIndex { $0 != padding } ?? 0)))
        }
      }
      if ids.count % 2 != 0 {
        forest.append(count: 1, parent: root)
        ids.append(prompt.ids[0])
        positions.append(TokenPosition(prompt.nextPosition))
      }
      if targets.count % 2 != 0 {
        predicting.append(lastOfPrompt)
        targets.append(0)
      }
      places += (0..<ids.count - start).map { RowPlace(tree: number, row: $0) }
    }
    var batch = PackedBatch(
      ids: ids, positions: positions, plan: forest.attentionPlan, pictures: pictures, pictureRows: pictureRows)
    batch.places = places
    self.batch = batch
    predictingRows = predicting
    self.targets = targets
    completionRanges = ranges
    self.promptRanges = promptRanges
    self.lastRows = lastRows
  }
}
