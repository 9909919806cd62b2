/// A part of a model that is frozen, or trained at a rate of its own, as a whole.
public enum ModelPart: String, Sendable, CaseIterable {
  /// The picture encoder.
  case vision
  /// What brings its features to the decoder: mergers, projectors and separators.
  case aligner
  /// The decoder with its embedding and head.
  case language

  /// The part of a parameter or module, by the checkpoint's name or that of an adapter's file.
  public init(of name: String) {
    var name = Substring(name)
    for prefix in ["base_model.model.", "model."] where name.hasPrefix(prefix) { name = name.dropFirst(prefix.count) }
    let words = name.split(separator: ".", maxSplits: 2)
    switch words.first {
    case "visual":
      self = words.count > 1 && ["merger", "deepstack_merger_list"].contains(words[1]) ? .aligner : .vision
    case "vision": self = .vision
    case "projector", "image_newline", "view_seperator", "tile_indicators": self = .aligner
    default: self = .language
    }
  }
}
