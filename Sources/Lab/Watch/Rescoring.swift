import Core
import Objectives
import Rewards

/// A reward asked again about the samples of a run: what would have been rewarded otherwise.
///
/// Samples are handed over as the run saw them, step by step, in the phase `replay`; totals and advantages follow from the
/// run's recipe. Nothing of the run is changed, and it may still be running.
public struct Rescoring: Sendable {
  public struct Request: Sendable {
    /// What `attune reward try` takes, or the name of one of the run's rewards: that one, as it is now.
    public var source: String
    /// The reward whose scores are replaced; another name adds a reward. nil: the source's name.
    public var name: String?
    /// Override the parameters in the recipe.
    public var parameters: JSON.Object
    /// nil: the replaced reward's, or 1.
    public var weight: Double?
    /// Index of a stage; nil: all.
    public var stage: Int?
    /// Steps within their stage; nil: all.
    public var steps: ClosedRange<Int>?

    public init(
      source: String, name: String? = nil, parameters: JSON.Object = .init(), weight: Double? = nil,
      stage: Int? = nil, steps: ClosedRange<Int>? = nil
    ) {
      self.source = source
      self.name = name
      self.parameters = parameters
      self.weight = weight
      self.stage = stage
      self.steps = steps
    }
  }

  /// What a sample was worth.
  public struct Worth: Sendable, Equatable {
    /// The reward's own score; nil without one.
    public var score: Double?
    public var status: RewardStatus
    public var log: String
    /// The weighted total; nil if no reward applies.
    public var total: Double?
    public var advantage: Double
  }

  /// A sample before and after.
  public struct Row: Sendable {
    public var place: RunStore.Place
    public var stageName: String
    public var completion: String
    /// As the run recorded it. A reward that the run did not have has no score and no opinion here; total and advantage are
    /// the run's all the same.
    public var before: Worth
    public var after: Worth

    /// The score or its status is another.
    public var changed: Bool {
      before.score != after.score || before.status != after.status
    }
    /// What was encouraged is now discouraged, or the other way round.
    public var turned: Bool { before.advantage * after.advantage < 0 }
    /// From or to an advantage of 0.
    public var woke: Bool { (before.advantage == 0) != (after.advantage == 0) }
  }

  public let run: String
  public let name: String
  public let source: String
  public let weight: Double
  /// True if the run had a reward of this name.
  public let replaces: Bool
  public let rows: [Row]
  /// What is not exactly as the run saw it.
  public let remarks: [String]

  public init(_ folder: RunFolder, _ request: Request, workerCommand: [String]) throws {
    let store = try RunStore.read(folder)
    let (id, start) = try store.start()
    let recipe = try Recipe(effective: start.effective, text: start.recipe, file: start.file)
    let plan = try Plan(request, recipe)
    let reward = try RewardLoader.load(
      plan.specification, workerCommand: workerCommand, models: CheckpointRewards(threads: recipe.threads))
    defer { reward.close() }
    var reader = try Reader(store: store, recipe: recipe, runID: id, reward.descriptor)
    var rows: [Row] = []
    for (index, stage) in recipe.stages.enumerated() where request.stage == nil || request.stage == index {
      guard stage.rollouts != nil else { continue }
      for step in try store.stepsWithRollouts(stage: index) where request.steps?.contains(step) ?? true {
        let recorded = try reader.step(step, stage: index)
        // Group by group, as in the run.
        var outcomes: [RewardOutcome] = []
        for group in recorded.groups where !group.isEmpty {
          outcomes += try reward.score(
            group, context: recorded.context(timeout: plan.specification.timeoutSeconds, group))
        }
        rows += try plan.rows(recorded, outcomes, stage)
      }
    }
    guard !rows.isEmpty else {
      let stages = recipe.stages.filter { $0.rollouts != nil }.map(\.name)
      throw AttuneError.request(
        "run \(id) has no samples\(request.steps.map { " in steps \($0.lowerBound) to \($0.upperBound)" } ?? "")",
        at: .init(file: folder.path),
        hint: stages.isEmpty
          ? "only stages whose objective samples have any, and it has none"
          : "its sampling stages: \(stages.joined(separator: ", "))")
    }
    run = id
    name = plan.rule.name
    source = plan.specification.source
    weight = plan.rule.weight
    replaces = plan.place != nil
    self.rows = rows
    remarks = reader.remarks
  }
}

extension Rescoring {
  /// What of the recipe's rewards is replaced, and by what.
  struct Plan {
    let specification: RewardSpecification
    let rule: ScoringRule
    /// Index of the reward that is replaced; nil adds one.
    let place: Int?
    /// The run's rules, and those after the change.
    let oldRules: [ScoringRule]
    let newRules: [ScoringRule]

    init(_ request: Request, _ recipe: Recipe) throws {
      let own = recipe.rewards.first { $0.name == request.source }
      let name = request.name ?? own?.name ?? RecipePaths.rewardName(request.source)
      guard RecipePaths.isName(name) else {
        throw AttuneError.request(
          "--name is '\(name)', a word of letters, digits, '_' and '-' that begins with a letter was expected")
      }
      let place = recipe.rewards.firstIndex { $0.name == name }
      var rule = place.map { ScoringRule(recipe.rewards[$0]) } ?? ScoringRule(name: name)
      if let weight = request.weight { rule.weight = weight }
      // A failure is something to see here, not a reason to stop.
      if rule.failure == .abort { rule.failure = .skip }
      let settings = place.map { recipe.rewards[$0] } ?? own
      var specification =
        settings.map { RewardSpecification($0, file: recipe.file) } ?? RewardSpecification(name: name, source: "")
      specification.name = name
      specification.source = own?.source ?? request.source
      for (key, value) in request.parameters.entries { specification.parameters[key] = value }
      var old = recipe.rewards.map(ScoringRule.init)
      for i in old.indices where old[i].failure == .abort { old[i].failure = .skip }
      var new = old
      if let place { new[place] = rule } else { new.append(rule) }
      for i in new.indices where new[i].failure == .abort { new[i].failure = .skip }
      self.specification = specification
      self.rule = rule
      self.place = place
      oldRules = old
      newRules = new
    }

    /// The samples of a step before and after.
    func rows(
      _ step: Reader.Step, _ outcomes: [RewardOutcome], _ stage: Recipe.Stage
    ) throws -> [Row] {
      let finishReasons = step.rollouts.map(\.completion.finishReason)
      var columns = oldRules.map { rule in step.rollouts.map { $0.outcome(of: rule.name) } }
      // An advantage that a critic or a reference has a part in is none that rewards alone give: both are then compared as they are.
      let isPlain = stage.policyObjective.map { !$0.usesValues && !$0.usesReferenceInReward } ?? true
      let before =
        isPlain
        ? nil : try stage.compare(RewardMatrix(oldRules, outcomes: columns, finishReasons: finishReasons)).advantages
      if let place { columns[place] = outcomes } else { columns.append(outcomes) }
      let matrix = try RewardMatrix(
        newRules, outcomes: columns, finishReasons: finishReasons)
      let advantages = try stage.compare(matrix).advantages
      return step.rollouts.enumerated().map { row, rollout in
        let old = rollout.outcome(of: rule.name)
        return Row(
          place: rollout.place, stageName: stage.name, completion: rollout.completion.rawText,
          before: Worth(
            score: old.score, status: old.status, log: old.log, total: rollout.reward,
            advantage: before?[row] ?? rollout.advantage ?? 0),
          after: Worth(
            score: outcomes[row].score, status: outcomes[row].status, log: outcomes[row].log,
            total: matrix.total(row), advantage: advantages[row]))
      }
    }
  }
}
