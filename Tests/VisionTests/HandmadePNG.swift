/// PNG files byte by byte, for what no encoder would write.
enum HandmadePNG {
  /// Rows of raw sample bytes (filter 0 is added), in stored deflate blocks.
  static func file(
    width: UInt32, height: UInt32, depth: UInt8, color: UInt8, rows: [[UInt8]], before: [(String, [UInt8])] = [],
    after: [(String, [UInt8])] = []
  ) -> [UInt8] {
    var file: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    file += chunk("IHDR", big(width) + big(height) + [depth, color, 0, 0, 0])
    for (name, body) in before { file += chunk(name, body) }
    file += chunk("IDAT", stored(rows.flatMap { [0] + $0 }))
    for (name, body) in after { file += chunk(name, body) }
    return file + chunk("IEND", [])
  }

  static func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
    let content = Array(name.utf8) + body
    var sum: UInt32 = 0xFFFF_FFFF
    for byte in content {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
    }
    return big(UInt32(body.count)) + content + big(~sum)
  }

  static func big(_ x: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: x >> (24 - 8 * $0)) } }

  private static func stored(_ data: [UInt8]) -> [UInt8] {
    precondition(data.count < 65_536)
    let low = UInt8(data.count & 255)
    let high = UInt8(data.count >> 8)
    var (a, b): (UInt32, UInt32) = (1, 0)
    for byte in data {
      a = (a + UInt32(byte)) % 65_521
      b = (b + a) % 65_521
    }
    return [0x78, 0x01, 0x01, low, high, ~low, ~high] + data + big(b << 16 | a)
  }
}
