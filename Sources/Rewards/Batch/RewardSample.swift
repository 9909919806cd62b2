import Core

/// One completion, its prompt, and everything that rewards may want to know about both.
public struct RewardSample: Sendable {
  /// Unique in the run.
  public var id: UInt64 = 0
  /// Exactly what the tokenizer saw.
  public var prompt: String
  /// The prompt's messages; empty if it is plain text.
  public var messages: [Message] = []
  /// What the template opened the completion with, such as `<think>`.
  public var generationPrefix: String = ""
  /// What the policy wrote, without special tokens: a tool's answer earns nothing for the policy.
  public var completion: String
  /// With special tokens kept, and with what tools and the environment answered.
  public var rawCompletion: String
  /// The messages of a completion of several turns; empty otherwise.
  public var completionMessages: [Message] = []
  /// The completion's ids, `[tokens]`; the arrays below are as long, or nil.
  public var tokenIDs: [Int32] = []
  /// The byte of `rawCompletion` at which each token begins.
  public var tokenOffsets: [UInt32]?
  /// True where the policy wrote the token; nil: everywhere.
  public var policyMask: [Bool]?
  /// The sampler's natural-log probabilities.
  public var logprobs: [Float]?
  /// In nats.
  public var entropies: [Float]?
  public var finishReason: FinishReason = .stop
  public var stopString: String?
  /// The true answer, if the data set has one.
  public var reference: String? {
    get { references.first }
    set { references = newValue.map { [$0] } ?? [] }
  }
  /// All answers that are right; the first is `reference`.
  public var references: [String] = []
  /// The row of the data set.
  public var columns: JSON.Object
  public var dataset: String = ""
  public var rowID: String = ""
  public var channel: String = ""
  /// The completions of one prompt share it.
  public var groupID: UInt64 = 0
  public var indexInGroup: Int = 0
  public var groupSize: Int = 1
  public var turns: [RewardTurn] = []
  /// The prompt's pictures; the completions of a group share their pixels.
  public var images: [RewardImage] = []

  public init(prompt: String, completion: String, rawCompletion: String? = nil, columns: JSON.Object = .init()) {
    self.prompt = prompt
    self.completion = completion
    self.rawCompletion = rawCompletion ?? completion
    self.columns = columns
  }
}

extension RewardSample {
  /// A column of true answers as texts: each of a list of texts and numbers, else the value itself.
  public static func references(_ value: JSON) -> [String] {
    func text(_ value: JSON) -> String { value.string ?? value.text() }
    if let list = value.array, !list.isEmpty, list.allSatisfy({ $0.string != nil || $0.double != nil }) {
      return list.map(text)
    }
    return value.isNull ? [] : [text(value)]
  }
}

/// A picture of a prompt, or a frame of a video.
public struct RewardImage: Sendable {
  public var picture: Picture
  /// The picture's size, also where its pixels were not asked for.
  public var width: Int
  public var height: Int
  /// The file that it was decoded from, if a reward asks for it.
  public var encoded: [UInt8]?
  public var mimeType: String?
  public var messageIndex: Int?
  /// Width and height after the model's own resize; 0 if unknown.
  public var modelWidth: Int = 0
  public var modelHeight: Int = 0
  /// 1000 for a model that writes coordinates as thousandths of a side, 0 for one that writes pixels of its own resize.
  public var coordinateRange: Double = 0
  /// In seconds, for a frame of a video.
  public var timestamp: Double?

  public init(_ picture: Picture) {
    self.picture = picture
    (width, height) = (picture.width, picture.height)
  }
}

/// A stretch of a completion of several turns.
public struct RewardTurn: Sendable {
  /// Who wrote it.
  public enum Origin: Int32, Sendable {
    case policy, tool, environment, template
  }
  public var origin: Origin
  public var tokens: Range<Int>
  /// Given by the environment.
  public var reward: Double?

  public init(origin: Origin, tokens: Range<Int>, reward: Double? = nil) {
    self.origin = origin
    self.tokens = tokens
    self.reward = reward
  }
}
