import Core

/// The checked parameters of a built-in reward, read by their names.
///
/// Names, types and bounds were checked against the reward's list; a name that is not on it is a mistake of the reward.
struct ParameterReader {
  let reward: String
  let values: JSON.Object

  init(_ reward: String, _ values: JSON.Object) {
    self.reward = reward
    self.values = values
  }

  func text(_ name: String) -> String { values[name]?.string ?? "" }
  func flag(_ name: String) -> Bool { values[name]?.bool ?? false }
  func number(_ name: String) -> Double { values[name]?.double ?? .nan }
  func object(_ name: String) -> JSON.Object { values[name]?.object ?? .init() }

  /// A whole number.
  func integer(_ name: String) throws -> Int {
    guard let whole = values[name]?.int else { throw wrong(name, "is \(number(name)), a whole number was expected") }
    return whole
  }

  /// The case of an enumeration that a text names.
  func choice<Choice: RawRepresentable & CaseIterable>(_ name: String, _ type: Choice.Type) throws -> Choice
  where Choice.RawValue == String {
    let word = text(name)
    if let choice = Choice(rawValue: word) { return choice }
    let words = Choice.allCases.map(\.rawValue)
    let near = nearestName(to: word, among: words)
    throw wrong(
      name, "is '\(word)', \(Self.either(words)) was expected", hint: near.map { "did you mean '\($0)'?" })
  }

  /// A list of texts.
  func texts(_ name: String) throws -> [String] {
    try (values[name]?.array ?? []).map { item in
      guard let text = item.string else { throw wrong(name, "holds \(item.kind), a list of strings was expected") }
      return text
    }
  }

  /// An error about a parameter, at its value's place.
  func wrong(_ name: String, _ message: String, hint: String? = nil) -> AttuneError {
    let place = values[name].flatMap { $0.position == .none ? nil : $0.location(in: "") }
    return .request("the parameter '\(name)' of the reward \(reward) \(message)", at: place, hint: hint)
  }

  private static func either(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "nothing" }
    return words.dropLast().joined(separator: ", ") + " or " + last
  }
}

extension LoadRequest {
  /// A built-in reward made with this request's parameters; its errors name the request's file.
  func make(_ type: any BuiltInReward.Type) throws -> any BuiltInReward {
    let complete = try complete(parameters, type.descriptor)
    do { return try type.init(complete) } catch var error as AttuneError {
      if let file { throw error.located(in: file) }
      if error.location?.file.isEmpty == true { error.location = nil }
      throw error
    }
  }
}
