import Core

/// Is the completion written in the demanded scripts? Counts letters; no model, so languages of one script are the same.
struct LanguageReward: BuiltInReward {
  static let name = "language"
  static let summary = "the share of the completion's letters that belong to the demanded scripts"
  static let parameters: [RewardParameter] = [
    .string("language", default: "", "an ISO 639 code such as en, zh, ja or ru: the scripts that it is written in"),
    .list("scripts", default: [], "names of Unicode scripts, such as [Latin, Greek], or [prompt] for the prompt's own"),
    .number("minimum", default: 0, in: 0...1, "above 0: the score is 1 for at least this share, else 0"),
    .bool("ignore_code", default: true, "leave out code in fences and backticks"),
    .bool("ignore_math", default: true, "leave out formulas in dollar signs, \\\\( \\\\) and \\\\[ \\\\]"),
  ]

  /// nil: the prompt's own.
  private let scripts: [UnicodeScript]?
  private let minimum: Double
  private let keepsCode: Bool
  private let keepsMath: Bool

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    let language = reader.text("language")
    let names = try reader.texts("scripts")
    guard language.isEmpty != names.isEmpty else {
      throw reader.wrong(
        "language", language.isEmpty ? "is missing, and so are 'scripts'" : "is given, and 'scripts' too",
        hint: "give one of them, such as language: en or scripts: [Latin]")
    }
    if !language.isEmpty {
      guard let known = WrittenLanguage.scripts(of: language) else {
        let near = nearestName(to: language, among: WrittenLanguage.languages)
        throw reader.wrong(
          "language", "is '\(language)', whose scripts are not known",
          hint: near.map { "did you mean '\($0)'? Else name its scripts" }
            ?? "name its scripts, such as scripts: [Latin]")
      }
      scripts = known
    } else if names == ["prompt"] {
      scripts = nil
    } else {
      scripts = try names.map { name in
        if let script = UnicodeScript(named: name) { return script }
        let near = nearestName(to: name, among: UnicodeScript.names + ["prompt"])
        throw reader.wrong(
          "scripts",
          name == "prompt"
            ? "holds 'prompt' beside others, which has to stand alone" : "holds '\(name)', which is no script",
          hint: near == "prompt" ? nil : near.map { "did you mean '\($0)'?" })
      }
    }
    minimum = reader.number("minimum")
    keepsCode = !reader.flag("ignore_code")
    keepsMath = !reader.flag("ignore_math")
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) -> RewardOutcome {
    let wanted: [UnicodeScript]
    if let scripts {
      wanted = scripts
    } else {
      let asked = sample.messages.last { $0.role == "user" }?.text ?? sample.prompt
      wanted = count(asked).main
      if wanted.isEmpty { return .none(.notApplicable, "the prompt has no letters") }
    }
    let found = count(sample.completion)
    let total = found.total
    guard total > 0 else { return .none(.notApplicable, "the completion has no letters") }
    let share = Double(found.count(of: wanted)) / Double(total)
    let parts = found.ranked.prefix(4).map { "\($0.script.name) \(Self.percent(Double($0.count) / Double(total)))" }
    return RewardOutcome(
      score: minimum > 0 ? (share >= minimum ? 1 : 0) : share, status: .ok,
      components: [("share", share), ("letters", Double(total))],
      log: "\(parts.joined(separator: ", ")) of \(total) letters; wanted \(wanted.map(\.name).joined(separator: ", "))")
  }

  private func count(_ text: String) -> ScriptCount {
    UnicodeScript.count(ProseText.of(text, keepsCode: keepsCode, keepsMath: keepsMath))
  }

  private static func percent(_ share: Double) -> String {
    let tenths = (share * 1000).rounded()
    return "\(Int(tenths) / 10).\(Int(tenths) % 10) %"
  }
}
