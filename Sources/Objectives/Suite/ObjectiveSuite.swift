import Core

/// Computes the cases of a suite file: synthetic inputs in, losses, gradients and metrics out, in the same schema.
///
/// This is how the numbers of this room are compared with other implementations; the schema is described in
/// `Tests/Fixtures/objectives/README.md`.
public enum ObjectiveSuite {
  /// The learning rates of steps `0 ..< count` under a case's `config` (`lr`, `lr_scheduler_type`, …). Schedules belong
  /// to the training loop, so whoever has them passes them in.
  public typealias LearningRates = @Sendable (_ config: JSON, _ count: Int) throws -> [Double]

  /// The suite with `outputs` computed here.
  ///
  /// A case that can't be computed becomes `{"id": …, "error": …}`; the others stand. Whatever `outputs` the suite
  /// brought along are replaced, only their number of repeated steps is looked at.
  ///
  /// - Parameter learningRates: the schedules; without them only constant rates are known.
  /// - Throws: `AttuneError` if `suite` has no list of cases.
  public static func evaluate(_ suite: JSON, learningRates: LearningRates? = nil) throws -> JSON {
    guard var document = suite.object else {
      throw AttuneError.request("a suite is a mapping with 'cases', found \(suite.kind)")
    }
    guard let cases = document["cases"]?.array else {
      throw AttuneError.request("the suite has no list 'cases'")
    }
    document["cases"] = .array(cases.map { evaluate(case: $0, learningRates: learningRates) })
    return JSON(.object(document))
  }

  private static func evaluate(case json: JSON, learningRates: LearningRates?) -> JSON {
    do {
      let outputs = try outputs(SuiteCase(json), learningRates: learningRates)
      guard var object = json.object else { return json }
      object["outputs"] = outputs.json
      return JSON(.object(object))
    } catch let error as AttuneError {
      return .object([("id", json["id"] ?? .null), ("error", .string(error.description))])
    } catch {
      return .object([("id", json["id"] ?? .null), ("error", .string("\(error)"))])
    }
  }

  /// What is no objective: parts of one, or of the optimizer.
  private static let pieces = ["logprob", "dapo", "kl", "ref_sync", "optimizer", "grad_clip", "lr_schedule"]

  private static func outputs(_ c: SuiteCase, learningRates: LearningRates?) throws -> SuiteOutputs {
    switch c.objective {
    case "logprob": return try logprob(c)
    case "dapo": return try dapo(c)
    case "kl": return try kl(c)
    case "ref_sync": return try referenceSync(c)
    case "optimizer": return try optimizer(c, learningRates: learningRates)
    case "grad_clip": return try gradientClipping(c)
    case "lr_schedule": return try schedule(c, learningRates: learningRates)
    case SFT.name where c.variant.hasPrefix("packing:"): return try packing(c)
    default: return try objective(c)
    }
  }

  /// A case of an objective that recipes can name, under the hyper-parameters of its `config`.
  private static func objective(_ c: SuiteCase) throws -> SuiteOutputs {
    // The reference names a reward model's objective by what it trains.
    let name = c.objective == "reward_model" ? RewardModelObjective.name : c.objective
    guard let entry = ObjectiveRegistry.named(name) else {
      let available = pieces + ObjectiveRegistry.all.map(\.name)
      throw AttuneError.request(
        "the objective '\(c.objective)' can't be computed; available: \(available.joined(separator: ", "))",
        hint: nearestName(to: c.objective, among: available).map { "did you mean '\($0)'?" })
    }
    switch try entry.make(GRPO.settings(of: c), isLenient: true) {
    case let objective as GRPO: return try group(c, objective)
    case let objective as any SupervisedObjective: return try supervised(c, objective)
    case let objective as any PairObjective: return try pairs(c, objective)
    case let objective as any UnpairedObjective: return try unpaired(c, objective)
    case let objective as any ScoreObjective: return try scores(c, objective)
    case let objective as any PolicyObjective: return try rollouts(c, objective)
    default: throw AttuneError.request("the objective '\(name)' has no cases")
    }
  }
}
