import Core
import TestSupport
import Testing

@testable import Objectives

@Suite struct ObjectiveSuiteTests {
  /// Wrong cases become errors that say what is wrong; the good ones among them stand.
  @Test func errorsStayWithTheirCase() throws {
    let suite = try JSON.parse(
      """
      {"schema_version": 1, "suite": "mixed", "cases": [
        {"id": "a", "objective": "grad_clip", "config": {"max_grad_norm": 1.0},
         "inputs": {"grad_0": {"dtype": "f32", "shape": [2], "data": [3, 4]}}},
        {"id": "b", "objective": "sftt", "config": {}, "inputs": {}},
        {"id": "c", "objective": "grpo", "variant": "ppo", "config": {"loss_type": "dapoo"}, "inputs": {}},
        {"id": "d", "objective": "grad_clip", "config": {},
         "inputs": {"grad_0": {"dtype": "f32", "shape": [3], "data": [3, 4]}}},
        {"id": "e", "objective": "grpo", "config": {"loss_type": "dapo"},
         "inputs": {"policy_logp": {"dtype": "f32", "shape": [1, 1], "data": [-1]}}},
        {"id": "f", "objective": "sft", "config": {"loss_type": "nll"},
         "inputs": {"logits": {"dtype": "f32", "shape": [1, 2, 2], "data": [0, 0, 0, 0]},
                    "labels": {"dtype": "i64", "shape": [1, 2], "data": [0, 2]}}},
        {"id": "g", "objective": "optimizer", "config": {"lr_scheduler_type": "linear"},
         "inputs": {"w_init": {"dtype": "f32", "shape": [1], "data": [1]},
                    "w_grads": {"dtype": "f32", "shape": [1, 1], "data": [1]}}},
        {"id": "h", "objective": "grpo", "variant": "advantages", "config": {"num_generations": "4"}, "inputs": {
          "rewards_per_func": {"dtype": "f32", "shape": [1, 1], "data": [1]}}},
        7
      ]}
      """)
    let result = try ObjectiveSuite.evaluate(suite)
    #expect(result["suite"] == "mixed")
    let cases = try #require(result["cases"]?.array)
    #expect(cases[0]["outputs"]?["loss"] == 5.0)
    #expect(cases[0]["outputs"]?["values"]?["clipped_0"]?["data"]?.array?.count == 2)
    let errors: [(Int, [String])] = [
      (1, ["'sftt'", "did you mean 'sft'?"]), (2, ["loss_type is \"dapoo\"", "did you mean 'dapo'?"]),
      (3, ["'grad_0' has 2 values for shape [3]"]), (4, ["'policy_logps' is missing", "did you mean 'policy_logp'?"]),
      (5, ["label 2 lies outside the vocabulary of 2"]), (6, ["'linear'"]), (7, ["num_generations", "a whole number"]),
      (8, ["a mapping"]),
    ]
    for (i, fragments) in errors {
      let message = cases[i]["error"]?.string ?? ""
      #expect(cases[i]["outputs"] == nil)
      for fragment in fragments { #expect(message.contains(fragment), "case \(i): \(message)") }
    }
    expectAttuneError(containing: "cases") { _ = try ObjectiveSuite.evaluate(["suite": "x"]) }
    expectAttuneError(containing: "a list") { _ = try ObjectiveSuite.evaluate([1]) }
  }

  @Test func tensorsSpellWhatJSONCannot() throws {
    let json = try JSON.parse(#"{"dtype": "f32", "shape": [4], "data": [0.1, "nan", "inf", "-inf"]}"#)
    let tensor = try SuiteTensor(json, name: "t")
    #expect(tensor.data[0] == Double(Float(0.1)))
    #expect(tensor.data[1].isNaN)
    #expect(tensor.json == json)
    expectAttuneError(containing: "'t'", "a boolean", "dtype") { _ = try SuiteTensor(true, name: "t") }
    expectAttuneError(containing: "index 1", "a string") {
      _ = try SuiteTensor(["dtype": "f64", "shape": [2], "data": [1, "one"]], name: "t")
    }
    expectAttuneError(containing: "too large") {
      _ = try SuiteTensor(
        ["dtype": "f64", "shape": [4_000_000_000, 4_000_000_000, 4_000_000_000], "data": []], name: "t")
    }
  }

  /// Three steps of one parameter by hand: constant gradient 1 moves it by the learning rate each time.
  @Test func adamW() {
    var optimizer = ReferenceAdamW(count: 1, epsilon: 0)
    var parameter: [Float] = [1]
    for step in 1...3 {
      optimizer.update(&parameter, gradients: [1], learningRate: 0.125)
      #expect(abs(parameter[0] - (1 - 0.125 * Float(step))) < 1e-6)
    }
    #expect(optimizer.step == 3)
  }

  @Test func clippingKeepsNaN() {
    var gradients: [[Float]] = [[.nan, 1]]
    #expect(ReferenceGradientClipping.clip(&gradients, maxNorm: 1).isNaN)
    #expect(gradients[0].allSatisfy { $0.isNaN })
    gradients = [[3, 4]]
    #expect(ReferenceGradientClipping.clip(&gradients, maxNorm: 0) == 5)
    #expect(gradients == [[3, 4]])
  }

  /// Whatever a case holds, it becomes outputs or an error, and its neighbours stand: every golden case with one or two of its values
  /// replaced by something odd, or taken away.
  @Test func oddCasesBecomeErrors() throws {
    let odd: [JSON] = [
      .null, true, 0, -1, 3, 0.5, 1e300, .int(Int64.max), .int(Int64.min), "nan", "-inf", "token", [], [[]], [1, "a"],
      .object([]), ["dtype": "f32", "shape": [0, 5], "data": []], ["dtype": "f32", "shape": [], "data": [1]],
      ["dtype": "bool", "shape": [3], "data": [1, 0, 7]], ["dtype": "f32", "shape": [-1, 4], "data": [1]],
      ["dtype": "i64", "shape": [2, 2], "data": [1, 2, 3, 4]],
    ]
    var state: UInt64 = 1
    func draw(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % max(1, count)
    }
    func changed(_ item: JSON, _ part: String) -> JSON {
      guard var object = item.object, var values = object[part]?.object,
        let key = values.keys.dropFirst(draw(values.count)).first
      else { return item }
      values[key] = draw(8) == 0 ? nil : odd[draw(odd.count)]
      object[part] = JSON(.object(values))
      return JSON(.object(object))
    }
    for file in GoldenTests.files + ["lr_schedule"] {
      let cases = try #require(Fixtures.json("objectives/\(file).json")["cases"]?.array)
      let damaged = (0..<4 * cases.count).map { k in
        let once = changed(cases[k % cases.count], draw(2) == 0 ? "config" : "inputs")
        return draw(3) == 0 ? changed(once, draw(2) == 0 ? "config" : "inputs") : once
      }
      let healthy = ["id": "healthy", "objective": "grad_clip", "config": .object([]), "inputs": .object([])] as JSON
      let computed = try ObjectiveSuite.evaluate(["cases": .array(damaged + [healthy])])
      let results = try #require(computed["cases"]?.array)
      #expect(results.count == damaged.count + 1)
      for result in results { #expect((result["outputs"] == nil) != (result["error"] == nil), "\(file)") }
      #expect(results.last?["outputs"]?["loss"] == 0.0)
    }
  }
}
