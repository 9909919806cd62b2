import Core
import Testing

@Suite struct PhiloxTests {
  /// The known answers that the Random123 distribution ships for philox4x32 with 10 rounds.
  @Test func knownAnswers() {
    let zero = Philox.block(key: (0, 0), counter: (0, 0, 0, 0))
    #expect(zero == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = Philox.block(key: (.max, .max), counter: (.max, .max, .max, .max))
    #expect(ones == (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    let pi = Philox.block(
      key: (0xa409_3822, 0x299f_31d0), counter: (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344))
    #expect(pi == (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test func uniformCoversTheUnitInterval() {
    let random = Randomness(seed: 7, for: .testing)
    var sum = 0.0
    for i in 0..<20_000 {
      let x = random.uniform(i, 3)
      #expect(x >= 0 && x < 1)
      sum += x
    }
    #expect(abs(sum / 20_000 - 0.5) < 0.01)
  }

  @Test func purposesAndPlacesAreIndependent() {
    #expect(
      Randomness(seed: 1, for: .sampling).uniform(0, 0, 0, 0)
        != Randomness(seed: 1, for: .shuffling).uniform(0, 0, 0, 0))
    #expect(
      Randomness(seed: 1, for: .sampling).uniform(0, 1, 0, 0) != Randomness(seed: 1, for: .sampling).uniform(1, 0, 0, 0)
    )
    var a = Randomness(seed: 5, for: .testing).stream(1, 2, 3)
    var b = Randomness(seed: 5, for: .testing).stream(1, 2, 3)
    #expect((0..<100).map { _ in a.next() } == (0..<100).map { _ in b.next() })
  }
}
