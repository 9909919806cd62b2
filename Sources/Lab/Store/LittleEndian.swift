/// Arrays of 32-bit numbers as bytes, the same on every machine.
enum LittleEndian {
  static func bytes(_ values: [Int32]) -> [UInt8] { bytes(values.count) { UInt32(bitPattern: values[$0]) } }
  static func bytes(_ values: [Float]) -> [UInt8] { bytes(values.count) { values[$0].bitPattern } }
  static func int32s(_ bytes: [UInt8]) -> [Int32] { words(bytes) { Int32(bitPattern: $0) } }
  static func floats(_ bytes: [UInt8]) -> [Float] { words(bytes) { Float(bitPattern: $0) } }

  private static func bytes(_ count: Int, _ word: (Int) -> UInt32) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 4 * count) { buffer, size in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      for i in 0..<count { raw.storeBytes(of: word(i).littleEndian, toByteOffset: 4 * i, as: UInt32.self) }
      size = 4 * count
    }
  }

  /// Bytes behind the last whole word are left out.
  private static func words<T>(_ bytes: [UInt8], _ make: (UInt32) -> T) -> [T] {
    bytes.withUnsafeBytes { raw in
      (0..<(raw.count / 4)).map {
        make(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
      }
    }
  }
}
