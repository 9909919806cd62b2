import Core
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Resampling")
struct ResamplingTests {
  @Test("equal to Pillow's, every case")
  func pillow() throws {
    let tensors = try ReferenceTensors("images/resize.safetensors")
    let rows = try #require(try Fixtures.json("images/resize.json")["resizes"]?.array)
    #expect(rows.count == 11)
    for row in rows {
      let key = try #require(row["key"]?.string)
      let filter = try #require(Resampling(rawValue: row["filter"]?.string ?? ""))
      let expected = try tensors.picture("\(key).out")
      let found = filter.resize(try tensors.picture("\(key).in"), width: expected.width, height: expected.height)
      #expect(found == expected, "\(key)")
    }
  }

  @Test("by hand: box and bilinear")
  func byHand() {
    func grey(_ levels: [UInt8], width: Int) -> Picture {
      Picture(width: width, height: levels.count / width, pixels: levels.flatMap { [$0, $0, $0] })
    }
    // Halving with the box: means of 2 x 2, columns first: (10+20)/2 = 15, (30+41)/2 = 35.5 -> 36, (15+36)/2 = 25.5 -> 26.
    #expect(Resampling.box.resize(grey([10, 20, 30, 41], width: 2), width: 1, height: 1).pixels == [26, 26, 26])
    // Doubling 0, 100: centres at -0.25, 0.25, 0.75, 1.25; the outer ones see one pixel alone.
    #expect(
      Resampling.bilinear.resize(grey([0, 100], width: 2), width: 4, height: 1) == grey([0, 25, 75, 100], width: 4))
  }

  @Test("an even picture stays even, the same size stays the same", arguments: Resampling.allCases)
  func even(_ filter: Resampling) {
    let picture = Picture(width: 19, height: 23, pixels: [UInt8](repeating: 201, count: 19 * 23 * 3))
    for (width, height) in [(1, 1), (40, 7), (19, 60), (200, 200)] {
      #expect(
        filter.resize(picture, width: width, height: height).pixels.allSatisfy { $0 == 201 }, "\(width) x \(height)")
    }
    let noise = Picture(width: 5, height: 3, pixels: (0..<45).map { UInt8($0 * 37 & 255) })
    #expect(filter.resize(noise, width: 5, height: 3) == noise)
  }

  @Test("Pillow's numbers")
  func codes() {
    #expect((0...6).map(Resampling.init(pillowCode:)) == [nil, .lanczos, .bilinear, .bicubic, .box, .hamming, nil])
  }
}

@Suite("Smart resize")
struct SmartResizeTests {
  private func expected(_ row: JSON) -> [Int]? { row["result"]?.array?.compactMap(\.int) }

  @Test("every row of the reference's")
  func pictures() throws {
    let rows = try #require(try Fixtures.json("images/resize.json")["smart_resize"]?.array)
    #expect(rows.count == 100)
    for row in rows {
      let found = SmartResize.size(
        height: try #require(row["height"]?.int), width: try #require(row["width"]?.int),
        factor: try #require(row["factor"]?.int), minPixels: try #require(row["min_pixels"]?.int),
        maxPixels: try #require(row["max_pixels"]?.int))
      #expect(found.map { [$0.height, $0.width] } == expected(row), "\(row.text())")
    }
  }

  @Test("every row of the reference's for videos")
  func videos() throws {
    let large = try #require(try Fixtures.json("images/resize.json")["smart_resize_video"]?.array)
    let small = try #require(try Fixtures.json("images/extra/extra.json")["smart_resize_video"]?.array)
    #expect(large.count == 40 && small.count == 39)
    for row in large + small {
      let found = SmartResize.videoSize(
        frames: try #require(row["frames"]?.int), height: try #require(row["height"]?.int),
        width: try #require(row["width"]?.int), temporalFactor: try #require(row["temporal_factor"]?.int),
        factor: try #require(row["factor"]?.int), minPixels: try #require(row["min_pixels"]?.int),
        maxPixels: try #require(row["max_pixels"]?.int))
      #expect(found.map { [$0.height, $0.width] } == expected(row), "\(row.text())")
    }
  }
}
