import AttuneTensor
import Core

extension LanguageModel {
  /// What the weights are written in unless something else is asked for: f32, or bf16 when products are bf16.
  public var writtenDType: DType { precision == .bf16 ? .bf16 : .f32 }

  /// The model's weights with the adapter folded in, in the checkpoint's names and all of one type. Each is made when it is
  /// written, so no second copy of the model is held.
  public func writtenWeights(as dtype: DType? = nil) -> [WrittenTensor] {
    let dtype = dtype ?? writtenDType
    let adapted = Dictionary(
      linears.filter { $0.lora != nil }.map { ($0.weight.name, $0) }, uniquingKeysWith: { a, _ in a })
    return parameters.map { parameter in
      WrittenTensor(parameter.name, dtype, parameter.shape, from: backend) { [backend] in
        let value = adapted[parameter.name].map { self.merged($0) } ?? parameter.value
        guard value.dtype != dtype else { return value }
        let converted = backend.empty(value.shape, dtype)
        backend.convert(converted, value)
        backend.forget(value)
        return converted
      }
    }
  }
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
