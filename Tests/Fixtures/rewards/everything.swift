import RewardKit

/// Looks at what a sample holds beside its completion, and asks a judge.
struct Everything: Reward {
  static let needs: Needs = [.images, .turns]

  func score(_ sample: Sample) throws -> Score {
    if sample.completion == "ask" { return Score(Double(try sample.askJudge("how much?", judge: "j"))) }
    let sum = sample.images.reduce(0) { total, image in
      total + image.withPixels { pixels, _ in pixels.reduce(0) { $0 + Int($1) } }
    }
    return Score(
      Double(sum),
      components: [
        "references": Double(sample.references.count), "scale": sample.images.first?.scale?.x ?? -1,
        "part": sample.value("boxes", at: "[1].w")?.number ?? -1,
        "count": Double(sample.value(inJSON: sample.columnsJSON, at: "boxes")?.count ?? -1),
      ],
      notes: [
        "roles": sample.messages.map(\.role).joined(separator: " "), "calls": sample.messages.last?.toolCalls ?? "none",
        "answer": sample.completionMessages.first { $0.origin == .tool }?.text ?? "none",
      ])
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(Everything.self) }
