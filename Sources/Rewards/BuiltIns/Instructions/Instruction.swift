import Core

/// A verifiable instruction: a test of a text, under an identifier of IFEval (Zhou and others 2023, arXiv:2311.07911).
struct Instruction: Sendable {
  /// What a test found: does the text follow, and in which words.
  typealias Finding = (follows: Bool, words: String)

  let id: String
  /// - Throws: `InstructionArguments.Missing`.
  let check: @Sendable (_ text: String, _ arguments: InstructionArguments) throws -> Finding

  static func with(id: String) -> Instruction? { all.first { $0.id == id } }

  static let all: [Instruction] = keywords + lengths + content + formats + cases

  private static let keywords: [Instruction] = [
    Instruction(id: "keywords:existence") { text, arguments in
      let missing = try arguments.texts("keywords").first { InstructionText.occurrences(of: $0, in: text) == 0 }
      return (missing == nil, missing.map { "\($0.quoted()) is missing" } ?? "all keywords are there")
    },
    Instruction(id: "keywords:forbidden_words") { text, arguments in
      let found = try arguments.texts("forbidden_words").first {
        InstructionText.occurrences(of: $0, in: text, words: true) > 0
      }
      return (found == nil, found.map { "\($0.quoted()) is forbidden" } ?? "no forbidden word")
    },
    Instruction(id: "keywords:frequency") { text, arguments in
      let keyword = try arguments.text("keyword")
      return try arguments.compare(
        InstructionText.occurrences(of: keyword.trimmedSpace, in: text), "frequency", "relation", keyword.quoted())
    },
    Instruction(id: "keywords:letter_frequency") { text, arguments in
      let letter = try arguments.text("letter")
      return try arguments.compare(
        InstructionText.occurrences(of: letter.trimmedSpace, in: text), "let_frequency", "let_relation", letter.quoted()
      )
    },
  ]

  private static let lengths: [Instruction] = [
    Instruction(id: "length_constraints:number_words") { text, arguments in
      try arguments.compare(InstructionText.words(text).count, "num_words", "relation", "words")
    },
    Instruction(id: "length_constraints:number_sentences") { text, arguments in
      try arguments.compare(InstructionText.sentences(text), "num_sentences", "relation", "sentences")
    },
    Instruction(id: "length_constraints:number_paragraphs") { text, arguments in
      let wanted = try arguments.count("num_paragraphs")
      let parts = [UInt8](text).parts(separatedBy: "***").map(\.trimmedSpace)
      if parts.dropFirst().dropLast().contains("") { return (false, "a paragraph between *** is empty") }
      let found = parts.filter { !$0.isEmpty }.count
      return (found == wanted, "\(found) paragraphs, \(wanted) wanted")
    },
    Instruction(id: "length_constraints:nth_paragraph_first_word") { text, arguments in
      let (wanted, place) = (try arguments.count("num_paragraphs"), try arguments.count("nth_paragraph"))
      let word = try arguments.text("first_word").lowercased()
      let parts = [UInt8](text).parts(separatedBy: "\n\n").map(\.trimmedSpace)
      let found = parts.filter { !$0.isEmpty }.count
      guard found == wanted else { return (false, "\(found) paragraphs, \(wanted) wanted") }
      guard place >= 1, place <= found, !parts[place - 1].isEmpty else {
        return (false, "there is no paragraph \(place)")
      }
      let first = parts[place - 1].split(whereSeparator: \.isWhitespace).first ?? ""
      let plain = first.drop { $0 == "'" || $0 == "\"" }.prefix { !".,?!'\"".contains($0) }.lowercased()
      return (plain == word, "paragraph \(place) begins with \(plain.quoted()), \(word.quoted()) wanted")
    },
  ]

  private static let content: [Instruction] = [
    Instruction(id: "detectable_content:number_placeholders") { text, arguments in
      let (found, wanted) = (InstructionText.placeholders(text), try arguments.count("num_placeholders"))
      return (found >= wanted, "\(found) placeholders, at least \(wanted) wanted")
    },
    Instruction(id: "detectable_content:postscript") { text, arguments in
      let marker = try arguments.text("postscript_marker").trimmedSpace
      let spellings: [String] =
        switch marker {
        case "P.S.": ["p.s.", "p. s."]
        case "P.P.S": ["p.p.s", "p. p.s", "p.p. s", "p. p. s"]
        default: [marker.lowercased()]
        }
      let low = text.lowercased()
      let found = spellings.contains { low.contains($0) }
      return (found, found ? "there is \(marker)" : "\(marker.quoted()) is missing")
    },
    Instruction(id: "combination:two_responses") { text, _ in
      let parts = [UInt8](text).parts(separatedBy: "******").map(\.trimmedSpace)
      if parts.dropFirst().dropLast().contains("") { return (false, "a response between ****** is empty") }
      let filled = parts.filter { !$0.isEmpty }
      guard filled.count == 2 else { return (false, "\(filled.count) responses, 2 wanted") }
      return (filled[0] != filled[1], filled[0] != filled[1] ? "two responses" : "both responses are the same")
    },
    Instruction(id: "combination:repeat_prompt") { text, arguments in
      let prompt = try arguments.text("prompt_to_repeat").trimmedSpace.lowercased()
      let repeats = text.trimmedSpace.lowercased().hasPrefix(prompt)
      return (repeats, repeats ? "begins with the prompt" : "does not begin with the prompt")
    },
    Instruction(id: "startend:end_checker") { text, arguments in
      let phrase = try arguments.text("end_phrase").trimmedSpace
      var low = text.trimmedSpace.lowercased()
      while low.hasSuffix("\"") { low.removeLast() }
      let ends = low.hasSuffix(phrase.lowercased())
      return (ends, ends ? "ends as it should" : "does not end with \(phrase.quoted())")
    },
    Instruction(id: "startend:quotation") { text, _ in
      let plain = text.trimmedSpace
      let wrapped = plain.unicodeScalars.count > 1 && plain.hasPrefix("\"") && plain.hasSuffix("\"")
      return (wrapped, wrapped ? "in double quotes" : "not in double quotes")
    },
  ]

  private static let formats: [Instruction] = [
    Instruction(id: "detectable_format:number_bullet_lists") { text, arguments in
      let (found, wanted) = (InstructionText.bullets(text), try arguments.count("num_bullets"))
      return (found == wanted, "\(found) bullets, \(wanted) wanted")
    },
    Instruction(id: "detectable_format:number_highlighted_sections") { text, arguments in
      let (found, wanted) = (InstructionText.highlights(text), try arguments.count("num_highlights"))
      return (found >= wanted, "\(found) highlighted parts, at least \(wanted) wanted")
    },
    Instruction(id: "detectable_format:multiple_sections") { text, arguments in
      let splitter = try arguments.text("section_spliter").trimmedSpace
      let (found, wanted) = (
        InstructionText.sections(text, splitter: splitter), try arguments.count("num_sections")
      )
      return (found >= wanted, "\(found) sections that begin with \(splitter.quoted()), at least \(wanted) wanted")
    },
    Instruction(id: "detectable_format:json_format") { text, _ in
      var plain = text.trimmedSpace
      if let block = FencedBlock.all(in: plain).first, block.isWhole { plain = block.body }
      do {
        _ = try JSON.parse(plain)
        return (true, "valid JSON")
      } catch { return (false, (error as? AttuneError)?.message ?? "\(error)") }
    },
    Instruction(id: "detectable_format:constrained_response") { text, _ in
      let answer = ["My answer is yes.", "My answer is no.", "My answer is maybe."].first { text.contains($0) }
      return (answer != nil, answer ?? "none of the three answers")
    },
    Instruction(id: "detectable_format:title") { text, _ in
      let found = InstructionText.hasTitle(text)
      return (found, found ? "there is a title" : "there is no <<title>>")
    },
  ]

  private static let cases: [Instruction] = [
    Instruction(id: "change_case:capital_word_frequency") { text, arguments in
      try arguments.compare(
        InstructionText.capitalWords(text), "capital_frequency", "capital_relation", "words in capitals")
    },
    Instruction(id: "change_case:english_capital") { text, _ in
      let capital = InstructionText.isCased(text.unicodeScalars, lower: false)
      return try written(text, "en", capital, capital ? "all in capitals" : "not all in capitals")
    },
    Instruction(id: "change_case:english_lowercase") { text, _ in
      let low = InstructionText.isCased(text.unicodeScalars, lower: true)
      return try written(text, "en", low, low ? "all in lower case" : "not all in lower case")
    },
    Instruction(id: "punctuation:no_comma") { text, _ in
      let found = text.utf8.contains(UInt8(ascii: ","))
      return (!found, found ? "there is a comma" : "no comma")
    },
    Instruction(id: "language:response_language") { text, arguments in
      try written(text, try arguments.text("language"), true, "")
    },
  ]

  /// Is more than half of the letters of the language's scripts? Kana tell Japanese from Chinese.
  private static func written(_ text: String, _ language: String, _ holds: Bool, _ words: String) throws -> Finding {
    guard let scripts = WrittenLanguage.scripts(of: language) else {
      throw InstructionArguments.Missing(words: "the scripts of the language '\(language)' are not known")
    }
    let count = UnicodeScript.count(text)
    let share = count.total == 0 ? 0 : Double(count.count(of: scripts)) / Double(count.total)
    let names = scripts.map(\.name).joined(separator: ", ")
    guard share > 0.5 else { return (false, "\(Int(share * 100)) % of the letters are \(names)") }
    if names.hasPrefix("Han"), scripts.count > 1 || count.numbers.keys.contains(where: { $0.name == "Hiragana" }) {
      let isJapanese = count.main.count > 1
      guard isJapanese == (scripts.count > 1) else {
        return (false, isJapanese ? "there are kana" : "there are no kana")
      }
    }
    return (holds, words.isEmpty ? "\(Int(share * 100)) % of the letters are \(names)" : words)
  }
}

/// The arguments of one instruction: an entry of IFEval's `kwargs`.
struct InstructionArguments: Sendable {
  let values: JSON.Object

  /// An argument is missing, or is not what it has to be.
  struct Missing: Error {
    var words: String
  }

  func text(_ key: String) throws -> String {
    guard let text = values[key]?.string, !text.isEmpty else { throw Missing(words: "'\(key)' is no text") }
    return text
  }

  func texts(_ key: String) throws -> [String] {
    let texts = values[key]?.array?.compactMap(\.string) ?? []
    guard !texts.isEmpty, texts.count == values[key]?.array?.count else {
      throw Missing(words: "'\(key)' is no list of texts")
    }
    return texts
  }

  func count(_ key: String) throws -> Int {
    guard let count = values[key]?.int, count >= 0 else { throw Missing(words: "'\(key)' is no whole number") }
    return count
  }

  /// `less than` or `at least` so many.
  func compare(_ found: Int, _ key: String, _ relationKey: String, _ things: String) throws -> Instruction.Finding {
    let wanted = try count(key)
    let relation = try text(relationKey)
    guard relation == "less than" || relation == "at least" else {
      throw Missing(words: "'\(relationKey)' is '\(relation)', 'less than' or 'at least' was expected")
    }
    return (
      relation == "less than" ? found < wanted : found >= wanted, "\(found) \(things), \(relation) \(wanted) wanted"
    )
  }
}
