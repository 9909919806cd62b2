import AttuneTensor
import Core

extension LanguageModel {
  /// The weight with its low-rank update folded in: w + scaling · b a, with a magnitude each row at its length; f32
  /// `[out, in]`.
  public func merged(_ linear: Linear) -> Tensor {
    let w = linear.weight.value(of: 0)
    let sum = backend.empty(w.shape, .f32)
    backend.convert(sum, w)
    guard let factors = linear.lora?.factors else { return sum }
    let product = backend.empty([w.rows, w.width], .f32)
    let panels = backend.pack([factors.a.value], for: .full)
    backend.matmulTurned(product, factors.b.value.allColumns, panels, accumulate: false)
    backend.addScaled(sum, product, factors.scale)
    guard let magnitude = factors.magnitude else { return sum }
    let norms = backend.empty([w.rows], .f32)
    backend.rowNorms(norms, sum)
    let ratios = backend.empty([w.rows], .f32)
    backend.divide(ratios, magnitude.value, norms)
    // Rows scaled on the host: merging is rare.
    var values = backend.floats(sum)
    for (row, ratio) in backend.floats(ratios).enumerated() {
      for i in row * w.width..<(row + 1) * w.width { values[i] *= ratio }
    }
    return backend.upload(values, w.shape)
  }

  /// The layer's bias with that of its factors folded in, or nil if both have none.
  func mergedBias(_ linear: Linear) throws -> Tensor? {
    guard let factors = linear.lora?.factors, let added = factors.bias else { return nil }
    guard let bias = linear.bias else {
      throw AttuneError.request(
        "\(linear.name) has no bias that the adapter's lora_bias could be folded into",
        hint: "keep the adapter beside the model")
    }
    let shown = adapter?.standIns.first { $0.parameter === bias }.map { bias.value(of: $0.id) } ?? bias.value(of: 0)
    let sum = backend.empty(bias.shape, .f32)
    backend.convert(sum, shown)
    backend.addScaled(sum, added.value, factors.scale)
    return sum
  }

  /// Folds the active adapter's factors into the weights in memory; `unmergeAdapter` brings the very bits back.
  ///
  /// The weights are held twice meanwhile. - Throws: `.request` if there is no adapter, or weights are held as codes.
  public func mergeAdapter() throws {
    guard let adapter else { throw AttuneError.request("the model has no active adapter to merge") }
    guard !adapter.isMerged else { return }
    let adapted = linears.filter { $0.lora?.adapter === adapter }
    if let coded = adapted.first(where: { $0.weight.format != .plain }) {
      throw AttuneError.request(
        "\(coded.weight.name) is held as \(coded.weight.format.rawValue) codes, into which nothing can be folded",
        hint: "load the model with its weights as they are (bf16), or keep the adapter beside it")
    }
    let biases = try adapted.map(mergedBias)
    for (linear, bias) in zip(adapted, biases) {
      adapter.folded.append((linear.weight, linear.weight.addStandIn(merged(linear))))
      if let bias, let own = linear.bias { adapter.folded.append((own, own.addStandIn(bias))) }
    }
    showValues()
  }

  /// Takes the active adapter out of the weights again.
  public func unmergeAdapter() throws {
    guard let adapter, adapter.isMerged else {
      throw AttuneError.request("no adapter is folded into the weights")
    }
    for (parameter, id) in adapter.folded { parameter.removeStandIn(id) }
    adapter.folded = []
    showValues()
  }
}
