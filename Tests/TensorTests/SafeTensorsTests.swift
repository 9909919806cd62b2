import AttuneTensor
import Core
import Foundation
import TestSupport
import Testing

@Suite struct SafeTensorsTests {
  private let backend = try! CPUBackend(threads: 1)
  private let folder: String = {
    let path = NSTemporaryDirectory() + "attune-safetensors-\(UUID().uuidString)"
    try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }()

  private func file(_ header: String, data: Int, name: String = "x.safetensors", length: UInt64? = nil) throws -> String
  {
    var bytes = withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { Array($0) }
    bytes += Array(header.utf8) + [UInt8](repeating: 7, count: data)
    let path = folder + "/" + name
    try AtomicFile.write(path, bytes: bytes)
    return path
  }

  @Test func roundTripKeepsBitsAndIsDeterministic() throws {
    let path = folder + "/a.safetensors"
    let values: [Float] = [1, -0.0, .infinity, Float(bitPattern: 0x11111), 3.5, 2]
    let narrow = backend.empty([2, 3], .bf16)
    backend.convert(narrow, backend.upload(values, [2, 3]))
    let tensors = [
      ("b", backend.upload(values, [3, 2])), ("a", narrow), ("scalar", backend.upload([5] as [Float], [])),
    ]
    try SafeTensors.write(tensors.map { (name: $0.0, tensor: $0.1) }, to: path, from: backend)
    let first = try MappedFile.read(path)
    try SafeTensors.write(tensors.reversed().map { (name: $0.0, tensor: $0.1) }, to: path, from: backend)
    #expect(try MappedFile.read(path) == first)
    let read = try SafeTensors(path)
    #expect(read.entries.map(\.name) == ["a", "b", "scalar"])
    #expect(try read.floats("b").map(\.bitPattern) == values.map(\.bitPattern))
    #expect(try read.tensor("a", on: backend).dtype == .bf16)
    #expect(try read.tensor("b", on: backend).shape == [3, 2])
    #expect(try read.floats("scalar") == [5])
  }

  @Test(arguments: [
    (#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#, 4, "ends at byte 8"),
    (#"{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}"#, 8, "needs 12 bytes"),
    (#"{"a": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}}"#, 8, "type \"F33\""),
    (#"{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}"#, 8, "shape"),
    (#"{"a": {"dtype": "F32", "shape": [4611686018427387904, 8], "data_offsets": [0, 8]}}"#, 8, "larger than memory"),
    (#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}"#, 8, "data_offsets"),
    (#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#, 8, "hole"),
    (
      #"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#,
      8, "overlaps"
    ),
    (#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#, 9, "1 bytes follow"),
    (
      #"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#,
      8, "appears twice"
    ),
    (#"[1]"#, 0, "not a mapping"), (#"{"a": 3}"#, 0, "type none"), (#"{"a": "#, 0, "header is broken"),
  ])
  func hostileHeadersAreRefusedWithTheReason(header: String, data: Int, words: String) throws {
    let path = try file(header, data: data)
    expectAttuneError(containing: path, words) { _ = try SafeTensors(path) }
  }

  @Test func lengthsBeyondTheFileAreRefused() throws {
    for (length, words) in [(UInt64.max, "the limit is"), (1 << 20, "cut off")] {
      let path = try file("{}", data: 0, length: length)
      expectAttuneError(containing: words) { _ = try SafeTensors(path) }
    }
    let short = folder + "/short.safetensors"
    try AtomicFile.write(short, bytes: [1, 2, 3] as [UInt8])
    expectAttuneError(containing: "3 bytes") { _ = try SafeTensors(short) }
    expectAttuneError(containing: "no such file") { _ = try SafeTensors(folder + "/none") }
  }

  @Test func everyTruncationOfARealFileIsRefused() throws {
    let bytes = try Fixtures.bytes("models/qwen2/model.safetensors")
    let path = folder + "/cut.safetensors"
    for part in [0, 7, 8, 100, bytes.count / 2, bytes.count - 1] {
      try AtomicFile.write(path, bytes: bytes[..<part])
      #expect(throws: AttuneError.self) { _ = try SafeTensors(path) }
    }
  }

  @Test func shardsAreFoundByTheirIndex() throws {
    try SafeTensors.write(
      [("a", backend.upload([1, 2] as [Float], [2]))], to: folder + "/m-1.safetensors", from: backend)
    try SafeTensors.write([("b", backend.upload([3] as [Float], [1]))], to: folder + "/m-2.safetensors", from: backend)
    let index = folder + "/model.safetensors.index.json"
    try AtomicFile.write(index, text: #"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#)
    let weights = try SafeTensorsFolder(folder)
    #expect(weights.names == ["a", "b"])
    #expect(backend.floats(try weights.tensor("b", shape: [1], on: backend)) == [3])
    expectAttuneError(containing: "has shape [2]", "asks for [3]") {
      _ = try weights.tensor("a", shape: [3], on: backend)
    }
    expectAttuneError(containing: "tensor aa is missing", "nearest name is a") {
      _ = try weights.tensor("aa", shape: [3], on: backend)
    }
    try AtomicFile.write(index, text: #"{"weight_map": {"c": "m-1.safetensors"}}"#)
    expectAttuneError(containing: "lacks tensor c") { _ = try SafeTensorsFolder(folder) }
    try AtomicFile.write(index, text: #"{"weight_map": {"c": "m-9.safetensors"}}"#)
    expectAttuneError(containing: "m-9.safetensors", "no such file") { _ = try SafeTensorsFolder(folder) }
  }

  @Test(arguments: [
    (#"{"weight_map": {"a": "../m-1.safetensors"}}"#, "file in the same folder"),
    (#"{"weight_map": {"a": "/etc/passwd"}}"#, "file in the same folder"),
    (#"{"weight_map": {"a": ".."}}"#, "file in the same folder"),
    (#"{"weight_map": {"a": ""}}"#, "file in the same folder"),
    (#"{"weight_map": {"a": 3}}"#, "file in the same folder"), (#"{"weight_map": {}}"#, "no \"weight_map\""),
    (#"{"metadata": {}}"#, "no \"weight_map\""), ("[]", "no \"weight_map\""), ("", "JSON"),
    (#"{"weight_map": {"a": "m-1.safetensors", "a": "m-2.safetensors"}}"#, "twice"),
    (#"{"weight_map": {"a": "m-2.safetensors"}}"#, "m-2.safetensors lacks tensor a"),
  ])
  func brokenIndicesAreRefused(index: String, words: String) throws {
    try SafeTensors.write(
      [("a", backend.upload([1, 2] as [Float], [2]))], to: folder + "/m-1.safetensors", from: backend)
    try SafeTensors.write([("b", backend.upload([3] as [Float], [1]))], to: folder + "/m-2.safetensors", from: backend)
    let path = folder + "/model.safetensors.index.json"
    try AtomicFile.write(path, text: index)
    expectAttuneError(containing: path, words) { _ = try SafeTensorsFolder(folder) }
  }

  @Test func aTensorInTwoShardsMustBeTheSame() throws {
    func shard(_ number: Int, _ tensors: [(name: String, tensor: Tensor)]) throws {
      try SafeTensors.write(tensors, to: folder + "/m-\(number).safetensors", from: backend)
    }
    let a = backend.upload([1, 2] as [Float], [2])
    try shard(1, [("a", a)])
    try shard(2, [("a", a), ("b", a)])
    try AtomicFile.write(
      folder + "/model.safetensors.index.json",
      text: #"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#)
    #expect(try SafeTensorsFolder(folder).names == ["a", "b"])
    try shard(2, [("a", backend.upload([1, 3] as [Float], [2])), ("b", a)])
    expectAttuneError(containing: "m-1.safetensors", "m-2.safetensors", "tensor a", "other values") {
      _ = try SafeTensorsFolder(folder)
    }
    // A tensor that only the index lost is looked for in the shards.
    try shard(2, [("c", a), ("b", a)])
    expectAttuneError(containing: "index.json", "tensor c is in \(folder)/m-2.safetensors") {
      _ = try SafeTensorsFolder(folder).tensor("c", shape: [2], on: backend)
    }
  }

  /// Old writers did not pad the header, so tensors may stand at any byte.
  @Test func tensorsAtOddAddressesAreRead() throws {
    var header =
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2,1],"data_offsets":[8,12]}}"#
    while header.utf8.count % 2 == 0 { header += " " }
    var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
    bytes += ([1.5, -2] as [Float]).withUnsafeBytes { Array($0) } + [0x00, 0x3C, 0x01, 0x80]
    let path = folder + "/odd.safetensors"
    try AtomicFile.write(path, bytes: bytes)
    let file = try SafeTensors(path)
    #expect(backend.floats(try file.mappedTensor("a", on: backend)) == [1.5, -2])
    #expect(backend.floats(try file.mappedTensor("b", on: backend)) == [1, -0x1p-24])
  }

  /// Packing a mapped matrix takes its panels and little more, whatever the file holds and the products read.
  @Test(arguments: [DType.f32, .bf16, .f16]) func packingTakesLittleMoreThanThePanels(dtype: DType) throws {
    let path = folder + "/large.safetensors"
    let narrow = backend.empty([8192, 1024], dtype)
    backend.fillZero(narrow)
    try SafeTensors.write([("w", narrow)], to: path, from: backend)
    for (precision, width) in [(Precision.full, 4), (.bf16, 2)] {
      let fresh = try CPUBackend(threads: 2)
      let mapped = try SafeTensors(path).mappedTensor("w", on: fresh)
      let panels = fresh.pack([mapped], for: precision, as: .plain)
      #expect(panels.n == 8192)
      #expect(Double(fresh.highWaterBytes) < 1.15 * Double(8192 * 1024 * width) + 4e6, "\(dtype) \(precision)")
    }
  }

  @Test func quantisedWeightsAreRefusedWithWhatToDo() throws {
    for type in ["F8_E4M3", "U8", "I8"] {
      let path = try file(#"{"a": {"dtype": "\#(type)", "shape": [8], "data_offsets": [0, 8]}}"#, data: 8)
      expectAttuneError(containing: path, "tensor a has type \(type)", "--weights int8") {
        _ = try SafeTensors(path).mappedTensor("a", on: backend)
      }
    }
  }

  @Test func aFailedWriteLeavesTheOldFile() throws {
    let path = folder + "/kept"
    try AtomicFile.write(path, text: "old")
    struct Stop: Error {}
    #expect(throws: Stop.self) { try AtomicFile.write(path) { _ in throw Stop() } }
    #expect(try MappedFile.read(path) == Array("old".utf8))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".tmp") }.isEmpty)
    expectAttuneError(containing: "cannot create") { try AtomicFile.write("/nowhere/at/all", text: "x") }
  }
}
