import AttuneTensor
import Core
import Foundation

/// The head of a reward model or a critic: from a token's hidden state to one number, or to one for each label.
///
/// Two layouts are read and written. `…ForSequenceClassification` of transformers: `score.weight` `[labels, hidden]`, seldom with
/// a bias, among the model's weights. The value head of TRL (`AutoModelForCausalLMWithValueHead`), as ms-swift and
/// LLaMA-Factory write it too: `v_head.summary.weight` `[1, hidden]` and `v_head.summary.bias` `[1]`, in
/// `value_head.safetensors` or among the weights.
///
/// Frozen until `setTrainable`. Not for use by two threads at once.
public final class ScoreHead {
  /// Where the head is kept, which also says at which token a sequence's score is read.
  public enum Layout: String, Sendable {
    /// Read at the last token that is not the padding token.
    case classification
    /// Read at the last token.
    case value

    var name: String { self == .classification ? "score" : "v_head.summary" }
  }

  public let layout: Layout
  /// The file or folder that holds it; nil for a fresh one.
  public let place: String?
  /// `[labels, hidden]`, by the name under which it is written.
  public let weight: Parameter
  /// `[labels]`.
  public let bias: Parameter?
  private let backend: any Backend

  public var labelCount: Int { weight.shape[0] }
  public var parameters: [Parameter] { [weight] + [bias].compactMap { $0 } }

  private init(
    _ layout: Layout, place: String?, weight: [Float], bias: [Float]?, hidden: Int, on backend: any Backend
  ) {
    func parameter(_ kind: String, _ values: [Float], _ shape: [Int]) -> Parameter {
      Parameter(
        name: layout.name + kind, value: backend.upload(values, shape), precision: .full, trainable: false,
        backend: backend)
    }
    self.layout = layout
    self.place = place
    self.backend = backend
    self.weight = parameter(".weight", weight, [weight.count / hidden, hidden])
    self.bias = bias.map { parameter(".bias", $0, [$0.count]) }
  }

  /// A fresh head for one label: weights normal, by the seed alone; a value head's bias zero.
  ///
  /// - Parameters:
  ///   - hidden: the width of the model's hidden states.
  ///   - deviation: of the weights. 0.02, or a checkpoint's `initializer_range`, is how transformers starts a `score` that a
  ///     checkpoint lacks, and so where TRL's reward models start: first scores are small beside what a pair's loss asks for, and
  ///     its learning rates carry over. (1/√(hidden + 1) of 2009.01325 starts with scores about one.)
  public convenience init(
    fresh layout: Layout, hidden: Int, seed: UInt64, deviation: Double = 0.02, on backend: any Backend
  ) {
    var stream = Randomness(seed: seed, for: .initialization).stream(named: layout.name + ".weight")
    self.init(
      layout, place: nil, weight: (0..<hidden).map { _ in Float(stream.normal() * deviation) },
      bias: layout == .value ? [0] : nil, hidden: hidden, on: backend)
  }

  public func setTrainable(_ trainable: Bool) {
    for parameter in parameters { parameter.setTrainable(trainable) }
  }

  // MARK: Scores

  /// The scores of hidden states `[rows, hidden]`: `[rows, labels]`, f32, rounded from sums in f64. A row's has the same bits in
  /// any company; gradients flow to the hidden states, the weight and the bias.
  public func scores(_ tape: Tape, _ hidden: Tensor) -> Tensor { tape.scores(hidden, weight, bias: bias) }

  /// One label's scores of hidden states `[rows, hidden]`, before they are rounded.
  public func scores(_ hidden: Tensor, label: Int) -> [Double] {
    let all = backend.doubles(backend.wideScores(hidden, weight.value, bias: bias?.value))
    return stride(from: label, to: all.count, by: labelCount).map { all[$0] }
  }

  // MARK: Files

  /// TRL's file beside the weights.
  public static let valueFile = "value_head.safetensors"
  private static let valueNames = ["v_head.summary", "v_head", "summary"]

  /// Reads the head that stands beside or in a checkpoint's weights.
  ///
  /// - Parameter hidden: the width of the model's hidden states.
  /// - Throws: `.request` if there is none, or its tensors do not fit the model.
  public static func load(folder: String, hidden: Int, on backend: any Backend) throws -> ScoreHead {
    if let head = try find(folder: folder, hidden: hidden, on: backend) { return head }
    throw AttuneError.request(
      "this checkpoint has no reward head: neither score.weight among its weights nor \(valueFile) beside them",
      at: .init(file: folder),
      hint: "a reward model is a checkpoint of …ForSequenceClassification, or one with TRL's value head; "
        + "a model that answers in words is a judge")
  }

  /// Reads the head that stands beside or in a checkpoint's weights; nil if there is none.
  ///
  /// - Throws: `.request` if its tensors do not fit the model.
  public static func find(folder: String, hidden: Int, on backend: any Backend) throws -> ScoreHead? {
    if let head = try findValueFile(folder: folder, hidden: hidden, on: backend) { return head }
    let weights = try SafeTensorsFolder(folder)
    let names = ["score"] + valueNames.dropLast()
    guard let name = names.first(where: { weights.entry($0 + ".weight") != nil }) else { return nil }
    return try read(name == "score" ? .classification : .value, name, hidden: hidden, place: folder, on: backend) {
      weights.entry($0)?.shape
    } values: { name in
      backend.floats(try weights.tensor(name, shape: weights.entry(name)?.shape ?? [], on: backend))
    }
  }

  /// Reads TRL's file of a folder; nil if there is none.
  ///
  /// - Throws: `.request` if its tensors do not fit the model.
  public static func findValueFile(folder: String, hidden: Int, on backend: any Backend) throws -> ScoreHead? {
    let path = folder + "/" + valueFile
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let file = try SafeTensors(path)
    guard let name = valueNames.first(where: { file.entry($0 + ".weight") != nil }) else {
      throw AttuneError.request(
        "there is no v_head.summary.weight in the value head's file; it has "
          + (file.entries.isEmpty ? "nothing" : file.entries.prefix(4).map(\.name).joined(separator: ", ")),
        at: .init(file: path))
    }
    return try read(.value, name, hidden: hidden, place: path, on: backend) {
      file.entry($0)?.shape
    } values: {
      try file.floats($0)
    }
  }

  private static func read(
    _ layout: Layout, _ name: String, hidden: Int, place: String, on backend: any Backend, shape: (String) -> [Int]?,
    values: (String) throws -> [Float]
  ) throws -> ScoreHead {
    let (weightName, biasName) = (name + ".weight", name + ".bias")
    guard let size = shape(weightName), size.count == 2, size[0] > 0, size[1] == hidden,
      layout != .value || size[0] == 1
    else {
      throw AttuneError.request(
        "\(weightName) has shape \(shape(weightName) ?? []), expected [\(layout == .value ? "1" : "labels"), \(hidden)]",
        at: .init(file: place), hint: "head and model must be of the same checkpoint")
    }
    let weight = try values(weightName)
    var bias: [Float]?
    if let length = shape(biasName) {
      guard length == [size[0]] else {
        throw AttuneError.request("\(biasName) has shape \(length), expected [\(size[0])]", at: .init(file: place))
      }
      bias = try values(biasName)
    }
    for value in weight + (bias ?? []) where !value.isFinite {
      throw AttuneError.request("\(weightName) or \(biasName) holds \(value)", at: .init(file: place))
    }
    return ScoreHead(layout, place: place, weight: weight, bias: bias, hidden: hidden, on: backend)
  }
  /// True for the names of a head's tensors among a model's weights.
  public static func isPart(_ name: String) -> Bool {
    ([Layout.classification.name] + valueNames.dropLast()).contains { name == $0 + ".weight" || name == $0 + ".bias" }
  }

  /// The head's tensors for a checkpoint's file, f32 whatever the model's weights are written in: the scores that are read back are
  /// the very ones.
  public var written: [WrittenTensor] {
    parameters.map { parameter in
      WrittenTensor(parameter.name, .f32, parameter.shape, from: backend) { parameter.value }
    }
  }

  /// Writes TRL's file for a value head; for another head or none removes what stood there.
  public static func writeValueFile(_ head: ScoreHead?, folder: String) throws {
    let path = folder + "/" + valueFile
    if let head, head.layout == .value {
      try SafeTensors.write(head.written, to: path)
    } else if FileManager.default.fileExists(atPath: path) {
      try FileManager.default.removeItem(atPath: path)
    }
  }

  /// Takes the values of another head of the same shape.
  public func setValues(of other: ScoreHead) {
    precondition(other.layout == layout, "values of a head of another layout")
    weight.setValue(other.weight.value)
    if let bias { bias.setValue(other.bias?.value ?? backend.zeros(bias.shape, .f32)) }
  }
}
