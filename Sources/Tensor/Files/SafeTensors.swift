import Core

/// A safetensors file, mapped: eight bytes of header length, a JSON header, then the tensors' bytes.
///
/// Everything in the header is checked before any of it is believed: lengths, types, shapes, that ranges lie inside the file,
/// that they neither overlap nor leave holes. Format: github.com/huggingface/safetensors, `README.md`.
public struct SafeTensors: Sendable {
  /// What the header says of one tensor.
  public struct Entry: Sendable {
    public let name: String
    /// As in the file: "F32", "BF16", "F16", "I64", ...
    public let type: String
    public let shape: [Int]
    /// Bytes from the begin of the file.
    let range: Range<Int>
  }

  public let path: String
  /// In the order of the header.
  public let entries: [Entry]
  public let metadata: [String: String]
  private let places: [String: Int]
  private let file: MappedFile

  static let sizes = [
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "U16": 2,
    "U32": 4,
    "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1,
  ]
  private static let largestHeader = 100 << 20

  /// - Throws: `.request` naming the file, what was found and what was expected.
  public init(_ path: String) throws { try self.init(path, inStretches: false) }

  init(_ path: String, inStretches: Bool) throws {
    self.path = path
    file = try MappedFile(path, inStretches: inStretches)
    (entries, metadata) = try file.withBytes { try Self.header(of: $0, path) }
    places = Dictionary(entries.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { a, _ in a })
  }

  /// Checks a header against the file's size.
  private static func header(of bytes: UnsafeRawBufferPointer, _ path: String) throws -> ([Entry], [String: String]) {
    func refuse(_ what: String, hint: String = "copy or download the file again, or have it written again")
      -> AttuneError
    {
      .request("not a valid safetensors file: \(what)", at: .init(file: path), hint: hint)
    }
    let cutOff = "the file was cut off; copy or download it again"
    guard bytes.count >= 8 else {
      throw refuse("it has \(bytes.count) bytes, a header length needs 8", hint: cutOff)
    }
    guard !bytes.starts(with: "version https://git-lfs".utf8) else {
      throw refuse(
        "it is a Git LFS pointer, which stands for a file that was not fetched",
        hint: "run `git lfs pull` in the repository, or download the file itself")
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= Self.largestHeader else {
      throw refuse("its header would be \(length) bytes long, the limit is \(Self.largestHeader)")
    }
    let begin = 8 + Int(length)
    guard begin <= bytes.count else {
      throw refuse(
        "its header would be \(length) bytes long, but only \(bytes.count - 8) follow",
        hint: cutOff)
    }
    let header: JSON
    do {
      header = try JSON.parse(UnsafeRawBufferPointer(rebasing: bytes[8..<begin]), file: path, refuseDuplicateKeys: true)
    } catch let error as AttuneError { throw refuse("its header is broken: \(error.message)") }
    guard let object = header.object else { throw refuse("its header is \(header.kind), not a mapping") }
    var entries: [Entry] = []
    var metadata: [String: String] = [:]
    for (name, value) in object.entries {
      if name == "__metadata__" {
        for (key, text) in value.object?.entries ?? JSON.Object().entries { metadata[key] = text.string ?? "" }
        continue
      }
      guard let type = value["dtype"]?.string, let size = Self.sizes[type] else {
        throw refuse(
          "tensor \(name) has type \(value["dtype"]?.text() ?? "none"), known are \(Self.sizes.keys.sorted().joined(separator: ", "))"
        )
      }
      guard let dimensions = value["shape"]?.array else { throw refuse("tensor \(name) has no shape") }
      var shape: [Int] = []
      var byteCount = size
      for dimension in dimensions {
        guard let length = dimension.int, length >= 0 else {
          throw refuse("tensor \(name) has shape \(value["shape"]!.text())")
        }
        let (product, overflow) = byteCount.multipliedReportingOverflow(by: length)
        guard !overflow else { throw refuse("tensor \(name) of shape \(value["shape"]!.text()) is larger than memory") }
        byteCount = product
        shape.append(length)
      }
      guard let offsets = value["data_offsets"]?.array, offsets.count == 2, let from = offsets[0].int,
        let to = offsets[1].int,
        from >= 0, to >= from
      else { throw refuse("tensor \(name) has data_offsets \(value["data_offsets"]?.text() ?? "none")") }
      guard to - from == byteCount else {
        throw refuse(
          "tensor \(name) of shape \(shape) and type \(type) needs \(byteCount) bytes, its data_offsets span \(to - from)"
        )
      }
      guard to <= bytes.count - begin else {
        throw refuse(
          "tensor \(name) ends at byte \(to) of the data, the file has \(bytes.count - begin)",
          hint: cutOff)
      }
      entries.append(Entry(name: name, type: type, shape: shape, range: begin + from..<begin + to))
    }
    var end = begin
    for entry in entries.sorted(by: {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }) {
      guard entry.range.lowerBound == end else {
        throw refuse(
          entry.range.lowerBound < end
            ? "tensor \(entry.name) overlaps the one before it"
            : "there is a hole of \(entry.range.lowerBound - end) bytes before tensor \(entry.name)")
      }
      end = entry.range.upperBound
    }
    guard end == bytes.count else { throw refuse("\(bytes.count - end) bytes follow the last tensor") }
    return (entries, metadata)
  }

  public func entry(_ name: String) -> Entry? { places[name].map { entries[$0] } }

  /// The entry, or an error that names the nearest tensor.
  public func require(_ name: String) throws -> Entry {
    if let entry = entry(name) { return entry }
    throw AttuneError.request(
      "tensor \(name) is missing", at: .init(file: path),
      hint: nearestName(to: name, among: entries.map(\.name)).map { "the nearest name in the file is \($0)" })
  }

  public func withBytes<R>(_ entry: Entry, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try file.withBytes { try body(UnsafeRawBufferPointer(rebasing: $0[entry.range])) }
  }

  /// Any floating-point tensor as f32; F16 and BF16 widen exactly.
  public func floats(_ name: String) throws -> [Float] {
    let entry = try require(name)
    return try withBytes(entry) { bytes in
      switch entry.type {
      case "F32":
        (0..<bytes.count / 4).map {
          Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
        }
      case "BF16":
        (0..<bytes.count / 2).map {
          Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)) << 16)
        }
      case "F16": (0..<bytes.count / 2).map { widenHalf(bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)) }
      case "F64": (0..<bytes.count / 8).map { Float(bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self)) }
      default:
        throw AttuneError.request(
          "tensor \(name) has type \(entry.type), F32, BF16, F16 or F64 was expected", at: .init(file: path),
          hint: entry.type.hasPrefix("F8") || ["I8", "U8", "I32"].contains(entry.type)
            ? "quantised checkpoints are not read; take the model's plain one, and --weights int8 or int4 to save memory"
            : nil)
      }
    }
  }

  /// An integer or boolean tensor.
  public func integers(_ name: String) throws -> [Int] {
    let entry = try require(name)
    return try withBytes(entry) { bytes in
      switch entry.type {
      case "I64": (0..<bytes.count / 8).map { Int(bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)) }
      case "I32": (0..<bytes.count / 4).map { Int(bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self)) }
      case "U8", "BOOL": bytes.map { Int($0) }
      default:
        throw AttuneError.request(
          "tensor \(name) has type \(entry.type), an integer type was expected", at: .init(file: path))
      }
    }
  }

  /// Types that tensors can be borrowed in from a mapped file.
  private static func borrowed(_ type: String) -> DType? {
    switch type {
    case "F32": .f32
    case "BF16": .bf16
    case "F16": .f16
    default: nil
    }
  }

  /// A weight as a tensor over the mapped file, without copying: F32, BF16 and F16 that stand at a multiple of their size, as
  /// nearly all files have them; others become f32. Read only.
  public func mappedTensor(_ name: String, on backend: any Backend) throws -> Tensor {
    let entry = try require(name)
    guard let dtype = Self.borrowed(entry.type) else { return backend.upload(try floats(name), entry.shape) }
    return withBytes(entry) { bytes in
      guard Int(bitPattern: bytes.baseAddress) % dtype.size == 0 else {
        return backend.upload(bytes, entry.shape, dtype)
      }
      return backend.borrow(bytes, entry.shape, dtype, owner: file)
    }
  }

  /// A weight as a tensor of its own: BF16 stays bf16, everything else becomes f32.
  public func tensor(_ name: String, on backend: any Backend) throws -> Tensor {
    let entry = try require(name)
    switch entry.type {
    case "F32": return withBytes(entry) { backend.upload($0, entry.shape, .f32) }
    case "BF16": return withBytes(entry) { backend.upload($0, entry.shape, .bf16) }
    default: return backend.upload(try floats(name), entry.shape)
    }
  }

  /// A tensor of its own, of exactly this shape and dtype.
  ///
  /// - Throws: `.request` naming the file and what was found.
  public func tensor(_ name: String, _ shape: [Int], _ dtype: DType, on backend: any Backend) throws -> Tensor {
    let entry = try require(name)
    guard entry.shape == shape, entry.type == dtype.fileType else {
      throw AttuneError.request(
        "tensor \(name) is \(entry.type) of shape \(entry.shape), \(dtype.fileType) of shape \(shape) was expected",
        at: .init(file: path))
    }
    return withBytes(entry) { backend.upload($0, shape, dtype) }
  }

  /// Has the vectors read in the background. They stand between the matrices and are wanted first; each would be waited for, with
  /// megabytes around it.
  func askForVectors() {
    for entry in entries where entry.shape.count < 2 { withBytes(entry) { file.willNeed($0) } }
  }

  /// The pages of a tensor need not stay in memory.
  func forget(_ entry: Entry) { withBytes(entry) { file.forget($0) } }
  func forget(_ bytes: UnsafeRawBufferPointer) { file.forget(bytes) }
}

private func widenHalf(_ half: UInt16) -> Float {
  let sign = UInt32(half & 0x8000) << 16
  let exponent = UInt32(half >> 10 & 0x1F)
  let fraction = UInt32(half & 0x3FF)
  switch exponent {
  case 0:
    let size = Float(fraction) * 0x1p-24
    return sign == 0 ? size : -size
  case 31: return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
  default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
  }
}
