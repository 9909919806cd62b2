import Datasets
import Testing

@Suite struct EpochOrderTests {
  @Test(arguments: [1, 2, 7, 1000])
  func everyEpochIsAPermutation(count: Int) {
    let order = EpochOrder(count: count, seed: 3)
    for epoch in [0, 1, 5, 1 << 33] {
      let rows = (0..<count).map { order.row(at: epoch * count + $0) }
      #expect(rows.sorted() == Array(0..<count))
      #expect(rows == order.rows(inEpoch: epoch))
    }
  }

  @Test func anyPositionIsFoundWithoutTheOnesBefore() {
    let walked = EpochOrder(count: 13, seed: 9)
    let rows = (0..<60).map(walked.row)
    for position in (0..<60).reversed() {
      #expect(EpochOrder(count: 13, seed: 9).row(at: position) == rows[position])
      #expect(walked.row(at: position) == rows[position])
    }
  }

  @Test func seedsAndEpochsDiffer() {
    let order = EpochOrder(count: 50, seed: 1)
    #expect(order.rows(inEpoch: 0) != order.rows(inEpoch: 1))
    #expect(order.rows(inEpoch: 0) != order.rows(inEpoch: 1 << 32))
    #expect(order.rows(inEpoch: 0) != EpochOrder(count: 50, seed: 2).rows(inEpoch: 0))
  }

  @Test func unshuffledIsTheFilesOrder() {
    let order = EpochOrder(count: 3, seed: 1, shuffled: false)
    #expect((0..<7).map(order.row) == [0, 1, 2, 0, 1, 2, 0])
  }

  /// Each of the 24 orders of 4 rows should come up about 2000 / 24 = 83 times; six standard deviations are 54.
  @Test func allOrdersAreEquallyLikely() {
    let order = EpochOrder(count: 4, seed: 5)
    var counts: [[Int]: Int] = [:]
    for epoch in 0..<2000 { counts[order.rows(inEpoch: epoch), default: 0] += 1 }
    #expect(counts.count == 24)
    for (rows, times) in counts { #expect((30...137).contains(times), "\(rows) came up \(times) times") }
  }
}
