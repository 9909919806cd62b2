import AttuneVision
import Core
import Datasets
import Foundation
import Models
import Rewards
import Text

/// Makes what rewards see of completions.
struct RewardInputs {
  private let tokenizer: Tokenizer
  private let vision: VisionArchitecture?
  private let generationPrefix: String
  private let wantsOffsets: Bool
  private let wantsFiles: Bool

  /// - Parameter rewards: what none of them asks for and takes time is left out.
  init(_ policy: Policy, _ rewards: [RewardDescriptor]) {
    tokenizer = policy.tokenizer
    vision = policy.model.configuration.vision
    generationPrefix = policy.template?.generationPrefix() ?? ""
    wantsOffsets = rewards.contains { $0.needsTokens }
    wantsFiles = rewards.contains { $0.needsImageBytes }
  }

  /// Where a group of completions stands in a run.
  struct Place {
    /// The data source's name.
    var dataset: String
    /// Unique in the run.
    var groupID: UInt64
    /// Of the group's first sample; unique in the run, as those that follow it.
    var firstID: UInt64
  }

  /// The samples of one prompt.
  func group(
    _ sample: Sample, _ prompt: Policy.Prompt, _ completions: [Completion], at place: Place
  ) -> [RewardSample] {
    let images = self.images(sample, prompt)
    let prefix = prompt.text.hasSuffix(generationPrefix) ? generationPrefix : ""
    let column = sample.referenceColumn.flatMap { sample.columns[$0] }
    let references = column.map(RewardSample.references) ?? sample.reference.map { [$0] } ?? []
    return completions.enumerated().map { index, completion in
      var input = RewardSample(
        prompt: prompt.text, completion: completion.text, rawCompletion: completion.rawText, columns: sample.columns)
      input.id = place.firstID + UInt64(index)
      input.messages = sample.prompt
      input.generationPrefix = prefix
      input.tokenIDs = completion.ids
      if wantsOffsets {
        input.tokenOffsets = TokenOffsets.of(completion.ids, in: completion.rawText) {
          tokenizer.decode($0, skipSpecialTokens: false)
        }
      }
      input.logprobs = completion.logprobs
      input.finishReason = completion.finishReason
      input.references = references
      input.dataset = place.dataset
      input.rowID = "\(place.dataset):\(sample.id)"
      input.channel = sample.columns["channel"]?.string ?? ""
      input.groupID = place.groupID
      input.indexInGroup = index
      input.groupSize = completions.count
      input.images = images
      return input
    }
  }

  private func images(_ sample: Sample, _ prompt: Policy.Prompt) -> [RewardImage] {
    sample.pictures.enumerated().map { i, picture in
      var image = RewardImage(picture)
      image.messageIndex = sample.prompt.firstIndex { $0.parts.contains(.image(i)) }
      if let vision, prompt.encoded.pictures.indices.contains(i) {
        vision.describe(prompt.encoded.pictures[i], in: &image)
      }
      if wantsFiles, sample.pictureFiles.indices.contains(i),
        let file = FileManager.default.contents(atPath: sample.pictureFiles[i])
      {
        let bytes = [UInt8](file)
        image.encoded = bytes
        image.mimeType = PictureDecoder.mimeType(of: bytes)
      }
      return image
    }
  }
}

extension VisionArchitecture {
  /// How the family's models write coordinates of a picture.
  ///
  /// Qwen3-VL writes thousandths of a side (its cookbooks, spatial understanding). DeepSeek-VL2 writes 0 ... 999
  /// (arXiv 2412.10302, §3.2), whatever canvas the picture was padded to, so the size of that is of no use to a reward.
  func describe(_ input: PictureInput, in image: inout RewardImage) {
    switch self {
    case .qwen3VL(let vision):
      image.coordinateRange = 1000
      if case .patches(_, let height, let width) = input.kind {
        image.modelWidth = width * vision.patchSize
        image.modelHeight = height * vision.patchSize
      }
    case .deepSeekVL2: image.coordinateRange = 999
    }
  }
}
