import Core
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Broken pictures")
struct BrokenPictureTests {
  static let files =
    PictureDecoderTests.cases.map { "files/" + $0.file }
    + ["animated.webp", "animated_lossy.webp", "exif6.webp", "lossless_alpha.webp", "ycck.jpg"].map { "extra/" + $0 }
  /// Small, so that a corrupted header costs nothing.
  private let options = PictureDecodingOptions(transparency: .onWhite, maximumSide: 1000, maximumPixels: 100_000)

  /// True for a picture, false for an `AttuneError`; anything else fails the test.
  @discardableResult
  private func decodes(_ bytes: [UInt8], _ what: String) -> Bool {
    do {
      let picture = try PictureDecoder.decode(bytes, name: what, options: options)
      #expect(picture.pixels.count == picture.width * picture.height * 3)
      return true
    } catch let error as AttuneError {
      if !error.description.contains(what) { Issue.record("the error does not name the file: \(error)") }
      return false
    } catch {
      Issue.record("\(what): not an AttuneError: \(error)")
      return false
    }
  }

  @Test("every truncation is refused", arguments: files)
  func truncations(_ file: String) throws {
    let bytes = try Fixtures.bytes("images/\(file)")
    let lengths =
      LongTests.areWanted
      ? Array(0..<bytes.count)
      : Array(0..<min(bytes.count, 200)) + Array(stride(from: 200, to: bytes.count, by: 1 + bytes.count / 100))
    for length in lengths where length < bytes.count {
      #expect(!decodes(Array(bytes[..<length]), file), "\(length) of \(bytes.count) bytes")
    }
  }

  @Test("corrupted bytes give a picture or an error", arguments: files)
  func corruptions(_ file: String) throws {
    let bytes = try Fixtures.bytes("images/\(file)")
    var state = UInt64(bytes.count) &* 0x9E37_79B9_7F4A_7C15
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    for round in 0..<(LongTests.areWanted ? 3000 : 300) {
      var broken = bytes
      // The front, where headers and tables are, gets half of the damage.
      for _ in 0...(round % 3) {
        broken[random(round % 2 == 0 ? min(bytes.count, 700) : bytes.count)] = UInt8(random(256))
      }
      decodes(broken, file)
    }
  }

  @Test("chunks with right checksums and wrong contents")
  func hostileChunks() {
    let row: [UInt8] = [0, 1, 2, 3]
    // A palette picture: without palette; with an index beyond the palette; more alphas than colours.
    decodes(HandmadePNG.file(width: 4, height: 1, depth: 8, color: 3, rows: [row]), "no palette")
    for alphas in [0, 1, 2, 300] {
      decodes(
        HandmadePNG.file(
          width: 4, height: 1, depth: 8, color: 3, rows: [row],
          before: [("PLTE", [9, 9, 9, 8, 8, 8]), ("tRNS", [UInt8](repeating: 7, count: alphas))]), "\(alphas) alphas")
    }
    // Too few and too many rows, an unknown filter, a key of the wrong length, kinds that do not exist.
    #expect(!decodes(HandmadePNG.file(width: 4, height: 9, depth: 8, color: 0, rows: [row]), "few rows"))
    #expect(decodes(HandmadePNG.file(width: 4, height: 1, depth: 8, color: 0, rows: [row, row, row]), "many rows"))
    decodes(HandmadePNG.file(width: 4, height: 1, depth: 8, color: 0, rows: [row], before: [("tRNS", [1])]), "key")
    for color in UInt8(0)...7 {
      for depth in UInt8(0)...17 {
        decodes(
          HandmadePNG.file(width: 4, height: 1, depth: depth, color: color, rows: [row + row + row + row + row]), "kind"
        )
      }
    }
    // Damage in what does not touch a pixel costs nothing.
    let profile: [(String, [UInt8])] = [("iCCP", [1, 2, 3]), ("gAMA", []), ("pHYs", [1]), ("eXIf", [0x49])]
    #expect(decodes(HandmadePNG.file(width: 4, height: 1, depth: 8, color: 0, rows: [row], before: profile), "profile"))
  }

  @Test("a JPEG that repeats its scan for ever is stopped")
  func manyScans() throws {
    let bytes = try Fixtures.bytes("images/files/progressive.jpg")
    // The scans lie between the first start-of-scan marker and the end-of-image marker.
    let first = try #require(bytes.indices.dropLast().first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xDA })
    let next = try #require(
      bytes.indices.dropLast().first {
        $0 > first + 2 && bytes[$0] == 0xFF && bytes[$0 + 1] != 0 && bytes[$0 + 1] != 0xFF
      })
    let scan = bytes[first..<next]
    let bomb = bytes[..<first] + (0..<600).flatMap { _ in scan } + bytes[first...]
    expectAttuneError(containing: "bomb.jpg", "more than 500 scans") {
      _ = try PictureDecoder.decode(Array(bomb), name: "bomb.jpg")
    }
  }

  @Test("compressed data that inflate far beyond the header cost nothing")
  func inflating() throws {
    // 12 million black bytes in some thousand: what a decoder must not unpack.
    let black = try PNGEncoder.encode(
      Picture(width: 4000, height: 1000, pixels: [UInt8](repeating: 0, count: 12_000_000)))
    var packed: [UInt8] = []
    var at = 8
    while at + 12 <= black.count {
      let length = black[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
      if Array(black[(at + 4)..<(at + 8)]) == Array("IDAT".utf8) { packed += black[(at + 8)..<(at + 8 + length)] }
      at += 12 + length
    }
    #expect(packed.count < 100_000)
    let head: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    func file(_ chunks: [(String, [UInt8])]) -> [UInt8] {
      head + HandmadePNG.chunk("IHDR", HandmadePNG.big(4) + HandmadePNG.big(4) + [8, 2, 0, 0, 0])
        + chunks.flatMap { HandmadePNG.chunk($0.0, $0.1) } + HandmadePNG.chunk("IEND", [])
    }
    // The rows that the header promises are there; the rest is left packed.
    #expect(decodes(file([("IDAT", packed)]), "bomb"))
    let name = Array("name".utf8)
    for kind in ["zTXt", "iCCP", "iTXt"] {
      let body = name + (kind == "iTXt" ? [0, 1, 0, 0, 0] : [0, 0]) + packed
      #expect(decodes(file([(kind, body), ("IDAT", packed)]), "text bomb"), "\(kind)")
    }
    // A chunk whose length reaches beyond the file.
    #expect(!decodes(head + HandmadePNG.big(0x7FFF_FFFF) + Array("IHDR".utf8) + [1, 2, 3], "long chunk"))
  }
}
