import CRewardABI
import Core

/// Where an argument of a function comes from, or what it takes back.
enum ArgumentSource {
  case text(SampleText)
  case textSize(SampleText, CNumber)
  case tokens(TokenArray)
  case number(SampleNumber, CNumber)
  /// The pixels or the file of a picture.
  case pictureBytes(PictureField, index: Int)
  case picture(PictureField, index: Int, CNumber)
  case column(String, ValueForm, fallback: JSON?)
  case parameter(String, ValueForm, fallback: JSON?)
  case constant(JSON, ValueForm)
  case null
  case score(CNumber)
  case component(String, CNumber)
  /// `token_count` floats, 0 before the call.
  case tokenRewards
  /// A buffer of `logCapacity` bytes, empty before the call.
  case log
  case logCapacity(CNumber)
  case callback(HostCallback)

  /// Bytes of the buffer for a sample's log line, its NUL included.
  static let logBytes = 4096

  /// The place that the function fills, if it is one.
  var output: String? {
    switch self {
    case .score: "score"
    case .component(let name, _): "component.\(name)"
    case .tokenRewards: "token_rewards"
    case .log: "log"
    default: nil
    }
  }

  var parameter: RewardParameter? {
    guard case .parameter(let name, let form, let fallback) = self else { return nil }
    return RewardParameter(
      name: name, type: form.parameterType, defaultValue: fallback, summary: form.words, bounds: nil)
  }

  /// `ATTUNE_NEEDS_...` bits.
  var needs: UInt32 {
    switch self {
    case .tokens(.logprobs), .tokens(.entropies): ATTUNE_NEEDS_TOKENS | ATTUNE_NEEDS_LOGPROBS
    case .tokens, .tokenRewards, .number(.token_count, _): ATTUNE_NEEDS_TOKENS
    case .number(.image_count, _), .picture, .pictureBytes:
      if case .pictureBytes(.encoded, _) = self {
        ATTUNE_NEEDS_IMAGE_BYTES
      } else if case .picture(.encodedSize, _, _) = self {
        ATTUNE_NEEDS_IMAGE_BYTES
      } else {
        ATTUNE_NEEDS_IMAGES
      }
    default: 0
    }
  }
}

/// A text of a sample.
enum SampleText: String, CaseIterable {
  case prompt, completion, raw_completion, reference, generation_prefix, stop_string, dataset, row_id, channel
  /// The whole row of the data set, as JSON.
  case row

  /// Its place in `attune_sample`.
  var offset: Int {
    let offset =
      switch self {
      case .prompt: MemoryLayout<attune_sample>.offset(of: \.prompt)
      case .completion: MemoryLayout<attune_sample>.offset(of: \.completion)
      case .raw_completion: MemoryLayout<attune_sample>.offset(of: \.completion_raw)
      case .reference: MemoryLayout<attune_sample>.offset(of: \.reference)
      case .generation_prefix: MemoryLayout<attune_sample>.offset(of: \.generation_prefix)
      case .stop_string: MemoryLayout<attune_sample>.offset(of: \.stop_string)
      case .dataset: MemoryLayout<attune_sample>.offset(of: \.dataset)
      case .row_id: MemoryLayout<attune_sample>.offset(of: \.row_id)
      case .channel: MemoryLayout<attune_sample>.offset(of: \.channel)
      case .row: MemoryLayout<attune_sample>.offset(of: \.columns)
      }
    guard let offset else { preconditionFailure("a stored field of a C struct has an offset") }
    return offset
  }
}

/// An array with an element for every token of the completion.
enum TokenArray: String, CaseIterable {
  case token_ids, token_offsets, policy_mask, logprobs, entropies

  var element: CNumber {
    switch self {
    case .token_ids: .int32
    case .token_offsets: .uint32
    case .policy_mask: .uint8
    case .logprobs, .entropies: .float
    }
  }
}

/// A number of a sample or of the call.
enum SampleNumber: String, CaseIterable {
  case step, total_steps, epoch, policy_version, phase, time_limit_ms
  case seed, sample_id, group_id, index_in_group, group_size, token_count, image_count, truncated, finish_reason

  /// A word of random-looking bits: a smaller integer takes the low ones.
  var isBits: Bool { self == .seed }
}

/// What is known about a picture. Its pixels are 8-bit RGB from the top, `pixelStride` bytes a row.
enum PictureField: String, CaseIterable {
  case pixels = "pixels"
  case width = "pixels.width"
  case height = "pixels.height"
  case stride = "pixels.stride"
  case scaleX = "pixels.scale_x"
  case scaleY = "pixels.scale_y"
  case encoded = "encoded"
  case encodedSize = "encoded.size"
}

/// How a column, a parameter or a constant is passed.
enum ValueForm: Equatable {
  case number(CNumber)
  /// A string's characters, or any other value as JSON text.
  case text
  case size(CNumber)
  /// A list of numbers.
  case list(CNumber)
  /// How many numbers the list holds.
  case count(CNumber)

  var parameterType: Int32 {
    switch self {
    case .number(.bool): ATTUNE_BOOL
    case .number: ATTUNE_NUMBER
    case .text, .size: ATTUNE_ABSENT
    case .list, .count: ATTUNE_LIST
    }
  }

  var words: String {
    switch self {
    case .number(.bool): "true or false"
    case .number(let number): number.isFloat ? "a number" : "a whole number"
    case .text, .size: "a text"
    case .list, .count: "a list of numbers"
    }
  }
}
