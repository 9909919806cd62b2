import Core
/// The header and the Swift kit, carried by the program so that plugins build anywhere.
enum EmbeddedKit {
  /// The files of a kit folder.
  static var files: [(name: String, text: String)] {
    [("module.modulemap", "module CRewardABI {\n  header \"attune_reward.h\"\n  export *\n}\n")]
      + sources.map { (name: $0.name, text: $0.text) }
  }

  /// Changes with every byte of the kit.
  static let hash = SHA256.hex(Array(files.map { $0.name + "\0" + $0.text }.joined(separator: "\0").utf8))
}
