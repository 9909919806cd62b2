import Core

/// Where the run stands when rewards are called.
public struct RewardContext: Sendable {
  /// Why rewards are called.
  public enum Phase: Int32, Sendable {
    case train, eval, replay, test
  }

  public var phase: Phase = .train
  public var step: Int = 0
  /// 0 if unknown.
  public var totalSteps: Int = 0
  public var epoch: Double = 0
  /// How many optimizer steps the sampling policy had seen.
  public var policyVersion: UInt64 = 0
  /// The run's seed. A sample's randomness is a function of it, the step and the sample's place in its group.
  public var seed: UInt64 = 0
  public var recipe: String = ""
  public var runID: String = ""
  /// Seconds that the whole call may take; 0: as its samples may.
  public var callTimeLimit: Double = 0
  /// What plugins may call on while they score.
  public var services: (any RewardServices)?

  public init() {}
}

/// What a host offers to plugins beside samples. Called from the thread that scores.
public protocol RewardServices: Sendable {
  /// A line about a plugin; `level` is 0 (debug) to 3 (error).
  func log(reward: String, level: Int, text: String)
  /// A number for the step's plots.
  func metric(reward: String, name: String, value: Double)
  /// Text of ids by the policy's tokenizer, or nil.
  func decode(_ ids: [Int32]) -> String?
  /// Ids of a text by the policy's tokenizer, or nil.
  func encode(_ text: String) -> [Int32]?
  /// The answer of a judge. Blocks, also to keep within the judge's limits of concurrency and rate.
  func judge(_ request: JudgeRequest, reward: String) -> JudgeReply
  /// How many threads may usefully ask a judge at once; nil is the only one.
  func concurrency(ofJudge name: String?) -> Int
}

extension RewardServices {
  public func log(reward: String, level: Int, text: String) {}
  public func metric(reward: String, name: String, value: Double) {}
  public func decode(_ ids: [Int32]) -> String? { nil }
  public func encode(_ text: String) -> [Int32]? { nil }
  public func judge(_ request: JudgeRequest, reward: String) -> JudgeReply {
    JudgeReply(status: .notApplicable, message: "this host has no judges")
  }
  public func concurrency(ofJudge name: String?) -> Int { 1 }
}

/// A question to a model that the host runs or reaches.
public struct JudgeRequest: Sendable {
  /// Its name in the recipe; nil: the only one.
  public var judge: String?
  /// `[{"role", "content"}, ..]`.
  public var messages: JSON
  /// nil: the judge's own.
  public var maxTokens: Int?
  public var temperature: Double?
  /// If given nothing is sampled: the reply holds this text's log-probability after the messages.
  public var continuation: String?

  public init(
    judge: String? = nil, messages: JSON, maxTokens: Int? = nil, temperature: Double? = nil, continuation: String? = nil
  ) {
    self.judge = judge
    self.messages = messages
    self.maxTokens = maxTokens
    self.temperature = temperature
    self.continuation = continuation
  }
}

/// What a judge answered.
public struct JudgeReply: Sendable {
  public var status: RewardStatus
  public var text: String?
  /// Why there is no answer.
  public var message: String
  public var promptTokens: Int
  public var completionTokens: Int
  /// The sum over the continuation's tokens in nats.
  public var logprob: Double?

  public init(
    status: RewardStatus, text: String? = nil, message: String = "", promptTokens: Int = 0, completionTokens: Int = 0,
    logprob: Double? = nil
  ) {
    self.status = status
    self.text = text
    self.message = message
    self.promptTokens = promptTokens
    self.completionTokens = completionTokens
    self.logprob = logprob
  }
}

// How both travel between a worker and its host.

extension JudgeRequest {
  var json: JSON {
    [
      "judge": judge.map(JSON.string) ?? .null, "messages": messages, "max_tokens": maxTokens.map { .int($0) } ?? .null,
      "temperature": temperature.map(JSON.double) ?? .null, "continuation": continuation.map(JSON.string) ?? .null,
    ]
  }

  init(_ json: JSON) {
    self.init(
      judge: json["judge"]?.string, messages: json["messages"] ?? .array([]), maxTokens: json["max_tokens"]?.int,
      temperature: json["temperature"]?.double, continuation: json["continuation"]?.string)
  }
}

extension JudgeReply {
  var json: JSON {
    [
      "status": .string(status.rawValue), "text": text.map(JSON.string) ?? .null, "message": .string(message),
      "prompt_tokens": .int(promptTokens), "completion_tokens": .int(completionTokens),
      "logprob": logprob.map(JSON.double) ?? .null,
    ]
  }

  init(_ json: JSON) {
    self.init(
      status: json["status"]?.string.flatMap(RewardStatus.init) ?? .failed, text: json["text"]?.string,
      message: json["message"]?.string ?? "", promptTokens: json["prompt_tokens"]?.int ?? 0,
      completionTokens: json["completion_tokens"]?.int ?? 0, logprob: json["logprob"]?.double)
  }
}
