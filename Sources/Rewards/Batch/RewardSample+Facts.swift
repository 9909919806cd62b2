import Core

// What a reward sees of a sample beside its texts, ids and columns, as JSON: runs record it, so that a reward can be asked
// again.

extension RewardSample {
  /// What belongs to the prompt.
  public var promptFacts: JSON {
    [
      "generation_prefix": .string(generationPrefix), "references": .array(references.map(JSON.string)),
      "dataset": .string(dataset), "row_id": .string(rowID), "channel": .string(channel), "group_id": .int(groupID),
      "group_size": .int(groupSize),
      "images": .array(
        images.map { image in
          [
            "mime_type": image.mimeType.map(JSON.string) ?? .null, "has_file": .bool(image.encoded != nil),
            "message": image.messageIndex.map { .int($0) } ?? .null,
            "model_size": [.int(image.modelWidth), .int(image.modelHeight)],
            "coordinate_range": .double(image.coordinateRange), "timestamp": image.timestamp.map(JSON.double) ?? .null,
          ]
        }),
    ]
  }

  /// What belongs to the completion.
  public var completionFacts: JSON {
    var facts = JSON.Object([("sample_id", .int(id)), ("index_in_group", .int(indexInGroup))])
    if let tokenOffsets { facts["token_offsets"] = .array(tokenOffsets.map { .int($0) }) }
    if let policyMask { facts["policy_mask"] = .array(policyMask.map(JSON.bool)) }
    if let entropies { facts["entropies"] = .array(entropies.map { .double(Double($0)) }) }
    if let stopString { facts["stop_string"] = .string(stopString) }
    if !completionMessages.isEmpty { facts["messages"] = .array(completionMessages.map(\.json)) }
    if !turns.isEmpty {
      facts["turns"] = .array(
        turns.map {
          [
            "origin": .int($0.origin.rawValue), "tokens": [.int($0.tokens.lowerBound), .int($0.tokens.upperBound)],
            "reward": $0.reward.map(JSON.double) ?? .null,
          ]
        })
    }
    return JSON(.object(facts))
  }

  /// Takes on what `promptFacts` wrote; what is missing or of another kind stays as it is.
  public mutating func take(promptFacts facts: JSON) {
    if let prefix = facts["generation_prefix"]?.string { generationPrefix = prefix }
    if let all = facts["references"]?.array { references = all.compactMap(\.string) }
    if let name = facts["dataset"]?.string { dataset = name }
    if let row = facts["row_id"]?.string { rowID = row }
    if let name = facts["channel"]?.string { channel = name }
    if let id = facts["group_id"]?.int { groupID = UInt64(clamping: id) }
    if let size = facts["group_size"]?.int { groupSize = size }
    for (i, image) in (facts["images"]?.array ?? []).enumerated() where images.indices.contains(i) {
      images[i].mimeType = image["mime_type"]?.string
      images[i].messageIndex = image["message"]?.int
      images[i].modelWidth = image["model_size"]?[0]?.int ?? 0
      images[i].modelHeight = image["model_size"]?[1]?.int ?? 0
      images[i].coordinateRange = image["coordinate_range"]?.double ?? 0
      images[i].timestamp = image["timestamp"]?.double
    }
  }

  /// Takes on what `completionFacts` wrote; what is missing stays as it is.
  public mutating func take(completionFacts facts: JSON) {
    if let number = facts["sample_id"]?.int { id = UInt64(clamping: number) }
    if let index = facts["index_in_group"]?.int { indexInGroup = index }
    // Arrays that do not fit the tokens would be refused by every reward.
    func fitting(_ key: String) -> [JSON]? { facts[key]?.array.flatMap { $0.count == tokenIDs.count ? $0 : nil } }
    tokenOffsets = fitting("token_offsets")?.map { UInt32(clamping: $0.int ?? 0) }
    policyMask = fitting("policy_mask")?.map { $0.bool ?? true }
    entropies = fitting("entropies")?.map { Float($0.double ?? .nan) }
    stopString = facts["stop_string"]?.string
    completionMessages = (facts["messages"]?.array ?? []).compactMap(Message.init(stored:))
    turns = (facts["turns"]?.array ?? []).compactMap { turn in
      guard let origin = turn["origin"]?.int.flatMap({ RewardTurn.Origin(rawValue: Int32(clamping: $0)) }),
        let from = turn["tokens"]?[0]?.int, let to = turn["tokens"]?[1]?.int, 0 <= from, from <= to,
        to <= tokenIDs.count
      else { return nil }
      return RewardTurn(origin: origin, tokens: from..<to, reward: turn["reward"]?.double)
    }
  }
}

extension Message {
  /// A message as `json` wrote it; nil if it is none.
  public init?(stored json: JSON) {
    guard let role = json["role"]?.string, let content = json["content"] else { return nil }
    var fields = json.object ?? .init()
    for key in ["role", "content"] { fields[key] = nil }
    if let text = content.string {
      self.init(role: role, text: text, fields: fields)
    } else {
      self.init(
        role: role,
        parts: (content.array ?? []).map { part in
          part["text"]?.string.map { .text($0) } ?? .image(part["image"]?.int ?? 0)
        }, fields: fields)
    }
  }
}
