import Core
import Foundation

/// The plugin author's bench: what `attune reward new`, `list`, `try` and `check` do.
public enum RewardBench {
  /// Reads a picture that a line names.
  public typealias PictureReader = (_ path: String) throws -> Picture

  /// Keys under which a line's true answer is looked for, in this order.
  public static let referenceKeys = ["reference", "answer", "solution", "ground_truth", "label"]

  // MARK: Trying

  /// Keys of a line that say something about the completion; every other key is a column.
  private static let ownKeys: Set = [
    "prompt", "completion", "images", "raw_completion", "generation_prefix", "token_ids", "token_count", "policy_mask",
    "logprobs", "finish_reason",
  ]

  /// A line of `attune reward try` as a sample: `prompt` and `completion` (text or messages), `images` (paths, or objects:
  /// see `image`); every other key is a column. `raw_completion`, `generation_prefix`, `token_ids` (or `token_count`, where any
  /// ids will do), `policy_mask`, `logprobs` and `finish_reason` are taken if they are there. A line
  /// of a run's samples is taken as the run's rewards saw it.
  ///
  /// - Throws: `AttuneError` naming the key, at the value's place.
  public static func sample(_ line: JSON, file: String = "", pictures: PictureReader) throws -> RewardSample {
    guard let object = line.object else {
      throw AttuneError.request(
        "a line is \(line.kind), expected a mapping with \"completion\"", at: line.location(in: file))
    }
    if object["columns"]?.object != nil, object["raw"]?.string != nil {
      return try exported(object, line, file: file, pictures: pictures)
    }
    func wrong(_ key: String, _ value: JSON, _ expected: String) -> AttuneError {
      // What is short is shown as it stands.
      let isLong = value.array != nil || value.object != nil
      return .request(
        "\"\(key)\" is \(isLong ? value.kind : shortened(value.text(), to: 60)), expected \(expected)",
        at: value.location(in: file))
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
    for value in try list(object["images"], "images", wrong) {
      sample.images.append(try image(value, pictures, wrong))
    }
    if let raw = object["raw_completion"]?.string { sample.rawCompletion = raw }
    if let prefix = object["generation_prefix"] {
      guard let text = prefix.string else { throw wrong("generation_prefix", prefix, "a string") }
      sample.generationPrefix = text
    }
    try readTokens(object, into: &sample, wrong)
    if let reason = object["finish_reason"] {
      guard let known = reason.string.flatMap(FinishReason.init) else {
        throw wrong("finish_reason", reason, "\"stop\", \"length\" or \"stop_string\"")
      }
      sample.finishReason = known
    }
    for (key, value) in object.entries where !ownKeys.contains(key) { sample.columns[key] = value }
    for key in referenceKeys {
      guard let value = sample.columns[key], !value.isNull else { continue }
      sample.references = RewardSample.references(value)
      break
    }
    return sample
  }

  private static func readTokens(
    _ object: JSON.Object, into sample: inout RewardSample, _ wrong: (String, JSON, String) -> AttuneError
  ) throws {
    sample.tokenIDs = try list(object["token_ids"], "token_ids", wrong).map {
      guard let id = $0.int, let id = Int32(exactly: id) else { throw wrong("token_ids", $0, "a list of ids") }
      return id
    }
    if let count = object["token_count"] {
      guard let number = count.int, (0...(1 << 24)).contains(number), object["token_ids"] == nil else {
        throw wrong("token_count", count, "a number of tokens, in place of \"token_ids\"")
      }
      sample.tokenIDs = (0..<Int32(number)).map { $0 }
    }
    let mask = try list(object["policy_mask"], "policy_mask", wrong)
    if let value = object["policy_mask"], !mask.isEmpty {
      sample.policyMask = try mask.map {
        guard let bit = $0.int, bit == 0 || bit == 1 else { throw wrong("policy_mask", $0, "a list of 0 and 1") }
        return bit == 1
      }
      guard mask.count == sample.tokenIDs.count else {
        throw wrong("policy_mask", value, "one entry for each of \(sample.tokenIDs.count) tokens, found \(mask.count)")
      }
    }
    let logprobs = try list(object["logprobs"], "logprobs", wrong)
    if let value = object["logprobs"], !logprobs.isEmpty {
      sample.logprobs = try logprobs.map {
        if $0.isNull { return .nan }
        guard let number = $0.double else { throw wrong("logprobs", $0, "a list of numbers") }
        return Float(number)
      }
      guard logprobs.count == sample.tokenIDs.count else {
        throw wrong("logprobs", value, "one entry for each of \(sample.tokenIDs.count) tokens, found \(logprobs.count)")
      }
    }
  }

  /// A picture: a path, or an object with `path`, or with `width` and `height` for one that is all black; and with what the
  /// model saw of it: `model_width` and `model_height`, or `coordinate_range`.
  private static func image(
    _ value: JSON, _ pictures: PictureReader, _ wrong: (String, JSON, String) -> AttuneError
  ) throws -> RewardImage {
    if let path = value.string { return RewardImage(try pictures(path)) }
    guard let object = value.object else { throw wrong("images", value, "a list of paths or of objects") }
    let known = ["path", "width", "height", "model_width", "model_height", "coordinate_range"]
    for (key, value) in object.entries where !known.contains(key) {
      throw wrong("images", value, "an object with \(known.joined(separator: ", ")), found \(key)")
    }
    func number(_ key: String) throws -> Int? {
      guard let value = object[key] else { return nil }
      guard let number = value.int, (1...16384).contains(number) else { throw wrong(key, value, "1 to 16384") }
      return number
    }
    var image: RewardImage
    if let path = object["path"]?.string {
      image = RewardImage(try pictures(path))
    } else if let width = try number("width"), let height = try number("height") {
      image = RewardImage(
        Picture(width: width, height: height, pixels: [UInt8](repeating: 0, count: width * height * 3)))
    } else {
      throw wrong("images", value, "an object with \"path\", or with \"width\" and \"height\"")
    }
    image.modelWidth = try number("model_width") ?? 0
    image.modelHeight = try number("model_height") ?? 0
    image.coordinateRange = Double(try number("coordinate_range") ?? 0)
    return image
  }

  /// A line of a run's samples: everything that the run's rewards saw.
  private static func exported(
    _ object: JSON.Object, _ line: JSON, file: String, pictures: PictureReader
  ) throws -> RewardSample {
    var plain = JSON.Object()
    for key in ["completion", "prompt", "images", "token_ids", "logprobs", "finish_reason"] { plain[key] = object[key] }
    plain["raw_completion"] = object["raw"]
    var sample = try sample(JSON(.object(plain)), file: file, pictures: pictures)
    sample.columns = object["columns"]?.object ?? .init()
    sample.messages = (object["messages"]?.array ?? []).compactMap(Message.init(stored:))
    sample.reference = object["reference"]?.string
    let facts = object["facts"] ?? [:]
    sample.take(promptFacts: facts)
    sample.take(completionFacts: facts)
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
    // Samples of a run know their places.
    let known = Set(out.indices.filter { out[$0].groupSize > 1 })
    for i in out.indices where !known.contains(i) {
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
    for i in out.indices where !known.contains(i) { out[i].groupSize = sizes[Int(out[i].groupID)] }
    return out
  }
}
