import AttuneTensor
import Core
import Foundation
import Models
import Rewards
import Synchronization

/// Makes rewards of checkpoint folders, scored by this program's own engine.
public struct CheckpointRewards: RewardModelLoader {
  private let threads: Int

  /// - Parameter threads: 0 takes all cores.
  public init(threads: Int) { self.threads = threads }

  public func load(_ specification: RewardSpecification, folder: String) throws -> any PluginReward {
    try ModelReward(specification, folder: folder, threads: threads)
  }
}

/// A reward model: a checkpoint with a head that scores a prompt with its completion.
///
/// Safety: the model is used by the holder of the lock.
final class ModelReward: PluginReward, @unchecked Sendable {
  let name: String
  let descriptor: RewardDescriptor
  private let label: Int
  private let format: RewardModel.Format
  private let hasSigmoid: Bool
  private let longest: Int?
  private let rows: Int
  private let lock = Mutex<Void>(())
  private var model: RewardModel?

  static let parameters: [RewardParameter] = [
    .string("dtype", default: "f32", "type of weights and activations: f32 or bf16"),
    .number("label", default: 0, in: 0...1e6, "which of the head's numbers is the score, from 0"),
    .string("activation", default: "none", "none, or sigmoid: the score lies between 0 and 1"),
    .string(
      "format", default: "auto",
      "chat: the messages by the model's own template; text: prompt and completion as they are; auto: chat where possible"
    ),
    .number(
      "max_length", default: 0, in: 0...1e9,
      "tokens of prompt and completion; longer samples are invalid; 0: as many as the model was made for"),
    .number("batch", default: 4096, in: 1...1e9, "tokens that are computed at once; no score depends on it"),
  ]

  init(_ specification: RewardSpecification, folder: String, threads: Int) throws {
    name = specification.name
    let given = try Self.parameters.complete(specification.parameters, reward: name, file: specification.file)
    func choice<T: RawRepresentable & CaseIterable>(_ key: String, _ type: T.Type) throws -> T
    where T.RawValue == String {
      let word = given[key]?.string ?? ""
      if let value = T(rawValue: word) { return value }
      let words = T.allCases.map(\.rawValue)
      throw Self.wrong(
        key, "is '\(word)', \(words.joined(separator: " or ")) was expected", specification, given[key],
        hint: nearestName(to: word, among: words).map { "did you mean '\($0)'?" })
    }
    func whole(_ key: String) throws -> Int {
      guard let value = given[key]?.int else {
        throw Self.wrong(
          key, "is \(given[key]?.text() ?? "nothing"), a whole number was expected", specification, given[key])
      }
      return value
    }
    let precision: Precision = try choice("dtype", Recipe.Precision.self) == .bf16 ? .bf16 : .full
    format = try choice("format", RewardModel.Format.self)
    hasSigmoid = try choice("activation", Activation.self) == .sigmoid
    label = try whole("label")
    rows = try whole("batch")
    let limit = try whole("max_length")
    let model = try RewardModel(folder: folder, backend: CPUBackend(threads: threads), precision: precision)
    guard label < model.head.labelCount else {
      throw Self.wrong(
        "label",
        "is \(label), but the head has \(model.head.labelCount == 1 ? "one number" : "\(model.head.labelCount) numbers")"
          + ", counted from 0", specification, given["label"])
    }
    if format == .chat, model.policy.template == nil {
      throw Self.wrong(
        "format", "is chat, but the model has no chat template", specification, given["format"], hint: "format: text")
    }
    longest = limit > 0 ? limit : model.longest
    self.model = model
    descriptor = RewardDescriptor(
      ofHost: folder, kind: "reward model", reward: (folder as NSString).lastPathComponent,
      summary: "\(model.architecture), \(model.head.layout == .value ? "value head" : "label \(label)")",
      isDeterministic: true, needsImages: model.policy.takesPictures, range: hasSigmoid ? 0...1 : nil,
      parameters: Self.parameters)
  }

  private enum Activation: String, CaseIterable { case none, sigmoid }

  private static func wrong(
    _ key: String, _ what: String, _ specification: RewardSpecification, _ value: JSON?, hint: String? = nil
  ) -> AttuneError {
    .request(
      "the parameter '\(key)' of the reward \(specification.name) \(what)",
      at: specification.file.map { value?.location(in: $0) ?? .init(file: $0) }, hint: hint)
  }

  func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome] {
    try lock.withLock { _ in
      guard let model else { throw AttuneError.work("the reward \(name) was closed") }
      var outcomes: [RewardOutcome] = []
      var places: [Int] = []
      var sequences: [RewardModel.Sequence] = []
      for (i, sample) in samples.enumerated() {
        do {
          let sequence = try model.sequence(sample, format)
          if let longest, sequence.encoded.ids.count > longest {
            throw AttuneError.work(
              "prompt and completion have \(sequence.encoded.ids.count) tokens, the model takes \(longest)")
          }
          sequences.append(sequence)
          places.append(i)
          outcomes.append(.none(.failed, "not scored"))
        } catch {
          let words = (error as? AttuneError).map { $0.message + ($0.hint.map { "; \($0)" } ?? "") } ?? "\(error)"
          outcomes.append(.none(.invalid, words))
        }
      }
      let scores = model.scores(sequences, label: label, rows: rows)
      for (place, (sequence, raw)) in zip(places, zip(sequences, scores)) {
        outcomes[place] = outcome(raw, tokens: sequence.count)
      }
      return outcomes
    }
  }

  private func outcome(_ raw: Double, tokens: Int) -> RewardOutcome {
    guard raw.isFinite else { return .none(.invalid, "the model's score is \(raw)") }
    let score = hasSigmoid ? 1 / (1 + PortableMath.exp(-raw)) : raw
    return RewardOutcome(
      score: score, status: .ok, components: hasSigmoid ? [("logit", raw)] : [], log: "read at token \(tokens)")
  }

  func close() { lock.withLock { _ in model = nil } }
}
