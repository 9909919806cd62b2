import Core
import Datasets
import Models
import Rewards
import Rollout

/// Makes preference data of a policy's own completions: samples, scores them with the recipe's rewards as a
/// group-relative step does, and keeps what the rewards tell apart.
///
/// A row is a function of the weights, the settings and the prompt's row in its source: not of the other prompts, their
/// order, or the threads.
struct PreferenceMaker {
  let recipe: Recipe
  let policy: Policy
  let rewards: RewardSet
  let services: HostServices
  let settings: PreferenceSettings
  /// Where in a run's steps this happens; 0 outside one.
  var globalStep = 0
  var runID = ""
  var isCancelled: () -> Bool = { false }

  /// Prompts that are sampled together; no row depends on it.
  static let prompts = 32

  /// Writes the rows of a source's first prompts, in the source's order, to a JSONL file.
  ///
  /// - Parameters:
  ///   - report: what rewards had to say, and how far it has come.
  /// - Throws: `.work` if nothing could be made of any prompt, and what scoring throws in a step; the file then stands as
  ///   it was. `CancellationError` if it is to stop.
  func write(_ stream: DataStream, to path: String, report: (String) throws -> Void) throws -> PreferenceCounts {
    try settings.validate()
    let total = try settings.promptCount(of: stream.source, named: stream.name)
    let engine = LocalEngine(
      policy.model, decoder: policy.tokenizer, seed: settings.seed, for: .preferences,
      limits: RolloutLimits(
        cacheBytes: recipe.rollout.cacheMiB << 20, sequences: recipe.rollout.sequences,
        prefillTokens: recipe.rollout.prefillTokens))
    let inputs = RewardInputs(policy, rewards.entries.map(\.reward.descriptor))
    var file = SampleFile(path)
    var counts = PreferenceCounts(kind: settings.kind)
    var names = ComponentNames()
    for start in stride(from: 0, to: total, by: Self.prompts) {
      let range = start..<min(start + Self.prompts, total)
      let samples = try range.map { try stream.sample(at: $0) }
      let scored = try score(samples, range, of: stream.name, engine, inputs, &names, report)
      for (i, sample) in samples.enumerated() {
        let own = scored.rewards[i * settings.completions..<(i + 1) * settings.completions]
        try add(sample, scored.groups[i], Array(own), &file, &counts)
      }
      if range.upperBound < total {
        try report("\(range.upperBound) of \(total) prompts sampled, \(counts.rows) \(counts.kind.rawValue) so far")
      }
    }
    guard counts.rows > 0 else { throw counts.refusal }
    try file.finish()
    return counts
  }

  // MARK: Sampling and scoring

  private func score(
    _ samples: [Sample], _ range: Range<Int>, of source: String, _ engine: LocalEngine, _ inputs: RewardInputs,
    _ names: inout ComponentNames, _ report: (String) throws -> Void
  ) throws -> (groups: [[Completion]], rewards: [Double?]) {
    let prompts = try samples.map {
      try policy.prompt(messages: $0.prompt.map(\.json), media: PromptMedia(pictures: $0.pictures))
    }
    let context = context
    let lanes = RewardLanes(
      rewards.entries.map(\.reward), score: { [entries = rewards.entries] in try entries[$0].score($2, context) })
    let groups: [[Completion]]
    let outcomes: [[RewardOutcome]]
    do {
      groups = try engine.generate(
        zip(samples, prompts).map {
          RolloutRequest(prompt: $1.encoded, completions: settings.completions, promptNumber: $0.id)
        }, settings.sampling(stopIDs: policy.stopIDs), isCancelled: isCancelled
      ) { group, completions in
        let number = range.lowerBound + group
        // Unlike any number of a training sample, of one of an evaluation, or of one of a look at rewards.
        let id = 1 << 62 | UInt64(globalStep) << 32 | UInt64(number * settings.completions)
        lanes.add(
          inputs.group(
            samples[group], prompts[group], completions, at: .init(dataset: source, groupID: id, firstID: id)))
      }
      outcomes = try lanes.finish().outcomes
    } catch {
      lanes.abandon()
      throw error
    }
    for note in rewards.failures(outcomes) + services.takeRecord().notes { try report(note) }
    let matrix = try RewardMatrix(
      rewards.rules, outcomes: outcomes, finishReasons: groups.flatMap { $0.map(\.finishReason) })
    try names.note(rewards.rules, outcomes, file: recipe.file)
    try recipe.rewardLimits.check(
      rewards.rules, outcomes, matrix, occasion: "prompts \(range.lowerBound) to \(range.upperBound - 1) of \(source)")
    return (groups, matrix.values.indices.map { matrix.total($0) })
  }

  private var context: RewardContext {
    var context = recipe.rewardContext(globalStep: globalStep, phase: .train)
    context.runID = runID
    context.services = services
    return context
  }

  // MARK: Rows

  /// What the completions of one prompt give.
  private func add(
    _ sample: Sample, _ group: [Completion], _ rewards: [Double?], _ file: inout SampleFile,
    _ counts: inout PreferenceCounts
  ) throws {
    counts.prompts += 1
    counts.completions += group.count
    var texts: [Int: String] = [:]
    var candidates: [PreferenceSelection.Candidate] = []
    var faults: [PreferenceCounts.Reason: Int] = [:]
    for (index, completion) in group.enumerated() {
      switch candidate(completion, rewards[index], known: texts.values) {
      case .success(let found):
        texts[index] = found.text
        candidates.append(.init(index: index, reward: found.reward))
      case .failure(let fault): faults[fault.reason, default: 0] += 1
      }
    }
    counts.leftOut.merge(faults) { $0 + $1 }
    if let reason = settings.kind.shortage(of: group.count, faults) {
      counts.nothing[reason, default: 0] += 1
      return
    }
    var row = sample
    (row.completion, row.rejected, row.label, row.margin) = (nil, nil, nil, nil)
    switch settings.kind {
    case .pairs:
      let selection = PreferenceSelection.pairs(candidates, settings)
      if let reason = selection.reason { counts.nothing[reason, default: 0] += 1 }
      guard !selection.pairs.isEmpty else { return }
      let images = try file.images(of: sample)
      for pair in selection.pairs {
        row.completion = texts[pair.chosen.index]
        row.rejected = texts[pair.rejected.index]
        row.margin = pair.margin
        let scores: [(name: String, value: JSON)] = [
          ("score_chosen", .double(pair.chosen.reward)), ("score_rejected", .double(pair.rejected.reward)),
        ]
        file.add(row, images: images, scores: scores)
        counts.rows += 1
      }
    case .labels:
      let images = try file.images(of: sample)
      for candidate in candidates {
        row.completion = texts[candidate.index]
        row.label = candidate.reward >= settings.threshold
        file.add(row, images: images, scores: [("score", .double(candidate.reward))])
        counts.rows += 1
        if row.label == true { counts.desirable += 1 }
      }
    }
  }

  private struct Fault: Error { let reason: PreferenceCounts.Reason }

  /// A completion's text without its end-of-sequence id, or why it is left out.
  private func candidate(
    _ completion: Completion, _ reward: Double?, known: some Sequence<String>
  ) -> Result<(text: String, reward: Double), Fault> {
    let isWhole = completion.finishReason == .stop
    if !isWhole, settings.dropsTruncated { return .failure(Fault(reason: .truncated)) }
    guard let reward else { return .failure(Fault(reason: .unscored)) }
    let ids = Array(isWhole ? completion.ids.dropLast() : completion.ids[...])
    let text = policy.tokenizer.decode(ids, skipSpecialTokens: false)
    if text.isEmpty { return .failure(Fault(reason: .empty)) }
    // What training will make of the text, its end included.
    guard isWhole ? policy.target(of: text) == completion.ids : policy.ids(of: text) == ids else {
      return .failure(Fault(reason: .otherTokens))
    }
    if known.contains(where: { $0.utf8.elementsEqual(text.utf8) }) { return .failure(Fault(reason: .repeated)) }
    return .success((text, reward))
  }
}

extension PreferenceSettings.Kind {
  /// What left too few of a group's completions, in the order in which they are looked at; nil if enough are left.
  func shortage(of count: Int, _ faults: [PreferenceCounts.Reason: Int]) -> PreferenceCounts.Reason? {
    var left = count
    return PreferenceCounts.Reason.allCases.first { reason in
      left -= faults[reason] ?? 0
      return left < (self == .pairs ? 2 : 1)
    }
  }
}
