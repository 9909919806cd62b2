import Core

/// Cases that begin with logits: the naive head makes the streams and takes the gradients back.
extension ObjectiveSuite {
  /// Logits `[B, L, V]` and the labels `[B, L]` that columns `1 ..< L` score: stream column `t` scores label `t + 1`.
  private struct Head {
    let head: ReferenceHead
    let logits: SuiteTensor
    let labels: [Int?]
    let rows: Int
    /// Columns of the streams, one less than of the logits.
    let columns: Int
    let vocabulary: Int

    init(_ c: SuiteCase) throws {
      logits = try c.tensor("logits", rank: 3)
      (rows, columns, vocabulary) = (logits.shape[0], logits.shape[1] - 1, logits.shape[2])
      let temperature = try c.number("temperature") ?? 1
      let softcap = try c.number("final_logit_softcapping")
      guard temperature > 0, softcap.map({ $0 > 0 }) ?? true else {
        throw AttuneError.request("temperature and final_logit_softcapping must be positive")
      }
      head = ReferenceHead(temperature: temperature, softcap: softcap)
      let given = try c.tensor("labels", shape: [rows, logits.shape[1]]).data
      var labels: [Int?] = []
      for b in 0..<rows {
        for t in 0..<columns {
          let label = Int(exactly: given[b * (columns + 1) + t + 1]) ?? -1
          guard label == -100 || (0..<vocabulary).contains(label) else {
            throw AttuneError.request("label \(label) lies outside the vocabulary of \(vocabulary) (-100 is ignored)")
          }
          labels.append(label == -100 ? nil : label)
        }
      }
      self.labels = labels
    }

    private func slice(_ b: Int, _ t: Int) -> ArraySlice<Double> {
      let from = (b * (columns + 1) + t) * vocabulary
      return logits.data[from..<from + vocabulary]
    }

    func tokens() -> [ReferenceHead.Token?] {
      labels.enumerated().map { i, label in
        label.map { head.token(logits: slice(i / columns, i % columns), label: $0) }
      }
    }

    /// d loss / d logits from the gradients of the streams.
    func backward(_ gradients: StreamGradients) -> SuiteTensor {
      var result = [Double](repeating: 0, count: logits.data.count)
      for (i, label) in labels.enumerated() {
        guard let label else { continue }
        let (b, t) = (i / columns, i % columns)
        let from = (b * (columns + 1) + t) * vocabulary
        head.addGradient(
          to: &result[from..<from + vocabulary], logits: slice(b, t), label: label,
          logprob: Double(gradients.logprob[i]), entropy: Double(gradients.entropy?[i] ?? 0),
          logSumExp: Double(gradients.logSumExp?[i] ?? 0), meanLogit: Double(gradients.meanLogit?[i] ?? 0))
      }
      return SuiteTensor(.f32, logits.shape, result)
    }
  }

  static func supervised(_ c: SuiteCase, _ objective: any SupervisedObjective) throws -> SuiteOutputs {
    let head = try Head(c)
    let tokens = head.tokens()
    let shape = [head.rows, head.columns]
    let streams = TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: [Int](repeating: head.columns, count: head.rows)),
      mask: tokens.map { $0 != nil }, policyLogprobs: tokens.map { Float($0?.logprob ?? 0) },
      entropies: tokens.map { Float($0?.entropy ?? 0) }, logSumExps: tokens.map { Float($0?.logSumExp ?? 0) },
      meanLogits: tokens.map { Float($0?.meanLogit ?? 0) }, isTop1: tokens.map { $0?.isTop1 ?? false })
    let attended: Int =
      try c.optionalTensor("attention_mask").map { $0.bools.reduce(0) { $1 ? $0 + 1 : $0 } }
      ?? head.rows * (head.columns + 1)
    let targets = try c.integer("num_items_in_batch")
    if let targets, targets < 0 { throw AttuneError.request("num_items_in_batch is \(targets), expected at least 0") }
    let totals = StepTotals(rows: head.rows, tokens: targets ?? streams.maskedCount)
    let result = try objective.evaluate(streams, totals)
    var outputs = SuiteOutputs(loss: result.loss, metrics: result.metrics)
    outputs.metrics.append(.init("num_tokens", Double(attended)))
    outputs.gradients = [("logits", head.backward(result.gradients))]
    // With smoothing the logprobs are not the only stream, and the reference has no such tensor.
    if result.gradients.logSumExp == nil {
      // The reference sums the head's outputs, which are 0 at ignored positions, and lists the derivative there too;
      // it never reaches the logits. The objective itself gives 0.
      let ignored = Float(-1 / Double(max(1, targets ?? streams.maskedCount)))
      let gradient = zip(result.gradients.logprob, streams.mask).map { $1 ? $0 : ignored }
      outputs.gradients.append(("policy_logps", SuiteTensor(shape, gradient)))
    }
    outputs.values = [("policy_logps", SuiteTensor(shape, streams.policyLogprobs).json)]
    return outputs
  }

  static func logprob(_ c: SuiteCase) throws -> SuiteOutputs {
    let head = try Head(c)
    let tokens = head.tokens()
    let shape = [head.rows, head.columns]
    let logprobWeights = try c.tensor("probe_w_logp", shape: shape)
    let entropyWeights = try c.tensor("probe_w_entropy", shape: shape)
    var loss = 0.0
    var gradients = StreamGradients(logprob: logprobWeights.floats, entropy: entropyWeights.floats)
    for (i, token) in tokens.enumerated() {
      if let token {
        loss += logprobWeights.data[i] * token.logprob + entropyWeights.data[i] * token.entropy
      } else {
        gradients.logprob[i] = 0
        gradients.entropy?[i] = 0
      }
    }
    func stream(_ value: (ReferenceHead.Token) -> Double) -> JSON {
      SuiteTensor(.f32, shape, tokens.map { $0.map(value) ?? 0 }).json
    }
    var outputs = SuiteOutputs(loss: loss, gradients: [("logits", head.backward(gradients))])
    outputs.values = [
      ("log_probs", stream(\.logprob)), ("entropy", stream(\.entropy)),
      ("log_sum_sq_probs", stream(\.logSumSquaredProbs)), ("mean_logits", stream(\.meanLogit)),
      ("is_top1", SuiteTensor(.bool, shape, tokens.map { $0?.isTop1 ?? false ? 1 : 0 }).json),
    ]
    return outputs
  }
}
