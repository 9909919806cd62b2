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

  private static let available = ["sft", "logprob", "dpo", "kto", "grpo", "optimizer", "grad_clip", "lr_schedule"]

  private static func outputs(_ c: SuiteCase, learningRates: LearningRates?) throws -> SuiteOutputs {
    switch c.objective {
    case "sft": return try sft(c)
    case "logprob": return try logprob(c)
    case "dpo": return try pairLoss(c)
    case "kto": return try unpairedLoss(c)
    case "grpo":
      if c.variant == "advantages" { return try groupAdvantages(c) }
      if c.variant.hasPrefix("step:") { return try groupStep(c) }
      return try groupLoss(c)
    case "optimizer": return try optimizer(c, learningRates: learningRates)
    case "grad_clip": return try gradientClipping(c)
    case "lr_schedule": return try schedule(c, learningRates: learningRates)
    default:
      throw AttuneError.request(
        "the objective '\(c.objective)' can't be computed; available: \(available.joined(separator: ", "))",
        hint: nearestName(to: c.objective, among: available).map { "did you mean '\($0)'?" })
    }
  }
}
