import AttuneTensor
import Core
import Foundation
import Models
import Objectives

/// The frozen model of a stage.
extension Trainer {
  /// Makes the reference that a stage reads, and writes what a stage that is gone on with in its middle needs of it.
  ///
  /// - Parameter saved: the checkpoint that the run goes on from.
  func prepareReference(for stage: Recipe.Stage, _ saved: CheckpointStore.Saved?) throws {
    reference = nil
    let isUsed = stage.objective.usesReference || stage.policyObjective?.usesReferenceInReward == true
    let isWatched = (stage.rollouts?.klEvery ?? 0) > 0
    guard isUsed || isWatched, stage.steps > 0 else { return }
    if let frozen = frozenParameters(stage), position.step == 0 {
      try SafeTensors.write(frozen.map { ($0.name, $0.value) }, metadata: [:], to: referencePath, from: backend)
    }
    guard isUsed else { return }
    reference = stage.reference.kind == .cached ? try cachedReference(stage) : try loadReference()
    if stage.reference.isSynchronized, let saved, saved.position == position, let weights = try saved.reference() {
      try reference?.restore(weights)
    }
  }

  private var referencePath: String { referenceFolder + "/stage-\(position.stage).safetensors" }

  /// What of the policy is kept in a file because training changes it; nil where the reference is the policy with its adapter
  /// off.
  private func frozenParameters(_ stage: Recipe.Stage) -> [Parameter]? {
    guard let adapter = policy.model.adapter else { return policy.model.parameters }
    return stage.reference.kind == .copy ? adapter.parameters : nil
  }

  /// The reference of the stage; one that is only looked at now and then stays in memory for the look alone.
  func loadReference() throws -> ReferencePolicy {
    if let reference { return reference }
    guard let frozen = frozenParameters(recipe.stages[position.stage]) else {
      return ReferencePolicy(policy: policy.model, copy: nil, clock: clock)
    }
    let weights = try SafeTensors(referencePath)
    if policy.model.adapter != nil {
      return ReferencePolicy(
        policy: policy.model,
        adapter: try frozen.map { ($0, try weights.tensor($0.name, on: backend)) }, clock: clock)
    }
    let model = try backend.making(.reference) {
      let model = try makeReferenceModel()
      for parameter in model.parameters { parameter.setValue(try weights.mappedTensor(parameter.name, on: backend)) }
      return model
    }
    return ReferencePolicy(policy: policy.model, copy: model, clock: clock)
  }

  /// Moves the reference towards the policy where the stage asks for it and its time has come; `position` stands behind the step.
  func synchronizeReference(_ stage: Recipe.Stage) {
    guard stage.reference.isSynchronized, let reference else { return }
    let updates = position.step * (stage.rollouts?.iterations ?? 1)
    let before = updates - (stage.rollouts?.iterations ?? 1)
    guard updates / stage.reference.syncSteps > before / stage.reference.syncSteps else { return }
    clock.measure("reference") { reference.mix(stage.reference.mixup) }
  }

  // MARK: Cached

  /// Makes sure that all the stage will ask for is in the cache. The model that computes what is missing is in memory for that
  /// long alone.
  ///
  /// - Throws: `CancellationError` if the run is asked to stop meanwhile; what was computed stays.
  private func cachedReference(_ stage: Recipe.Stage) throws -> ReferencePolicy {
    var isWaiting = false
    let cache = try ReferenceCache(folder: stage.reference.cache, weights: try referenceHash(stage)) {
      if !isWaiting {
        try emit(.note("stage \(stage.name): waiting for another run that fills \(stage.reference.cache)"))
      }
      isWaiting = true
      if isCancelled() { throw CancellationError() }
      Thread.sleep(forTimeInterval: 0.2)
    }
    if cache.dropped > 0 {
      try emit(.note("the reference's cache had an unfinished end of \(cache.dropped) bytes, which was cut off"))
    }
    let known = cache.count
    var wanted: Set<String> = []
    var source: ReferencePolicy?
    var waiting: [(tree: PromptTree, keys: [String])] = []
    func compute() throws {
      if isCancelled() { throw CancellationError() }
      guard !waiting.isEmpty else { return }
      if source == nil { source = try loadReference() }
      guard let values = try source?.logprobs(waiting.map(\.tree), temperature: 1, microBatch: stage.microBatch) else {
        return
      }
      var first = 0
      for (tree, keys) in waiting {
        for (completion, key) in zip(tree.completions, keys) {
          try cache.add(key, values[first..<first + completion.count])
          first += completion.count
        }
      }
      waiting = []
    }
    try comparedTrees(stage) { trees in
      for tree in trees {
        let keys = ReferenceCache.keys([tree], temperature: 1)
        let missing = keys.indices.filter { wanted.insert(keys[$0]).inserted && !cache.holds(keys[$0]) }
        guard !missing.isEmpty else { continue }
        waiting.append(
          (PromptTree(prompt: tree.prompt, completions: missing.map { tree.completions[$0] }), missing.map { keys[$0] })
        )
      }
      if waiting.count >= 32 { try compute() }
    }
    try compute()
    try cache.finishWriting()
    let added = cache.count - known
    try emit(
      .note(
        "stage \(stage.name): of \(wanted.count) completions the reference's cache held \(wanted.count - added), \(added) were computed; \(cache.path)"
      ))
    return ReferencePolicy(policy: policy.model, cache: cache, clock: clock)
  }

  /// The trees that a stage will compare with its reference from here on, step by step, and those of its evaluations.
  private func comparedTrees(_ stage: Recipe.Stage, _ body: ([PromptTree]) throws -> Void) throws {
    guard let stream = streams[stage.data] else { return }
    let start = position.cursors[stage.data] ?? 0
    var seen: Set<Int> = []
    let unpaired = stage.objective as? any UnpairedObjective
    for step in 0..<stage.steps - position.step {
      let first = start + step * stage.batch
      let samples = try (first..<first + stage.batch).map { try stream.sample(at: $0) }
      if let unpaired {
        let trees = try samples.map { try row($0, [completion(of: $0, stage, "learning from labels")], stage).tree }
        try body(trees + (unpaired.usesMismatched ? mismatched(trees, samples, stage) : []))
      } else {
        try body(samples.filter { seen.insert($0.id).inserted }.map { try pair($0, stage).tree })
      }
    }
    if let held = try heldOutTrees(stage) { try body(held.trees + held.mismatched) }
  }

  /// The hash of all that the frozen model is made of: its tensors' bytes as their files hold them, its configuration, and how
  /// products hold weights.
  private func referenceHash(_ stage: Recipe.Stage) throws -> String {
    var parts = ["\(recipe.dtype.rawValue) \(recipe.model.weights.rawValue)"]
    let configuration = policy.folder + "/config.json"
    parts.append(SHA256.hex(try MappedFile.read(configuration)))
    let files: [String]
    if policy.model.adapter == nil {
      files = [referencePath]
    } else {
      let names = try FileManager.default.contentsOfDirectory(atPath: policy.folder)
      files = names.filter { $0.hasSuffix(".safetensors") }.sorted().map { policy.folder + "/" + $0 }
    }
    var tensors: [String] = []
    for file in files {
      let weights = try SafeTensors(file)
      // Tensor by tensor: whole files of large models would not fit beside the model.
      for entry in weights.entries {
        let hash = weights.withBytes(entry) { SHA256.hex(Array($0)) }
        tensors.append("\(entry.name) \(entry.type) \(entry.shape) \(hash)")
      }
    }
    return SHA256.hex(Array((parts + tensors.sorted()).joined(separator: "\n").utf8))
  }
}
