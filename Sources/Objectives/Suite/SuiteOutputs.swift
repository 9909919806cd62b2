import Core

/// The `outputs` of a case, in the order and with the keys of the golden files; empty parts are left out.
struct SuiteOutputs {
  var loss: Double?
  var gradients: [(String, SuiteTensor)] = []
  var metrics: [ObjectiveResult.Metric] = []
  var values: [(String, JSON)] = []

  var json: JSON {
    var object = JSON.Object()
    if let loss { object["loss"] = SuiteTensor.json(loss) }
    if !gradients.isEmpty { object["grads"] = .object(gradients.map { ($0.0, $0.1.json) }) }
    if !values.isEmpty { object["values"] = .object(values) }
    if !metrics.isEmpty { object["metrics"] = .object(metrics.map { ($0.name, SuiteTensor.json($0.value)) }) }
    return JSON(.object(object))
  }
}
