import Core
import Foundation

/// The plugin author's bench: what `attune reward new`, `list`, `try` and `check` do.
public enum RewardBench {
  /// Reads a picture that a line names.
  public typealias PictureReader = (_ path: String) throws -> Picture

  /// Keys under which a line's true answer is looked for, in this order.
  public static let referenceKeys = ["reference", "answer", "solution", "ground_truth", "label"]

  // MARK: Trying

  /// A line of `attune reward try` as a sample: `prompt` and `completion` (text or messages), `images` (paths); every
  /// other key is a column. `raw_completion`, `token_ids`, `logprobs` and `finish_reason` are taken if they are there.
  ///
  /// - Throws: `AttuneError` naming the key, at the value's place.
  public static func sample(_ line: JSON, file: String = "", pictures: PictureReader) throws -> RewardSample {
    guard let object = line.object else {
      throw AttuneError.request(
        "a line is \(line.kind), expected a mapping with \"completion\"", at: line.location(in: file))
    }
    func wrong(_ key: String, _ value: JSON, _ expected: String) -> AttuneError {
      .request("\"\(key)\" is \(value.kind), expected \(expected)", at: value.location(in: file))
    }
    guard let completion = object["completion"] else {
      let near = nearestName(to: "completion", among: object.keys)
      throw AttuneError.request(
        "there is no \"completion\"", at: line.location(in: file), hint: near.map { "did you mean \"\($0)\"?" })
    }
    var sample = RewardSample(prompt: "", completion: "")
    if let text = completion.string {
      sample.completion = text
      sample.rawCompletion = text
    } else if let messages = completion.array {
      // A dialogue: the policy speaks as the assistant, the rest was answered to it.
      sample.completionMessages = try messages.map { try message($0, key: "completion", wrong) }
      let own = sample.completionMessages.filter { $0.role == "assistant" }
      sample.completion = own.map(\.text).filter { !$0.isEmpty }.joined(separator: "\n")
      sample.rawCompletion = sample.completionMessages.map(\.text).joined(separator: "\n")
    } else {
      throw wrong("completion", completion, "a string or a list of messages")
    }
    switch object["prompt"] {
    case nil: break
    case let prompt?:
      if let text = prompt.string {
        sample.prompt = text
      } else if let messages = prompt.array {
        sample.messages = try messages.map { try message($0, key: "prompt", wrong) }
        sample.prompt = sample.messages.map { "\($0.role): \($0.text)" }.joined(separator: "\n")
      } else if !prompt.isNull {
        throw wrong("prompt", prompt, "a string or a list of messages")
      }
    }
    for path in try list(object["images"], "images", wrong) {
      guard let path = path.string else { throw wrong("images", path, "a list of paths") }
      sample.images.append(RewardImage(try pictures(path)))
    }
    if let raw = object["raw_completion"]?.string { sample.rawCompletion = raw }
    sample.tokenIDs = try list(object["token_ids"], "token_ids", wrong).map {
      guard let id = $0.int, let id = Int32(exactly: id) else { throw wrong("token_ids", $0, "a list of ids") }
      return id
    }
    let logprobs = try list(object["logprobs"], "logprobs", wrong)
    if !logprobs.isEmpty, logprobs.count == sample.tokenIDs.count {
      sample.logprobs = logprobs.map { Float($0.double ?? .nan) }
    }
    if let reason = object["finish_reason"]?.string.flatMap(FinishReason.init) { sample.finishReason = reason }
    let own: Set = ["prompt", "completion", "images", "raw_completion", "token_ids", "logprobs", "finish_reason"]
    for (key, value) in object.entries where !own.contains(key) { sample.columns[key] = value }
    for key in referenceKeys {
      guard let value = sample.columns[key], !value.isNull else { continue }
      sample.references = RewardSample.references(value)
      break
    }
    return sample
  }

  private static func list(
    _ value: JSON?, _ key: String, _ wrong: (String, JSON, String) -> AttuneError
  ) throws -> [JSON] {
    guard let value, !value.isNull else { return [] }
    guard let list = value.array else { throw wrong(key, value, "a list") }
    return list
  }

  private static func message(
    _ json: JSON, key: String, _ wrong: (String, JSON, String) -> AttuneError
  ) throws -> Message {
    guard let role = json["role"]?.string, let content = json["content"] else {
      throw wrong(key, json, "a message with \"role\" and \"content\"")
    }
    var fields = json.object ?? .init()
    for key in ["role", "content"] { fields[key] = nil }
    if let text = content.string { return Message(role: role, text: text, fields: fields) }
    guard let parts = content.array else { throw wrong("content", content, "a string or a list of parts") }
    var image = 0
    return Message(
      role: role,
      parts: parts.map { part in
        if let text = part["text"]?.string { return .text(text) }
        defer { image += 1 }
        return .image(image)
      }, fields: fields)
  }

  /// Scores lines and answers with one each: reward, status, components, log. Lines with one prompt form a group.
  public static func tryLines(
    _ lines: [JSON], _ reward: any Reward, file: String = "", services: (any RewardServices)? = nil,
    pictures: PictureReader
  ) throws -> [JSON] {
    let samples = grouped(try lines.map { try sample($0, file: file, pictures: pictures) })
    var context = RewardContext()
    context.phase = .test
    context.services = services
    return try reward.score(samples, context: context).map(\.json)
  }

  /// Scores one line.
  public static func tryLine(_ line: JSON, _ reward: any Reward, pictures: PictureReader) throws -> JSON {
    try tryLines([line], reward, pictures: pictures)[0]
  }

  /// The samples with the identities that a run would give them.
  static func grouped(_ samples: [RewardSample]) -> [RewardSample] {
    var groups: [String: Int] = [:]
    var sizes: [Int] = []
    var out = samples
    for i in out.indices {
      let key = out[i].prompt
      let group = groups[key] ?? sizes.count
      if group == sizes.count {
        groups[key] = group
        sizes.append(0)
      }
      out[i].id = UInt64(i)
      out[i].groupID = UInt64(group)
      out[i].indexInGroup = sizes[group]
      sizes[group] += 1
    }
    for i in out.indices { out[i].groupSize = sizes[Int(out[i].groupID)] }
    return out
  }

  // MARK: Listing

  /// A reward that comes with the program.
  public struct Listing: Sendable {
    public var name: String
    public var summary: String
    /// `built-in`, `C plugin` or `Swift plugin`.
    public var kind: String
    public var parameters: [RewardParameter]

    public var json: JSON {
      [
        "name": .string(name), "summary": .string(summary), "kind": .string(kind),
        "parameters": .array(parameters.map(\.json)),
      ]
    }
  }

  /// The rewards that come with the program, by name.
  public static func list(workerCommand: [String]) -> [Listing] {
    RewardLoader.shipped.map { name in
      do {
        let source = try RewardLoader.resolve(name)
        let found = try RewardLoader.describe(name, workerCommand: workerCommand).first
        let kind =
          switch source {
          case .builtIn: "built-in"
          case .linked: "C plugin"
          case .library: "Swift plugin"
          case .function: "C function"
          }
        return Listing(
          name: name, summary: found?.summary ?? "", kind: kind, parameters: found?.parameters ?? [])
      } catch {
        return Listing(name: name, summary: "\(error)", kind: "", parameters: [])
      }
    }
  }
}
