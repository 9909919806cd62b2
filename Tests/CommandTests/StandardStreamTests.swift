import Foundation
import TestSupport
import Testing

/// Standard streams that cannot be used.
@Suite struct StandardStreamTests {
  /// Runs `script` in a shell; `$0` is the program.
  private func shell(_ script: String, in folder: String? = nil) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script, Program.path]
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    let pipe = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  private static let line = #"echo '{"completion": "hm", "reference": "7"}' | "#

  /// Some containers have none, or a file in its place.
  private static var hasFullDevice: Bool {
    let attributes = try? FileManager.default.attributesOfItem(atPath: "/dev/full")
    return attributes?[.type] as? FileAttributeType == .typeCharacterSpecial
  }

  @Test(arguments: [
    "\"$0\" --version", "\"$0\" reward list", "\(line)\"$0\" reward try exact_match", "\"$0\" run --help",
  ])
  func aResultThatCannotBeWrittenIsAnError(command: String) throws {
    let closed = try shell(command + " 2>&1 >&-")
    #expect(closed.status == 1 && closed.output.contains("standard output cannot be written"), "\(closed)")
    guard Self.hasFullDevice else { return }
    let full = try shell(command + " 2>&1 >/dev/full")
    #expect(full.status == 1, "\(full)")
    #expect(full.output == "attune: standard output cannot be written: No space left on device\n")
  }

  @Test func nobodyReadsTheResult() throws {
    // Where the signal is ignored, the program ends by itself; it says nothing either way.
    for ignored in ["", "trap '' PIPE; "] {
      let result = try shell("(\(ignored)sleep 0.1; \"$0\" reward list 2>&1 >&3) 3>&1 | true")
      #expect(result.output.isEmpty, "\(result)")
    }
  }

  @Test func standardInputThatCannotBeRead() throws {
    for place in ["<&-", "</"] {
      let result = try shell("\"$0\" reward try exact_match \(place)")
      #expect(result.status == 1 && result.output.contains("standard input cannot be read"), "\(result)")
    }
  }

  @Test func aRunNeedsNoListener() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try "{\"prompt\": \"Which number is it?\"}\n".write(
      toFile: folder + "/train.jsonl", atomically: true, encoding: .utf8)
    // It prints: what a plugin prints goes the same way.
    try """
    #include "attune_reward.h"
    #include <stdio.h>
    ATTUNE_REWARD(chatter, "says what it does") {
      fprintf(stderr, "scored\\n");
      return (double)(sample->completion.size % 3);
    }
    """.write(toFile: folder + "/chatter.c", atomically: true, encoding: .utf8)
    let recipe = """
      model: {path: "preset:tiny"}
      data: {train: {kind: jsonl, file: train.jsonl}}
      stages: [{objective: grpo, steps: 2, prompts: 1, generations: 2, max_new_tokens: 4}]
      rewards: [{source: chatter.c}]
      watch: {before: false}
      report: {enabled: false}
      """
    try recipe.write(toFile: folder + "/r.yaml", atomically: true, encoding: .utf8)
    var ways = ["2>&-", "2>&1 >/dev/null | true"]
    if Self.hasFullDevice { ways.append("2>/dev/full") }
    for (number, way) in ways.enumerated() {
      let run = "\(folder)/run-\(number)"
      _ = try shell("\"$0\" run r.yaml --output \(run) \(way)", in: folder)
      let shown = try Program.run(["runs", "show", run, "--json"])
      #expect(shown.output.contains("\"status\": \"finished\""), "\(way): \(shown.output) \(shown.errors)")
    }
  }
}
