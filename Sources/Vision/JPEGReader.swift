import CJPEG
import Core

/// Reads JPEG files through libjpeg-turbo.
struct JPEGReader {
  let bytes: UnsafeBufferPointer<UInt8>
  let name: String
  let options: PictureDecodingOptions

  func size() throws -> (width: Int, height: Int) {
    let header = try header()
    return try checkedSize(width: header.width, height: header.height, name: name, options: options)
  }

  func picture() throws -> Picture {
    var header = try header()
    let (width, height) = try checkedSize(width: header.width, height: header.height, name: name, options: options)
    guard [1, 3, 4].contains(header.components) else {
      throw AttuneError.request(
        "the JPEG file has \(header.components) components; 1 (grey), 3 (colour) and 4 (CMYK) are read",
        at: .init(file: name))
    }
    let total = width * height * (header.components == 4 ? 4 : 3)
    let samples = try [UInt8](unsafeUninitializedCapacity: total) { pixels, count in
      try check { text, capacity in
        attune_jpeg_read(&header, pixels.baseAddress, bytes.baseAddress, bytes.count, text, capacity)
      }
      count = total
    }
    let pixels = header.components == 4 ? Self.rgb(fromInvertedCMYK: samples, count: width * height) : samples
    return Picture(width: width, height: height, pixels: pixels)
  }

  private func header() throws -> attune_jpeg_header {
    var header = attune_jpeg_header()
    try check { text, capacity in
      attune_jpeg_read(&header, nil, bytes.baseAddress, bytes.count, text, capacity)
    }
    return header
  }

  private func check(_ call: (UnsafeMutablePointer<CChar>, Int) -> attune_jpeg_status) throws {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
      text.initialize(repeating: 0)
      guard let start = text.baseAddress else { return }
      switch call(start, text.count) {
      case ATTUNE_JPEG_OK: return
      case ATTUNE_JPEG_TRUNCATED:
        throw AttuneError.request(
          "the JPEG file is truncated: its \(bytes.count) bytes end before the end-of-image marker",
          at: .init(file: name), hint: "copy or download the file again")
      default:
        throw AttuneError.request(
          "the JPEG file cannot be decoded: \(String(cString: start))", at: .init(file: name),
          hint: "copy or download the file again, or save it anew with an image program")
      }
    }
  }

  /// CMYK without a colour profile, stored inverted as Adobe's programs do: (255 - ink) * (255 - black) / 255,
  /// rounded as Pillow does (the product of ink and paper is rounded, then subtracted).
  static func rgb(fromInvertedCMYK samples: [UInt8], count: Int) -> [UInt8] {
    samples.withUnsafeBufferPointer { source in
      [UInt8](unsafeUninitializedCapacity: count * 3) { pixels, initialized in
        for i in 0..<count {
          let paper = UInt32(source[i * 4 + 3])
          for channel in 0..<3 {
            let sum = (255 &- UInt32(source[i * 4 + channel])) &* paper &+ 128
            // Invariant: the rounded product is at most `paper`, so the difference is not negative.
            pixels[i * 3 + channel] = UInt8(truncatingIfNeeded: paper &- ((sum >> 8) &+ sum) >> 8)
          }
        }
        initialized = count * 3
      }
    }
  }
}
