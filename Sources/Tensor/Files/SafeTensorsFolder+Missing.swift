import Core

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

extension SafeTensorsFolder {
  /// Why there are no weights, as far as the names in the folder tell.
  static func noWeights(in folder: String) -> AttuneError {
    let names = FolderNames.list(folder)
    func error(_ what: String, _ hint: String) -> AttuneError {
      .request("no weights: neither \(single) nor \(index); \(what)", at: .init(file: folder), hint: hint)
    }
    let shards = names.filter { $0.hasSuffix(".safetensors") && $0.contains("-of-") }
    if let shard = shards.first {
      return error(
        "there are shards such as \(shard), but nothing says which tensor is where", "download \(index) into the folder"
      )
    }
    if names.contains("adapter_config.json") {
      return error("this is an adapter", "give it as --adapter, and the model that it was made for as --model")
    }
    if let old = names.first(where: {
      ($0.hasPrefix("pytorch_model") || $0.hasPrefix("consolidated")) && ($0.hasSuffix(".bin") || $0.hasSuffix(".pth"))
    }) {
      return error(
        "\(old) is a pickle, which can run code and is not read",
        "convert it in Python: AutoModelForCausalLM.from_pretrained(\"\(folder)\").save_pretrained(\"NEW\", "
          + "safe_serialization=True)")
    }
    if let other = names.first(where: { name in
      [".gguf", ".h5", ".msgpack", ".onnx"].contains { name.hasSuffix($0) }
    }) {
      return error("\(other) is a format that is not read", "download the model's safetensors files")
    }
    if let other = names.first(where: { $0.hasSuffix(".safetensors") }) {
      return error(
        "there is \(other)", "weights are expected under the names that transformers writes; rename the file")
    }
    return error(
      "a Hugging Face checkpoint folder was expected", "download the weights; `attune init` writes a small checkpoint")
  }
}

extension SafeTensors {
  /// Whether two tensors have the same type, shape and bytes. Their pages are forgotten on the way.
  func hasSameBytes(_ own: Entry, as other: Entry, of file: SafeTensors) -> Bool {
    guard own.type == other.type, own.shape == other.shape else { return false }
    return withBytes(own) { a in
      file.withBytes(other) { b in
        let step = 8 << 20
        for from in stride(from: 0, to: a.count, by: step) {
          let range = from..<min(from + step, a.count)
          let (x, y) = (UnsafeRawBufferPointer(rebasing: a[range]), UnsafeRawBufferPointer(rebasing: b[range]))
          defer {
            forget(x)
            file.forget(y)
          }
          guard memcmp(x.baseAddress!, y.baseAddress!, x.count) == 0 else { return false }
        }
        return true
      }
    }
  }
}
