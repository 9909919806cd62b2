import CRewardABI
import Core

/// The samples of one call as bytes. A plugin's structs point into these bytes, in this process or in a worker.
enum BatchCoding {
  /// Writes a batch; pictures only as far as the reward `needs` them, each once.
  static func write(
    _ samples: some Collection<RewardSample>, _ context: RewardContext, needs: UInt32, timeLimit: Double,
    into out: ByteBuffer
  ) {
    out.append(Int(context.phase.rawValue))
    out.append(context.step)
    out.append(context.totalSteps)
    out.append(context.epoch)
    out.append(context.policyVersion)
    out.append(context.seed)
    for limit in [timeLimit, context.callTimeLimit] {
      out.append(limit.isFinite && limit > 0 ? Int(min(limit * 1000, 1e15)) : 0)
    }
    out.append(context.recipe)
    out.append(context.runID)
    let numbers = writePictures(samples, needs: needs, into: out)
    out.append(samples.count)
    for (sample, images) in zip(samples, numbers) { write(sample, images: images, context, into: out) }
  }

  /// The different pictures of the batch; returns each sample's pictures as numbers in that list.
  private static func writePictures(
    _ samples: some Collection<RewardSample>, needs: UInt32, into out: ByteBuffer
  ) -> [[Int]] {
    guard needs & (ATTUNE_NEEDS_IMAGES | ATTUNE_NEEDS_IMAGE_BYTES) != 0 else {
      out.append(0)
      return samples.map { _ in [] }
    }
    // Completions of a group hold the same array, so that equal storage means an equal picture.
    var known: [UInt: Int] = [:]
    var pictures: [RewardImage] = []
    let numbers = samples.map { sample in
      sample.images.map { image in
        let key = image.picture.pixels.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
        if !image.picture.pixels.isEmpty, let number = known[key], pictures[number].picture.width == image.picture.width
        {
          return number
        }
        known[key] = pictures.count
        pictures.append(image)
        return pictures.count - 1
      }
    }
    out.append(pictures.count)
    for image in pictures {
      out.append(image.picture.width)
      out.append(image.picture.height)
      let pixels = needs & ATTUNE_NEEDS_IMAGES != 0 ? image.picture.pixels : nil
      if let pixels { pixels.withUnsafeBytes { out.append(bytes: $0) } } else { out.append(UInt64.max) }
      let encoded = needs & ATTUNE_NEEDS_IMAGE_BYTES != 0 ? image.encoded : nil
      if let encoded { encoded.withUnsafeBytes { out.append(bytes: $0) } } else { out.append(UInt64.max) }
      out.append(optional: image.mimeType)
    }
    return numbers
  }

  private static func write(_ sample: RewardSample, images: [Int], _ context: RewardContext, into out: ByteBuffer) {
    out.append(Int(finishReason(sample.finishReason)))
    out.append(sample.id)
    out.append(sample.groupID)
    out.append(sample.indexInGroup)
    out.append(sample.groupSize)
    out.append(sample.finishReason == .length ? 1 : 0)
    let words = Philox.block(
      key: (UInt32(truncatingIfNeeded: context.seed), UInt32(truncatingIfNeeded: context.seed >> 32)),
      counter: (
        UInt32(truncatingIfNeeded: context.step), UInt32(truncatingIfNeeded: sample.groupID),
        UInt32(truncatingIfNeeded: sample.groupID >> 32), UInt32(truncatingIfNeeded: sample.indexInGroup)
      ))
    out.append(UInt64(words.0) << 32 | UInt64(words.1))
    out.append(sample.prompt)
    out.append(sample.generationPrefix)
    out.append(sample.completion)
    out.append(sample.rawCompletion)
    out.append(optional: sample.stopString)
    out.append(JSON(.object(sample.columns)).text())
    out.append(sample.dataset)
    out.append(sample.rowID)
    out.append(sample.channel)
    write(sample.messages, origin: ATTUNE_ORIGIN_DATA, into: out)
    write(sample.completionMessages, origin: nil, into: out)
    out.append(sample.references.count)
    for reference in sample.references { out.append(reference) }
    // An array of another length than the ids would be read past its end.
    let count = sample.tokenIDs.count
    out.append(array: sample.tokenIDs)
    out.append(array: sample.tokenOffsets.flatMap { $0.count == count ? $0 : nil })
    out.append(array: sample.policyMask.flatMap { $0.count == count ? $0.map { $0 ? UInt8(1) : 0 } : nil })
    out.append(array: sample.logprobs.flatMap { $0.count == count ? $0 : nil })
    out.append(array: sample.entropies.flatMap { $0.count == count ? $0 : nil })
    out.append(sample.turns.count)
    for turn in sample.turns {
      out.append(Int(turn.origin.rawValue))
      out.append(turn.tokens.lowerBound)
      out.append(turn.tokens.upperBound)
      out.append(turn.reward ?? .nan)
    }
    out.append(images.count)
    for (number, image) in zip(images, sample.images) {
      out.append(number)
      out.append(image.timestamp == nil ? 0 : 1)
      out.append(image.messageIndex ?? -1)
      out.append(image.modelWidth)
      out.append(image.modelHeight)
      out.append(image.coordinateRange)
      out.append(image.timestamp ?? .nan)
    }
  }

  private static func write(_ messages: [Message], origin: Int32?, into out: ByteBuffer) {
    out.append(messages.count)
    for message in messages {
      let policy = message.role == "assistant" ? ATTUNE_ORIGIN_POLICY : ATTUNE_ORIGIN_ENVIRONMENT
      out.append(Int(origin ?? (message.role == "tool" ? ATTUNE_ORIGIN_TOOL : policy)))
      out.append(message.role)
      let json = message.json
      out.append(optional: json["name"]?.string)
      out.append(message.text)
      out.append(optional: json["tool_calls"].map { $0.text() })
      out.append(json.text())
    }
  }

  private static func finishReason(_ reason: FinishReason) -> Int32 {
    switch reason {
    case .stop: ATTUNE_FINISH_STOP
    case .length: ATTUNE_FINISH_LENGTH
    case .stopString: ATTUNE_FINISH_STOP_STRING
    }
  }
}
