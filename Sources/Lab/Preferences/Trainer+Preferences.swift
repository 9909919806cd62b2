import AttuneTensor
import Core
import Datasets
import Foundation
import Rollout

extension Trainer {
  /// Before a stage begins that reads a sampled source: its rows are made with the policy as it is, or read if an earlier
  /// stage, or an earlier process of this run, has made them. Rewards get their state back, so that a run that is gone on
  /// with behind this point is the run that was left alone.
  ///
  /// - Throws: `AttuneError` if rows cannot be made, or were and are gone. `CancellationError` if the run is asked to stop.
  func prepareData(for stage: Recipe.Stage) throws {
    guard streams[stage.data] == nil, position.step < stage.steps, let source = recipe.source(stage.data),
      case .sampled(let sampled) = source.content, let prompts = recipe.source(sampled.from)
    else { return }
    let task = try DataSources.task(of: source.name, in: recipe)
    guard backend.computes else { return try rehearse(source, sampled.settings, prompts, task) }
    let file = SampledFile(folder: folder, source: source.name)
    if !file.isWhole {
      guard position.step == 0 else {
        throw AttuneError.work(
          "the stage \(stage.name) reads this file, which is gone; the policy that made it has moved on",
          at: .init(file: file.path), hint: "put the file back, or start the run anew")
      }
      var settings = sampled.settings
      settings.kind = task == .unpaired && sampled.labels == .threshold ? .labels : .pairs
      let counts = try clock.measure("preferences") { try make(file, settings, prompts) }
      try emit(.note("data \(source.name): \(counts.line)"))
    }
    streams[source.name] = DataStream(
      name: source.name, source: try DataSources.openSampled(file.path, task: task), seed: recipe.seed &+ source.seed)
  }

  private func make(
    _ file: SampledFile, _ settings: PreferenceSettings, _ prompts: Recipe.Source
  ) throws -> PreferenceCounts {
    let stream = DataStream(
      name: prompts.name, source: try DataSources.open(prompts, task: .rl), seed: recipe.seed &+ prompts.seed)
    try rewards.saveStates(all: true)
    let maker = PreferenceMaker(
      recipe: recipe, policy: policy, rewards: rewards, services: services, settings: settings,
      globalStep: position.globalStep, runID: folder.id, isCancelled: isCancelled)
    let counts: PreferenceCounts
    do {
      counts = try maker.write(stream, to: file.path) { try emit(.note("data \(file.source): \($0)")) }
    } catch {
      if error is CancellationError { try rewards.restore(rewards.states) }
      throw error
    }
    try rewards.restore(rewards.states)
    try file.seal(counts)
    return counts
  }
}

extension Trainer {
  /// On a backend that computes nothing: a part of the prompts is sampled, and every prompt then has answers that are as
  /// long as they may be.
  fileprivate func rehearse(
    _ source: Recipe.Source, _ settings: PreferenceSettings, _ prompts: Recipe.Source, _ task: SampleTask
  ) throws {
    let base = try DataSources.open(prompts, task: .rl)
    let count = try settings.promptCount(of: base, named: prompts.name)
    let requests = try (0..<min(count, PreferenceMaker.prompts)).map { number in
      RolloutRequest(
        prompt: try encode(base.sample(at: number)).encoded, completions: settings.completions, promptNumber: number)
    }
    _ = try clock.measure("preferences") { try engine.generate(requests, settings.sampling(stopIDs: policy.endIDs)) }
    let unit = "0 "
    let tokens = max(1, policy.ids(of: String(repeating: unit, count: 64)).count)
    let answer = String(repeating: unit, count: (settings.maxNewTokens * 64 + tokens - 1) / tokens)
    streams[source.name] = DataStream(
      name: source.name, source: RehearsedPreferences(base: base, count: count, task: task, answer: answer),
      seed: recipe.seed &+ source.seed)
  }
}

/// Prompts with made-up answers.
private struct RehearsedPreferences: SampleSource {
  let base: any SampleSource
  let count: Int?
  let task: SampleTask
  let answer: String

  func sample(at index: Int) throws -> Sample {
    var sample = try base.sample(at: index)
    sample.completion = answer
    if task == .preference { sample.rejected = answer }
    if task == .unpaired { sample.label = index % 2 == 0 }
    return sample
  }
}

/// The rows of a sampled source in a run's folder, and beside them what was made of how many prompts.
private struct SampledFile {
  let folder: RunFolder
  let source: String

  var path: String { folder.path + "/data/\(source).jsonl" }
  private var countsPath: String { folder.path + "/data/\(source).json" }

  /// Both files are there, and of this run: a folder that was given by hand may hold an older one's.
  var isWhole: Bool {
    guard FileManager.default.fileExists(atPath: path), let bytes = try? MappedFile.read(countsPath) else {
      return false
    }
    return (try? JSON.parse(bytes))?["run"]?.string == folder.id
  }

  func seal(_ counts: PreferenceCounts) throws {
    let entries = [("run", JSON.string(folder.id))] + Array(counts.json.object?.entries ?? JSON.Object().entries)
    try AtomicFile.write(countsPath, text: JSON.object(entries).text(.pretty) + "\n")
  }
}
