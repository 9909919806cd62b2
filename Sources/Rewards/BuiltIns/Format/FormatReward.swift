import Core

/// Does the completion have the shape that the prompt asked for?
///
/// Sources of the rules: `think_answer` ms-swift `Format`, `think` TRL `think_format_reward`, `strict_lines` and
/// `tag_count` open-r1 `format_reward` and `tag_count_reward`, `xml_count` mlx-lm-lora `r1_count_xml`, `box` VLM-R1 `format_reward_rec`, `code` ms-swift
/// `CodeFormat` and open-r1 `get_code_format_reward`.
struct FormatReward: BuiltInReward {
  static let name = "format"
  static let summary = "1 if the completion has the demanded shape of think and answer tags, else 0"
  static let parameters: [RewardParameter] = [
    .string("style", default: "think_answer", "think_answer, think, strict_lines, tag_count, xml_count, box or code"),
    .string("prefix", default: "include", "include or exclude what the template opened the completion with"),
    .string("language", default: "python", "the language of the fenced block that the style code demands"),
  ]

  enum Style: String, CaseIterable {
    case thinkAnswer = "think_answer"
    case think
    case strictLines = "strict_lines"
    case tagCount = "tag_count"
    case xmlCount = "xml_count"
    case box
    case code
  }

  private let style: Style
  private let prefix: PrefixUse
  private let language: String

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    style = try reader.choice("style", Style.self)
    prefix = try reader.choice("prefix", PrefixUse.self)
    language = reader.text("language").lowercased()
    if style == .code, language.isEmpty {
      throw reader.wrong("language", "is empty, the name of a language was expected")
    }
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) -> RewardOutcome {
    let text = [UInt8](prefix.text(of: sample))
    if style == .tagCount { return Self.tagCount(text) }
    if style == .xmlCount { return Self.xmlCount(text) }
    let fault: String? =
      switch style {
      case .think: Self.think(text)
      case .strictLines: Self.strictLines(text)
      case .box: Self.box(text)
      case .code: code(text)
      case .thinkAnswer, .tagCount, .xmlCount: Self.answerSpan(text).fault
      }
    return RewardOutcome(score: fault == nil ? 1 : 0, status: .ok, log: fault ?? "\(style.rawValue): as it should be")
  }

  /// `<think>..</think>`, white space, `<answer>..</answer>`, and nothing else; what the answer tags hold, or which rule is
  /// broken.
  private static func answerSpan(_ text: [UInt8]) -> (span: Range<Int>?, fault: String?) {
    guard text.begins(with: "<think>") else { return (nil, "the text does not begin with <think>") }
    guard text.position(of: "</think>", from: 7) != nil else { return (nil, "there is no </think>") }
    guard let open = answerBehindThink(text, from: 7) else {
      return (nil, "no </think> is followed by <answer> with nothing but white space between")
    }
    guard let close = text.lastPosition(of: "</answer>", from: open) else { return (nil, "there is no </answer>") }
    guard close + 9 == text.count else { return (nil, "\(text.count - close - 9) bytes follow the last </answer>") }
    return (open..<close, nil)
  }

  /// Behind the first `<answer>` that only white space separates from a `</think>` before it.
  private static func answerBehindThink(_ text: [UInt8], from start: Int) -> Int? {
    var from = start
    while let close = text.position(of: "</think>", from: from) {
      from = text.afterSpace(from: close + 8)
      if text.begins(with: "<answer>", at: from) { return from + 8 }
    }
    return nil
  }

  private static func think(_ text: [UInt8]) -> String? {
    guard text.begins(with: "<think>") else { return "the text does not begin with <think>" }
    if text.position(of: "<think>", from: 7) != nil { return "there is a second <think>" }
    return text.position(of: "</think>", from: 7) == nil ? "there is no </think>" : nil
  }

  private static func strictLines(_ text: [UInt8]) -> String? {
    guard text.begins(with: "<think>\n") else { return "the text does not begin with <think> on a line of its own" }
    guard let middle = text.position(of: "\n</think>\n<answer>\n", from: 8) else {
      return "</think> and <answer> do not stand on two lines of their own, one behind the other"
    }
    let end = text.count - 10
    guard end >= middle + 19, text.begins(with: "\n</answer>", at: end) else {
      return "the text does not end with </answer> on a line of its own"
    }
    return nil
  }

  private static let openingTags: [(name: String, tag: StaticString)] = [
    ("<think>\\n", "<think>\n"), ("\\n</think>\\n", "\n</think>\n"), ("\\n<answer>\\n", "\n<answer>\n"),
  ]

  private static func tagCount(_ text: [UInt8]) -> RewardOutcome {
    let (right, log) = count(openingTags + [("\\n</answer>", "\n</answer>")], text)
    return RewardOutcome(score: Double(right) / 4, status: .ok, log: log)
  }

  /// An eighth for each tag, and a thousandth off for every code point behind the last.
  private static func xmlCount(_ text: [UInt8]) -> RewardOutcome {
    let (right, log) = count(openingTags + [("\\n</answer>\\n", "\n</answer>\n")], text)
    let end = text.lastPosition(of: "\n</answer>\n").map { $0 + 11 } ?? 0
    let rest = text.text(end..<text.count).unicodeScalars.count
    return RewardOutcome(
      score: max(0, Double(right) / 8 - Double(rest) / 1000), status: .ok, log: log + "; \(rest) code points behind")
  }

  /// How many of the tags occur exactly once, and how often each does.
  private static func count(_ tags: [(name: String, tag: StaticString)], _ text: [UInt8]) -> (right: Int, log: String) {
    let counts = tags.map { text.occurrences(of: $0.tag) }
    return (counts.filter { $0 == 1 }.count, zip(tags, counts).map { "\($0.name) \($1)×" }.joined(separator: ", "))
  }

  private static func box(_ text: [UInt8]) -> String? {
    guard let think = text.position(of: "<think>") else { return "there is no <think>" }
    guard text.position(of: "</think>", from: think + 7) != nil else { return "there is no </think>" }
    guard let open = answerBehindThink(text, from: think + 7) else {
      return "no </think> is followed by <answer> with nothing but white space between"
    }
    guard let close = text.lastPosition(of: "</answer>", from: open) else { return "there is no </answer>" }
    guard let left = text[open..<close].firstIndex(of: UInt8(ascii: "{")),
      let right = text[open..<close].lastIndex(of: UInt8(ascii: "}")), left < right
    else { return "the answer holds no JSON object" }
    return hasFourNumbers(text, left + 1, right) ? nil : "the answer's object holds no list of four numbers"
  }

  /// Is there `[number, number, number, number]`?
  private static func hasFourNumbers(_ text: [UInt8], _ start: Int, _ end: Int) -> Bool {
    var i = start
    while let open = text[i..<end].firstIndex(of: UInt8(ascii: "[")) {
      var at = open + 1
      var numbers = 0
      while numbers < 4 {
        at = text.afterSpace(from: at)
        let begin = at
        if at < end, text[at] == UInt8(ascii: "-") { at += 1 }
        let digits = at
        while at < end, (0x30...0x39).contains(text[at]) { at += 1 }
        guard at > digits else { break }
        if at < end, text[at] == UInt8(ascii: ".") {
          at += 1
          while at < end, (0x30...0x39).contains(text[at]) { at += 1 }
        }
        guard at > begin else { break }
        numbers += 1
        at = text.afterSpace(from: at)
        guard at < end, text[at] == (numbers == 4 ? UInt8(ascii: "]") : UInt8(ascii: ",")) else { break }
        if numbers == 4 { return true }
        at += 1
      }
      i = max(open + 1, min(at, end))
    }
    return false
  }

  private func code(_ text: [UInt8]) -> String? {
    let (span, fault) = Self.answerSpan(text)
    guard let span else { return fault }
    let blocks = FencedBlock.all(in: text.text(span))
    if blocks.contains(where: { $0.language == language }) { return nil }
    guard let other = blocks.last else { return "the answer holds no closed fenced block" }
    let found = other.language.isEmpty ? "no language" : other.language
    return "the answer's fenced block is of \(found), expected \(language)"
  }
}

/// Whether what the template opened the completion with is part of the text that is looked at.
enum PrefixUse: String, CaseIterable {
  case include, exclude

  func text(of sample: RewardSample) -> String {
    self == .include ? sample.generationPrefix + sample.completion : sample.completion
  }
}
