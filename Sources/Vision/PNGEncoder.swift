import CPNG
import Core
import Foundation

/// Pictures to PNG files, always the same bytes for the same picture (with the same libpng and zlib).
public enum PNGEncoder {
  /// An 8-bit RGB PNG file without time, text or profile: compression level 6, filters chosen row by row.
  ///
  /// - Throws: `AttuneError` (`.work`) for a picture without pixels, or when memory is short.
  public static func encode(_ picture: Picture) throws -> [UInt8] {
    guard let width = UInt32(exactly: picture.width), let height = UInt32(exactly: picture.height) else {
      throw AttuneError.work("a picture of \(picture.width) x \(picture.height) pixels is too large for PNG")
    }
    var output: UnsafeMutablePointer<UInt8>?
    var count = 0
    return try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
      text.initialize(repeating: 0)
      let status = picture.pixels.withUnsafeBufferPointer {
        attune_png_write(&output, &count, $0.baseAddress, width, height, text.baseAddress, text.count)
      }
      guard status == ATTUNE_PNG_OK, let output else {
        let reason = text.baseAddress.map { String(cString: $0) } ?? ""
        throw AttuneError.work(
          "a picture of \(picture.width) x \(picture.height) pixels cannot be written as PNG: \(reason)")
      }
      defer { free(output) }
      return [UInt8](UnsafeBufferPointer(start: output, count: count))
    }
  }
}
