import Core
import Foundation

/// What the validator found.
public struct RewardCheck: Sendable {
  /// A rule of the interface, and whether the plugin keeps it.
  public struct Rule: Sendable {
    public var name: String
    public var held: Bool
    /// What was seen; for a broken rule also with which input.
    public var detail: String
    /// How to mend a broken rule.
    public var remedy: String?

    public var line: String {
      var text = (held ? "ok      " : "BROKEN  ") + name
      if !detail.isEmpty { text += ": \(detail)" }
      if let remedy { text += "\n        mend: \(remedy)" }
      return text
    }
  }

  public var rules: [Rule] = []
  public var passed: Bool { rules.allSatisfy(\.held) }
  /// One line per rule.
  public var text: String { rules.map(\.line).joined(separator: "\n") }
  public var json: JSON {
    [
      "passed": .bool(passed),
      "rules": .array(
        rules.map {
          [
            "rule": .string($0.name), "held": .bool($0.held), "detail": .string($0.detail),
            "remedy": $0.remedy.map(JSON.string) ?? .null,
          ]
        }),
    ]
  }
}

extension RewardBench {
  /// Runs a plugin through every rule of the interface, in a worker, and replays the `cases.jsonl` beside it.
  ///
  /// A source that does not load breaks the first rule; nothing is thrown for what a plugin does.
  ///
  /// - Parameter services: what plugins may call on, such as judges.
  public static func check(
    _ source: String, parameters: JSON.Object = .init(), timeoutSeconds: Double = 10, cases: String? = nil,
    workerCommand: [String], services: (any RewardServices)? = nil, pictures: @escaping PictureReader
  ) -> RewardCheck {
    var check = RewardCheck()
    let library: RewardSource
    let descriptors: [RewardDescriptor]
    do {
      library = try RewardLoader.resolve(source)
      descriptors = try RewardLoader.describe(source, workerCommand: workerCommand)
      check.rules.append(.init(name: "loads", held: true, detail: library.words))
    } catch {
      let known = error as? AttuneError
      let place = known?.location.map { "\($0): " } ?? ""
      check.rules.append(
        .init(name: "loads", held: false, detail: place + (known?.message ?? "\(error)"), remedy: known?.hint))
      return check
    }
    let casesPath = cases ?? place(of: source, library).flatMap(RewardCases.path)
    for descriptor in descriptors {
      let borrowed = required(by: descriptor, beside: parameters, casesPath, pictures)
      let run = PluginCheck(
        descriptor: descriptor, library: library, parameters: parameters, borrowed: borrowed, timeLimit: timeoutSeconds,
        prefix: descriptors.count > 1 ? "\(descriptor.reward): " : "", workerCommand: workerCommand, services: services)
      run.run(casesPath: casesPath, pictures: pictures)
      check.rules += run.rules
    }
    return check
  }

  /// The path beside which a reward's cases stand, if it has one.
  private static func place(of source: String, _ resolved: RewardSource) -> String? {
    if case .function(let library, _) = resolved {
      let written = FunctionSignature.split(source, fileExists: FileManager.default.fileExists(atPath:))?.library
      return library.contains("/") ? written ?? library : nil
    }
    return source.contains("/") || source.contains(".") ? source : resolved.words
  }

  /// Parameters that must be given and were not, as the first of the reward's cases has them.
  private static func required(
    by descriptor: RewardDescriptor, beside given: JSON.Object, _ casesPath: String?, _ pictures: PictureReader
  ) -> JSON.Object {
    var found = JSON.Object()
    let missing = (descriptor.parameters ?? []).filter { $0.defaultValue == nil && given[$0.name] == nil }
    // A file that cannot be read breaks the rule that replays it.
    guard !missing.isEmpty, let casesPath, let file = try? RewardCases(path: casesPath, pictures: pictures),
      let first = file.cases.first(where: { $0.rewardName == nil || $0.rewardName == descriptor.reward })
    else { return found }
    for parameter in missing { found[parameter.name] = first.parameters[parameter.name] }
    return found
  }
}

/// A rule that did not hold.
private struct Broken: Error {
  var detail: String
  var remedy: String?
}

/// The rules for one reward of a library.
private final class PluginCheck {
  private(set) var rules: [RewardCheck.Rule] = []
  private let descriptor: RewardDescriptor
  private let library: RewardSource
  private let parameters: JSON.Object
  /// Names of the parameters among them that a case gave.
  private let borrowed: [String]
  private let timeLimit: Double
  private let prefix: String
  private let workerCommand: [String]
  /// The declaration, if the reward is a C function.
  private let signature: FunctionSignature?
  private let ordinary: [Probes.Probe]
  private let services: (any RewardServices)?

  init(
    descriptor: RewardDescriptor, library: RewardSource, parameters: JSON.Object, borrowed: JSON.Object,
    timeLimit: Double, prefix: String, workerCommand: [String], services: (any RewardServices)?
  ) {
    self.descriptor = descriptor
    self.library = library
    var parameters = parameters
    for (key, value) in borrowed.entries { parameters[key] = value }
    self.parameters = parameters
    self.borrowed = borrowed.keys
    self.timeLimit = timeLimit
    self.prefix = prefix
    self.workerCommand = workerCommand
    if case .function(_, let text) = library { signature = try? FunctionSignature(text) } else { signature = nil }
    ordinary = Probes.ordinary.map { [signature] in ($0.label, signature?.completed($0.sample) ?? $0.sample) }
    self.services = services
  }

  private func rule(_ name: String, _ body: () throws -> String) {
    do {
      rules.append(.init(name: prefix + name, held: true, detail: try body()))
    } catch let broken as Broken {
      rules.append(.init(name: prefix + name, held: false, detail: broken.detail, remedy: broken.remedy))
    } catch let error as AttuneError {
      rules.append(.init(name: prefix + name, held: false, detail: error.message, remedy: error.hint))
    } catch {
      rules.append(.init(name: prefix + name, held: false, detail: "\(error)"))
    }
  }

  /// What `check` was given, and over it what a case says.
  private func merged(with own: JSON.Object) -> JSON.Object {
    var merged = parameters
    for (key, value) in own.entries { merged[key] = value }
    return merged
  }

  private func start(_ parameters: JSON.Object? = nil) throws -> WorkerReward {
    try WorkerReward(
      LoadRequest(
        source: library.choosing(descriptor.reward), columnName: descriptor.reward,
        parameters: parameters ?? self.parameters, file: nil),
      name: descriptor.reward, timeLimit: timeLimit, command: workerCommand)
  }

  /// Scores probes; a crash or a hang breaks the rule, whatever else an outcome says is the plugin's right.
  private func score(
    _ reward: WorkerReward, _ probes: [(label: String, sample: RewardSample)],
    _ variant: PluginInstance.Variant = .normal
  ) throws -> [RewardOutcome] {
    var context = RewardContext()
    context.phase = .test
    context.services = services
    let samples = RewardBench.grouped(probes.map(\.sample))
    let deaths = reward.deaths
    let outcomes = try reward.score(samples, context: context, variant: variant)
    if reward.deaths > deaths {
      let i = outcomes.firstIndex {
        $0.log.hasPrefix("the plugin ") && ($0.status == .failed || $0.status == .timedOut)
      }
      throw Broken(
        detail: i.map { "\(outcomes[$0].log): \(probes[$0].label)" } ?? "the plugin was stopped and recovered",
        remedy: "attune reward try shows the same with this input; run it with --isolation inline under a debugger")
    }
    return outcomes
  }

  func run(casesPath: String?, pictures: @escaping RewardBench.PictureReader) {
    rule(signature == nil ? "version" : "signature") {
      if let signature { return "\(signature.text) of \(descriptor.path)" }
      return
        "built for \(descriptor.abiMajor).\(descriptor.abiMinor) of attune_reward.h, library version \(descriptor.libraryVersion)"
    }
    rule("describes itself") {
      let name = descriptor.reward
      if signature != nil { return name }
      guard name.unicodeScalars.allSatisfy({ $0 == "_" || ("a"..."z").contains($0) || ("0"..."9").contains($0) }) else {
        throw Broken(detail: "the name '\(name)' is not snake_case", remedy: "lower-case letters, digits and _")
      }
      guard !descriptor.summary.isEmpty else { return "\(name) (it would be kind to give a summary)" }
      return "\(name): \(descriptor.summary)"
    }
    var made: WorkerReward?
    rule("starts") {
      made = try start()
      let parameters = descriptor.parameters.map { "\($0.count) parameters" } ?? "any parameters"
      return borrowed.isEmpty
        ? parameters : "\(parameters), \(borrowed.joined(separator: " and ")) as in the first case"
    }
    guard let reward = made else { return }
    defer { reward.close() }
    runScoring(reward)
    rule("two instances side by side") {
      let other = try start()
      defer { other.close() }
      let a = try score(reward, ordinary)
      let b = try score(other, ordinary)
      if descriptor.isDeterministic { try compare(a, b, ordinary, "by two instances") }
      return ""
    }
    rule("ends without having scored") {
      let other = try start()
      other.close()
      return ""
    }
    if let casesPath { rule("cases.jsonl") { try replay(casesPath, pictures) } }
    rule("time per sample") { try time(reward) }
  }

  private func runScoring(_ reward: WorkerReward) {
    rule("an empty batch") {
      _ = try score(reward, [])
      return ""
    }
    rule("ordinary samples") {
      let outcomes = try score(reward, ordinary)
      try checkRange(outcomes, ordinary)
      let scored = outcomes.filter { $0.status == .ok }.count
      return "\(scored) of \(outcomes.count) scored"
    }
    for (name, probes) in Probes.unusual {
      rule(name) {
        let outcomes = try score(reward, probes)
        try checkRange(outcomes, probes)
        return ""
      }
    }
    if signature == nil { runOtherHosts(reward) }
    if descriptor.isDeterministic {
      rule("deterministic, as promised") {
        let all = ordinary + Probes.unusual.flatMap { $0.1 }
        let first = try score(reward, all)
        try compare(first, try score(reward, all), all, "when scored twice")
        guard !descriptor.needsGroup else { return "the same batch twice" }
        let backwards = try score(reward, all.reversed())
        try compare(first, backwards.reversed(), all, "in another order")
        return "the same batch twice, and in another order"
      }
    }
    rule("state survives being saved and loaded") {
      guard let state = try reward.saveState() else { return "keeps no state" }
      try reward.loadState(state)
      _ = try score(reward, ordinary)
      return "\(state.count) bytes"
    }
  }

  private func runOtherHosts(_ reward: WorkerReward) {
    rule("a host of a later version (larger structs, a message buffer of one byte)") {
      try sameAsNormal(reward, .laterHost)
    }
    rule("a host that offers less (no tokenizer, no extensions)") { try sameAsNormal(reward, .earlierHost) }
  }

  private func sameAsNormal(_ reward: WorkerReward, _ variant: PluginInstance.Variant) throws -> String {
    let normal = try score(reward, ordinary)
    let other = try score(reward, ordinary, variant)
    if descriptor.isDeterministic { try compare(normal, other, ordinary, "by such a host") }
    return ""
  }

  private func compare(
    _ a: [RewardOutcome], _ b: [RewardOutcome], _ probes: [(label: String, sample: RewardSample)], _ occasion: String
  ) throws {
    for i in a.indices where a[i].score?.bitPattern != b[i].score?.bitPattern || a[i].status != b[i].status {
      func words(_ outcome: RewardOutcome) -> String { outcome.score.map { "\($0)" } ?? outcome.status.rawValue }
      throw Broken(
        detail: "\(words(a[i])) and then \(words(b[i])) \(occasion), for \(probes[i].label)",
        remedy: "leave no state behind, use host->random, or do not set ATTUNE_DETERMINISTIC")
    }
  }

  private func checkRange(_ outcomes: [RewardOutcome], _ probes: [(label: String, sample: RewardSample)]) throws {
    for (outcome, probe) in zip(outcomes, probes) {
      if outcome.status == .invalid, outcome.log.hasPrefix("the reward returned ") {
        throw Broken(
          detail: "\(outcome.log), for \(probe.label)", remedy: "finite scores; NaN says that there is no opinion")
      }
      if let score = outcome.score, let range = descriptor.range, !range.contains(score) {
        throw Broken(
          detail: "\(score), for \(probe.label), is outside \(range.lowerBound) to \(range.upperBound)",
          remedy: "widen minimum and maximum, or set both to 0")
      }
    }
  }

  private func replay(_ path: String, _ pictures: @escaping RewardBench.PictureReader) throws -> String {
    let folder = (path as NSString).deletingLastPathComponent
    let file = try RewardCases(path: path) {
      try pictures(($0 as NSString).isAbsolutePath || folder.isEmpty ? $0 : folder + "/" + $0)
    }
    let (count, failures) = try file.replay(descriptor, services: services) { try start(merged(with: $0)) }
    if let first = failures.first {
      throw Broken(
        detail: "\(path):\(first.line): \(first.difference)"
          + (failures.count > 1 ? " (and \(failures.count - 1) more)" : ""),
        remedy: "mend the reward, or what is expected of it")
    }
    return "\(count) as expected"
  }

  private func time(_ reward: WorkerReward) throws -> String {
    let batch = Array(repeating: ordinary, count: 16).flatMap { $0 }
    var best = Double.infinity
    for _ in 0..<3 {
      let start = MonotonicClock.now
      _ = try score(reward, batch)
      best = min(best, Double(MonotonicClock.now - start) * 1e-3 / Double(batch.count))
    }
    return String(format: "%.1f µs in a worker", best)
  }
}

/// Samples that plugins meet sooner or later.
private enum Probes {
  typealias Probe = (label: String, sample: RewardSample)

  static let ordinary: [Probe] = ["<answer>42</answer>", "It is 41.", "42", "no idea"].map { text in
    (label: "the completion \"\(text)\"", sample: make(text, reference: "42"))
  }

  private static func make(_ completion: String, reference: String? = nil, tokens: Int? = nil) -> RewardSample {
    var sample = RewardSample(prompt: "What is 6 times 7?", completion: completion)
    sample.messages = [Message(role: "user", text: "What is 6 times 7?")]
    if let reference {
      sample.reference = reference
      for key in RewardBench.referenceKeys { sample.columns[key] = .string(reference) }
    }
    let count = tokens ?? completion.unicodeScalars.count
    sample.tokenIDs = (0..<count).map { Int32($0 % 1000) }
    sample.tokenOffsets = (0..<count).map { UInt32(min($0, completion.utf8.count)) }
    sample.logprobs = Array(repeating: -0.5, count: count)
    return sample
  }

  static let unusual: [(String, [Probe])] = {
    var noTokens = make("", reference: "42")
    noTokens.tokenOffsets = nil
    noTokens.logprobs = nil
    var nan = make("42", reference: "42")
    nan.logprobs = nan.tokenIDs.map { _ in .nan }
    var cut = make("<answer>4", reference: "42")
    cut.finishReason = .length
    var pictures = make("42", reference: "42")
    for (width, height) in [(1, 1), (7, 3), (28, 28)] {
      let pixels = (0..<(width * height * 3)).map { UInt8(truncatingIfNeeded: $0) }
      pictures.images.append(RewardImage(Picture(width: width, height: height, pixels: pixels)))
    }
    var odd = make("42")
    odd.columns["reference"] = JSON.null
    odd.columns["answer"] = JSON.array(["a", 1])
    odd.columns["solution"] = JSON.object([("deep", JSON.object([("er", JSON.null)]))])
    odd.columns["label"] = JSON.bool(true)
    var several = make("<answer>42</answer>")
    several.references = ["forty-two", "42", ""]
    several.columns["reference"] = .array(["forty-two", "42", ""])
    // The policy calls a tool; what the tool answered is in the completion and is not the policy's.
    var turns = make("calc(6*7) 42 so <answer>42</answer>", reference: "42")
    turns.policyMask = turns.tokenIDs.indices.map { !(10..<13).contains($0) }
    turns.turns = [
      RewardTurn(origin: .policy, tokens: 0..<10), RewardTurn(origin: .tool, tokens: 10..<13, reward: 0.5),
      RewardTurn(origin: .policy, tokens: 13..<turns.tokenIDs.count),
    ]
    let call: JSON = [["type": "function", "function": ["name": "calc", "arguments": "{\"x\": \"6*7\"}"]]]
    turns.completionMessages = [
      Message(role: "assistant", text: "", fields: JSON.Object([("tool_calls", call)])),
      Message(role: "tool", text: "42", fields: JSON.Object([("name", "calc")])),
      Message(role: "assistant", text: "so <answer>42</answer>"),
    ]
    var foreign = make("42", reference: "42")
    foreign.policyMask = foreign.tokenIDs.map { _ in false }
    var prefixed = make("6 times 7.</think><answer>42</answer>", reference: "42")
    prefixed.generationPrefix = "<think>\n"
    let damaged = String(decoding: [0x34, 0xFF, 0xC3, 0x28, 0x32] as [UInt8], as: UTF8.self)
    return [
      ("an empty completion", [("an empty completion without tokens", noTokens)]),
      ("NULs in texts", [("a completion and a reference with NULs", make("4\02\0", reference: "4\02"))]),
      ("bytes that were no UTF-8", [("a completion with U+FFFD in it", make(damaged, reference: "42"))]),
      (
        "other scripts",
        [("a completion of emoji, right-to-left text and combining marks", make("👩‍👩‍👧 שלום e\u{301} ４２", reference: "٤٢"))]
      ),
      (
        "a very long completion",
        [
          (
            "a completion of 1 MB and 100000 tokens",
            make(String(repeating: "<answer>4", count: 111_111), reference: "42", tokens: 100_000)
          )
        ]
      ),
      ("missing columns", [("a row without columns and reference", make("42")), ("columns of unusual types", odd)]),
      ("log-probabilities that are NaN", [("log-probabilities that are NaN", nan)]),
      ("a completion that was cut off", [("a completion that ended at the token limit", cut)]),
      ("several references", [("a list of references, one of them empty", several)]),
      (
        "turns and tools",
        [("a completion of three turns with a tool's answer", turns), ("no token of the policy's own", foreign)]
      ),
      ("a prompt that opened a tag", [("a generation prefix <think>", prefixed)]),
      ("pictures of several sizes", [("three pictures, one of a single pixel", pictures)]),
    ]
  }()
}
