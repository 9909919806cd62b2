import AttuneTensor
import Core
import Foundation

/// The head of a reward model: from a token's hidden state to one number, or to one for each label.
///
/// Two layouts are read. `…ForSequenceClassification` of transformers: `score.weight` `[labels, hidden]`, seldom with a
/// bias, among the model's weights. The value head of TRL (`AutoModelForCausalLMWithValueHead`), as ms-swift and
/// LLaMA-Factory write it too: `v_head.summary.weight` `[1, hidden]` and `v_head.summary.bias` `[1]`, in
/// `value_head.safetensors` or among the weights.
public struct ScoreHead: Sendable {
  /// Where the head came from, which also says at which token it is read.
  public enum Layout: Sendable {
    /// Read at the last token that is not the padding token.
    case classification
    /// Read at the last token.
    case value
  }

  public let layout: Layout
  /// The file or folder that holds it.
  public let place: String
  /// `[labels][hidden]`.
  private let rows: [[Float]]
  /// `[labels]`.
  private let bias: [Float]

  public var labelCount: Int { rows.count }

  private static let valueFile = "value_head.safetensors"
  private static let valueNames = ["v_head.summary", "v_head", "summary"]

  /// Reads the head that stands beside or in a checkpoint's weights.
  ///
  /// - Parameter hidden: the width of the model's hidden states.
  /// - Throws: `.request` if there is none, or its tensors do not fit the model.
  public static func load(folder: String, hidden: Int, on backend: any Backend) throws -> ScoreHead {
    let path = folder + "/" + valueFile
    if FileManager.default.fileExists(atPath: path) {
      let file = try SafeTensors(path)
      guard let name = valueNames.first(where: { file.entry($0 + ".weight") != nil }) else {
        throw AttuneError.request(
          "there is no v_head.summary.weight in the value head's file; it has "
            + (file.entries.isEmpty ? "nothing" : file.entries.prefix(4).map(\.name).joined(separator: ", ")),
          at: .init(file: path))
      }
      return try ScoreHead(.value, name, hidden: hidden, place: path) {
        file.entry($0)?.shape
      } values: {
        try file.floats($0)
      }
    }
    let weights = try SafeTensorsFolder(folder)
    let names = ["score"] + valueNames.dropLast()
    guard let name = names.first(where: { weights.entry($0 + ".weight") != nil }) else {
      throw AttuneError.request(
        "this checkpoint has no reward head: neither score.weight among its weights nor \(valueFile) beside them",
        at: .init(file: folder),
        hint: "a reward model is a checkpoint of …ForSequenceClassification, or one with TRL's value head; "
          + "a model that answers in words is a judge")
    }
    return try ScoreHead(name == "score" ? .classification : .value, name, hidden: hidden, place: folder) {
      weights.entry($0)?.shape
    } values: { name in
      backend.floats(try weights.tensor(name, shape: weights.entry(name)?.shape ?? [], on: backend))
    }
  }

  private init(
    _ layout: Layout, _ name: String, hidden: Int, place: String, shape: (String) -> [Int]?,
    values: (String) throws -> [Float]
  ) throws {
    let (weight, biasName) = (name + ".weight", name + ".bias")
    guard let size = shape(weight), size.count == 2, size[0] > 0, size[1] == hidden, layout != .value || size[0] == 1
    else {
      throw AttuneError.request(
        "\(weight) has shape \(shape(weight) ?? []), expected [\(layout == .value ? "1" : "labels"), \(hidden)]",
        at: .init(file: place), hint: "head and model must be of the same checkpoint")
    }
    let flat = try values(weight)
    rows = (0..<size[0]).map { Array(flat[$0 * hidden..<($0 + 1) * hidden]) }
    if let length = shape(biasName) {
      guard length == [size[0]] else {
        throw AttuneError.request("\(biasName) has shape \(length), expected [\(size[0])]", at: .init(file: place))
      }
      bias = try values(biasName)
    } else {
      bias = [Float](repeating: 0, count: size[0])
    }
    for value in flat + bias where !value.isFinite {
      throw AttuneError.request("\(weight) or \(biasName) holds \(value)", at: .init(file: place))
    }
    self.layout = layout
    self.place = place
  }

  /// The score of one hidden state, `[hidden]`: products in f64, added in ascending order.
  public func score(_ hidden: ArraySlice<Float>, label: Int) -> Double {
    var sum = 0.0
    for (x, w) in zip(hidden, rows[label]) { sum += Double(x) * Double(w) }
    return sum + Double(bias[label])
  }
}
