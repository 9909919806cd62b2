import Foundation
import RewardKit

/// Format, correctness and length of an answer that calls tools (ToolRL, arXiv 2504.13958).
///
/// An answer is `<think>..</think>`, then what its reference has of `<tool_call>..</tool_call>` (JSON objects with `name` and
/// `parameters` or `arguments`, one a line) and `<response>..</response>`. The score is the weighted sum of three parts,
/// each between bounds of its own that may change while the training goes on.
struct ToolUse: Reward {
  static let summary = "format, correct tool calls and length of thought, with bounds that may follow the training step"
  static let parameters: [Parameter] = [
    .number("format_weight", default: 1, "weight of the format in the score"),
    .number("correctness_weight", default: 1, "weight of the tool calls' correctness"),
    .number("length_weight", default: 0, "weight of the thought's length"),
    .number("format_min", default: 0), .number("format_max", default: 1),
    .number("correctness_min", default: -3), .number("correctness_max", default: 3),
    .number("length_min", default: 0), .number("length_max", default: 1),
    .number("length_words", default: 512, in: 1...1e6, "a thought of so many words has the whole length_max"),
    .string(
      "schedule", default: "none",
      "none; linear: format and correctness begin at -start to start and reach their bounds at the end; two_stage: correctness "
        + "divided by 3 before switch_step, format by 2 from then on"),
    .number("start", default: 2, in: 0...1000, "for linear: the bounds at the first step"),
    .number("schedule_steps", default: 0, in: 0...1e9, "for linear: its length, 0 for the run's"),
    .number("switch_step", default: 30, in: 0...1e9, "for two_stage"),
    .bool("prefix", default: true, "the answer begins with what the template opened the completion with"),
  ]

  private struct Bounds {
    var low = 0.0
    var high = 1.0
    func value(_ share: Double) -> Double { low + (high - low) * share }
    /// From -start ... start (share 0) to these (share 1).
    func coming(from start: Double, _ share: Double) -> Bounds {
      Bounds(low: -start + (low + start) * share, high: start + (high - start) * share)
    }
    func divided(by divisor: Double) -> Bounds { Bounds(low: low / divisor, high: high / divisor) }
  }

  private enum Schedule: String { case none, linear, twoStage = "two_stage" }

  private var weights = (format: 1.0, correctness: 1.0, length: 0.0)
  private var format = Bounds()
  private var correctness = Bounds()
  private var length = Bounds()
  private var lengthWords = 512.0
  private var schedule = Schedule.none
  private var start = 2.0
  private var scheduleSteps = 0.0
  private var switchStep = 30.0
  private var includesPrefix = true

  mutating func configure(_ parameters: Parameters) throws {
    func number(_ name: String) -> Double { parameters.number(name) ?? 0 }
    func bounds(_ name: String) throws -> Bounds {
      let bounds = Bounds(low: number(name + "_min"), high: number(name + "_max"))
      guard bounds.low <= bounds.high else {
        throw RewardError.invalid("\(name)_min is \(bounds.low), more than \(name)_max, which is \(bounds.high)")
      }
      return bounds
    }
    weights = (number("format_weight"), number("correctness_weight"), number("length_weight"))
    format = try bounds("format")
    correctness = try bounds("correctness")
    length = try bounds("length")
    lengthWords = number("length_words")
    let word = parameters.string("schedule") ?? "none"
    guard let schedule = Schedule(rawValue: word) else {
      throw RewardError.invalid("schedule is '\(word)', expected none, linear or two_stage")
    }
    self.schedule = schedule
    start = number("start")
    scheduleSteps = number("schedule_steps")
    switchStep = number("switch_step")
    includesPrefix = parameters.bool("prefix") ?? true
  }

  func score(_ sample: Sample) throws -> Score {
    guard let reference = sample.reference else { return Score(nil, log: "no reference") }
    let wanted = Answer(reference)
    let answer = Answer((includesPrefix ? sample.generationPrefix : "") + sample.completion)
    var (format, correctness) = (self.format, self.correctness)
    switch schedule {
    case .none: break
    case .linear:
      let steps = scheduleSteps > 0 ? scheduleSteps : Double(sample.totalSteps)
      guard steps > 0 else { throw RewardError("how long the run is is not known: set schedule_steps") }
      let share = min(1, Double(sample.step) / steps)
      format = format.coming(from: start, share)
      correctness = correctness.coming(from: start, share)
    case .twoStage:
      if Double(sample.step) < switchStep {
        correctness = correctness.divided(by: 3)
      } else {
        format = format.divided(by: 2)
      }
    }

    let wellFormed = answer.hasFormat(toolCall: wanted.has("tool_call"), response: wanted.has("response"))
    let thought = answer.spans("think").last?.split(whereSeparator: Answer.isSpace).count
    let parts = (
      format: format.value(wellFormed ? 1 : 0),
      length: length.value(thought.map { min(1, Double($0) / lengthWords) } ?? 0)
    )
    var score = Score(
      weights.format * parts.format + weights.length * parts.length,
      components: ["format": parts.format, "length": parts.length],
      log: "\(wellFormed ? "well formed" : "not the reference's form"), \(thought ?? 0) words of thought")
    // A reference without a call has nothing to be correct about.
    guard wanted.has("tool_call") else { return score }
    guard let wantedCalls = wanted.calls() else { throw RewardError.invalid("the reference's tool calls are no JSON") }
    let calls = answer.calls()
    let value = correctness.value(calls.map { ToolCall.agreement($0, wantedCalls) } ?? 0)
    score.value = (score.value ?? 0) + weights.correctness * value
    score.components.append((name: "correctness", value: value))
    score.log += calls.map { ", \($0.count) calls for \(wantedCalls.count)" } ?? ", no calls in JSON"
    return score
  }
}

/// A text with spans in tags.
struct Answer {
  private let text: [UInt8]
  init(_ text: String) { self.text = Array(text.utf8) }

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  /// The next `<tag>`..`</tag>` at or behind a place.
  private func span(_ tag: String, from start: Int) -> (outer: Range<Int>, inner: Range<Int>)? {
    let open = Array("<\(tag)>".utf8)
    let close = Array("</\(tag)>".utf8)
    func next(_ word: [UInt8], _ from: Int) -> Int? {
      text[from...].indices.first { text[$0] == word[0] && text[$0...].starts(with: word) }
    }
    guard let first = next(open, start), let end = next(close, first + open.count) else { return nil }
    return (first..<(end + close.count), (first + open.count)..<end)
  }

  /// What stands in all spans of a tag.
  func spans(_ tag: String) -> [ArraySlice<UInt8>] {
    var found: [ArraySlice<UInt8>] = []
    var place = 0
    while let next = span(tag, from: place) {
      found.append(text[next.inner])
      place = next.outer.upperBound
    }
    return found
  }

  func has(_ tag: String) -> Bool { span(tag, from: 0) != nil }

  /// A thought, then calls (one span or several) and a response where they are wanted, and nothing else.
  func hasFormat(toolCall: Bool, response: Bool) -> Bool {
    var place = 0
    func takes(_ tag: String) -> Bool {
      guard let next = span(tag, from: place), text[place..<next.outer.lowerBound].allSatisfy(Self.isSpace) else {
        return false
      }
      place = next.outer.upperBound
      return true
    }
    guard text.starts(with: "<think>".utf8), takes("think") else { return false }
    if toolCall {
      guard takes("tool_call") else { return false }
      while takes("tool_call") {}
    }
    if response, !takes("response") { return false }
    return text[place...].allSatisfy(Self.isSpace)
  }

  /// All calls; nil if there is no span of them, or one that cannot be read.
  func calls() -> [ToolCall]? {
    let spans = spans("tool_call")
    guard !spans.isEmpty else { return nil }
    var calls: [ToolCall] = []
    for span in spans {
      if let call = ToolCall.read(span) {
        calls.append(call)
        continue
      }
      for line in span.split(separator: 0x0A) where !line.allSatisfy(Self.isSpace) {
        guard let call = ToolCall.read(line) else { return nil }
        calls.append(call)
      }
    }
    return calls
  }
}

struct ToolCall: Decodable {
  let name: String
  let parameters: [String: JSONValue]

  private enum Key: String, CodingKey { case name, parameters, arguments }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    name = try container.decode(String.self, forKey: .name)
    parameters =
      try container.decodeIfPresent([String: JSONValue].self, forKey: .parameters)
      ?? container.decodeIfPresent([String: JSONValue].self, forKey: .arguments) ?? [:]
  }

  static func read(_ text: ArraySlice<UInt8>) -> ToolCall? {
    try? JSONDecoder().decode(ToolCall.self, from: Data(text))
  }

  /// From 0 to 1: the names as multisets, and for every wanted call, paired with the best that is left, its keys and the
  /// values that are equal.
  static func agreement(_ calls: [ToolCall], _ wanted: [ToolCall]) -> Double {
    var points = overlap(calls.map(\.name), wanted.map(\.name))
    var most = 1.0
    var left = calls
    for want in wanted {
      most += 1 + Double(want.parameters.count)
      var best: (points: Double, index: Int) = (0, -1)
      for (i, call) in left.enumerated() where call.name == want.name {
        let equal = want.parameters.count { call.parameters[$0.key] == $0.value }
        let points = overlap(Array(call.parameters.keys), Array(want.parameters.keys)) + Double(equal)
        if points > best.points { best = (points, i) }
      }
      guard best.index >= 0 else { continue }
      points += best.points
      left.remove(at: best.index)
    }
    return points / most
  }

  /// Intersection over union of two multisets, 1 for two that are empty.
  private static func overlap(_ a: [String], _ b: [String]) -> Double {
    var left: [String: Int] = [:]
    for name in a { left[name, default: 0] += 1 }
    var common = 0
    for name in b {
      guard let count = left[name], count > 0 else { continue }
      left[name] = count - 1
      common += 1
    }
    let union = a.count + b.count - common
    return union == 0 ? 1 : Double(common) / Double(union)
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

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(ToolUse.self) }
