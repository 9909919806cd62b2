import Core

/// Pictures one after the other in the binary PPM format (P6, 8 bits), as they come through a pipe.
struct PixmapStream {
  let limits: VideoLimits
  let name: String
  private var header: [UInt8] = []
  private var size: (width: Int, height: Int)?
  private var pixels: [UInt8] = []

  init(limits: VideoLimits, name: String) {
    self.limits = limits
    self.name = name
  }

  /// Whether a picture has begun and not ended.
  var isInside: Bool { !header.isEmpty || size != nil }

  /// Takes the next bytes, and hands over each picture that they complete.
  ///
  /// - Parameter picture: false ends the reading.
  /// - Returns: false once `picture` did.
  /// - Throws: `AttuneError` for what is no pixmap, for pictures above the limits, and what `picture` throws.
  mutating func take(
    _ bytes: UnsafeBufferPointer<UInt8>, picture: (Picture) throws -> Bool
  ) throws -> Bool {
    var left = bytes[...]
    while !left.isEmpty {
      guard let size else {
        header.append(left.removeFirst())
        try readHeader()
        continue
      }
      let total = size.width * size.height * 3
      let part = left.prefix(total - pixels.count)
      pixels += part
      left = left.dropFirst(part.count)
      if pixels.count == total {
        let done = Picture(width: size.width, height: size.height, pixels: pixels)
        pixels = []
        self.size = nil
        if try !picture(done) { return false }
      }
    }
    return true
  }

  /// `P6`, width, height and the highest level, each followed by one line break or space.
  private mutating func readHeader() throws {
    let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x0A }
    guard header.count <= 32 else { throw broken() }
    guard let last = header.last, isSpace(last) else { return }
    let words = header.split(whereSeparator: isSpace).map { String(decoding: $0, as: UTF8.self) }
    guard words.count == 4 else {
      if words.first == "P6", words.count < 4 { return }
      throw broken()
    }
    guard words[0] == "P6", let width = Int(words[1]), let height = Int(words[2]), words[3] == "255",
      width > 0, height > 0
    else { throw broken() }
    guard width <= limits.maximumSide, height <= limits.maximumSide, width * height <= limits.maximumPixels else {
      throw AttuneError.request(
        "the video's frames have \(width) x \(height) pixels; at most \(limits.maximumPixels) are read, and \(limits.maximumSide) a side",
        at: .init(file: name), hint: "scale the video down before it is used")
    }
    size = (width, height)
    pixels.reserveCapacity(width * height * 3)
    header = []
  }

  private func broken() -> AttuneError {
    .work("ffmpeg printed something else than frames", at: .init(file: name))
  }
}
