import Core

/// One tensor of a file that is about to be written; its bytes are made when their turn comes.
public struct WrittenTensor {
  public let name: String
  /// As files name it: "F32", "BF16", ...
  public let type: String
  public let shape: [Int]
  public let byteCount: Int
  /// Of a rehearsal: the file has room for it, and nothing is written.
  let isHollow: Bool
  let write: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void

  /// A tensor that is made (converted, merged) by `make` when it is written, and dropped behind that.
  public init(
    _ name: String, _ dtype: DType, _ shape: [Int], from backend: any Backend, _ make: @escaping () -> Tensor
  ) {
    self.init(name, dtype, shape, from: backend, parts: [make])
  }

  /// A tensor that is made part by part along its first axis.
  public init(
    _ name: String, _ dtype: DType, _ shape: [Int], from backend: any Backend, parts: [() -> Tensor]
  ) {
    self.name = name
    self.shape = shape
    type = dtype.fileType
    byteCount = shape.reduce(1, *) * dtype.size
    isHollow = !backend.computes
    write = { [byteCount] put in
      var written = 0
      for make in parts {
        let tensor = make()
        precondition(tensor.dtype == dtype, "\(name) is \(tensor.dtype), not \(dtype)")
        try backend.withHostBytes(tensor, put)
        backend.forget(tensor)
        written += tensor.count * dtype.size
      }
      precondition(written == byteCount, "\(name) \(shape) is \(written) bytes, not \(byteCount)")
    }
  }

  /// The bytes of a tensor of another file, of whatever type.
  init(_ entry: SafeTensors.Entry, of file: SafeTensors) {
    name = entry.name
    type = entry.type
    shape = entry.shape
    byteCount = entry.range.count
    isHollow = false
    write = { put in
      try file.withBytes(entry, put)
      file.forget(entry)
    }
  }
}

extension DType {
  /// As safetensors files name it.
  var fileType: String {
    switch self {
    case .f32: "F32"
    case .bf16: "BF16"
    case .f16: "F16"
    case .i32: "I32"
    case .u8: "U8"
    case .f64: "F64"
    case .i64: "I64"
    }
  }
}

extension SafeTensors {
  /// Writes tensors in the order of their names; the file appears whole or not at all.
  ///
  /// The same tensors give the same bytes: nothing of time or machine goes in.
  public static func write(
    _ tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = ["format": "pt"], to path: String,
    from backend: any Backend
  ) throws {
    try write(
      tensors.map { item in
        WrittenTensor(item.name, item.tensor.dtype, item.tensor.shape, from: backend) { item.tensor }
      },
      metadata: metadata, to: path)
  }

  /// Writes tensors in the order of their names, one after the other; the file appears whole or not at all.
  public static func write(_ tensors: [WrittenTensor], metadata: [String: String] = ["format": "pt"], to path: String)
    throws
  {
    let sorted = sorted(tensors)
    var header = JSON.Object()
    if !metadata.isEmpty {
      header["__metadata__"] = .object(metadata.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
    }
    var at = 0
    for tensor in sorted {
      precondition(header[tensor.name] == nil, "\(tensor.name) is written twice")
      header[tensor.name] = [
        "dtype": .string(tensor.type), "shape": .array(tensor.shape.map { .int($0) }),
        "data_offsets": [.int(at), .int(at + tensor.byteCount)],
      ]
      at += tensor.byteCount
    }
    var text = JSON(.object(header)).text(JSON.Style(itemSeparator: ",", keySeparator: ":"))
    while text.utf8.count % 8 != 0 { text += " " }
    try AtomicFile.write(path) { writer in
      var length = UInt64(text.utf8.count).littleEndian
      try withUnsafeBytes(of: &length) { try writer.append($0) }
      try Array(text.utf8).withUnsafeBytes { try writer.append($0) }
      for tensor in sorted {
        if tensor.isHollow { try writer.skip(tensor.byteCount) } else { try tensor.write { try writer.append($0) } }
      }
    }
  }

  /// Removes the weights of a checkpoint folder, first what names them.
  public static func removeWeights(in folder: String) throws {
    let names = FolderNames.list(folder).filter(SafeTensorsFolder.isWeights)
    for name in names.filter({ !$0.contains("-of-") }) + names.filter({ $0.contains("-of-") }) {
      try FolderNames.remove(folder + "/" + name)
    }
  }

  private static func sorted(_ tensors: [WrittenTensor]) -> [WrittenTensor] {
    tensors.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  /// Writes `model.safetensors`, or shards of at most `shardSize` bytes and `model.safetensors.index.json`, cut and named as
  /// transformers does. A tensor that is larger has a shard of its own.
  ///
  /// What names the weights, the single file or the index, appears last and is removed first: a folder in which writing
  /// stopped midway has no weights, never some of these and some of those.
  public static func write(
    _ tensors: [WrittenTensor], metadata: [String: String] = ["format": "pt"], toFolder folder: String, shardSize: Int
  ) throws {
    let single = folder + "/model.safetensors"
    let index = folder + "/model.safetensors.index.json"
    try removeWeights(in: folder)
    var shards: [[WrittenTensor]] = []
    var room = 0
    for tensor in sorted(tensors) {
      if tensor.byteCount > room {
        shards.append([])
        room = shardSize
      }
      shards[shards.count - 1].append(tensor)
      room -= tensor.byteCount
    }
    guard shards.count > 1 else { return try write(tensors, metadata: metadata, to: single) }
    var map: [(String, JSON)] = []
    for (i, shard) in shards.enumerated() {
      func padded(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 5 - "\(number)".count)) + "\(number)"
      }
      let name = "model-\(padded(i + 1))-of-\(padded(shards.count)).safetensors"
      try write(shard, metadata: metadata, to: folder + "/" + name)
      map += shard.map { ($0.name, .string(name)) }
    }
    let json: JSON = [
      "metadata": [
        "total_parameters": .int(tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }),
        "total_size": .int(tensors.reduce(0) { $0 + $1.byteCount }),
      ],
      "weight_map": .object(map),
    ]
    try AtomicFile.write(index, text: json.text(.pretty) + "\n")
  }
}
