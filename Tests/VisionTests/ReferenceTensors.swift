import Core
import TestSupport

@testable import AttuneVision

/// The tensors of one safetensors fixture, read without the tensor room: 8-bit, int64 and float32 alone.
struct ReferenceTensors {
  struct Unreadable: Error { let what: String }

  private let bytes: [UInt8]
  private let header: JSON
  private let start: Int

  init(_ name: String) throws {
    let bytes = try Fixtures.bytes(name)
    self.bytes = bytes
    guard bytes.count >= 8 else { throw Unreadable(what: "\(name) is too short") }
    let length = (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    guard length >= 0, length <= bytes.count - 8 else { throw Unreadable(what: "\(name): header of \(length) bytes") }
    start = 8 + length
    header = try JSON.parse(bytes[8..<start], file: name)
  }

  func contains(_ name: String) -> Bool { header[name] != nil }

  func shape(_ name: String) -> [Int] { header[name]?["shape"]?.array?.compactMap(\.int) ?? [] }

  func levels(_ name: String) throws -> [UInt8] { Array(try data(name, dtype: "U8")) }

  func floats(_ name: String) throws -> [Float] {
    try data(name, dtype: "F32").withUnsafeBytes { raw in
      (0..<(raw.count / 4)).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }
  }

  func integers(_ name: String) throws -> [Int] {
    try data(name, dtype: "I64").withUnsafeBytes { raw in
      (0..<(raw.count / 8)).map { Int(raw.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)) }
    }
  }

  /// The pictures of a `[count, height, width, 3]` tensor.
  func pictures(_ name: String) throws -> [Picture] {
    let shape = shape(name)
    guard shape.count == 4, shape[3] == 3 else { throw Unreadable(what: "\(name) has shape \(shape)") }
    let levels = try levels(name)
    let size = shape[1] * shape[2] * 3
    return (0..<shape[0]).map {
      Picture(width: shape[2], height: shape[1], pixels: Array(levels[($0 * size)..<(($0 + 1) * size)]))
    }
  }

  /// A `[height, width, 3]` tensor.
  func picture(_ name: String) throws -> Picture {
    let shape = shape(name)
    guard shape.count == 3, shape[2] == 3 else { throw Unreadable(what: "\(name) has shape \(shape)") }
    return Picture(width: shape[1], height: shape[0], pixels: try levels(name))
  }

  private func data(_ name: String, dtype: String) throws -> ArraySlice<UInt8> {
    guard let entry = header[name], entry["dtype"]?.string == dtype,
      let offsets = entry["data_offsets"]?.array?.compactMap(\.int), offsets.count == 2
    else { throw Unreadable(what: "no \(dtype) tensor named \(name)") }
    return bytes[(start + offsets[0])..<(start + offsets[1])]
  }
}
