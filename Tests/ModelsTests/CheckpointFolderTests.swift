import AttuneTensor
import Core
import Foundation
import Models
import TestSupport
import Testing

/// Which folder a path or a name means, and what is said where it means none.
@Suite struct CheckpointFolderTests {
  private let cache: String
  private let commit = "0123456789abcdef0123456789abcdef01234567"

  init() throws { cache = try Program.temporaryFolder() }

  private func make(_ path: String, files: [String] = []) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for file in files { try AtomicFile.write(path + "/" + file, text: "{}") }
  }

  /// A model as huggingface_hub keeps it: blobs, and snapshots of links to them.
  private func makeCached(_ name: String) throws -> String {
    let root = cache + "/" + name
    try make(root + "/blobs")
    try make(root + "/refs")
    try make(root + "/snapshots/" + commit)
    try AtomicFile.write(root + "/refs/main", text: commit)
    let fixture = Fixtures.path("models/qwen3")
    for (i, file) in ["config.json", "model.safetensors", "tokenizer.json"].enumerated() {
      try FileManager.default.copyItem(atPath: fixture + "/" + file, toPath: root + "/blobs/\(i)")
      try FileManager.default.createSymbolicLink(
        atPath: root + "/snapshots/\(commit)/\(file)", withDestinationPath: "../../blobs/\(i)")
    }
    return root
  }

  @Test func aCacheFolderOrANameMeansItsSnapshot() throws {
    let root = try makeCached("models--Org--Small")
    let snapshot = root + "/snapshots/" + commit
    #expect(try CheckpointFolder.resolve(snapshot) == snapshot)
    #expect(try CheckpointFolder.resolve(root) == snapshot)
    #expect(try CheckpointFolder.resolve(root + "/") == snapshot)
    #expect(try CheckpointFolder.resolve("Org/Small", cache: cache) == snapshot)
    _ = try LanguageModel.load(folder: snapshot, backend: GoldenModelTests.backend, precision: .full)
    // Without a reference the only snapshot is meant; of two, none.
    try FileManager.default.removeItem(atPath: root + "/refs/main")
    #expect(try CheckpointFolder.resolve(root) == snapshot)
    try make(root + "/snapshots/other", files: ["config.json"])
    expectAttuneError(containing: "2 snapshots", snapshot) { _ = try CheckpointFolder.resolve(root) }
    expectAttuneError(containing: "cache of several models", "Org/Small") { _ = try CheckpointFolder.resolve(cache) }
  }

  @Test func anUnfinishedDownloadIsNamed() throws {
    let root = try makeCached("models--Org--Half")
    try FileManager.default.removeItem(atPath: root + "/blobs/1")
    let snapshot = try CheckpointFolder.resolve(root)
    expectAttuneError(containing: "\(commit)/model.safetensors", "link", "download") {
      _ = try LanguageModel.load(folder: snapshot, backend: GoldenModelTests.backend, precision: .full)
    }
    try FileManager.default.removeItem(atPath: root + "/blobs/0")
    expectAttuneError(containing: "no config.json", "hf download Org/Half") { _ = try CheckpointFolder.resolve(root) }
    try FileManager.default.removeItem(atPath: root + "/snapshots")
    try make(root + "/snapshots")
    expectAttuneError(containing: "no snapshot", "hf download Org/Half") { _ = try CheckpointFolder.resolve(root) }
  }

  @Test func whatIsNoCheckpointIsExplained() throws {
    expectAttuneError(containing: "no such folder", "hf download Qwen/Qwen3-0.6B --local-dir Qwen3-0.6B") {
      _ = try CheckpointFolder.resolve("Qwen/Qwen3-0.6B", cache: cache)
    }
    try make(cache + "/models/small", files: ["config.json"])
    expectAttuneError(containing: "did you mean \(cache)/models/small?") {
      _ = try CheckpointFolder.resolve(cache + "/models/smal")
    }
    expectAttuneError(containing: "did you mean \(cache)/models/small?") {
      _ = try CheckpointFolder.resolve(cache + "/models")
    }
    expectAttuneError(containing: "is a file", "give the folder that it is in: \(cache)/models/small") {
      _ = try CheckpointFolder.resolve(cache + "/models/small/config.json")
    }
    try make(cache + "/adapter", files: ["adapter_config.json"])
    expectAttuneError(containing: "this is an adapter", "--adapter") {
      _ = try CheckpointFolder.resolve(cache + "/adapter")
    }
    for bad in ["../x", "a/b/c", "", "/", "a b", "~/models", ".", "models--a--b/../c"] {
      #expect((try? CheckpointFolder.cached(bad, cache: cache)) == nil, "\(bad)")
    }
  }

  @Test(arguments: [
    (["pytorch_model.bin"], ["pytorch_model.bin", "pickle", "safe_serialization=True"]),
    (["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], ["pickle"]),
    (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], ["model.safetensors.index.json into"]),
    (["adapter_config.json", "adapter_model.safetensors"], ["this is an adapter", "--adapter"]),
    (["model-Q4_K_M.gguf"], ["gguf"]), (["consolidated.safetensors"], ["rename"]), ([], ["attune init"]),
  ])
  func missingWeightsAreExplainedByWhatIsThere(files: [String], words: [String]) throws {
    let folder = cache + "/weights"
    try make(folder, files: files)
    for word in words {
      expectAttuneError(containing: folder, "no weights", word) { _ = try SafeTensorsFolder(folder) }
    }
  }
}
