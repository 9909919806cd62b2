import CPNG
import Core

/// Reads PNG files through libpng.
struct PNGReader {
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
    let count = width * height
    let named = header.transparent_color
    let color =
      options.transparency == .dropped && header.has_transparent_color
      ? Picture.Color(red: named.0, green: named.1, blue: named.2) : nil
    let blends = options.transparency == .onWhite && header.has_transparency
    // Colour type 0 is grey without an alpha channel.
    if header.color_type == 0, header.bit_depth == 16, options.sixteenBitGrey == .clipped || blends {
      let samples = try read(
        &header, layout: blends ? ATTUNE_PNG_GREY16_KEY : ATTUNE_PNG_GREY16, bytesPerPixel: blends ? 4 : 2)
      return Picture(
        width: width, height: height, pixels: rgb(fromGrey16: samples, withAlpha: blends, count: count),
        transparentColor: color)
    }
    if blends {
      let samples = try read(&header, layout: ATTUNE_PNG_RGBA8, bytesPerPixel: 4)
      return Picture(width: width, height: height, pixels: Transparency.onWhite(samples, count: count))
    }
    return Picture(
      width: width, height: height, pixels: try read(&header, layout: ATTUNE_PNG_RGB8, bytesPerPixel: 3),
      transparentColor: color)
  }

  private func header() throws -> attune_png_header {
    var header = attune_png_header()
    try check { text, capacity in
      attune_png_read(
        &header, nil, 0, ATTUNE_PNG_RGB8, bytes.baseAddress, bytes.count, UInt32(Int32.max), text, capacity)
    }
    return header
  }

  private func read(
    _ header: inout attune_png_header, layout: attune_png_layout, bytesPerPixel: Int
  ) throws -> [UInt8] {
    let stride = Int(header.width) * bytesPerPixel
    let total = stride * Int(header.height)
    return try [UInt8](unsafeUninitializedCapacity: total) { pixels, count in
      try check { text, capacity in
        attune_png_read(
          &header, pixels.baseAddress, stride, layout, bytes.baseAddress, bytes.count, UInt32(options.maximumSide),
          text, capacity)
      }
      count = total
    }
  }

  private func check(_ call: (UnsafeMutablePointer<CChar>, Int) -> attune_png_status) throws {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
      text.initialize(repeating: 0)
      guard let start = text.baseAddress else { return }
      switch call(start, text.count) {
      case ATTUNE_PNG_OK: return
      case ATTUNE_PNG_TRUNCATED:
        throw AttuneError.request(
          "the PNG file is truncated: its \(bytes.count) bytes end before the picture does", at: .init(file: name),
          hint: "copy or download the file again")
      default:
        throw AttuneError.request(
          "the PNG file is broken: \(String(cString: start))", at: .init(file: name),
          hint: "copy or download the file again, or save it anew with an image program")
      }
    }
  }

  /// Big-endian 16-bit grey, clipped or by its high byte; with alpha (0 or 65535) blended onto white.
  private func rgb(fromGrey16 samples: [UInt8], withAlpha: Bool, count: Int) -> [UInt8] {
    let step = withAlpha ? 4 : 2
    let clips = options.sixteenBitGrey == .clipped
    return samples.withUnsafeBufferPointer { source in
      [UInt8](unsafeUninitializedCapacity: count * 3) { pixels, initialized in
        for i in 0..<count {
          let high = source[i * step]
          var level = clips ? (high > 0 ? 255 : source[i * step + 1]) : high
          if withAlpha, source[i * step + 2] == 0 { level = 255 }
          pixels[i * 3] = level
          pixels[i * 3 + 1] = level
          pixels[i * 3 + 2] = level
        }
        initialized = count * 3
      }
    }
  }
}
