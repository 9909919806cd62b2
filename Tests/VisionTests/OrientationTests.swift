import Core
import TestSupport
import Testing

@testable import AttuneVision

@Suite("EXIF orientation")
struct OrientationTests {
  /// 3 x 2: a b c over d e f, each pixel grey.
  private let letters = Picture(
    width: 3, height: 2, pixels: [1, 2, 3, 4, 5, 6].flatMap { [UInt8](repeating: $0, count: 3) })

  @Test("each value puts its rows and columns where the standard says")
  func eight() {
    // Value 6: the stored first row is the picture's right-hand side, top to bottom; and so on.
    let expected: [(PictureOrientation, [[UInt8]])] = [
      (.up, [[1, 2, 3], [4, 5, 6]]), (.mirrored, [[3, 2, 1], [6, 5, 4]]), (.upsideDown, [[6, 5, 4], [3, 2, 1]]),
      (.upsideDownMirrored, [[4, 5, 6], [1, 2, 3]]), (.transposed, [[1, 4], [2, 5], [3, 6]]),
      (.right, [[4, 1], [5, 2], [6, 3]]), (.transverse, [[6, 3], [5, 2], [4, 1]]),
      (.left, [[3, 6], [2, 5], [1, 4]]),
    ]
    #expect(expected.map(\.0) == PictureOrientation.allCases)
    for (orientation, rows) in expected {
      let turned = orientation.upright(letters)
      #expect(turned.width == rows[0].count && turned.height == rows.count)
      #expect(turned.pixels == rows.flatMap { $0.flatMap { [$0, $0, $0] } }, "\(orientation)")
    }
  }

  /// A TIFF structure with one directory of the given entries.
  private func tiff(_ entries: [(tag: UInt16, type: UInt16, count: UInt32, value: [UInt8])], little: Bool) -> [UInt8] {
    func number(_ value: UInt32, _ size: Int) -> [UInt8] {
      let big = HandmadePNG.big(value).suffix(size)
      return little ? big.reversed() : Array(big)
    }
    var bytes: [UInt8] = little ? [0x49, 0x49] : [0x4D, 0x4D]
    bytes += number(42, 2) + number(8, 4) + number(UInt32(entries.count), 2)
    for entry in entries {
      bytes += number(UInt32(entry.tag), 2) + number(UInt32(entry.type), 2) + number(entry.count, 4) + entry.value
    }
    return bytes + number(0, 4)
  }

  private func orientation(_ tiff: [UInt8], afterPixels: Bool = false) -> PictureOrientation {
    let file = HandmadePNG.file(
      width: 1, height: 1, depth: 8, color: 0, rows: [[7]], before: afterPixels ? [] : [("eXIf", tiff)],
      after: afterPixels ? [("eXIf", tiff)] : [])
    return PictureDecoder.orientation(of: file)
  }

  @Test("both byte orders, before and after the pixels, SHORT, LONG and BYTE")
  func png() throws {
    #expect(orientation(tiff([(0x0112, 3, 1, [6, 0, 0, 0])], little: true)) == .right)
    #expect(orientation(tiff([(0x0112, 3, 1, [0, 8, 0, 0])], little: false), afterPixels: true) == .left)
    #expect(orientation(tiff([(0x0112, 4, 1, [0, 0, 0, 3])], little: false)) == .upsideDown)
    #expect(
      orientation(tiff([(0x010F, 2, 4, [0, 0, 0, 0]), (0x0112, 1, 1, [5, 0, 0, 0])], little: true)) == .transposed)
    let file = HandmadePNG.file(
      width: 2, height: 1, depth: 8, color: 0, rows: [[7, 9]],
      before: [("eXIf", tiff([(0x0112, 3, 1, [6, 0, 0, 0])], little: true))])
    let turned = try PictureDecoder.decode(file, name: "x")
    #expect(turned == Picture(width: 1, height: 2, pixels: [7, 7, 7, 9, 9, 9]))
    #expect(try PictureDecoder.size(of: file, name: "x") == (1, 2))
  }

  @Test("senseless data count as none")
  func senseless() throws {
    let good = tiff([(0x0112, 3, 1, [6, 0, 0, 0])], little: true)
    #expect(orientation(tiff([(0x0112, 3, 1, [9, 0, 0, 0])], little: true)) == .up)
    #expect(orientation(tiff([(0x0112, 3, 0, [6, 0, 0, 0])], little: true)) == .up)
    #expect(orientation(tiff([(0x0112, 2, 1, [6, 0, 0, 0])], little: true)) == .up)
    for length in 0..<18 { #expect(orientation(Array(good[..<length])) == .up) }
    var far = good
    for i in 4...7 { far[i] = 0xFF }  // the directory lies 4 GiB away
    #expect(orientation(far) == .up)
    var many = good
    many[8] = 0xFF
    many[9] = 0xFF  // 65535 entries where there is one, which is found all the same
    #expect(orientation(many) == .right)
    // A JPEG that ends inside its APP1 segment.
    let jpeg = try Fixtures.bytes("images/files/exif6.jpg")
    for length in 0..<64 { _ = PictureDecoder.orientation(of: Array(jpeg[..<length])) }
    #expect(PictureDecoder.orientation(of: jpeg) == .right)
  }
}
