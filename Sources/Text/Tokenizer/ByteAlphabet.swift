/// The 256 printable characters that stand for bytes in a byte-level vocabulary.
///
/// Printable Latin-1 stands for itself; the other 68 bytes are U+0100 and the next, in order.
/// Source: Radford et al., *Language Models are Unsupervised Multitask Learners* (2019), the published encoder.
enum ByteAlphabet {
  /// The character of each byte.
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0..<256).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF:
        return Unicode.Scalar(UInt8(byte))
      default:
        defer { next += 1 }
        return Unicode.Scalar(next) ?? " "
      }
    }
  }()

  /// The character of each byte in UTF-8.
  static let encoded: [[UInt8]] = scalars.map { Array(String(Character($0)).utf8) }

  /// The byte of each character below U+0144, or -1.
  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
    return table
  }()

  /// The bytes that `token` stands for, or nil if a character of it is outside the alphabet.
  static func bytes(of token: String) -> [UInt8]? {
    var result: [UInt8] = []
    return append(token, to: &result) ? result : nil
  }

  /// Appends the bytes that `token` stands for, or nothing and false if a character of it is outside the alphabet.
  static func append(_ token: String, to result: inout [UInt8]) -> Bool {
    let count = result.count
    var token = token
    return token.withUTF8 { utf8 in
      bytes.withUnsafeBufferPointer { bytes in
        var at = 0
        while at < utf8.count {
          let (value, length) = decodeValue(utf8, at)
          guard value < 0x144, bytes[Int(value)] >= 0 else {
            result.removeLast(result.count - count)
            return false
          }
          result.append(UInt8(truncatingIfNeeded: bytes[Int(value)]))
          at += length
        }
        return true
      }
    }
  }

  /// `bytes` in the characters of a vocabulary.
  static func text(of bytes: some Sequence<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    for byte in bytes { text.append(scalars[Int(byte)]) }
    return String(text)
  }
}
