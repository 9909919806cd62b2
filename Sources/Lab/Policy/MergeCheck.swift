import AttuneTensor
import AttuneVision
import Core
import Foundation
import Models

/// A model with an adapter beside it against the checkpoint that the adapter was folded into: log-probabilities of probes.
public enum MergeCheck {
  /// Largest difference of log-probabilities, nats, that a merged checkpoint may show unless said otherwise. Sums are taken
  /// in another order, which moves f32 results by about 1e-5; weights rounded to bf16 move them by some hundredths.
  public static func bound(for dtype: DType) -> Double { dtype == .bf16 ? 0.25 : 1e-3 }

  /// Log-probabilities of the probes: 96 ids drawn at random, and the same behind a picture where the model takes one.
  public static func logprobs(_ policy: Policy) throws -> [Double] {
    var values = try logprobs(policy, prompt: policy.model.encode(ids: ids(policy)))
    if policy.takesPictures, policy.template != nil {
      var random = Randomness(seed: 1, for: .testing).stream(7)
      let side = 96
      let picture = Picture(
        width: side, height: side, pixels: (0..<side * side * 3).map { _ in UInt8(random.integer(below: 256)) })
      let prompt = try policy.prompt(
        messages: [
          ["role": "user", "content": [["type": "image"], ["type": "text", "text": "What number is it?"]]]
        ], media: PromptMedia(pictures: [picture]))
      values += try logprobs(policy, prompt: prompt.encoded)
    }
    return values
  }

  /// Ids that stand for no picture.
  private static func ids(_ policy: Policy) -> [Int32] {
    var random = Randomness(seed: 1, for: .testing).stream(3)
    let vocabulary = min(policy.model.configuration.text.vocabularySize, policy.tokenizer.vocabularySize)
    let special = [policy.model.configuration.imageTokenID, policy.model.configuration.videoTokenID]
    return (0..<96).map { _ in
      let id = Int32(random.integer(below: vocabulary))
      return special.contains(id) ? 0 : id
    }
  }

  private static func logprobs(_ policy: Policy, prompt: EncodedPrompt) throws -> [Double] {
    let model = policy.model
    let batch = TrainingBatch([PromptTree(prompt: prompt, completions: [[prompt.ids[0]]])])
    let tape = Tape(model.backend, recording: false)
    let hidden = model.hidden(tape, batch.batch)
    let rows = (0..<prompt.ids.count - 1).map { Int32($0) }
    let streams = tape.head(
      tape.gatherRows(hidden, rows), model.head, targets: Array(prompt.ids.dropFirst()), temperature: 1,
      wanted: [.logprob])
    return model.backend.floats(streams).prefix(rows.count).map(Double.init)
  }
}
