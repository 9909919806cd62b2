import AttuneTensor
import Core
import Foundation
import Models

extension Policy {
  /// Bytes of a shard unless something else is asked for: 5 GB.
  public static let shardSize = 5_000_000_000

  /// Files of the folder that are not weights and travel with the model; `config.json` is written anew.
  private static let companions = [
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
  ]

  /// Writes a checkpoint in Hugging Face's layout, the active adapter folded in: one file, or shards and their index.
  ///
  /// Weights are of one type, which `config.json` names (a score head apart); tensors of the original that the model has no place for are carried
  /// over as they are. The weights appear last, so a folder in which writing stopped midway is refused by whoever reads it.
  ///
  /// - Parameters:
  ///   - shardSize: bytes of a file at most; a tensor that is larger has a file of its own.
  ///   - dtype: f32 or bf16; nil takes f32, or bf16 when products are bf16.
  ///   - scoreHead: the head of a reward model or critic: a classifier's is among the weights, which `config.json` says, a value
  ///     head in TRL's file beside them. It is f32.
  ///   - padding: the token that fills a classifier's batches up, behind which it is not read.
  /// - Throws: `.request` if the target is the model's own folder.
  public func save(
    to target: String, shardSize: Int = Policy.shardSize, dtype: DType? = nil, scoreHead: ScoreHead? = nil,
    padding: Int32? = nil
  ) throws {
    let files = FileManager.default
    try files.createDirectory(atPath: target, withIntermediateDirectories: true)
    func real(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
    guard real(target) != real(folder) else {
      throw AttuneError.request(
        "the checkpoint would be written over the one that it is made from", at: .init(file: target),
        hint: "name another folder")
    }
    let dtype = dtype ?? model.writtenDType
    try SafeTensors.removeWeights(in: target)
    for name in Policy.companions {
      let path = folder + "/" + name
      if files.fileExists(atPath: path) {
        try AtomicFile.write(target + "/" + name, bytes: MappedFile.read(path))
      } else {
        // Of another checkpoint that stood here.
        try? files.removeItem(atPath: target + "/" + name)
      }
    }
    var config = model.configuration.json(for: dtype)
    if model.adapterUntiesHead { config = untied(config) }
    let isClassifier = scoreHead?.layout == .classification
    if isClassifier { config = model.configuration.classifier(config, padding: padding) }
    try AtomicFile.write(target + "/config.json", text: config.text(.pretty) + "\n")
    try ScoreHead.writeValueFile(scoreHead, folder: target)
    var tensors = try model.writtenWeights(as: dtype)
    tensors += source.unusedToWrite().filter { scoreHead == nil || !ScoreHead.isPart($0.name) }
    if let scoreHead, isClassifier { tensors += scoreHead.written }
    try SafeTensors.write(tensors, toFolder: target, shardSize: shardSize)
  }

  /// The configuration of a model whose head an adapter has told apart from its embedding.
  private func untied(_ config: JSON) -> JSON {
    var object = config.object ?? JSON.Object()
    object["tie_word_embeddings"] = false
    for (key, value) in object.entries {
      guard var inner = value.object, inner["tie_word_embeddings"] != nil else { continue }
      inner["tie_word_embeddings"] = false
      object[key] = JSON(.object(inner))
    }
    return JSON(.object(object))
  }
}
