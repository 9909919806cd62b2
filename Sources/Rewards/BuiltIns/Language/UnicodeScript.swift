import Core

/// Scripts of letters, as Unicode assigns them.
struct UnicodeScript: Hashable, Sendable {
  let name: String

  static let common = UnicodeScript(name: "Common")
  static let unknown = UnicodeScript(name: "Unknown")

  /// The script that goes by a name, without regard to case, spaces and underscores.
  init?(named name: String) {
    func plain(_ text: String) -> String { text.lowercased().filter { $0 != "_" && $0 != " " && $0 != "-" } }
    let wanted = plain(name)
    guard let found = Self.names.first(where: { plain($0) == wanted }), found != Self.common.name else { return nil }
    self.name = found
  }

  private init(name: String) { self.name = name }

  /// All names, without Common, which no language is written in.
  static let names: [String] = ScriptTable.ranges.map(\.script)

  private struct Range: Sendable {
    var first: UInt32
    var last: UInt32
    var script: UnicodeScript
  }

  /// In ascending order, without overlaps.
  private static let ranges: [Range] = ScriptTable.ranges.flatMap { script, ranges in
    ranges.split(separator: " ").compactMap { item -> Range? in
      let ends = item.split(separator: "-").compactMap { UInt32($0, radix: 16) }
      guard let first = ends.first, let last = ends.last else { return nil }
      return Range(first: first, last: last, script: UnicodeScript(name: script))
    }
  }.sorted { $0.first < $1.first }

  /// A letter's script; `common` for letters of several scripts, nil for what is no letter.
  static func of(_ scalar: Unicode.Scalar) -> UnicodeScript? {
    if scalar.value < 0x80 {
      return (0x61...0x7A).contains(scalar.value | 0x20) ? latin : nil
    }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: break
    default: return nil
    }
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].last < scalar.value { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].first <= scalar.value ? ranges[low].script : unknown
  }

  private static let latin = UnicodeScript(name: "Latin")

  /// How many letters of each script a text has; letters of several scripts are left out.
  static func count(_ text: String) -> ScriptCount {
    var numbers: [UnicodeScript: Int] = [:]
    for scalar in text.unicodeScalars {
      guard let script = of(scalar), script != common else { continue }
      numbers[script, default: 0] += 1
    }
    return ScriptCount(numbers: numbers)
  }
}

/// Letters by script.
struct ScriptCount {
  var numbers: [UnicodeScript: Int]

  var total: Int { numbers.values.reduce(0, +) }

  func count(of scripts: some Sequence<UnicodeScript>) -> Int { scripts.reduce(0) { $0 + (numbers[$1] ?? 0) } }

  /// Scripts with their numbers, the most frequent first.
  var ranked: [(script: UnicodeScript, count: Int)] {
    numbers.map { ($0.key, $0.value) }.sorted { ($1.1, $0.0.name) < ($0.1, $1.0.name) }
  }

  /// The script of most letters. Japanese is written in three, which count as one where kana occur.
  var main: [UnicodeScript] {
    guard let first = ranked.first?.script else { return [] }
    let japanese = WrittenLanguage.scripts(of: "ja") ?? []
    let kana = japanese.filter { $0.name != "Han" }
    return japanese.contains(first) && count(of: kana) > 0 ? japanese : [first]
  }
}

/// The scripts that languages are written in.
enum WrittenLanguage {
  private static let table: [(scripts: String, languages: String)] = [
    (
      "Latin",
      "af az bs ca cs cy da de en eo es et eu fi fil fr ga gl ha hr hu id ig is it la lt lv mi ms mt nb nl nn no pl pt ro "
        + "sk sl so sq sv sw tl tr uz vi xh yo zu"
    ),
    ("Cyrillic", "be bg kk ky mk mn ru tg tt uk"), ("Cyrillic Latin", "sr"), ("Greek", "el"), ("Hebrew", "he yi"),
    ("Arabic", "ar ckb fa ps sd ug ur"), ("Devanagari", "hi mr ne sa"), ("Bengali", "as bn"), ("Gurmukhi", "pa"),
    ("Gujarati", "gu"), ("Oriya", "or"), ("Tamil", "ta"), ("Telugu", "te"), ("Kannada", "kn"), ("Malayalam", "ml"),
    ("Sinhala", "si"), ("Thai", "th"), ("Lao", "lo"), ("Myanmar", "my"), ("Khmer", "km"), ("Tibetan", "bo dz"),
    ("Georgian", "ka"), ("Armenian", "hy"), ("Ethiopic", "am ti"), ("Thaana", "dv"), ("Han", "zh yue"),
    ("Han Hiragana Katakana", "ja"), ("Hangul", "ko"),
  ]

  static let languages: [String] = table.flatMap { $0.languages.split(separator: " ").map(String.init) }.sorted()

  /// The scripts of a language, by its ISO 639 code; what follows a hyphen (`zh-cn`) is left out of account.
  static func scripts(of language: String) -> [UnicodeScript]? {
    let code = language.lowercased().split(whereSeparator: { $0 == "-" || $0 == "_" }).first.map(String.init) ?? ""
    let entry = table.first { $0.languages.split(separator: " ").contains { $0 == code } }
    return entry?.scripts.split(separator: " ").compactMap { UnicodeScript(named: String($0)) }
  }
}
