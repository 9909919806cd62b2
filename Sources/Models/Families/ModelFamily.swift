/// An architecture of checkpoints, by the `model_type` of `config.json`: one file each in this folder says how its
/// configuration reads. What the families share (decoder, attention, experts, vision towers) they share as layers.
public struct ModelFamily: Sendable, Equatable {
  /// `model_type`.
  public let name: String
  /// transformers' class for sequence classification; nil where it has none.
  public let classifier: String?
  let read: @Sendable (ModelFamily, ConfigurationReader) throws -> ModelConfiguration

  init(
    _ name: String, classifier: String? = nil,
    _ read: @escaping @Sendable (ModelFamily, ConfigurationReader) throws -> ModelConfiguration
  ) {
    self.name = name
    self.classifier = classifier
    self.read = read
  }

  public static func == (a: ModelFamily, b: ModelFamily) -> Bool { a.name == b.name }

  /// Every family that there is.
  public static let all: [ModelFamily] = [
    llama, qwen2, qwen3, qwen3MoE, deepSeekV2, qwen3VL, qwen3VLMoE, deepSeekVL2,
  ]
}
