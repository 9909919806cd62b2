import Core
import Foundation
import TestSupport
import Testing

@testable import Objectives

/// Every number of the golden files is computed again from the inputs alone and compared under the tolerances of
/// `Tests/Fixtures/objectives/README.md`.
@Suite struct GoldenTests {
  /// How close a number must come: `absolute + relative · |expected|`; `ofLargest` takes the tensor's largest entry.
  struct Tolerance {
    var absolute: Double
    var relative: Double
    var ofLargest = false

    static let loss = Tolerance(absolute: 1e-5, relative: 1e-5)
    static let gradient = Tolerance(absolute: 1e-7, relative: 2e-5, ofLargest: true)
    static let value = Tolerance(absolute: 2e-5, relative: 2e-5)
    static let count = Tolerance(absolute: 1e-6, relative: 0)
    static let optimizer = Tolerance(absolute: 2e-7, relative: 2e-5)
    static let rate = Tolerance(absolute: 0, relative: 1e-6)
  }

  static let files = [
    "sft", "packing", "logprob", "reward", "dpo", "kto", "bco", "cpo", "orpo", "grpo_advantages", "grpo_loss",
    "grpo_step", "gspo_token", "dapo", "rloo", "reinforce_pp", "ppo", "kl", "adamw", "grad_clip",
    "ref_sync",
  ]

  /// The suite without the outputs, so that nothing can be copied from them. The number of optimizer steps of a case,
  /// which only the outputs tell, moves into its config.
  static func withoutOutputs(_ suite: JSON) throws -> JSON {
    var document = try #require(suite.object)
    let cases = try #require(document["cases"]?.array)
    document["cases"] = .array(
      cases.map { item in
        guard var object = item.object else { return item }
        if let steps = object["outputs"]?["values"]?["loss_per_step"]?["shape"]?[0],
          var config = object["config"]?.object
        {
          config["steps"] = steps
          object["config"] = JSON(.object(config))
        }
        object["outputs"] = nil
        return JSON(.object(object))
      })
    return JSON(.object(document))
  }

  /// Learning rates as the optimizer cases list them: schedules are another room's work.
  static func listedRates(_ suite: JSON) -> ObjectiveSuite.LearningRates {
    let known: [(JSON, [Double])] = (suite["cases"]?.array ?? []).compactMap { item in
      guard let config = item["config"], let rates = item["outputs"]?["values"]?["lr"]?["data"]?.array else {
        return nil
      }
      return (config, rates.compactMap(\.double))
    }
    return { config, count in
      guard let rates = known.first(where: { $0.0 == config && $0.1.count == count })?.1 else {
        throw AttuneError.request("no rates are listed")
      }
      return rates
    }
  }

  @Test(arguments: files)
  func everyCaseMatches(file: String) throws {
    let suite = try Fixtures.json("objectives/\(file).json")
    let computed = try ObjectiveSuite.evaluate(
      Self.withoutOutputs(suite), learningRates: file == "adamw" ? Self.listedRates(suite) : nil)
    let expectedCases = try #require(suite["cases"]?.array)
    let actualCases = try #require(computed["cases"]?.array)
    #expect(expectedCases.count == actualCases.count)
    for (expected, actual) in zip(expectedCases, actualCases) {
      let id = expected["id"]?.string ?? "?"
      #expect(actual["error"] == nil, "\(id): \(actual["error"]?.string ?? "")")
      guard let wanted = expected["outputs"]?.object, let found = actual["outputs"]?.object else { continue }
      #expect(Set(wanted.keys) == Set(found.keys), "\(id): outputs are \(found.keys), expected \(wanted.keys)")
      if let loss = wanted["loss"] { Self.compare(found["loss"], loss, .loss, "\(id) loss") }
      for part in ["grads", "metrics", "values"] {
        let names = wanted[part]?.object?.keys ?? []
        #expect(Set(found[part]?.object?.keys ?? []) == Set(names), "\(id): names in \(part)")
        for name in names {
          guard let value = wanted[part]?[name] else { continue }
          let tolerance = Self.tolerance(file: file, part: part, name: name, value: value)
          Self.compare(found[part]?[name], value, tolerance, "\(id) \(part) \(name)")
        }
      }
      Self.expectZeroWhereMasked(expected, found["grads"], id)
    }
  }

  /// Every suite that `generate.py` makes is compared here, but for schedules, which are another room's work.
  @Test func noSuiteIsLeftOut() throws {
    let script = try String(contentsOfFile: Fixtures.path("objectives/generate.py"), encoding: .utf8)
    let made = script.split(separator: "\n").compactMap { line -> String? in
      guard line.hasPrefix("@suite(\"") else { return nil }
      return line.split(separator: "\"").dropFirst().first.map(String.init)
    }
    #expect(Set(made) == Set(Self.files + ["lr_schedule"]))
  }

  static func tolerance(file: String, part: String, name: String, value: JSON) -> Tolerance {
    let dtype = value["dtype"]?.string
    if part == "grads" { return .gradient }
    if dtype == "bool" || dtype == "i64" || value.int != nil && part == "values" { return .count }
    if part == "metrics" {
      let counts = [
        "clip_ratio", "cispo_clip_ratio", "mean_token_accuracy", "frac_reward_zero_std", "num_tokens",
        "rewards/accuracies", "accuracy", "policy/clipfrac_avg", "val/clipfrac_avg",
      ]
      return counts.contains { name.hasPrefix($0) } ? .count : .loss
    }
    if file == "adamw" { return name == "lr" ? .rate : .optimizer }
    return .value
  }

  static func compare(_ actual: JSON?, _ expected: JSON, _ tolerance: Tolerance, _ what: String) {
    func numbers(_ json: JSON?) -> [Double] {
      guard let json else { return [] }
      if let data = json["data"]?.array { return data.compactMap(SuiteTensor.number) }
      return SuiteTensor.number(json).map { [$0] } ?? []
    }
    // Lists of lists: rows of packed tokens, masks of rounds.
    if expected.array != nil {
      #expect(actual == expected, "\(what)")
      return
    }
    if let shape = expected["shape"] {
      #expect(actual?["shape"] == shape, "\(what): shape")
      #expect(actual?["dtype"] == expected["dtype"], "\(what): dtype")
    }
    let wanted = numbers(expected)
    if tolerance.ofLargest {
      let largest = wanted.reduce(0) { max($0, abs($1)) }
      expectClose(numbers(actual), wanted, absolute: tolerance.absolute + tolerance.relative * largest, what)
    } else {
      expectClose(numbers(actual), wanted, absolute: tolerance.absolute, relative: tolerance.relative, what)
    }
  }

  static func expectZeroWhereMasked(_ expected: JSON, _ gradients: JSON?, _ id: String) {
    // Where prompts are targets, padding is what the attention mask leaves out.
    let masks = [
      expected["outputs"]?["values"]?["effective_mask"], expected["inputs"]?["attention_mask"],
      expected["inputs"]?["completion_mask"],
    ]
    guard let mask = masks.compactMap({ $0?["data"]?.array }).first, let gradients = gradients?.object else { return }
    for (name, tensor) in gradients.entries {
      guard let data = tensor["data"]?.array, data.count == mask.count else { continue }
      let leaks = zip(data, mask).filter { $1.int == 0 && $0.double != 0 }
      #expect(leaks.isEmpty, "\(id): the gradient of \(name) is not exactly 0 at \(leaks.count) masked positions")
    }
  }
}
