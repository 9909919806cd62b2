import AttuneTensor
import Core
import Foundation
import Models
import Objectives
import TestSupport
import Testing

@testable import Lab

/// The frozen model of a stage in its forms: each gives the same bits, and survives a stop.
@Suite struct ReferenceRunTests {
  private func run(_ stage: String, _ folder: TemporaryFolder, _ name: String) throws -> RunSupport.Outcome {
    try run(stage, "threads: 2", folder, name)
  }

  private func run(
    _ stage: String, _ more: String, _ folder: TemporaryFolder, _ name: String
  ) throws -> RunSupport.Outcome {
    try RunSupport.run(
      LearningSupport.recipe(stage, more, in: folder.path, checkpoints: 0), in: folder.path + "/" + name)
  }

  @Test(arguments: ["dpo", "kto", "bco"], ["threads: 2", LearningSupport.lora])
  func whatIsCachedHasTheBitsOfWhatIsComputed(objective: String, more: String) throws {
    let folder = try TemporaryFolder()
    let computed = try run("objective: \(objective)", more, folder, "computed")
    let stage = "objective: \(objective), reference: cached, reference_cache: \(folder.path)/cache"
    let first = try run(stage, more, folder, "first")
    #expect(first.trace == computed.trace)
    let weights = try computed.weights()
    #expect(try first.weights() == weights)
    #expect(first.notes.contains { $0.contains("the reference's cache held 0, ") }, "\(first.notes)")
    // The second run computes nothing, however it is cut.
    let second = try run(stage + ", micro_batch: 1", more, folder, "second")
    #expect(try second.weights() == weights)
    #expect(second.notes.contains { $0.contains(", 0 were computed") }, "\(second.notes)")
    // Other weights have another file.
    _ = try run(stage, more + "\ndtype: bf16", folder, "other")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/cache").count == 2)
  }

  /// What computes the numbers is gone when steps begin.
  @Test func aCachedReferenceLeavesMemory() throws {
    let folder = try TemporaryFolder()
    let copy = try run("objective: dpo", "threads: 2\ndtype: bf16", folder, "copy")
    let stage = "objective: dpo, reference: cached, reference_cache: \(folder.path)/cache"
    let first = try run(stage, "threads: 2\ndtype: bf16", folder, "first")
    let second = try run(stage, "threads: 2\ndtype: bf16", folder, "second")
    for phase in ["forward", "backward", "optimizer"] {
      let sizes = [copy, first, second].map { $0.phases[phase] ?? .nan }
      #expect(sizes[1] < sizes[0] && sizes[2] < sizes[0], "\(phase): \(sizes)")
    }
    let sizes = [copy, first, second].map { $0.phases["reference"] ?? .nan }
    #expect(sizes[2] < sizes[0], "\(sizes)")
  }

  @Test func aBrokenEndOfACacheIsCutOff() throws {
    let folder = try TemporaryFolder()
    let stage = "objective: dpo, reference: cached, reference_cache: \(folder.path)/cache"
    let whole = try run(stage, folder, "whole")
    let file = try #require(FileManager.default.contentsOfDirectory(atPath: folder.path + "/cache").first)
    let path = folder.path + "/cache/" + file
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    var flipped = bytes
    flipped[bytes.count / 2] ^= 1
    let damaged = [
      bytes.prefix(bytes.count - 5), bytes.prefix(10), Data(), bytes + Data([1, 2, 3]), flipped,
    ]
    for (i, data) in damaged.enumerated() {
      try data.write(to: URL(fileURLWithPath: path))
      let again = try run(stage, folder, "again-\(i)")
      #expect(try again.weights() == whole.weights())
      #expect(again.notes.contains { $0.contains("cut off") } == (i != 1 && i != 2), "\(i): \(again.notes)")
      let mended = try Data(contentsOf: URL(fileURLWithPath: path))
      #expect(mended.count == bytes.count)
    }
    try Data(
      "something else that somebody put here, long enough to be a header of a cache, and then some more of it.".utf8
    )
    .write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: AttuneError.self) { _ = try run(stage, folder, "foreign") }
    #expect(error?.message.contains("no cache of these weights") == true)
  }

  /// The adapter as it stood when the stage began: after imitation another model than the one beneath it.
  @Test func aCopyOfAnAdapterIsTheStagesBegin() throws {
    let folder = try TemporaryFolder()
    for kind in ["adapter", "copy"] {
      let recipe = try Recipe.parse(
        """
        name: tiny
        \(LearningSupport.lora)
        data: {train: {kind: jsonl, file: \(try LearningSupport.data(LearningSupport.pairs, in: folder.path))}}
        optimizer: {learning_rate: 3e-3, schedule: constant}
        stages:
          - {objective: sft, steps: 3, batch: 4}
          - {objective: dpo, steps: 3, batch: 4, reference: \(kind)}
        checkpoint: {every: 1, keep: 20}
        """, file: "/none/recipe.yaml")
      let whole = try RunSupport.run(recipe, in: folder.path + "/\(kind)")
      let loss = whole.metric("loss")[3]
      #expect((abs(loss - 0.6931471805599453) < 1e-12) == (kind == "copy"), "\(kind): \(loss)")
      _ = try RunSupport.run(recipe, in: folder.path + "/\(kind)-stopped", stopAfter: 4, questions: 0)
      #expect(try RunSupport.resume(folder.path + "/\(kind)-stopped").weights() == whole.weights())
    }
  }

  @Test func aReferenceThatMovesIsPartOfCheckpoints() throws {
    let folder = try TemporaryFolder()
    let stage = "objective: dpo, sync_ref_model: true, ref_model_sync_steps: 2, ref_model_mixup_alpha: 0.6"
    let recipe = try LearningSupport.recipe(stage, steps: 6, in: folder.path)
    let whole = try RunSupport.run(recipe, in: folder.path + "/whole")
    let still = try RunSupport.run(
      LearningSupport.recipe("objective: dpo", steps: 6, in: folder.path), in: folder.path + "/still")
    #expect(whole.trace.prefix(2) == still.trace.prefix(2) && whole.trace[2] != still.trace[2])
    for steps in [1, 3, 5] {
      let path = folder.path + "/\(steps)"
      let stopped = try RunSupport.run(recipe, in: path, stopAfter: steps, questions: 0)
      let rest = try RunSupport.resume(path)
      #expect(try rest.weights() == whole.weights(), "stopped after \(steps)")
      #expect(stopped.trace + rest.trace == whole.trace)
    }
    // Moved all the way after every step, it is the policy: rewards stay 0.
    let follows = try RunSupport.run(
      LearningSupport.recipe(
        "objective: dpo, sync_ref_model: true, ref_model_sync_steps: 1, ref_model_mixup_alpha: 1", in: folder.path),
      in: folder.path + "/follows")
    #expect(follows.metric("rewards/chosen") == [0, 0, 0, 0])
  }

  @Test func mixesAsTheReferenceImplementation() throws {
    let path = Fixtures.root + "/Tests/Fixtures/objectives/ref_sync.json"
    let suite = try JSON.parse(MappedFile.read(path), file: path)
    let backend = try CPUBackend(threads: 1)
    for item in try #require(suite["cases"]?.array) {
      func tensor(_ json: JSON?) throws -> Tensor {
        let values = try #require(json?["data"]?.array).map { Float($0.double ?? .nan) }
        return backend.upload(values, try #require(json?["shape"]?.array).map { $0.int ?? 0 })
      }
      let alpha = try #require(item["config"]?["ref_model_mixup_alpha"]?.double)
      let mixed = ReferencePolicy.mixed(
        try tensor(item["inputs"]?["ref"]), try tensor(item["inputs"]?["policy"]), alpha, on: backend)
      let expected = backend.floats(try tensor(item["outputs"]?["values"]?["ref_after"]))
      for (a, b) in zip(backend.floats(mixed), expected) { #expect(abs(a - b) <= 1e-6 * max(1, abs(b))) }
    }
  }

  @Test(arguments: [
    (
      "objective: dpo, reference: adapter", "threads: 2",
      "stages.0.reference: adapter is the policy with its adapter off"
    ),
    (
      "objective: dpo, sync_ref_model: true", LearningSupport.lora,
      "stages.0.sync_ref_model: the reference of an adapter"
    ),
    (
      "objective: dpo, sync_ref_model: true, reference: cached", "threads: 2",
      "stages.0.sync_ref_model: a reference that moves cannot be cached"
    ),
    ("objective: cpo, reference: copy", "threads: 2", "reference"),
    ("objective: kto, batch: 1", "threads: 2", "stages.0.batch: found 1, but kto estimates"),
  ])
  func whatHasNoMeaningIsRefused(stage: String, more: String, words: String) throws {
    let folder = try TemporaryFolder()
    let keys = stage.contains("batch") ? stage : stage + ", batch: 4"
    let error = #expect(throws: AttuneError.self) {
      _ = try Recipe.parse(
        """
        name: tiny
        \(more)
        data: {train: {kind: jsonl, file: \(try LearningSupport.data(LearningSupport.pairs, in: folder.path))}}
        stages: [{steps: 1, \(keys)}]
        """ + (more.contains("model:") ? "" : "\nmodel: {path: 'preset:tiny'}"), file: "/none/recipe.yaml")
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }

  @Test func samplingStagesAreHeldToTheSame() throws {
    func error(_ stage: String) -> AttuneError? {
      #expect(throws: AttuneError.self) { _ = try RunSupport.recipe(stage) }
    }
    #expect(
      error("objective: grpo, sync_ref_model: true")?.message.contains("reads no reference, as its beta is 0") == true)
    #expect(error("objective: grpo, reference: cached")?.message.contains("grpo samples them") == true)
    #expect(throws: Never.self) { try RunSupport.recipe("objective: grpo, sync_ref_model: true, grpo: {beta: 0.1}") }
  }

  @Test func aSamplingStageWithAMovingReferenceIsGoneOnWith() throws {
    let folder = try TemporaryFolder()
    let recipe = try RunSupport.recipe(
      "objective: grpo, generations: 4, sync_ref_model: true, ref_model_sync_steps: 2, grpo: {beta: 0.1}, "
        + "optimizer: {learning_rate: 2e-3, schedule: constant}", steps: 4)
    let whole = try RunSupport.run(recipe, in: folder.path + "/whole")
    let stopped = try RunSupport.run(recipe, in: folder.path + "/stopped", stopAfter: 3)
    let rest = try RunSupport.resume(folder.path + "/stopped")
    #expect(try rest.weights() == whole.weights())
    #expect(stopped.trace + rest.trace == whole.trace)
  }
}
