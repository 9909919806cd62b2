import AttuneTensor
import Core
import Foundation
import Models
import Rewards

/// A checkpoint with a reward head: encodes prompts with their completions, and scores them.
///
/// Sequences that begin alike are computed as one tree: what they share once, and each rest behind it, nothing padded. A
/// sequence's score has the same bits in any company. Not for use by two threads at once.
final class RewardModel {
  /// From what text a sequence is made.
  enum Format: String, CaseIterable {
    /// `chat` where the messages are known and the model has a template, else `text`.
    case auto
    /// Messages with the completion as the assistant's, by the model's own template.
    case chat
    /// The prompt's text and the completion's, one behind the other.
    case text
  }

  let policy: Policy
  let head: ScoreHead
  /// Tokens that the model was made for; nil if its configuration does not say.
  let longest: Int?
  /// A classifier is not read behind the last token other than this one.
  let padding: Int32?

  /// A reward model's checkpoint, to be read.
  ///
  /// - Throws: `.request` naming what is wrong in the folder.
  convenience init(folder: String, backend: any Backend, precision: Precision) throws {
    let policy = try Policy(folder: folder, backend: backend, precision: precision, hasHead: false)
    let configuration = policy.model.configuration
    let head = try CheckpointFolder.explaining(folder) {
      try ScoreHead.load(folder: folder, hidden: configuration.text.hiddenSize, on: backend)
    }
    let padding = head.layout == .classification ? Self.setting("pad_token_id", configuration)?.int : nil
    self.init(policy: policy, head: head, padding: padding.flatMap { Int32(exactly: $0) })
  }

  init(policy: Policy, head: ScoreHead, padding: Int32?) {
    self.policy = policy
    self.head = head
    self.padding = padding
    longest = Self.setting("max_position_embeddings", policy.model.configuration)?.int
  }

  /// A value of `config.json`, of the whole or of its language model.
  static func setting(_ key: String, _ configuration: ModelConfiguration) -> JSON? {
    let json = configuration.json
    let sections = [json, json["text_config"], json["language_config"]]
    return sections.lazy.compactMap { $0?[key] }.first { !$0.isNull }
  }

  /// `Qwen3ForSequenceClassification`, or what the family and the head are called.
  var architecture: String {
    policy.model.configuration.json["architectures"]?[0]?.string ?? policy.model.configuration.family.name
  }

  // MARK: From samples to sequences

  /// One prompt with one completion.
  struct Sequence {
    var encoded: EncodedPrompt
    /// Tokens up to and with the one at which the head is read.
    var count: Int
    /// The pictures of its prompt, by which sequences that share a beginning are told apart.
    var pictures: [Picture]
  }

  /// - Throws: `AttuneError` if the sample cannot be shown to this model.
  func sequence(_ sample: RewardSample, _ format: Format) throws -> Sequence {
    let pictures = sample.images.map(\.picture)
    let isChat = format == .chat || (format == .auto && !sample.messages.isEmpty && policy.template != nil)
    let encoded: EncodedPrompt
    if isChat {
      guard !sample.messages.isEmpty else {
        throw AttuneError.work("the prompt's messages are not known, which format: chat needs")
      }
      var messages = sample.messages.map(\.json)
      messages +=
        sample.completionMessages.isEmpty
        ? [["role": "assistant", "content": .string(sample.completion)]] : sample.completionMessages.map(\.json)
      encoded = try policy.prompt(
        messages: messages, media: PromptMedia(pictures: pictures), addGenerationPrompt: false
      ).encoded
    } else {
      encoded = try policy.encode(
        text: sample.prompt + sample.completion, media: PromptMedia(pictures: pictures), isRaw: true)
    }
    return Sequence(encoded: encoded, count: readCount(encoded.ids), pictures: pictures)
  }

  /// transformers reads a classifier at the rightmost token that is not `pad_token_id`, and at the first if all are.
  private func readCount(_ ids: [Int32]) -> Int {
    guard let padding else { return ids.count }
    return max(1, (ids.lastIndex { $0 != padding } ?? 0) + 1)
  }

  // MARK: From sequences to scores

  /// Some sequences that begin with the same tokens and pictures.
  private struct Tree {
    var members: [Int]
    /// Tokens that all share.
    var shared: Int
  }

  /// One score per sequence.
  ///
  /// - Parameter rows: tokens that are computed at once, more only where a single sequence has more.
  func scores(_ sequences: [Sequence], label: Int, rows: Int) -> [Double] {
    var scores = [Double](repeating: 0, count: sequences.count)
    var batch = PackedSequences()
    func flush() {
      guard !batch.members.isEmpty else { return }
      let tape = Tape(policy.model.backend, recording: false)
      let hidden = tape.gatherRows(policy.model.hidden(tape, batch.packed), batch.lastRows)
      for (member, score) in zip(batch.members, head.scores(hidden, label: label)) { scores[member] = score }
      batch = PackedSequences()
    }
    for tree in trees(of: sequences) {
      for part in parts(of: tree, sequences, rows: rows) {
        let size = tree.shared + part.reduce(0) { $0 + sequences[$1].count - tree.shared }
        if batch.ids.count + size > rows { flush() }
        batch.append(part, of: sequences, shared: tree.shared)
      }
    }
    flush()
    return scores
  }

  private func trees(of sequences: [Sequence]) -> [Tree] {
    var trees: [Tree] = []
    // By the first tokens: enough to tell prompts apart in nearly all cases, and what it does not tell apart shares little.
    var known: [[Int32]: [Int]] = [:]
    for (i, sequence) in sequences.enumerated() {
      let key = Array(sequence.encoded.ids.prefix(min(sequence.count, 8)))
      let home = known[key]?.first { tree in
        let first = sequences[trees[tree].members[0]]
        let needed = [first, sequence].compactMap { $0.encoded.pictureRanges.last?.upperBound }.max() ?? 1
        let shared = self.shared(first, sequence, upTo: trees[tree].shared)
        // What is shared has to hold the pictures, and to be worth a tree: half of what the tree shares already, or half of
        // the shorter of two sequences.
        let least = trees[tree].members.count == 1 ? min(first.count, sequence.count) / 2 : trees[tree].shared / 2
        return shared >= max(needed, least) && first.pictures == sequence.pictures
      }
      if let home {
        trees[home].shared = shared(sequences[trees[home].members[0]], sequence, upTo: trees[home].shared)
        trees[home].members.append(i)
      } else {
        known[key, default: []].append(trees.count)
        trees.append(Tree(members: [i], shared: sequence.count))
      }
    }
    return trees
  }

  func shared(_ a: Sequence, _ b: Sequence, upTo limit: Int) -> Int {
    var count = 0
    let end = min(limit, a.count, b.count)
    while count < end, a.encoded.ids[count] == b.encoded.ids[count] { count += 1 }
    return count
  }

  /// A tree's members in stretches that fit together with what they share.
  private func parts(of tree: Tree, _ sequences: [Sequence], rows: Int) -> [[Int]] {
    var parts: [[Int]] = [[]]
    var size = tree.shared
    for member in tree.members {
      let own = sequences[member].count - tree.shared
      if size + own > rows, !parts[parts.count - 1].isEmpty {
        parts.append([])
        size = tree.shared
      }
      parts[parts.count - 1].append(member)
      size += own
    }
    return parts
  }
}

/// Sequences packed as trees, each of a root and its children.
private struct PackedSequences {
  var members: [Int] = []
  /// For each member the row of its last token.
  var lastRows: [Int32] = []
  private(set) var ids: [Int32] = []
  private var forest = Forest()
  private var positions: [TokenPosition] = []
  private var pictures: [PictureInput] = []
  private var pictureRows: [Int32] = []

  mutating func append(_ part: [Int], of sequences: [RewardModel.Sequence], shared: Int) {
    let first = sequences[part[0]].encoded
    let root = forest.append(count: shared)
    let start = forest.segments[root].start
    ids += first.ids[..<shared]
    positions += first.positions[..<shared]
    pictures += first.pictures
    pictureRows += first.pictureRows.map { $0 + Int32(start) }
    for member in part {
      let sequence = sequences[member]
      members.append(member)
      guard sequence.count > shared else {
        lastRows.append(Int32(start + shared - 1))
        continue
      }
      let child = forest.append(count: sequence.count - shared, parent: root)
      ids += sequence.encoded.ids[shared..<sequence.count]
      positions += sequence.encoded.positions[shared..<sequence.count]
      lastRows.append(Int32(forest.segments[child].start + sequence.count - shared - 1))
    }
  }

  var packed: PackedBatch {
    PackedBatch(
      ids: ids, positions: positions, plan: forest.attentionPlan, pictures: pictures, pictureRows: pictureRows)
  }
}
