import Core
import Foundation

/// What a reward costs, measured on generated samples.
public enum RewardTimings {
  /// The samples of every call.
  public struct Workload: Sendable {
    public var samples: Int
    /// Of each completion.
    public var bytes: Int
    /// 224 x 224 pictures in each prompt; the completions of a group share them.
    public var pictures: Int
    /// Completions of a prompt.
    public var groupSize: Int

    public init(samples: Int = 64, bytes: Int = 1024, pictures: Int = 0, groupSize: Int = 8) {
      self.samples = samples
      self.bytes = bytes
      self.pictures = pictures
      self.groupSize = groupSize
    }
  }

  /// How a reward is made.
  public enum Kind: String, Sendable, CaseIterable {
    case c
    case swift
    /// A function of the C library, called by its declaration through libffi.
    case function
  }

  /// One reward at one place.
  public struct Figure: Sendable {
    public var kind: Kind
    public var isolation: RewardSpecification.Isolation
    /// The median.
    public var secondsPerBatch: Double
    public var samples: Int

    public var secondsPerSample: Double { secondsPerBatch / Double(max(1, samples)) }

    public var json: JSON {
      [
        "kind": .string(kind.rawValue), "isolation": .string(isolation.rawValue),
        "ns_per_sample": .double(secondsPerSample * 1e9), "us_per_batch": .double(secondsPerBatch * 1e6),
      ]
    }
  }

  /// Samples of letters, with references, columns and messages as a run has them.
  public static func samples(_ workload: Workload) -> [RewardSample] {
    let pixels = (0..<(224 * 224 * 3)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let letters = Array("abcdefghijklmnopqrstuvwxyz ".utf8)
    var made: [RewardSample] = []
    var pictures: [RewardImage] = []
    var columns = JSON.Object()
    var messages: [Message] = []
    var prompt = ""
    for i in 0..<workload.samples {
      let group = i / max(1, workload.groupSize)
      if i % max(1, workload.groupSize) == 0 {
        prompt = "Question \(group): what is the answer?"
        messages = [Message(role: "user", text: prompt)]
        columns = JSON.Object([("question", .string(prompt)), ("answer", .string("\(group)"))])
        pictures = (0..<workload.pictures).map { number in
          var own = pixels
          own[0] = UInt8(truncatingIfNeeded: group + number)
          return RewardImage(Picture(width: 224, height: 224, pixels: own))
        }
      }
      let text = (0..<workload.bytes).map { letters[($0 &* 7 &+ i) % letters.count] }
      var sample = RewardSample(prompt: prompt, completion: String(decoding: text, as: UTF8.self), columns: columns)
      sample.messages = messages
      sample.reference = "\(group)"
      sample.images = pictures
      made.append(sample)
    }
    return RewardBench.grouped(made)
  }

  /// Seconds of one call with these samples: the median of `rounds`, each as many calls as take 20 ms.
  ///
  /// - Throws: also if a sample has no score: what fails early costs little.
  public static func secondsPerBatch(
    _ reward: any PluginReward, _ samples: [RewardSample], rounds: Int = 9
  ) throws -> Double {
    let context = RewardContext()
    func calls(_ count: Int) throws -> Double {
      let start = MonotonicClock.now
      for _ in 0..<count { _ = try reward.score(samples, context: context) }
      return Double(MonotonicClock.now - start) * 1e-9
    }
    for outcome in try reward.score(samples, context: context) where outcome.status != .ok {
      throw AttuneError.work("the reward \(reward.name) cannot be timed: \(outcome.status.rawValue), \(outcome.log)")
    }
    var count = 1
    while try calls(count) < 0.02, count < 1 << 20 { count *= 2 }
    let times = try (0..<max(1, rounds)).map { _ in try calls(count) / Double(count) }
    return times.sorted()[times.count / 2]
  }

  /// The smallest rewards there are, of every kind, inline and in a worker: what remains is the way there and back.
  ///
  /// - Throws: `AttuneError` if a compiler is missing.
  public static func compare(
    _ workload: Workload, workerCommand: [String], rounds: Int = 9
  ) throws -> [Figure] {
    let samples = samples(workload)
    let folder = NSTemporaryDirectory() + "/attune-timings-" + UUID().uuidString
    try PluginCompiler.makeFolder(folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var figures: [Figure] = []
    for kind in Kind.allCases {
      let source = try source(kind, pictures: workload.pictures > 0, in: folder)
      for isolation in [RewardSpecification.Isolation.inline, .worker] {
        let reward = try RewardLoader.load(
          RewardSpecification(name: "timed", source: source, isolation: isolation), workerCommand: workerCommand)
        defer { reward.close() }
        figures.append(
          Figure(
            kind: kind, isolation: isolation,
            secondsPerBatch: try secondsPerBatch(reward, samples, rounds: rounds), samples: samples.count))
      }
    }
    return figures
  }

  /// What a worker costs beside the same plugin inline, in seconds of a batch.
  public static func besideInline(_ figures: [Figure], _ kind: Kind) -> Double? {
    func seconds(_ isolation: RewardSpecification.Isolation) -> Double? {
      figures.first { $0.kind == kind && $0.isolation == isolation }?.secondsPerBatch
    }
    guard let inline = seconds(.inline), let worker = seconds(.worker) else { return nil }
    return worker - inline
  }

  /// What a recipe would name, its file written if it is one.
  private static func source(_ kind: Kind, pictures: Bool, in folder: String) throws -> String {
    let path = "\(folder)/timed.\(kind.rawValue)"
    let text: String
    switch kind {
    case .c:
      text = """
        #include "attune_reward.h"

        ATTUNE_REWARD_FUNCTION(timed, "one over the size", \(pictures ? "ATTUNE_NEEDS_IMAGES" : "0"), NULL) {
          return 1.0 / (1.0 + (double)sample->completion.size);
        }

        ATTUNE_LIBRARY("timed", "1.0", &timed_reward)
        """
    case .swift:
      text = """
        import RewardKit

        struct Timed: Reward {
          static let needs: Needs = \(pictures ? "[.images]" : "[]")
          func score(_ sample: Sample) -> Double { 1 / Double(1 + sample.completion.utf8.count) }
        }

        @c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(Timed.self) }
        """
    case .function:
      #if os(Linux)
        return "libc.so.6: size_t strlen(const char *completion)"
      #else
        return "libSystem.B.dylib: size_t strlen(const char *completion)"
      #endif
    }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }
}
