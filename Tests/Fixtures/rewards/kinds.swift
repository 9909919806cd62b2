import RewardKit

/// Scores by what the completion asks for.
struct Wishes: Reward {
  static let summary = "what the completion says"
  static let parameters: [Parameter] = [
    .number("factor", default: 1, in: 0...100, "multiplies"), .string("quote", default: "a \"b\" \\ c"),
    .bool("flag", default: true),
  ]
  var factor = 1.0
  var quote = ""

  mutating func configure(_ parameters: Parameters) throws {
    factor = parameters.number("factor") ?? 0
    quote = parameters.string("quote") ?? ""
    if factor == 13 { throw RewardError("13 is no factor") }
  }

  struct Trouble: Error, CustomStringConvertible { let description: String }

  func score(_ sample: Sample) throws -> Score? {
    switch sample.completion {
    case "nothing": return nil
    case "throw": throw Trouble(description: "asked to throw")
    case "invalid": throw RewardError.invalid("asked to be invalid")
    case "trap": fatalError("asked to trap")
    case "tokens":
      return Score(
        1, tokenRewards: sample.tokenIDs.map { Float($0) },
        stepRewards: [StepReward(tokens: 0..<sample.tokenCount, value: 0.5, label: "step")])
    case "columns":
      return Score(
        sample.number("value") ?? -1,
        components: ["flag": sample.bool("flag") == true ? 1 : 0, "reference": Double(sample.reference ?? "") ?? -1],
        log: "\(sample.string("name") ?? "?") \(sample.json("list") ?? "?") \(quote)")
    default: return Score(factor * Double(sample.completion.utf8.count))
    }
  }
}

/// The share of its group that is longer.
struct Rank: GroupReward {
  static let range: ClosedRange<Double>? = 0...1

  func score(group: [Sample]) throws -> [Double] {
    if group.contains(where: { $0.completion == "trap" }) { fatalError("asked to trap") }
    let lengths = group.map { $0.completion.utf8.count }
    return lengths.map { own in Double(lengths.filter { $0 > own }.count) / Double(lengths.count) }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(Wishes.self, Rank.self) }
