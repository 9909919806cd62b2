import Core

extension ModelConfiguration {
  /// `config.json` of the same model with a `score` head for one label, as transformers' classes for sequence classification have
  /// it.
  ///
  /// - Parameters:
  ///   - config: the model's `config.json`.
  ///   - padding: the token that fills batches up, which those classes need for more than one sequence; nil leaves what is there.
  public func classifier(_ config: JSON, padding: Int32?) -> JSON {
    var object = config.object ?? .init()
    object["architectures"] = [.string(classifierName)]
    object["num_labels"] = 1
    let labels = object["id2label"]?.object
    if labels?.count != 1 {
      object["id2label"] = ["0": "LABEL_0"]
      object["label2id"] = ["LABEL_0": 0]
    }
    if let padding { object["pad_token_id"] = .int(Int(padding)) }
    return JSON(.object(object))
  }

  /// transformers' class, or where it has none what it would be called.
  private var classifierName: String {
    if let known = family.classifier { return known }
    let architectures = json["architectures"]
    let name = architectures?[0]?.string ?? ""
    let endings = ["ForCausalLM", "ForConditionalGeneration", "ForSequenceClassification"]
    let ending = endings.first(where: name.hasSuffix) ?? ""
    return name.dropLast(ending.count) + "ForSequenceClassification"
  }
}
