import Core
import Foundation

/// What turns pictures (and films) into a model's inputs, chosen by the files of a checkpoint's folder.
public enum PictureProcessor: Sendable, Equatable {
  /// Qwen's patches; films only where the family has a processor for them here.
  case qwen(QwenPictureProcessor, QwenVideoProcessor?)
  /// DeepSeek-VL2's views and tiles.
  case tiles(TilePictureProcessor)

  /// Reads the processor's files of a checkpoint's folder, and nothing else: `processor_config.json` with the class
  /// `DeepseekVLV2Processor` means tiles, else it is Qwen's.
  ///
  /// - Throws: `AttuneError` (`.request`) with file and line: no processor, an unknown one, numbers that make no sense.
  public init(folder: String) throws {
    let path = folder + "/processor_config.json"
    if let bytes = FileManager.default.contents(atPath: path) {
      let whole = try JSON.parse(bytes, file: path)
      let kind = whole["processor_class"]?.string
      if let kind, TilePictureProcessor.supportedKinds.contains(kind) {
        self = .tiles(try TilePictureProcessor(configuration: whole, file: path))
        return
      }
    }
    self = .qwen(try QwenPictureProcessor(folder: folder), try QwenVideoProcessor.load(folder: folder))
  }
}
