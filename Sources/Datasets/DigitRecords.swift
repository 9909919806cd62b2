import Core
import Foundation

/// Handwritten digits read from a CSV file: a label 0–9 and 8 x 8 intensities 0–16 a line.
public struct DigitRecords: Sendable {
  /// Rows and columns of one digit.
  public static let side = 8
  /// The intensity of full ink; 0 is paper.
  public static let fullInk = 16

  public let labels: [UInt8]
  /// `[count, 8, 8]`, 0–16.
  public let intensities: [UInt8]

  public var count: Int { labels.count }

  /// Reads the file; a first line that does not begin with a digit is the header.
  ///
  /// - Throws: `AttuneError` naming file and line: no such file, wrong number of columns, a value out of range, no digit.
  public init(file: String) throws {
    let bytes = try DataFile.read(file, what: "the digits")
    try self.init(bytes: bytes, file: file)
  }

  init(bytes: [UInt8], file: String) throws {
    let pixels = DigitRecords.side * DigitRecords.side
    var labels: [UInt8] = []
    var intensities: [UInt8] = []
    intensities.reserveCapacity(bytes.count / 2)
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
      guard let first = line.first else { continue }
      if number == 1, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) { continue }
      let place = AttuneError.Location(file: file, line: number)
      let fields = line.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
      guard fields.count == pixels + 1 else {
        throw AttuneError.request(
          "this line has \(fields.count) values, expected \(pixels + 1): a label, then \(pixels) intensities", at: place
        )
      }
      for (column, field) in fields.enumerated() {
        let highest = column == 0 ? 9 : DigitRecords.fullInk
        guard let value = DigitRecords.smallNumber(field), value <= highest else {
          let name = column == 0 ? "the label" : "intensity p\(column - 1)"
          let found = String(decoding: field.prefix(20), as: UTF8.self)
          throw AttuneError.request("\(name) is '\(found)', expected a whole number from 0 to \(highest)", at: place)
        }
        if column == 0 { labels.append(UInt8(value)) } else { intensities.append(UInt8(value)) }
      }
    }
    guard !labels.isEmpty else {
      throw AttuneError.request(
        "the file holds no digits, expected lines of a label and 64 intensities", at: .init(file: file))
    }
    self.labels = labels
    self.intensities = intensities
  }

  /// The value of one to three decimal digits (spaces around them allowed), or nil.
  private static func smallNumber(_ field: ArraySlice<UInt8>) -> Int? {
    let space = UInt8(ascii: " ")
    let trimmed = field.drop { $0 == space }
    let digits = trimmed.prefix { $0 != space }
    guard !digits.isEmpty, digits.count <= 3, trimmed.dropFirst(digits.count).allSatisfy({ $0 == space }) else {
      return nil
    }
    var value = 0
    for byte in digits {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
      value = value * 10 + Int(byte - UInt8(ascii: "0"))
    }
    return value
  }
}
