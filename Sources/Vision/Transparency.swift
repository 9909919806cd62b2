/// Blending of decoded pictures.
enum Transparency {
  /// RGBA to RGB by Pillow's `alpha_composite` over opaque white: 7 extra bits, one rounding at the end.
  static func onWhite(_ rgba: [UInt8], count: Int) -> [UInt8] {
    rgba.withUnsafeBufferPointer { source in
      [UInt8](unsafeUninitializedCapacity: count * 3) { pixels, initialized in
        for i in 0..<count {
          let alpha = UInt32(source[i * 4 + 3])
          for channel in 0..<3 {
            let level = UInt32(source[i * 4 + channel])
            let sum = (level &* alpha &+ 255 &* (255 &- alpha) &+ 128) << 7
            pixels[i * 3 + channel] = UInt8(truncatingIfNeeded: (((sum >> 8) &+ sum) >> 8) >> 7)
          }
        }
        initialized = count * 3
      }
    }
  }
}
