import Core

/// A model that answers questions of rewards.
public protocol Judge: Sendable {
  /// Its name in the recipe.
  var name: String { get }
  /// How many threads may usefully ask at once.
  var concurrency: Int { get }
  /// Blocks until there is an answer, or it is certain that there will be none. Thread-safe.
  func answer(_ request: JudgeRequest) -> JudgeReply
}

/// The judges of a recipe, by name.
public final class JudgeService: Sendable {
  private let judges: [any Judge]

  /// - Throws: `.request` if two have one name.
  public init(_ judges: [any Judge]) throws {
    var names: Set<String> = []
    for judge in judges where !names.insert(judge.name).inserted {
      throw AttuneError.request("two judges are called '\(judge.name)'", hint: "give one of them another name")
    }
    self.judges = judges
  }

  public var names: [String] { judges.map(\.name) }

  /// The judge of that name, or the only one; else why there is none.
  private func find(_ name: String?) -> (judge: (any Judge)?, why: String) {
    guard !judges.isEmpty else { return (nil, "there are no judges: the recipe's section `judges` describes them") }
    guard let name, !name.isEmpty else {
      if judges.count == 1 { return (judges[0], "") }
      return (nil, "there are \(judges.count) judges, so the request has to name one: \(names.joined(separator: ", "))")
    }
    if let judge = judges.first(where: { $0.name == name }) { return (judge, "") }
    let near = nearestName(to: name, among: names)
    return (
      nil, "there is no judge '\(name)'; " + (near.map { "did you mean '\($0)'?" } ?? names.joined(separator: ", "))
    )
  }

  /// How many threads may usefully ask a judge at once; 1 if there is none of that name.
  public func concurrency(of name: String?) -> Int { max(1, find(name).judge?.concurrency ?? 1) }

  /// The judge's answer. Blocks; thread-safe.
  public func answer(_ request: JudgeRequest) -> JudgeReply {
    let (judge, why) = find(request.judge)
    guard let judge else { return JudgeReply(status: .notApplicable, message: why) }
    guard let messages = request.messages.array, !messages.isEmpty,
      messages.allSatisfy({ $0["role"]?.string != nil && $0["content"] != nil })
    else {
      return JudgeReply(
        status: .invalid,
        message:
          "the request's messages are \(request.messages.kind), expected a list of mappings with role and content")
    }
    return judge.answer(request)
  }
}
