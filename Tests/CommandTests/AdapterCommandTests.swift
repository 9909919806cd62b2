import Core
import Foundation
import TestSupport
import Testing

/// Adapters as people use them: trained, exported, merged, several on one model.
@Suite struct AdapterCommandTests {
  private static let recipe = Fixtures.root + "/recipes/smoke/sums.yaml"

  private func train(_ folder: String, _ keys: [String], recipe: String = recipe) throws -> Program.Result {
    try Program.run(["run", recipe, "--output", folder] + keys.flatMap { ["--set", $0] })
  }

  /// The warm-up alone.
  private static let supervised = [
    "stages=[{objective: sft, steps: 4, batch: 8, optimizer: {learning_rate: 0.02, schedule: constant}}]",
    "evaluation={every: 0}",
  ]

  private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  @Test func dropoutAndMagnitudesGiveTheSameRunAnywhere() throws {
    let folder = try Program.temporaryFolder()
    let keys =
      Self.supervised
      + ["model.lora.dropout=0.2", "model.lora.dora=true", "model.lora.modules_to_save=[lm_head]"]
    var adapters: [Data] = []
    for (name, more) in [
      ("one", ["threads=1"]), ("two", ["threads=2", "stages.sft.micro_batch=3"]), ("none", ["model.lora.dropout=0"]),
      ("int8", ["model.weights=int8", "dtype=bf16"]),
    ] {
      let result = try train("\(folder)/\(name)", keys + more)
      #expect(result.status == 0, "\(name): \(result.errors)")
      adapters.append(try bytes("\(folder)/\(name)/adapter/adapter_model.safetensors"))
    }
    #expect(adapters[0] == adapters[1] && adapters[0] != adapters[2])
    let config = try JSON.parse(String(contentsOfFile: folder + "/one/adapter/adapter_config.json", encoding: .utf8))
    #expect(config["use_dora"]?.bool == true && config["lora_dropout"]?.double == 0.2)
    #expect(config["modules_to_save"]?[0]?.string == "lm_head")
  }

  @Test func wrongRunsAreRefused() throws {
    let folder = try Program.temporaryFolder()
    for (keys, message) in [
      (["model.lora.dropout=0.1"], "model.lora.dropout: found 0.1, but stages.1 is on-policy"),
      (["model.freeze=[vision]"], "model.freeze names the part vision, which the model does not have"),
      (["model.freeze=[language]"], "no linear layer is adapted"),
      (["optimizer.vision_learning_rate=0.1"], "optimizer has a rate for the part vision"),
      (["model.lora.targets=[q_poj]"], "did you mean q_proj?"),
      (["model.lora.targets=q_proj"], "names are given as a list: [q_proj]"),
    ] {
      let result = try train(folder + "/run", keys)
      #expect(result.status == 2 && result.errors.contains(message), "\(keys): \(result.errors)")
      #expect(!FileManager.default.fileExists(atPath: folder + "/run"))
    }
  }

  @Test func frozenPartsStayAsTheyWere() throws {
    let folder = try Program.temporaryFolder()
    let result = try Program.run([
      "run", Fixtures.root + "/recipes/smoke/digits.yaml", "--output", folder + "/run", "--set",
      "model.freeze=[vision, language]", "--set", "optimizer.aligner_learning_rate=1e-2",
    ])
    #expect(result.status == 0, "\(result.errors)")
    func tensors(_ path: String) throws -> [String: Data] {
      let all = try bytes(path)
      let length = Int(all.prefix(8).enumerated().reduce(UInt64(0)) { $0 | UInt64($1.1) << (8 * UInt64($1.0)) })
      let header = try JSON.parse(String(decoding: all[8..<8 + length], as: UTF8.self))
      var found: [String: Data] = [:]
      for (name, entry) in header.object!.entries where name != "__metadata__" {
        let ends = entry["data_offsets"]!.array!.map { 8 + length + $0.int! }
        found[name] = all[ends[0]..<ends[1]]
      }
      return found
    }
    let (before, after) = (
      try tensors(folder + "/run/start/model.safetensors"), try tensors(folder + "/run/model/model.safetensors")
    )
    #expect(before.count == after.count)
    for (name, data) in before where !name.contains("merger") { #expect(after[name] == data, "\(name)") }
    let moved = "model.visual.merger.linear_fc1.weight"
    #expect(after[moved] != before[moved])
  }

  @Test func adaptersAreExportedMergedAndChosenByLine() throws {
    let folder = try Program.temporaryFolder()
    #expect(try train(folder + "/a", Self.supervised).status == 0)
    #expect(try train(folder + "/b", Self.supervised + ["model.lora.dora=true", "seed=6"]).status == 0)
    let start = folder + "/a/start"
    let exported = try Program.run(["adapter", "export", folder + "/a", folder + "/out"])
    #expect(exported.status == 0, "\(exported.errors)")
    let file = "/adapter_model.safetensors"
    #expect(try bytes(folder + "/out" + file) == bytes(folder + "/a/adapter" + file))
    // Of a run without its last words the newest checkpoint's adapter, which here is the last.
    try FileManager.default.removeItem(atPath: folder + "/a/adapter")
    let again = try Program.run(["adapter", "export", folder + "/a", folder + "/again"])
    #expect(again.status == 0 && again.errors.contains("the run is not finished"), "\(again.errors)")
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
      #expect(try bytes(folder + "/again/" + name) == bytes(folder + "/out/" + name))
    }

    // Merged: the difference is told, a bound that it exceeds keeps nothing.
    let base = ["adapter", "merge", "--model", start, "--adapter", folder + "/out"]
    let merged = try Program.run(base + [folder + "/merged"])
    #expect(merged.status == 0 && merged.errors.contains("largest difference of log-probabilities"), "\(merged.errors)")
    let narrow = try Program.run(base + ["--dtype", "bf16", folder + "/narrow"])
    #expect(narrow.status == 0, "\(narrow.errors)")
    let refused = try Program.run(base + ["--dtype", "bf16", "--tolerance", "1e-9", folder + "/refused"])
    #expect(refused.status == 1 && refused.errors.contains("at most 1e-09 was expected; nothing was kept"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { !$0.contains("refused") })

    // Lines choose.
    let flags = ["--model", start, "--adapter", "a=" + folder + "/out", "--adapter", "b=" + folder + "/b/adapter"]
    let line: (String) -> String = { #"{"text": "1 + 2 = 3"\#($0)}"# + "\n" }
    func logprobs(_ text: String, _ flags: [String]) throws -> [String] {
      let result = try Program.run(["score"] + flags, input: text)
      #expect(result.status == 0, "\(result.errors)")
      return result.output.split(separator: "\n").map(String.init)
    }
    let chosen = try logprobs(
      line(#", "adapter": "b""#) + line("") + line(#", "adapter": null"#) + line(#", "adapter": "a""#), flags)
    let a = try logprobs(line(""), ["--model", start, "--adapter", folder + "/out"])[0]
    let b = try logprobs(line(""), ["--model", start, "--adapter", folder + "/b/adapter"])[0]
    let none = try logprobs(line(""), ["--model", start])[0]
    #expect(chosen == [b, a, none, a] && Set([a, b, none]).count == 3)
    let unknown = try Program.run(["score"] + flags, input: line(#", "adapter": "c""#))
    #expect(unknown.status == 2 && unknown.errors.contains("there is no adapter 'c'"))
    let sampled = try Program.run(
      ["generate", "--max-new-tokens", "6"] + flags,
      input: line("") + line(#", "adapter": "b""#) + line(#", "adapter": null"#) + line(""))
    let alone = try Program.run(
      ["generate", "--max-new-tokens", "6", "--model", start, "--adapter", folder + "/out"],
      input: line("") + line("") + line("") + line(""))
    #expect(sampled.status == 0, "\(sampled.errors)")
    let lines = (sampled.output.split(separator: "\n"), alone.output.split(separator: "\n"))
    #expect(lines.0[0] == lines.1[0] && lines.0[3] == lines.1[3] && lines.0[1] != lines.1[1])

    let combined = try Program.run(["adapter", "combine"] + flags + [folder + "/both"])
    #expect(combined.status == 2 && combined.errors.contains("adapter 'b' has magnitudes (use_dora)"))
  }

  /// A prompt's adapter that was trained with dropout elsewhere is no surprise in an on-policy stage.
  @Test func dropoutOfAnAdapterThatIsGoneOnWith() throws {
    let folder = try Program.temporaryFolder()
    #expect(try train(folder + "/a", Self.supervised + ["model.lora.dropout=0.1"]).status == 0)
    let result = try train(
      folder + "/b", ["model.path=\(folder)/a/start", "model.adapter=\(folder)/a/adapter", "model.lora={}"])
    #expect(
      result.status == 2 && result.errors.contains("the adapter has a dropout of 0.1, but stage grpo is on-policy"),
      "\(result.errors)")
  }
}
