import Core
import Foundation

/// Finds the folder that a person means by a model's path or name.
public enum CheckpointFolder {
  /// A checkpoint folder for `path`: the folder itself, the snapshot inside a cache folder `models--org--name`, or, for a name
  /// such as `Qwen/Qwen3-0.6B` that is no folder here, its snapshot in Hugging Face's cache on this machine.
  ///
  /// Nothing is downloaded.
  /// - Parameter cache: Hugging Face's cache; nil asks the environment for it as huggingface_hub does.
  /// - Throws: `.request` with what was found instead, and what to give or how to download.
  public static func resolve(_ path: String, cache: String? = nil) throws -> String {
    switch kind(of: path) {
    case .folder: return try inside(path)
    case .file: throw fileError(path)
    case .nothing: return try named(path, cache)
    }
  }

  /// Runs `body`, and adds to an error about a file of `folder` what can be done, if it does not say so itself.
  public static func explaining<R>(_ folder: String, _ body: () throws -> R) throws -> R {
    do { return try body() } catch var error as AttuneError {
      if error.hint == nil, let file = error.location?.file, file.hasPrefix(folder) {
        error.hint = "unless it was edited by hand the file is damaged: copy or download it again"
      }
      throw error
    }
  }

  private enum Kind { case folder, file, nothing }

  private static func kind(of path: String) -> Kind {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return .nothing }
    return isFolder.boolValue ? .folder : .file
  }

  private static func names(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
  }

  private static func fileError(_ path: String) -> AttuneError {
    let folder = (path as NSString).deletingLastPathComponent
    let hasConfiguration = kind(of: (folder.isEmpty ? "." : folder) + "/config.json") == .file
    return .request(
      "this is a file, a checkpoint folder was expected", at: .init(file: path),
      hint: hasConfiguration
        ? "give the folder that it is in: \(folder.isEmpty ? "." : folder)"
        : "a folder with config.json, tokenizer.json and model.safetensors; single-file formats such as GGUF are not read"
    )
  }

  private static let textAndPictureFiles = [
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json", "preprocessor_config.json",
    "processor_config.json",
  ]

  /// A folder that exists: a checkpoint, or a folder of the cache that holds one.
  private static func inside(_ path: String) throws -> String {
    let folder = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    guard kind(of: folder + "/config.json") == .nothing else { return path }
    let found = names(in: folder)
    if found.contains("snapshots") { return try snapshot(of: folder) }
    // Enough for commands that need no weights; the others ask for config.json themselves.
    guard !found.contains(where: textAndPictureFiles.contains) else { return path }
    func refuse(_ what: String, _ hint: String) -> AttuneError {
      .request("there is no config.json; \(what)", at: .init(file: path), hint: hint)
    }
    if found.contains("adapter_config.json") {
      throw refuse("this is an adapter", "give it as --adapter, and the model that it was made for as --model")
    }
    if let model = found.first(where: { $0.hasPrefix("models--") }) {
      throw refuse(
        "this is a cache of several models", "name one: \(folder)/\(model), or by its name \(modelName(of: model))")
    }
    if let sub = found.first(where: { kind(of: "\(folder)/\($0)/config.json") == .file }) {
      throw refuse("there is one in a folder inside", "did you mean \(folder)/\(sub)?")
    }
    throw refuse(
      "a Hugging Face checkpoint folder was expected",
      "download config.json beside the weights; `attune init` writes a small checkpoint")
  }

  // MARK: Hugging Face's cache

  /// `Qwen/Qwen3-0.6B` of `models--Qwen--Qwen3-0.6B`.
  private static func modelName(of folder: String) -> String {
    String((folder as NSString).lastPathComponent.dropFirst("models--".count)).replacing("--", with: "/")
  }

  /// The snapshot that `refs/main` names, or the only one.
  private static func snapshot(of folder: String) throws -> String {
    let all = names(in: folder + "/snapshots")
    if let main = try? String(contentsOfFile: folder + "/refs/main", encoding: .utf8) {
      let commit = main.trimmingCharacters(in: .whitespacesAndNewlines)
      if all.contains(commit) { return try whole(folder + "/snapshots/" + commit) }
    }
    guard let only = all.first, all.count == 1 else {
      throw AttuneError.request(
        all.isEmpty
          ? "this folder of Hugging Face's cache holds no snapshot"
          : "this folder of Hugging Face's cache holds \(all.count) snapshots, and refs/main names none of them",
        at: .init(file: folder),
        hint: all.isEmpty
          ? download(modelName(of: folder))
          : "name one: \(all.map { "\(folder)/snapshots/\($0)" }.joined(separator: ", "))")
    }
    return try whole(folder + "/snapshots/" + only)
  }

  private static func whole(_ snapshot: String) throws -> String {
    guard kind(of: snapshot + "/config.json") == .file else {
      throw AttuneError.request(
        "this snapshot of Hugging Face's cache has no config.json", at: .init(file: snapshot),
        hint: "only a part of the model was downloaded; "
          + download(
            modelName(of: ((snapshot as NSString).deletingLastPathComponent as NSString).deletingLastPathComponent)))
    }
    return snapshot
  }

  /// Where huggingface_hub keeps its cache, by the variables that it reads.
  static func cacheFolder(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
    func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let cache = given("HF_HUB_CACHE") ?? given("HUGGINGFACE_HUB_CACHE") { return cache }
    if let home = given("HF_HOME") { return home + "/hub" }
    let general = given("XDG_CACHE_HOME") ?? (given("HOME") ?? NSHomeDirectory()) + "/.cache"
    return general + "/huggingface/hub"
  }

  /// Whether a text can be a model's name on the Hub: `name` or `organisation/name`.
  static func isModelName(_ text: String) -> Bool {
    let words = text.split(separator: "/", omittingEmptySubsequences: false)
    return (1...2).contains(words.count)
      && words.allSatisfy { word in
        !word.isEmpty && word.first != "." && word.last != "."
          && word.utf8.allSatisfy {
            ("a"..."z").contains(UnicodeScalar($0)) || ("A"..."Z").contains(UnicodeScalar($0))
              || ("0"..."9").contains(UnicodeScalar($0)) || "-_.".unicodeScalars.contains(UnicodeScalar($0))
          }
      }
  }

  /// The snapshot of a model in the cache; nil if the text is no model's name or the cache does not have it.
  public static func cached(_ name: String, cache: String? = nil) throws -> String? {
    let folder = (cache ?? cacheFolder()) + "/models--" + name.replacing("/", with: "--")
    return try isModelName(name) && kind(of: folder) == .folder ? snapshot(of: folder) : nil
  }

  private static func download(_ name: String) -> String {
    let folder = name.split(separator: "/").last.map(String.init) ?? name
    return "download it with `hf download \(name) --local-dir \(folder)` and give the folder"
  }

  private static func named(_ path: String, _ cache: String?) throws -> String {
    if let cached = try cached(path, cache: cache) { return cached }
    let parent = (path as NSString).deletingLastPathComponent
    let folder = parent.isEmpty ? "." : parent
    let near = nearestName(
      to: (path as NSString).lastPathComponent,
      among: names(in: folder).filter { kind(of: folder + "/" + $0) == .folder })
    var hints: [String] = []
    if let near {
      hints.append("did you mean \(parent.isEmpty ? near : (parent as NSString).appendingPathComponent(near))?")
    }
    if isModelName(path), path.contains("/") {
      hints.append("if this is a model on the Hugging Face Hub: \(download(path))")
    }
    throw AttuneError.request(
      "there is no such folder", at: .init(file: path),
      hint: hints.isEmpty ? "a checkpoint folder or preset:NAME was expected" : hints.joined(separator: "; "))
  }
}
