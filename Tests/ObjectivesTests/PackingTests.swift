import Testing

@testable import Objectives

@Suite struct PackingTests {
  static let lengths = [5, 0, 13, 2, 8, 8, 1, 30, 3]

  /// Every token is in one row once, and rows are no longer than they may be; `bfd` alone drops what is too long.
  @Test(arguments: Packing.allCases, [1, 4, 8, 13, 64])
  func tokensAreKept(packing: Packing, length: Int) {
    let rows = packing.rows(ofLengths: Self.lengths, length: length)
    for row in rows {
      let count = row.reduce(0) { $0 + $1.tokens.count }
      #expect(count >= 1 && count <= length)
    }
    for (document, count) in Self.lengths.enumerated() {
      let pieces = rows.flatMap { $0 }.filter { $0.document == document }.flatMap { Array($0.tokens) }
      #expect(pieces.sorted() == Array(0..<(packing == .bestFit ? min(count, length) : count)))
    }
  }

  /// 5 and 3 fill a row of 8; 4 goes where 2 leaves the least space that takes it.
  @Test func bestFit() {
    let rows = Packing.bestFit.rows(ofLengths: [3, 5, 4, 6], length: 8)
    #expect(rows.map { $0.map(\.document) } == [[3], [1, 0], [2]])
    #expect(
      Packing.bestFit.rows(ofLengths: [3, 5, 4, 6, 2], length: 8).map { $0.map(\.document) } == [[3, 4], [1, 0], [2]])
    #expect(Packing.wrapped.rows(ofLengths: [], length: 8).isEmpty)
  }

  @Test func referencesFollow() {
    var reference: [Float] = [1, -2]
    ReferenceSync.mix(&reference, policy: [3, 2], alpha: 0.25)
    #expect(reference == [1.5, -1])
    ReferenceSync.mix(&reference, policy: [3, 2], alpha: 1)
    #expect(reference == [3, 2])
  }
}
