import AttuneTensor
import Core

extension LanguageModel {
  /// What the weights are written in unless something else is asked for: f32, or bf16 when products are bf16.
  public var writtenDType: DType { precision == .bf16 ? .bf16 : .f32 }

  /// The model's weights with the active adapter folded in, in the checkpoint's names and all of one type. Each is made when
  /// it is written, so no second copy of the model is held.
  ///
  /// - Throws: `.request` if the adapter brings biases to layers that have none.
  public func writtenWeights(as dtype: DType? = nil) throws -> [WrittenTensor] {
    let dtype = dtype ?? writtenDType
    let adapted = Dictionary(
      linears.filter { $0.lora != nil }.map { ($0.weight.name, $0) }, uniquingKeysWith: { a, _ in a })
    var replaced: [String: Tensor] = [:]
    for standIn in adapter?.standIns ?? [] {
      replaced[standIn.parameter.name] = standIn.parameter.value(of: standIn.id)
    }
    for linear in adapted.values {
      if let bias = try mergedBias(linear), let own = linear.bias { replaced[own.name] = bias }
    }
    /// The values of a parameter, as the matrix that it is or turned, in the type that is written.
    func make(_ parameter: Parameter, isTurned: Bool = false) -> Tensor {
      var value: Tensor
      if isTurned, adapted[parameter.name] == nil, let turned = parameter.turnedValue {
        value = turned
      } else {
        value = adapted[parameter.name].map { merged($0) } ?? replaced[parameter.name] ?? parameter.value(of: 0)
        if isTurned { value = backend.turned(value) }
      }
      if value.dtype != dtype {
        let converted = backend.empty(value.shape, dtype)
        backend.convert(converted, value)
        value = converted
        parameter.forget()
      }
      return value
    }
    let stackOf = Dictionary(
      stacks.enumerated().flatMap { i, stack in stack.members.map { ($0.name, i) } }, uniquingKeysWith: { a, _ in a })
    var stacked: Set<Int> = []
    let own = parameters.compactMap { parameter -> WrittenTensor? in
      guard let place = stackOf[parameter.name] else {
        return WrittenTensor(parameter.name, dtype, parameter.shape, from: backend) { make(parameter) }
      }
      guard stacked.insert(place).inserted else { return nil }
      let stack = stacks[place]
      let one = stack.isTurned ? parameter.shape.reversed() : parameter.shape
      return WrittenTensor(
        stack.name, dtype, [stack.members.count] + one, from: backend,
        parts: stack.members.map { member in { make(member, isTurned: stack.isTurned) } })
    }
    return own
      + [adapter?.head].compactMap { $0 }.map { head in
        WrittenTensor(head.parameter.name, dtype, head.parameter.shape, from: backend) { make(head.parameter) }
      }
  }

  /// True if the active adapter gives a head of its own to a model that ties it to the embedding.
  public var adapterUntiesHead: Bool { adapter?.head != nil }
}

extension ModelConfiguration {
  /// `config.json` for weights of another type: every `dtype` and `torch_dtype` says it, of the model and of its parts.
  public func json(for dtype: DType) -> JSON {
    let name: JSON =
      switch dtype {
      case .bf16: "bfloat16"
      case .f16: "float16"
      default: "float32"
      }
    func changed(_ section: JSON, isWhole: Bool) -> JSON {
      guard var object = section.object else { return section }
      for key in ["dtype", "torch_dtype"] where object[key] != nil { object[key] = name }
      if isWhole, object["dtype"] == nil, object["torch_dtype"] == nil { object["torch_dtype"] = name }
      for key in object.keys where key.hasSuffix("_config") && key != "quantization_config" {
        object[key] = changed(object[key]!, isWhole: false)
      }
      return JSON(.object(object), at: section.position)
    }
    return changed(json, isWhole: true)
  }
}
