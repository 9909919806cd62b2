import CRewardABI
import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// What an inline plugin gets is what the program has.
@Suite struct InlineTests {
  private func address(_ text: String) -> Double { text.withCString { Double(UInt(bitPattern: $0)) } }

  private func parts(_ outcome: RewardOutcome) -> [String: Double] {
    Dictionary(uniqueKeysWithValues: outcome.components.map { ($0.name, $0.value) })
  }

  /// Two completions of a group with a picture.
  private func samples() -> [RewardSample] {
    let picture = Picture(width: 64, height: 32, pixels: (0..<(64 * 32 * 3)).map { UInt8(truncatingIfNeeded: $0) })
    let prompt = String(repeating: "what? ", count: 100)
    return (0..<2).map { i in
      var sample = RewardSample(
        prompt: prompt, completion: String(repeating: "\(i) ", count: 500),
        rawCompletion: String(repeating: "\(i) ", count: 500) + "<end>")
      sample.reference = String(repeating: "r", count: 300)
      sample.tokenIDs = [1, 2, 3]
      sample.images = [RewardImage(picture)]
      return sample
    }
  }

  @Test func nothingLongIsCopied() throws {
    let reward = try Workshop.load("address.c", isolation: .inline)
    let samples = samples()
    let outcomes = try reward.score(samples, context: RewardContext())
    let pixels = samples[0].images[0].picture.pixels.withUnsafeBufferPointer {
      Double(UInt(bitPattern: $0.baseAddress))
    }
    for (sample, outcome) in zip(samples, outcomes) {
      #expect(outcome.score == 1)
      let parts = parts(outcome)
      #expect(parts["pixels"] == pixels)
      #expect(parts["prompt"] == address(sample.prompt))
      #expect(parts["completion"] == address(sample.completion))
      #expect(parts["raw"] == address(sample.rawCompletion))
      #expect(parts["reference"] == sample.reference.map { address($0) })
      #expect(parts["ids"] == sample.tokenIDs.withUnsafeBufferPointer { Double(UInt(bitPattern: $0.baseAddress)) })
    }
  }

  @Test func aWorkerSeesEachPictureOnce() throws {
    let reward = try Workshop.load("address.c")
    defer { reward.close() }
    let seen = try reward.score(samples(), context: RewardContext()).map(parts)
    #expect(seen[0]["pixels"] == seen[1]["pixels"])
    #expect(seen[0]["prompt"] == seen[1]["prompt"])
    #expect(seen[0]["completion"] != seen[1]["completion"])
  }

  /// `exit(0)` of a plugin is not the success of the program; what a plugin forks may exit.
  @Test func anExitOfThePluginIsAFailure() throws {
    func tried(_ wish: String) throws -> Program.Result {
      _ = Workshop.command
      return try Program.run(
        ["reward", "try", Workshop.source("troubled.c"), "--isolation", "inline"],
        input: "{\"prompt\": \"\", \"completion\": \"\(wish)\"}\n")
    }
    let ended = try tried("exit 0")
    #expect(ended.status == 1)
    #expect(ended.errors == "attune: the reward troubled ended the program (isolation: inline)\n")
    let fine = try tried("child exits")
    #expect(fine.status == 0 && fine.errors.isEmpty, "\(fine.errors)")
    #expect(fine.output.contains("\"reward\": 1"), "\(fine.output)")
  }

  /// Each held value is a scope inside another: thousands need a stack of their own.
  @Test func manyLongTexts() throws {
    let inline = try Workshop.load("brief.c", isolation: .inline)
    let worker = try Workshop.load("brief.c")
    defer { worker.close() }
    var samples: [RewardSample] = []
    for i in 0..<4000 {
      samples.append(RewardSample(prompt: "p", completion: String(repeating: "x", count: 100 + i)))
    }
    let a = try inline.score(samples, context: RewardContext())
    let b = try worker.score(samples, context: RewardContext())
    #expect(a.map(\.score) == samples.map { 1 / Double(1 + $0.completion.utf8.count) })
    #expect(a.map(\.score) == b.map(\.score))
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try BatchView.with(samples, RewardContext(), needs: 0, timeLimit: 0, larger: false) { _ in throw Stop() }
    }
  }

  /// The same values at both ends: what a built-in reward in a worker reads is what was sent.
  @Test func aBatchReadsBackAsItWas() throws {
    var sample = RewardSample(
      prompt: "p\0q", completion: "ü", rawCompletion: "u\u{308}", columns: JSON.Object([("a", JSON.array([1, "z"]))]))
    sample.messages = [Message(role: "user", text: "hi")]
    sample.completionMessages = [Message(role: "tool", text: "out", fields: JSON.Object([("name", "ls")]))]
    sample.references = ["", "r"]
    sample.tokenIDs = [5, 6]
    sample.tokenOffsets = [0, 1]
    sample.policyMask = [true, false]
    sample.logprobs = [-1, .nan]
    sample.entropies = [0]  // of another length
    sample.finishReason = .stopString
    sample.stopString = "\n"
    (sample.dataset, sample.rowID, sample.channel) = ("d", "r1", "c")
    sample.turns = [RewardTurn(origin: .tool, tokens: 0..<1, reward: 2)]
    var image = RewardImage(Picture(width: 1, height: 1, pixels: [1, 2, 3]))
    image.encoded = [9, 8]
    image.mimeType = "image/png"
    image.timestamp = 0.5
    sample.images = [image]
    var context = RewardContext()
    (context.step, context.recipe, context.runID) = (3, "recipe", "run")
    let needs = ATTUNE_NEEDS_IMAGES | ATTUNE_NEEDS_IMAGE_BYTES
    try BatchView.with([sample], context, needs: needs, timeLimit: 1, larger: true) { view in
      let read = view.sample(0)
      #expect(read.prompt == "p\0q" && read.completion == "ü")
      #expect(Array(read.rawCompletion.utf8) == Array("u\u{308}".utf8))
      #expect(read.columns["a"] == JSON.array([1, "z"]))
      #expect(read.messages == sample.messages && read.completionMessages == sample.completionMessages)
      #expect(read.references == ["", "r"])
      #expect(read.tokenIDs == [5, 6] && read.tokenOffsets == [0, 1] && read.policyMask == [true, false])
      #expect(read.logprobs?[0] == -1 && read.entropies == nil)
      #expect(read.finishReason == .stopString && read.stopString == "\n")
      #expect(read.dataset == "d" && read.rowID == "r1" && read.channel == "c")
      #expect(read.turns.map(\.tokens) == [0..<1] && read.turns[0].reward == 2)
      #expect(read.images[0].picture == image.picture && read.images[0].encoded == [9, 8])
      #expect(read.images[0].mimeType == "image/png" && read.images[0].timestamp == 0.5)
      #expect(view.context.step == 3 && view.context.recipe == "recipe" && view.context.runID == "run")
    }
  }
}
