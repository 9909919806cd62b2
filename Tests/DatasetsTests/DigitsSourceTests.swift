import Core
import Foundation
import TestSupport
import Testing

@testable import Datasets

private let digitsFile = Fixtures.root + "/recipes/data/digits/digits.csv"

private func source(_ change: (inout DigitsSource.Options) -> Void = { _ in }) throws -> DigitsSource {
  var options = DigitsSource.Options()
  change(&options)
  return try DigitsSource(file: digitsFile, options: options)
}

/// FNV-1a, 64 bits.
private func fingerprint(_ bytes: [UInt8]) -> UInt64 {
  bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}

@Suite struct DigitRecordsTests {
  @Test func readsTheWholeFile() throws {
    let records = try DigitRecords(file: digitsFile)
    #expect(records.count == 1797)
    #expect(records.labels.prefix(12) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    #expect(records.intensities.count == 1797 * 64)
    #expect(records.intensities[0..<8] == [0, 0, 5, 13, 9, 1, 0, 0])
    #expect(records.intensities.max() == 16)
    // Every digit is there about equally often, also in the held-out part.
    for digit in UInt8(0)...9 {
      #expect(records.labels[..<1400].filter { $0 == digit }.count > 120)
      #expect(records.labels[1400...].filter { $0 == digit }.count > 30)
    }
  }

  private static func line(_ change: (inout [String]) -> Void) -> String {
    var cells = ["7"] + [String](repeating: "0", count: 64)
    change(&cells)
    return cells.joined(separator: ",")
  }

  @Test func headerWindowsLinesAndSpacesAreFine() throws {
    let text = "label,…\r\n" + Self.line { $0[1] = " 16 " } + "\r\n\n" + Self.line { $0[0] = "0" }
    let records = try DigitRecords(bytes: Array(text.utf8), file: "d.csv")
    #expect(records.labels == [7, 0])
    #expect(records.intensities[0] == 16)
  }

  @Test func badLinesAreNamed() {
    func refuse(_ text: String, _ fragments: String...) {
      for fragment in fragments {
        expectAttuneError(containing: fragment) { _ = try DigitRecords(bytes: Array(text.utf8), file: "d.csv") }
      }
    }
    let good = Self.line { _ in }
    refuse("label\n" + good + "\n" + Self.line { $0.removeLast() }, "d.csv:3:", "64 values, expected 65")
    refuse(good + "\n" + Self.line { $0[64] = "17" }, "d.csv:2:", "intensity p63 is '17'", "0 to 16")
    refuse(Self.line { $0[0] = "10" }, "d.csv:1:", "the label is '10'", "0 to 9")
    refuse(Self.line { $0[5] = "-1" }, "d.csv:1:", "intensity p4 is '-1'")
    refuse(Self.line { $0[5] = "" }, "intensity p4 is ''")
    refuse(Self.line { $0[5] = "1.5" }, "'1.5'")
    refuse(Self.line { $0[5] = "99999999999999999999" }, "'99999999999999999999'")
    refuse("", "holds no digits")
    refuse("label,p0\n", "holds no digits")
  }

  @Test func missingFileNamesTheNearest() {
    expectAttuneError(containing: "digit.csv", "no such file", "did you mean 'digits.csv'?") {
      _ = try DigitRecords(file: Fixtures.root + "/recipes/data/digits/digit.csv")
    }
    expectAttuneError(containing: "this is a folder") { _ = try DigitRecords(file: Fixtures.root) }
  }
}

@Suite struct DigitsSourceTests {
  @Test func aSampleAsksForItsNumber() throws {
    let digits = try source { $0.seed = 4 }
    #expect(digits.count == nil)
    for index in [0, 1, 17, 1 << 40] {
      let sample = try digits.sample(at: index)
      let number = try #require(sample.reference)
      #expect(sample.id == index)
      #expect(sample.prompt == [Message(role: "user", parts: [.image(0), .text("Which number is written here?")])])
      #expect(sample.pictures.count == 1)
      #expect(sample.pictures[0].width == 96 && sample.pictures[0].height == 32)
      #expect(sample.completion == "<answer>\(number)</answer>")
      #expect(sample.columns["number"]?.string == number)
      #expect(sample.columns["length"]?.int == number.count)
      let rows = try #require(sample.columns["records"]?.array).compactMap(\.int)
      let records = try DigitRecords(file: digitsFile)
      #expect(rows.map { String(records.labels[$0]) }.joined() == number)
    }
  }

  @Test func theSameIndexGivesTheSamePixels() throws {
    let make = {
      try source {
        $0.seed = 11
        $0.shift = 2
        $0.scale = 0.8...1.1
        $0.contrast = 0.5...1
        $0.noise = 12
        $0.rotation = 10
        $0.shear = 0.2
        $0.background = .either
      }
    }
    let first = try make()
    let second = try make()
    let samples = try (0..<20).map { try first.sample(at: $0) }
    for index in (0..<20).reversed() { #expect(try second.sample(at: index) == samples[index]) }
    #expect(Set(samples.map { fingerprint($0.pictures[0].pixels) }).count == 20)
  }

  /// Pixels are made of +, -, *, / and floor alone, so one fingerprint holds for every machine; another program,
  /// Fixtures/digits/generate.py, gives the same.
  @Test func pixelsAreTheSameOnEveryMachine() throws {
    let plain = try source { $0.seed = 1 }
    let full = try source {
      $0.seed = 1
      $0.shift = 2
      $0.scale = 0.8...1.1
      $0.contrast = 0.5...1
      $0.noise = 12
      $0.rotation = 10
      $0.shear = 0.2
      $0.background = .either
    }
    func all(_ source: DigitsSource) throws -> UInt64 {
      fingerprint(try (0..<8).flatMap { try source.sample(at: $0).pictures[0].pixels })
    }
    #expect(try all(plain) == 9_617_583_343_375_980_787)
    #expect(try all(full) == 946_817_020_593_732_325)
  }

  @Test func numbersComeFromTheRecordsAskedFor() throws {
    let heldOut = try source {
      $0.records = 1400..<1797
      $0.length = 1...3
      $0.count = 300
    }
    #expect(heldOut.count == 300)
    var lengths: Set<Int> = []
    var digits: Set<Character> = []
    for index in 0..<300 {
      let sample = try heldOut.sample(at: index)
      let rows = try #require(sample.columns["records"]?.array).compactMap(\.int)
      #expect(rows.allSatisfy { (1400..<1797).contains($0) })
      lengths.insert(rows.count)
      digits.formUnion(sample.reference ?? "")
    }
    #expect(lengths == [1, 2, 3])
    #expect(digits.count == 10)
  }

  @Test func augmentationNeverChangesTheNumber() throws {
    let plain = try source { $0.seed = 8 }
    let noisy = try source {
      $0.seed = 8
      $0.noise = 20
      $0.shift = 3
    }
    for index in 0..<10 {
      let (a, b) = try (plain.sample(at: index), noisy.sample(at: index))
      #expect(a.reference == b.reference)
      #expect(a.pictures != b.pictures)
    }
  }

  /// A cell 8 pixels wide maps record pixels one to one: level = intensity / 16 x 255, rounded.
  @Test func aDigitDrawnAtItsOwnSizeIsTheRecord() throws {
    let digits = try source {
      $0.canvasWidth = 8
      $0.canvasHeight = 8
      $0.digitSize = 8
      $0.length = 1...1
      $0.placement = .centered
    }
    let records = try DigitRecords(file: digitsFile)
    let sample = try digits.sample(at: 5)
    let row = try #require(sample.columns["records"]?[0]?.int)
    let expected = records.intensities[(row * 64)..<(row * 64 + 64)].map {
      UInt8((Double($0) / 16 * 255 + 0.5).rounded(.down))
    }
    #expect(sample.pictures[0].pixels == expected.flatMap { [$0, $0, $0] })
  }

  @Test func lightPaperIsTheNegative() throws {
    let dark = try source()
    let light = try source { $0.background = .light }
    // Rounding halves up on both sides, so a pair of levels sums to 255 or, at a half, to 256.
    for (a, b) in zip(try dark.sample(at: 3).pictures[0].pixels, try light.sample(at: 3).pictures[0].pixels) {
      #expect((255...256).contains(Int(a) + Int(b)))
    }
  }

  @Test func contrastAndNoiseActOnLevels() throws {
    let faint = try source { $0.contrast = 0.5...0.5 }
    let noisy = try source {
      $0.contrast = 0.5...0.5
      $0.noise = 10
      $0.background = .light
    }
    let clean = try source {
      $0.contrast = 0.5...0.5
      $0.background = .light
    }
    var squares = 0.0
    var inside = 0
    var isGrey = true
    for index in 0..<20 {
      #expect(try faint.sample(at: index).pictures[0].pixels.max()! <= 128)
      let a = try noisy.sample(at: index).pictures[0].pixels
      let b = try clean.sample(at: index).pictures[0].pixels
      for i in stride(from: 0, to: a.count, by: 3) {
        if a[i] != a[i + 1] || a[i] != a[i + 2] { isGrey = false }
        // Where noise is never cut off at white.
        guard b[i] < 200 else { continue }
        let difference = Double(a[i]) - Double(b[i])
        squares += difference * difference
        inside += 1
      }
    }
    #expect(isGrey)
    // Standard deviation of several thousand samples: within a twentieth of 10.
    #expect(abs((squares / Double(inside)).squareRoot() - 10) < 0.5)
  }

  /// Each digit has its own ink, and none touches the upper or lower edge.
  @Test func inkLiesWhereDigitsAre() throws {
    let digits = try source { $0.length = 4...4 }
    for index in 0..<50 {
      let picture = try digits.sample(at: index).pictures[0]
      var ink = [Int](repeating: 0, count: picture.height)
      for i in stride(from: 0, to: picture.pixels.count, by: 3) { ink[i / 3 / picture.width] += Int(picture.pixels[i]) }
      #expect(ink.first == 0)
      #expect(ink.last == 0)
      let share = Double(ink.reduce(0, +)) / Double(255 * picture.width * picture.height)
      #expect((0.08...0.4).contains(share), "share of ink \(share)")
    }
  }

  @Test func impossibleOptionsAreRefused() {
    func refuse(_ fragment: String, _ change: (inout DigitsSource.Options) -> Void) {
      expectAttuneError(containing: fragment) { _ = try source(change) }
    }
    refuse("4 digits of 30.0 pixels do not fit a canvas of 96 x 32") { $0.digitSize = 30 }
    refuse("digit_size can be at most 24.0") { $0.digitSize = 30 }
    refuse("digit_size is nan") { $0.digitSize = .nan }
    refuse("length is 0...3") { $0.length = 0...3 }
    refuse("canvas width is 0") { $0.canvasWidth = 0 }
    refuse("noise is -1.0") { $0.noise = -1 }
    refuse("scale is 0.0...1.0") { $0.scale = 0...1 }
    refuse("contrast is 0.5...2.0") { $0.contrast = 0.5...2 }
    refuse("rotation is 90.0") { $0.rotation = 90 }
    refuse("count is 0") { $0.count = 0 }
    refuse("write {number} where it belongs") { $0.answer = "<answer></answer>" }
    refuse("expected a range within 0 to 1797") { $0.records = 1400..<1800 }
    refuse("expected a range within 0 to 1797") { $0.records = -1..<5 }
    refuse("records 5 to 5") { $0.records = 5..<5 }
  }

  @Test func theTemplateIsFilledEverywhere() throws {
    let digits = try source { $0.answer = "{number} is {number}" }
    let sample = try digits.sample(at: 0)
    let number = try #require(sample.reference)
    #expect(sample.completion == "\(number) is \(number)")
  }
}
