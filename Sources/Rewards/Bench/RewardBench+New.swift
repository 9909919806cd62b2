import Core
import Foundation

extension RewardBench {
  /// Writes a folder with a reward that builds and scores at once: the source, `cases.jsonl`, a README.
  ///
  /// - Parameter folder: nil means a folder with the reward's name.
  /// - Returns: the paths of the files, the source first.
  /// - Throws: `AttuneError` if the name is no identifier or one of the files is already there.
  @discardableResult
  public static func new(name: String, language: PluginCompiler.Language, folder: String? = nil) throws -> [String] {
    let lowered = name.lowercased().replacingOccurrences(of: "-", with: "_")
    guard let first = name.unicodeScalars.first, (0x61...0x7A).contains(first.value),
      name.unicodeScalars.allSatisfy({
        (0x61...0x7A).contains($0.value) || (0x30...0x39).contains($0.value) || $0 == "_"
      })
    else {
      throw AttuneError.request(
        "'\(name)' cannot be a reward's name, expected lower-case letters, digits and _, beginning with a letter",
        hint: lowered != name ? "did you mean '\(lowered)'?" : nil)
    }
    let folder = folder ?? name
    let files: [(String, String)] = [
      ("\(name).\(language.rawValue)", language == .c ? cSource(name) : swiftSource(name)), ("cases.jsonl", cases),
      ("README.md", readme(name, language)),
    ]
    for (file, _) in files where FileManager.default.fileExists(atPath: "\(folder)/\(file)") {
      throw AttuneError.request("\(folder)/\(file) is already there", hint: "choose another name or another folder")
    }
    try PluginCompiler.makeFolder(folder)
    for (file, text) in files {
      guard FileManager.default.createFile(atPath: "\(folder)/\(file)", contents: Data(text.utf8)) else {
        throw AttuneError.work("\(folder)/\(file) cannot be written")
      }
    }
    return files.map { "\(folder)/\($0.0)" }
  }

  static func typeName(_ name: String) -> String {
    name.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
  }

  private static func cSource(_ name: String) -> String {
    """
    #include "attune_reward.h"

    #include <string.h>

    // `sample` is the completion with its prompt and its row of the data set, `call` leads to columns, parameters and logs.
    ATTUNE_REWARD(\(name), "1 if the completion holds the reference, 0 if it does not") {
      if (!sample->reference.data) return attune_none();  // no opinion
      const bool found = strstr(sample->completion.data, sample->reference.data) != NULL;
      attune_component_add(call, "found", found);
      attune_log(call, found ? "found " : "did not find ");
      attune_log_string(call, sample->reference);
      return found ? 1 : 0;
    }

    """
  }

  private static func swiftSource(_ name: String) -> String {
    """
    import RewardKit

    /// 1 if the completion holds the reference, 0 if it does not.
    struct \(typeName(name)): Reward {
      static let name = "\(name)"
      static let summary = "1 if the completion holds the reference, 0 if it does not"

      func score(_ sample: Sample) throws -> Score? {
        guard let reference = sample.reference else { return nil }  // no opinion
        let found = reference.isEmpty || sample.completion.contains(reference)
        return Score(found ? 1 : 0, components: ["found": found ? 1 : 0], log: (found ? "found " : "did not find ") + reference)
      }
    }

    @c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(\(typeName(name)).self) }

    """
  }

  private static let cases = """
    {"prompt": "What is 6 times 7?", "completion": "It is 42.", "reference": "42", "expected": {"reward": 1, "components": {"found": 1}}}
    {"prompt": "What is 6 times 7?", "completion": "It is 41.", "reference": "42", "expected": {"reward": 0, "log": "did not find 42"}}
    {"prompt": "What is 6 times 7?", "completion": "It is 42.", "expected": {"reward": null, "status": "not_applicable"}}

    """

  private static func readme(_ name: String, _ language: PluginCompiler.Language) -> String {
    let source = "\(name).\(language.rawValue)"
    return """
      # \(name)

      What it rewards: 1 if the completion holds the reference, 0 if it does not; no opinion without a reference.

      ```sh
      attune reward check \(source)                    # the validator: rules of the interface, and cases.jsonl
      attune reward try \(source) --input cases.jsonl  # score, components and log of every line
      ```

      In a recipe:

      ```yaml
      rewards:
        - {name: \(name), source: \(source), weight: 1.0}
      ```

      """
  }
}
