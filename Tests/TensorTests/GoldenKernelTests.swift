import AttuneTensor
import Core
import TestSupport
import Testing

/// AdamW, clipping and the fused head against the reference's numbers.
@Suite struct GoldenKernelTests {
  private let backend = try! CPUBackend(threads: 2)

  private func numbers(_ tensor: JSON?) -> [Double] {
    let data = tensor?["data"]?.array ?? tensor?.array ?? []
    return data.map { value in
      if let number = value.double { return number }
      switch value.string {
      case "inf": return .infinity
      case "-inf": return -.infinity
      default: return .nan
      }
    }
  }

  private func shape(_ tensor: JSON?) -> [Int] { tensor?["shape"]?.array?.compactMap(\.int) ?? [] }

  /// Streams and gradients of the head's rows; column t scores label t + 1.
  @Test func headEqualsTheReference() throws {
    let suite = try Fixtures.json("objectives/logprob.json")
    for item in suite["cases"]!.array! {
      let id = item["id"]!.string!
      let inputs = item["inputs"]!
      let expected = item["outputs"]!["values"]!
      let dimensions = shape(inputs["logits"])
      let (batch, length, vocabulary) = (dimensions[0], dimensions[1], dimensions[2])
      let logits = numbers(inputs["logits"])
      let labels = numbers(inputs["labels"]).map { Int($0) }
      let temperature = item["config"]!["temperature"]!.double!
      let places = (0..<batch).flatMap { b in (0..<length - 1).map { (b, $0) } }
      let rows = places.count
      let scored = places.map { labels[$0.0 * length + $0.1 + 1] }
      // The model's own logit scale and soft cap come before the temperature; they are not the head's business.
      let config = item["config"]!
      guard config["logit_scale"]?.double ?? 1 == 1, config["final_logit_softcapping"]?.double == nil else { continue }
      let picked = places.flatMap { b, t in
        logits[((b * length) + t) * vocabulary..<((b * length) + t + 1) * vocabulary]
      }
      let values = backend.upload(picked.map { Float($0) }, [rows, vocabulary])
      let streams = backend.empty([6, rows], .f32)
      let targets = scored.map { Int32(max(0, $0)) }
      backend.head(streams, firstRow: 0, values, targets[...], temperature, Set(HeadStream.allCases))
      let found = backend.floats(streams).map(Double.init)
      for (stream, key) in [
        (HeadStream.logprob, "log_probs"), (.entropy, "entropy"), (.logSumSquares, "log_sum_sq_probs"),
        (.meanLogit, "mean_logits"), (.top1, "is_top1"),
      ] {
        let wanted = numbers(expected[key])
        #expect(wanted.count == rows, "\(id) \(key)")
        for row in 0..<rows where scored[row] >= 0 {
          let a = found[stream.rawValue * rows + row]
          #expect(
            abs(a - wanted[row]) <= 2e-5 + 2e-5 * abs(wanted[row]), "\(id) \(key) row \(row): \(a), \(wanted[row])")
        }
      }
      // Gradient of sum(w logprob + u entropy).
      var seed = [Float](repeating: 0, count: 6 * rows)
      for (row, value) in numbers(inputs["probe_w_logp"]).enumerated() where scored[row] >= 0 {
        seed[row] = Float(value)
      }
      for (row, value) in numbers(inputs["probe_w_entropy"]).enumerated() where scored[row] >= 0 {
        seed[rows + row] = Float(value)
      }
      backend.headBackward(
        values, backend.upload(seed, [6, rows]), firstRow: 0, targets[...], temperature, [.logprob, .entropy])
      let gradient = backend.floats(values).map(Double.init)
      let wanted = numbers(item["outputs"]!["grads"]!["logits"])
      let largest = wanted.map(abs).max()!
      for (row, (b, t)) in places.enumerated() {
        for j in 0..<vocabulary {
          let a = gradient[row * vocabulary + j]
          let e = wanted[(b * length + t) * vocabulary + j]
          #expect(abs(a - e) <= 1e-7 + 2e-5 * largest, "\(id) gradient row \(row) id \(j): \(a), \(e)")
        }
      }
    }
  }

  /// Parameters after every step and moments after the last; biases do not decay.
  @Test func adamWEqualsTheReference() throws {
    let suite = try Fixtures.json("objectives/adamw.json")
    for item in suite["cases"]!.array! {
      let id = item["id"]!.string!
      let config = item["config"]!
      let inputs = item["inputs"]!
      let expected = item["outputs"]!["values"]!
      let rates = numbers(expected["lr"])
      let norms = numbers(expected["grad_norm"])
      let names = inputs.object!.keys.filter { $0.hasSuffix("_init") }.map { String($0.dropLast("_init".count)) }
      let values = names.map {
        backend.upload(numbers(inputs["\($0)_init"]).map { Float($0) }, shape(inputs["\($0)_init"]))
      }
      let first = values.map { backend.zeros($0.shape, .f32) }
      let second = values.map { backend.zeros($0.shape, .f32) }
      for step in rates.indices {
        let gradients = names.indices.map { i -> Tensor in
          let all = numbers(inputs["\(names[i])_grads"])
          let count = values[i].count
          return backend.upload(all[step * count..<(step + 1) * count].map { Float($0) }, values[i].shape)
        }
        let norm = gradients.reduce(0) { $0 + backend.sumOfSquares($1) }.squareRoot()
        #expect(abs(norm - norms[step]) <= 1e-5 + 1e-5 * norms[step], "\(id) norm of step \(step)")
        let limit = config["max_grad_norm"]?.double ?? 0
        for i in names.indices {
          backend.adamW(
            values[i], first[i], second[i], gradients[i],
            AdamWStep(
              gradientScale: limit > 0 ? min(1, limit / (norm + 1e-6)) : 1, learningRate: rates[step],
              beta1: config["beta1"]!.double!, beta2: config["beta2"]!.double!, epsilon: config["eps"]!.double!,
              weightDecay: names[i].contains("bias") ? 0 : config["weight_decay"]!.double!, step: step + 1))
          let wanted = numbers(expected["\(names[i])_after_step"])
          let count = values[i].count
          expectClose(
            backend.floats(values[i]).map(Double.init), Array(wanted[step * count..<(step + 1) * count]),
            absolute: 2e-7,
            relative: 2e-5, "\(id) \(names[i]) after step \(step)")
        }
      }
      for i in names.indices {
        expectClose(
          backend.floats(first[i]).map(Double.init), numbers(expected["\(names[i])_exp_avg"]), absolute: 2e-7,
          relative: 2e-5, "\(id) first moment of \(names[i])")
        expectClose(
          backend.floats(second[i]).map(Double.init), numbers(expected["\(names[i])_exp_avg_sq"]), absolute: 2e-7,
          relative: 2e-5, "\(id) second moment of \(names[i])")
      }
    }
  }

  @Test func clippingNormEqualsTheReference() throws {
    let suite = try Fixtures.json("objectives/grad_clip.json")
    for item in suite["cases"]!.array! {
      let inputs = item["inputs"]!
      let expected = item["outputs"]!["values"]!
      let limit = item["config"]!["max_grad_norm"]!.double!
      let names = inputs.object!.keys.sorted()
      let gradients = names.map { backend.upload(numbers(inputs[$0]).map { Float($0) }, shape(inputs[$0])) }
      let norm = gradients.reduce(0) { $0 + backend.sumOfSquares($1) }.squareRoot()
      let wanted = expected["total_norm"]!.double ?? numbers(expected["total_norm"])[0]
      expectClose([norm], [wanted], absolute: 1e-5, relative: 1e-5, "norm")
      let scale = limit > 0 ? min(1, limit / (norm + 1e-6)) : 1
      for (name, gradient) in zip(names, gradients) {
        backend.scale(gradient, gradient, scale)
        expectClose(
          backend.floats(gradient).map(Double.init),
          numbers(expected[name.replacing("grad_", with: "clipped_")]), absolute: 1e-7, relative: 2e-5, name)
      }
    }
  }
}
