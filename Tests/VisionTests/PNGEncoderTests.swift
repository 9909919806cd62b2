import Core
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Writing PNG")
struct PNGEncoderTests {
  @Test("what is written reads back, and twice the same bytes")
  func roundTrip() throws {
    for file in ["rgb.png", "one_pixel.png", "strip.png", "base420.jpg"] {
      let picture = try PictureDecoder.load(path: Fixtures.path("images/files/\(file)"))
      let bytes = try PNGEncoder.encode(picture)
      #expect(try PNGEncoder.encode(picture) == bytes)
      #expect(try PictureDecoder.decode(bytes, name: file, options: .reference) == picture)
    }
  }

  @Test("header, pixels, end: nothing that changes with the day")
  func chunks() throws {
    let picture = Picture(width: 2, height: 1, pixels: [1, 2, 3, 4, 5, 6])
    let bytes = try PNGEncoder.encode(picture)
    var names: [String] = []
    var at = 8
    while at + 12 <= bytes.count {
      names.append(String(decoding: bytes[(at + 4)..<(at + 8)], as: UTF8.self))
      at += 12 + bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
    }
    #expect(names == ["IHDR", "IDAT", "IEND"])
    #expect(at == bytes.count)
  }

  @Test("no pixels, no file")
  func empty() {
    expectAttuneError(containing: "0 x 0 pixels cannot be written as PNG") {
      _ = try PNGEncoder.encode(Picture(width: 0, height: 0, pixels: []))
    }
  }
}
