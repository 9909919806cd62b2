import Core
import Foundation
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Decoding pictures")
struct PictureDecoderTests {
  struct Case: Sendable, CustomStringConvertible {
    let file: String
    let width: Int
    let height: Int
    let orientation: Int
    let exact: Bool
    let has: [String]
    var description: String { file }
    var isWebP: Bool { file.hasSuffix(".webp") }
  }

  static let cases: [Case] = {
    let rows = (try? Fixtures.json("images/decoded.json"))?["files"]?.array ?? []
    return rows.map { row in
      Case(
        file: row["file"]?.string ?? "", width: row["width"]?.int ?? 0, height: row["height"]?.int ?? 0,
        orientation: row["orientation"]?.int ?? 0, exact: row["exact"]?.bool ?? false,
        has: row["has"]?.array?.compactMap(\.string) ?? [])
    }
  }()

  static func stored(
    _ transparency: PictureDecodingOptions.Transparency = .dropped,
    grey: PictureDecodingOptions.SixteenBitGrey = .clipped, upright: Bool = false
  ) -> PictureDecodingOptions {
    PictureDecodingOptions(transparency: transparency, sixteenBitGrey: grey, upright: upright)
  }

  @Test("there are cases") func present() { #expect(Self.cases.count == 30) }

  @Test("equal to Pillow's pixels", arguments: cases)
  func pillow(_ row: Case) throws {
    let tensors = try ReferenceTensors("images/decoded.safetensors")
    let bytes = try Fixtures.bytes("images/files/\(row.file)")
    func check(_ variant: String, _ options: PictureDecodingOptions) throws {
      let name = row.has.contains(variant) ? variant : "rgb"
      let expected = try tensors.picture("\(row.file).\(name)")
      let found = try PictureDecoder.decode(bytes, name: row.file, options: options)
      try #require(found.width == expected.width && found.height == expected.height, "\(variant)")
      let size = try PictureDecoder.size(of: bytes, name: row.file, options: options)
      #expect(size.width == found.width && size.height == found.height)
      if row.exact {
        #expect(found.pixels == expected.pixels, "\(variant)")
        return
      }
      let differences = zip(found.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }
      if row.isWebP {
        #expect(Double(differences.reduce(0, +)) < Double(differences.count), "\(variant)")
        return
      }
      let subsampled = ["base420.jpg", "base422.jpg", "progressive.jpg", "restart.jpg"].contains(row.file)
      #expect((differences.max() ?? 0) <= (subsampled ? 3 : 1), "\(variant)")
      #expect(Double(differences.reduce(0, +)) < 0.5 * Double(differences.count), "\(variant)")
    }
    try check("rgb", Self.stored())
    try check("white", Self.stored(.onWhite))
    try check("upright", Self.stored(upright: true))
    try check("upright", .reference)
    if row.has.contains("high_byte") { try check("high_byte", .display) }
    #expect(PictureDecoder.orientation(of: bytes).rawValue == row.orientation)
  }

  @Test("what is no picture is named by its first bytes")
  func sniffing() {
    for (text, name, advice) in [
      ("GIF89a....", "found GIF", "as a video"), ("%PDF-1.7", "found PDF", "magick"),
      ("BM......", "found BMP", "magick"),
      ("  \n<!DOCTYPE HTML><p>404", "found HTML", "failed"), ("<svg xmlns=", "found SVG", "draw it"),
      ("{\"error\": 1}", "found JSON", "failed"),
      ("version https://git-lfs.github.com/spec/v1", "found a Git LFS pointer", "git lfs pull"),
      ("....ftypavif", "found AVIF", "magick"), ("....ftypheic", "found HEIC", "heif-convert"),
      ("....ftypmsf1", "found HEIC", "heif-convert"), ("....ftypisom", "found MP4 video", "as a video"),
      ("RIFF....AVI LIST", "found AVI video", "as a video"), ("II*\0....", "found TIFF", "magick"),
      ("data:image/png;base64,AAAA", "data URL", "base64"), ("hello there", "68 65 6C 6C", "convert"),
      ("", "the file is empty", "PNG, JPEG and WebP are read"),
    ] {
      expectAttuneError(containing: "cat.png: ", name, advice) {
        _ = try PictureDecoder.decode(Array(text.utf8), name: "cat.png")
      }
    }
  }

  @Test("a file's name does not matter, its content does")
  func contentDecides() throws {
    let path = NSTemporaryDirectory() + "attune-\(UUID().uuidString).jpg"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try FileManager.default.copyItem(atPath: Fixtures.path("images/files/rgb.png"), toPath: path)
    #expect(try PictureDecoder.load(path: path).width == 88)
  }

  @Test("a missing file, a folder")
  func files() {
    expectAttuneError(containing: "rgb.pgn: there is no such picture", "did you mean", "files/rgb.png") {
      _ = try PictureDecoder.load(path: Fixtures.path("images/files/rgb.pgn"))
    }
    expectAttuneError(containing: "images/files: found a folder") {
      _ = try PictureDecoder.load(path: Fixtures.path("images/files"))
    }
    expectAttuneError(containing: "not an ordinary file") { _ = try PictureDecoder.load(path: "/dev/null") }
  }

  @Test("truncation is said")
  func truncation() throws {
    for (file, format) in [
      ("rgb.png", "PNG"), ("base420.jpg", "JPEG"), ("progressive.jpg", "JPEG"), ("lossy.webp", "WebP"),
      ("alpha.webp", "WebP"), ("lossless.webp", "WebP"),
    ] {
      let bytes = try Fixtures.bytes("images/files/\(file)")
      for length in [bytes.count / 2, bytes.count - 1] {
        expectAttuneError(containing: "\(file): the \(format) file is truncated: its \(length) bytes") {
          _ = try PictureDecoder.decode(Array(bytes[..<length]), name: file)
        }
      }
    }
  }

  @Test("16-bit grey with a transparent level, blended")
  func greyKey() throws {
    // A 2 x 1 picture of the samples 0x0040 and 0x1234, the second one transparent.
    let bytes = HandmadePNG.file(
      width: 2, height: 1, depth: 16, color: 0, rows: [[0x00, 0x40, 0x12, 0x34]], before: [("tRNS", [0x12, 0x34])])
    #expect(
      try PictureDecoder.decode(bytes, name: "x", options: Self.stored(.onWhite)).pixels == [64, 64, 64, 255, 255, 255])
    #expect(
      try PictureDecoder.decode(bytes, name: "x", options: Self.stored(.onWhite, grey: .highByte)).pixels
        == [0, 0, 0, 255, 255, 255])
    #expect(
      try PictureDecoder.decode(bytes, name: "x", options: Self.stored(grey: .highByte)).pixels
        == [0, 0, 0, 0x12, 0x12, 0x12])
  }

  @Test("grey and alpha of 16 bits give their high bytes")
  func greyAlpha16() throws {
    let bytes = HandmadePNG.file(width: 1, height: 1, depth: 16, color: 4, rows: [[0x80, 0xFF, 0x00, 0x00]])
    #expect(try PictureDecoder.decode(bytes, name: "x", options: Self.stored()).pixels == [128, 128, 128])
    #expect(try PictureDecoder.decode(bytes, name: "x", options: Self.stored(.onWhite)).pixels == [255, 255, 255])
  }

  @Test("limits hold before anything is allocated")
  func limits() throws {
    func header(_ width: UInt32, _ height: UInt32) -> [UInt8] {
      HandmadePNG.file(width: width, height: height, depth: 8, color: 2, rows: [])
    }
    expectAttuneError(containing: "huge.png", "2147483647 x 2147483647", "at most 16384") {
      _ = try PictureDecoder.decode(header(2_147_483_647, 2_147_483_647), name: "huge.png")
    }
    expectAttuneError(containing: "60000 x 60000", "at most 16384") {
      _ = try PictureDecoder.decode(header(60_000, 60_000), name: "huge.png")
    }
    expectAttuneError(containing: "8193 x 8192 = 67117056 pixels", "at most 67108864") {
      _ = try PictureDecoder.decode(header(8193, 8192), name: "huge.png")
    }
    expectAttuneError(containing: "rgb.png", "bytes; a picture may have at most 100") {
      _ = try PictureDecoder.load(
        path: Fixtures.path("images/files/rgb.png"), options: PictureDecodingOptions(maximumBytes: 100))
    }
    expectAttuneError(containing: "x: the file has", "at most 100") {
      _ = try PictureDecoder.decode(
        Fixtures.bytes("images/files/rgb.png"), name: "x", options: PictureDecodingOptions(maximumBytes: 100))
    }
    expectAttuneError(containing: "broken") { _ = try PictureDecoder.decode(header(0, 4), name: "none.png") }
    expectAttuneError(containing: "broken") { _ = try PictureDecoder.decode(header(0xFFFF_FFFF, 4), name: "none.png") }
    func webP(_ chunks: [UInt8]) -> [UInt8] {
      Array("RIFF".utf8) + HandmadePNG.big(UInt32(chunks.count + 4)).reversed() + Array("WEBP".utf8) + chunks
    }
    var jpeg = try Fixtures.bytes("images/files/base420.jpg")
    let frame = try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    for i in [5, 7] { jpeg[frame + i] = 0x80 }
    expectAttuneError(containing: "huge.jpg", "at most 16384") {
      _ = try PictureDecoder.decode(jpeg, name: "huge.jpg")
    }
    // A WebP canvas of 60000 x 60000; a lossless picture of 16384 x 16384.
    let canvas: [UInt8] = [0x56, 0x50, 0x38, 0x58, 10, 0, 0, 0, 2, 0, 0, 0, 0x5F, 0xEA, 0, 0x5F, 0xEA, 0]
    expectAttuneError(containing: "huge.webp", "60000 x 60000", "at most 16384") {
      _ = try PictureDecoder.decode(webP(canvas + [UInt8](repeating: 0, count: 64)), name: "huge.webp")
    }
    let lossless: [UInt8] = [0x56, 0x50, 0x38, 0x4C, 70, 0, 0, 0, 0x2F, 0xFF, 0xFF, 0xFF, 0x0F]
    expectAttuneError(containing: "huge.webp", "at most 67108864") {
      _ = try PictureDecoder.decode(webP(lossless + [UInt8](repeating: 0, count: 65)), name: "huge.webp")
    }
    expectAttuneError(containing: "88 x 60 = 5280 pixels; at most 5279") {
      _ = try PictureDecoder.load(
        path: Fixtures.path("images/files/rgb.png"), options: PictureDecodingOptions(maximumPixels: 5279))
    }
  }

  @Test("what transformers makes of pictures with one transparent colour")
  func transparentColors() throws {
    let tensors = try ReferenceTensors("images/extra/extra.safetensors")
    let files = try #require(try Fixtures.json("images/extra/extra.json")["transparent"]?.array).compactMap(\.string)
    #expect(files.count == 20)
    var whitened = 0
    for file in files {
      let bytes = try Fixtures.bytes("images/extra/\(file)")
      let found = try PictureDecoder.decode(bytes, name: file, options: .reference)
      #expect(found.pixels == (try tensors.picture("\(file).rgb")).pixels, "\(file)")
      #expect(found.onWhite == (try tensors.picture("\(file).reference")), "\(file)")
      whitened += found.onWhite.pixels == found.pixels ? 0 : 1
      #expect(PictureOrientation.left.upright(found).transparentColor == found.transparentColor)
    }
    #expect(whitened == 11)
  }

  @Test("more kinds: animations, orientation in WebP, YCCK")
  func moreKinds() throws {
    let tensors = try ReferenceTensors("images/extra/extra.safetensors")
    let rows = try #require(try Fixtures.json("images/extra/extra.json")["files"]?.array)
    #expect(rows.count == 5)
    for row in rows {
      let file = try #require(row["file"]?.string)
      let bytes = try Fixtures.bytes("images/extra/\(file)")
      for (variant, options) in [
        ("rgb", Self.stored()), ("white", Self.stored(.onWhite)), ("upright", Self.stored(upright: true)),
        ("upright", .reference),
      ] {
        let expected = try tensors.picture("\(file).\(variant)")
        let found = try PictureDecoder.decode(bytes, name: file, options: options)
        try #require(found.width == expected.width && found.height == expected.height, "\(file) \(variant)")
        #expect(try PictureDecoder.size(of: bytes, name: file, options: options) == (found.width, found.height))
        let differences = zip(found.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }
        if row["exact"]?.bool == true {
          #expect(found == expected, "\(file) \(variant)")
        } else {
          #expect(differences.reduce(0, +) < differences.count, "\(file) \(variant)")
        }
      }
      #expect(PictureDecoder.orientation(of: bytes).rawValue == row["orientation"]?.int, "\(file)")
    }
  }
}
