import CWebP
import Core

/// Reads WebP files through libwebp: lossy and lossless, with and without alpha; of an animation the first frame.
struct WebPReader {
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
    // An animation's canvas is transparent where its first frame does not reach.
    let blends = options.transparency == .onWhite && (header.has_alpha || header.is_animation)
    let channels = blends ? 4 : 3
    let total = width * height * channels
    let samples = try [UInt8](unsafeUninitializedCapacity: total) { pixels, count in
      try check(attune_webp_read(pixels.baseAddress, &header, Int32(channels), bytes.baseAddress, bytes.count))
      count = total
    }
    let pixels = blends ? Transparency.onWhite(samples, count: width * height) : samples
    return Picture(width: width, height: height, pixels: pixels)
  }

  private func header() throws -> attune_webp_header {
    // libwebp decodes what it needs and would not miss the chunks behind it.
    let file = EXIF.Reader(bytes)
    if let length = file.little32(4), length > bytes.count - 8 { try check(ATTUNE_WEBP_TRUNCATED) }
    var header = attune_webp_header()
    try check(attune_webp_read_header(&header, bytes.baseAddress, bytes.count))
    return header
  }

  private func check(_ status: attune_webp_status) throws {
    switch status {
    case ATTUNE_WEBP_OK: return
    case ATTUNE_WEBP_TRUNCATED:
      throw AttuneError.request(
        "the WebP file is truncated: its \(bytes.count) bytes end before the picture does", at: .init(file: name),
        hint: "copy or download the file again")
    case ATTUNE_WEBP_MEMORY:
      throw AttuneError.work("there is not enough memory to decode the WebP file", at: .init(file: name))
    default:
      throw AttuneError.request(
        "the WebP file is broken: its contents contradict each other", at: .init(file: name),
        hint: "copy or download the file again, or save it anew with an image program")
    }
  }
}
