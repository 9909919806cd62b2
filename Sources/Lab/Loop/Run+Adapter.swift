import AttuneTensor
import Core
import Foundation
import Models

extension Run {
  /// Writes a run's adapter as a PEFT folder: the finished one, or that of the newest checkpoint.
  ///
  /// - Parameters:
  ///   - run: an id, a folder, or `latest`.
  ///   - root: the folder that holds runs.
  ///   - report: tells a person which checkpoint it is.
  /// - Throws: `.request` if there is no such run, or it trains no adapter.
  public static func exportAdapter(
    of run: String, root: String, to target: String, report: @escaping (String) -> Void
  ) throws {
    let folder = try RunFolder.resolve(run, root: root)
    let start = try RunStore.read(folder).start().start
    let recipe = try Recipe(effective: start.effective, text: start.recipe, file: start.file)
    guard recipe.model.train == .lora else {
      throw AttuneError.request(
        "run \(folder.id) trains all weights, so it has no adapter", hint: "its model is in \(folder.path)/model")
    }
    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
    let finished = folder.path + "/adapter"
    if FileManager.default.fileExists(atPath: finished + "/adapter_model.safetensors") {
      for name in ["adapter_config.json", "adapter_model.safetensors"] {
        try AtomicFile.write(target + "/" + name, bytes: MappedFile.read(finished + "/" + name))
      }
      return
    }
    guard let saved = try CheckpointStore(runFolder: folder.path).newest(report: report) else {
      throw AttuneError.request("run \(folder.id) has no checkpoint yet", at: .init(file: folder.path))
    }
    report("the run is not finished: this is the adapter of \(saved.path)")
    let backend = try CPUBackend(threads: recipe.threads)
    let base = recipe.model.preset == nil ? recipe.model.path : folder.path + "/start"
    let (policy, scorer) = try load(recipe, from: base, backend: backend)
    try saved.restore(scorer?.trainedParameters ?? policy.model.trainedParameters, on: backend)
    try policy.model.saveAdapter(folder: target, baseModel: recipe.model.path, scoreHead: scorer?.head)
  }
}
