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
  /// The completions' tokens, tree after tree and completion after completion. A tree with an odd number of them is followed
  /// by one that belongs to no completion.
  public let targets: [Int32]
  /// One range of `targets` per completion.
  public let completionRanges: [Range<Int>]

  /// Packs trees. A completion's last token predicts nothing, so it takes no row.
  ///
  /// Every tree takes an even number of rows and of targets, if need be with one that nothing depends on: a bf16 sum over
  /// tokens adds them in pairs, and pairs that straddled two trees would make a gradient depend on how a batch is cut.
  /// - Parameter firstTree: the first tree's number within the update, for dropout.
  public init(_ trees: [PromptTree], firstTree: Int = 0) {
    var forest = Forest()
    var places: [RowPlace] = []
    var ids: [Int32] = []
    var positions: [TokenPosition] = []
    var pictures: [PictureInput] = []
    var pictureRows: [Int32] = []
    var predicting: [Int32] = []
    var targets: [Int32] = []
    var ranges: [Range<Int>] = []
    for (number, tree) in zip(firstTree..., trees) {
      let root = forest.append(count: tree.prompt.ids.count)
      let start = forest.segments[root].start
      ids += tree.prompt.ids
      positions += tree.prompt.positions
      pictures += tree.prompt.pictures.enumerated().map { index, picture in
        var placed = picture
        placed.origin = RowPlace(tree: number, row: index << 20)
        return placed
      }
      pictureRows += tree.prompt.pictureRows.map { $0 + Int32(start) }
      let lastOfPrompt = Int32(start + tree.prompt.ids.count - 1)
      for completion in tree.completions {
        let first = targets.count
        if completion.count > 1 {
          let child = forest.append(count: completion.count - 1, parent: root)
          let row = Int32(forest.segments[child].start)
          ids += completion.dropLast()
          positions += (0..<completion.count - 1).map { TokenPosition(tree.prompt.nextPosition + $0) }
          predicting.append(lastOfPrompt)
          predicting += (0..<Int32(completion.count - 1)).map { row + $0 }
        } else if completion.count == 1 {
          predicting.append(lastOfPrompt)
        }
        targets += completion
        ranges.append(first..<targets.count)
      }
      if ids.count % 2 != 0 {
        forest.append(count: 1, parent: root)
        ids.append(tree.prompt.ids[0])
        positions.append(TokenPosition(tree.prompt.nextPosition))
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
  }
}
