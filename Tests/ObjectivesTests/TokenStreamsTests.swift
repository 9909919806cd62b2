import Testing

@testable import Objectives

@Suite struct TokenStreamsTests {
  /// Micro-batches that are put together are the streams of the whole step, prompts too, and its gradients come apart again.
  @Test func microBatchesJoinAndPart() throws {
    func batch(_ lengths: [Int], prompts: [Int], from first: Float) -> TokenStreams {
      let (count, promptCount) = (lengths.reduce(0, +), prompts.reduce(0, +))
      return TokenStreams(
        rowOffsets: TokenStreams.offsets(ofLengths: lengths), mask: [Bool](repeating: true, count: count),
        policyLogprobs: (0..<count).map { first + Float($0) }, values: [Float](repeating: first, count: count),
        prompts: PromptStreams(
          rowOffsets: TokenStreams.offsets(ofLengths: prompts), mask: [Bool](repeating: true, count: promptCount),
          policyLogprobs: (0..<promptCount).map { -first - Float($0) }))
    }
    var whole = batch([2, 1], prompts: [3], from: 10)
    whole.append(batch([1, 3], prompts: [2], from: 20))
    try whole.validate()
    #expect(whole.rowOffsets == [0, 2, 3, 4, 7] && whole.policyLogprobs == [10, 11, 12, 20, 21, 22, 23])
    #expect(whole.values == [10, 10, 10, 20, 20, 20, 20])
    #expect(whole.prompts?.rowOffsets == [0, 3, 5] && whole.prompts?.policyLogprobs == [-10, -11, -12, -20, -21])
    let gradients = StreamGradients(
      logprob: whole.policyLogprobs, value: whole.values, promptLogprob: whole.prompts?.policyLogprobs)
    let part = gradients.slice(3..<7, prompts: 3..<5)
    #expect(part.logprob == [20, 21, 22, 23] && part.value == [20, 20, 20, 20] && part.promptLogprob == [-20, -21])
    // A batch without a stream takes it from the whole.
    whole.append(
      TokenStreams(rowOffsets: [0, 1], mask: [true], policyLogprobs: [5]))
    #expect(whole.values == nil && whole.prompts == nil && whole.tokenCount == 8)
  }
}
