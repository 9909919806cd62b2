import AttuneTensor
import Core
import Foundation
import Models
import Rewards
import Rollout
import Synchronization

/// A judge that is a checkpoint, run by this program's own engine.
///
/// A reply is a function of the weights, the messages and the settings alone, also where it is sampled: its randomness is
/// drawn from the messages. Requests that arrive while others are computed are computed together.
///
/// Safety: the policy and the engine are used by the one thread that leads; `state` says who.
final class LocalJudge: Judge, @unchecked Sendable {
  struct Settings {
    var name: String
    var temperature: Double
    var maxTokens: Int
    var system: String?
  }

  let name: String
  let concurrency = 64
  private let settings: Settings
  private let policy: Policy
  private let engine: LocalEngine

  private final class Pending {
    let request: JudgeRequest
    var reply: JudgeReply?
    init(_ request: JudgeRequest) { self.request = request }
  }

  private let condition = NSCondition()
  private var waiting: [Pending] = []
  private var isLed = false

  init(_ settings: Settings, policy: Policy) {
    self.settings = settings
    name = settings.name
    self.policy = policy
    engine = LocalEngine(policy.model, decoder: policy.tokenizer, seed: 0)
  }

  func answer(_ request: JudgeRequest) -> JudgeReply {
    let own = Pending(request)
    condition.lock()
    waiting.append(own)
    while true {
      if let reply = own.reply {
        condition.unlock()
        return reply
      }
      guard isLed else { break }
      condition.wait()
    }
    isLed = true
    let batch = waiting
    waiting = []
    condition.unlock()
    let replies = answer(batch.map(\.request))
    condition.lock()
    for (pending, reply) in zip(batch, replies) { pending.reply = reply }
    isLed = false
    condition.broadcast()
    condition.unlock()
    return own.reply ?? JudgeReply(status: .failed, message: "judge \(name) gave no answer")
  }

  // MARK: What the leader does

  private func answer(_ requests: [JudgeRequest]) -> [JudgeReply] {
    var replies = [JudgeReply?](repeating: nil, count: requests.count)
    // Requests with equal settings are sampled in one call.
    var calls: [[Double]: [(index: Int, prompt: EncodedPrompt)]] = [:]
    for (i, request) in requests.enumerated() {
      do {
        let prompt = try self.prompt(request)
        if let continuation = request.continuation {
          replies[i] = logprob(continuation, after: prompt)
        } else {
          let temperature = request.temperature ?? settings.temperature
          let maxTokens = request.maxTokens ?? settings.maxTokens
          calls[[temperature, Double(maxTokens)], default: []].append((i, prompt))
        }
      } catch { replies[i] = refusal(error, .invalid) }
    }
    for (key, members) in calls {
      do {
        let parameters = SamplingParameters(
          temperature: key[0], maxNewTokens: Int(key[1]), stopIDs: Set(policy.endIDs))
        let groups = try engine.generate(
          members.map {
            RolloutRequest(prompt: $0.prompt, completions: 1, promptNumber: Self.number(of: $0.prompt.ids))
          }, parameters)
        for (member, group) in zip(members, groups) {
          guard let completion = group.first else { continue }
          replies[member.index] = JudgeReply(
            status: .ok, text: completion.text, promptTokens: member.prompt.ids.count,
            completionTokens: completion.ids.count)
        }
      } catch { for member in members { replies[member.index] = refusal(error, .failed) } }
    }
    return replies.map { $0 ?? JudgeReply(status: .failed, message: "judge \(name) gave no answer") }
  }

  private func prompt(_ request: JudgeRequest) throws -> EncodedPrompt {
    var messages = request.messages.array ?? []
    if let system = settings.system, messages.first?["role"]?.string != "system" {
      messages.insert(["role": "system", "content": .string(system)], at: 0)
    }
    return try policy.prompt(messages: messages).encoded
  }

  /// The sum over the continuation's tokens, at temperature 1.
  private func logprob(_ text: String, after prompt: EncodedPrompt) -> JudgeReply {
    let ids = policy.tokenizer.encode(text)
    let pass = TrainingPass(model: policy.model, temperature: 1, wanted: [.logprob])
    let values =
      ids.isEmpty
      ? [] : pass.forward([PromptTree(prompt: prompt, completions: [ids])], recording: false).stream(.logprob)
    return JudgeReply(
      status: .ok, text: text, promptTokens: prompt.ids.count, completionTokens: ids.count,
      logprob: values.reduce(0) { $0 + Double($1) })
  }

  private func refusal(_ error: any Error, _ status: RewardStatus) -> JudgeReply {
    JudgeReply(status: status, message: "judge \(name): \((error as? AttuneError)?.message ?? "\(error)")")
  }

  /// A number that stands for the prompt (FNV-1a over its ids): equal prompts draw equal randomness.
  private static func number(of ids: [Int32]) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for id in ids { hash = (hash ^ UInt64(UInt32(bitPattern: id))) &* 0x100_0000_01B3 }
    return Int(hash >> 33)
  }
}
