import Foundation
import RewardKit

/// Whether an agent takes the right next step: the action's name, and its arguments.
///
/// Prediction and reference are texts such as `Action: search` and `Action Input: {"query": "Paris"}`. What an agent writes
/// before does not matter to the score; the component `format` says whether it is a think span and then the step.
struct React: Reward {
  static let summary = "the right action with the right arguments, graded by the F1 of keys and values"
  static let range: ClosedRange<Double>? = 0...1
  static let parameters: [Parameter] = [
    .bool("binary", default: false, "1 only for arguments that are wholly right, else 0"),
    .number(
      "rouge_threshold", default: 0.2, in: 0...1, "arguments that are no JSON count from above this ROUGE-L on"),
    .number("format_weight", default: 0, in: 0...1, "the share of the score that is the format"),
    .bool("prefix", default: true, "the format may begin in what the template opened the completion with"),
  ]

  private var isBinary = false
  private var threshold = 0.2
  private var formatWeight = 0.0
  private var includesPrefix = true

  mutating func configure(_ parameters: Parameters) throws {
    isBinary = parameters.bool("binary") ?? isBinary
    threshold = parameters.number("rouge_threshold") ?? threshold
    formatWeight = parameters.number("format_weight") ?? formatWeight
    includesPrefix = parameters.bool("prefix") ?? includesPrefix
  }

  func score(_ sample: Sample) throws -> Score {
    let references = sample.references.map { Step(Array($0.utf8)[...]) }
    guard !references.isEmpty else { return Score(nil, log: "no reference") }
    guard references.allSatisfy({ $0.action != nil }) else { throw RewardError.invalid("a reference has no 'Action:'") }
    let step = Step(Array(sample.completion.utf8)[...])
    let format = Self.hasFormat(Array(((includesPrefix ? sample.generationPrefix : "") + sample.completion).utf8)[...])
    var best: (named: Double, arguments: Double) = (0, 0)
    for reference in references where reference.action == step.action {
      best = (1, max(best.arguments, arguments(step.input, reference.input)))
    }
    let expected = references.map { ($0.action ?? "").prefix(80) }.joined(separator: " or ")
    return Score(
      (1 - formatWeight) * best.arguments + formatWeight * (format ? 1 : 0),
      components: ["format": format ? 1 : 0, "action": best.named, "arguments": best.arguments],
      log: "action \(step.action?.prefix(80) ?? "none"), expected \(expected)")
  }

  /// `<think>`, `</think>`, then `Action:` and somewhere behind it `Action Input:`.
  static func hasFormat(_ text: ArraySlice<UInt8>) -> Bool {
    guard text.starts(with: "<think>".utf8), let end = first("</think>", in: text) else { return false }
    let rest = text[(end + "</think>".utf8.count)...].drop(while: isSpace)
    return rest.starts(with: "Action:".utf8) && first("Action Input:", in: rest) != nil
  }

  // MARK: Arguments

  private func arguments(_ predicted: String, _ reference: String) -> Double {
    let graded: Double
    switch (JSONValue(parsing: predicted), JSONValue(parsing: reference)) {
    case (.object(let a)?, .object(let b)?): graded = Self.f1(a, b)
    case (let a?, let b?): graded = a == b ? 1 : 0
    case (nil, nil):
      let rouge = Self.rougeL(predicted, reference)
      // Free text need not be equal: above the threshold it is right.
      return rouge > threshold ? (isBinary ? 1 : rouge) : 0
    default: graded = 0
    }
    return isBinary ? (graded == 1 ? 1 : 0) : graded
  }

  /// F1 of two sets of arguments: an equal value counts 1, another value under the same key 1/2.
  static func f1(_ a: [String: JSONValue], _ b: [String: JSONValue]) -> Double {
    guard !(a.isEmpty && b.isEmpty) else { return 1 }
    var credit = 0.0
    for (key, value) in b {
      if let other = a[key] { credit += other == value ? 1 : 0.5 }
    }
    return 2 * credit / Double(a.count + b.count)
  }

  /// ROUGE-L: the F1 of the longest common subsequence of words. Of longer texts the first 1000 words are compared.
  static func rougeL(_ a: String, _ b: String) -> Double {
    let x = a.utf8.split(whereSeparator: isSpace).prefix(1000).map(Array.init)
    let y = b.utf8.split(whereSeparator: isSpace).prefix(1000).map(Array.init)
    // row[j]: the longest for what was read of x and the first j words of y.
    var row = [Int](repeating: 0, count: y.count + 1)
    for word in x {
      var diagonal = 0
      for j in y.indices {
        let above = row[j + 1]
        row[j + 1] = word == y[j] ? diagonal + 1 : max(above, row[j])
        diagonal = above
      }
    }
    return x.isEmpty && y.isEmpty ? 1 : 2 * Double(row[y.count]) / Double(x.count + y.count)
  }

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  static func first(_ word: String, in text: ArraySlice<UInt8>) -> Int? {
    let word = Array(word.utf8)
    return text.indices.first { text[$0] == word[0] && text[$0...].starts(with: word) }
  }

  static func last(_ word: String, in text: ArraySlice<UInt8>) -> Int? {
    let word = Array(word.utf8)
    return text.indices.last { text[$0] == word[0] && text[$0...].starts(with: word) }
  }
}

/// The last action of a text.
struct Step {
  /// nil if there is none.
  var action: String?
  var input = "{}"

  init(_ text: ArraySlice<UInt8>) {
    guard let place = React.last("Action:", in: text) else { return }
    var rest = text[(place + "Action:".utf8.count)...]
    // What the agent invents as the tool's answer is not its step.
    if let observation = React.first("Observation:", in: rest) { rest = rest[..<observation] }
    let place2 = React.first("Action Input:", in: rest)
    action = Self.trimmed(rest[..<(place2 ?? rest.endIndex)])
    if let place2 { input = Self.trimmed(rest[(place2 + "Action Input:".utf8.count)...]) }
    if input.isEmpty { input = "{}" }
  }

  private static func trimmed(_ text: ArraySlice<UInt8>) -> String {
    var text = text.drop(while: React.isSpace)
    while let last = text.last, React.isSpace(last) { text.removeLast() }
    return String(decoding: text, as: UTF8.self)
  }
}

/// Any JSON value; 1 and 1.0 are equal.
enum JSONValue: Decodable, Hashable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([JSONValue])
  case object([String: JSONValue])

  init?(parsing text: String) {
    guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)) else { return nil }
    self = value
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self = .string(text)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let bool = try? container.decode(Bool.self) {
      self = .bool(bool)
    } else if container.decodeNil() {
      self = .null
    } else if let list = try? container.decode([JSONValue].self) {
      self = .list(list)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(React.self) }
