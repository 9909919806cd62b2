import AttuneTensor
import Core
import Models
import TestSupport
import Testing
import Text

@testable import Rollout

@Suite struct RegexGuideTests {
  static let patterns = [
    #"[a-c]+"#, #"(ab|ba){2,5}"#, #"\d{3}-\d{4}"#, #"a*b*c*"#, #"(a|b)*a(a|b){3}"#, #"[^a-y0-9]{1,6}"#, #"é+€?"#,
    #"(?:x|y|zz?)*?;"#, #"<[a-z]+>[^<>]{0,12}</[a-z]+>"#, #"-?(0|[1-9]\d*)(\.\d+)?"#, #"\u00e9\x41{2,}"#, #"\\\{\}"#,
    #".{5,9}"#, #"(?<year>\d\d)\s\w+"#, #"😀+"#, #"(|a)(|b)(|c)"#, #"[\d\-a]{4}"#, #"[€-￿]{1,3}"#,
  ]

  /// Every completion that ended is a whole match, in the eyes of another implementation.
  @Test(arguments: patterns) func completionsMatch(pattern: String) throws {
    let guide = try Guide(regex: pattern, ToyTokens().vocabulary())
    let other = try OtherImplementation(pattern)
    var ended = 0
    for seed in 0..<4 {
      let toy = try ToyModel(seed: UInt64(seed), deviation: 0.1 * Double(seed + 1))
      let parameters = SamplingParameters(
        temperature: [1, 0.5, 2, 0][seed], topP: seed == 1 ? 0.9 : 1, maxNewTokens: 60,
        stopIDs: seed == 2 ? [] : [ToyTokens.end])
      for completion in try toy.sample(guide, 24, seed: UInt64(seed), parameters) {
        if completion.finishReason == .stop {
          ended += 1
          #expect(completion.ids.last == ToyTokens.end)
          #expect(other.matches(completion.text), "\(pattern): \(String(reflecting: completion.text))")
        } else {
          #expect(completion.finishReason == .length && completion.ids.count == 60)
        }
      }
    }
    #expect(ended >= 12, "\(pattern): \(ended) of 96 ended")
  }

  /// Vocabularies over which every token sequence of some length is tried: complete, without a single b, and in pieces
  /// of one character.
  static let small: [[[UInt8]]] = [
    [Array("a".utf8), Array("b".utf8), Array("ab".utf8), Array("bb".utf8), Array("-".utf8)],
    [Array("a".utf8), Array("ab".utf8), Array("bba".utf8), Array("-".utf8)],
    [[0xC3], [0xA9], [0xC3, 0xA9], Array("a".utf8), [0xA9, 0x61]],
  ]
  static let finite = [
    "a{0,3}", "(ab|ba|b){1,2}", "[ab]{2}-?", "(a|ab)(b|bba)?", "é?a{0,2}", "[^a]{1,2}", "a(é|b)a?", "-|ab|abb|abba",
    "(a-)?(bb)?", ".{0,3}",
  ]

  /// An id is allowed exactly when some completion exists, as trying all of them says.
  @Test(arguments: 0..<3) func masksEqualTryingEverything(number: Int) throws {
    let tokens = Self.small[number]
    let end = Int32(tokens.count)
    // As many tokens as the longest text of the patterns has, characters in pieces too.
    let longest = number == 2 ? 6 : 5
    var sequences: [[Int32]] = [[]]
    var all: [[Int32]] = [[]]
    for _ in 0..<longest {
      sequences = sequences.flatMap { sequence in tokens.indices.map { sequence + [Int32($0)] } }
      all += sequences
    }
    let texts = all.map { ids in String(validating: ids.flatMap { tokens[Int($0)] }, as: UTF8.self) }
    for pattern in Self.finite {
      let other = try OtherImplementation(pattern)
      var wanted: [[Int32]: Set<Int32>] = [:]
      for (ids, text) in zip(all, texts) {
        guard let text, other.matches(text) else { continue }
        for (i, id) in (ids + [end]).enumerated() { wanted[Array(ids.prefix(i)), default: []].insert(id) }
      }
      let vocabulary = try GuideVocabulary(tokens: tokens, endIDs: [end])
      guard wanted[[]] != nil else {
        expectAttuneError(containing: "no text") { _ = try Guide(regex: pattern, vocabulary) }
        continue
      }
      let guide = try Guide(regex: pattern, vocabulary)
      var checked = 0
      for ids in all {
        var state: Guide.State? = guide.start
        for id in ids { state = try state.flatMap { try guide.next($0, id) } }
        #expect((state != nil) == (wanted[ids] != nil), "\(pattern) \(ids)")
        guard let state, let expected = wanted[ids] else { continue }
        #expect(Set(try guide.mask(state).ids) == expected, "\(pattern) \(ids)")
        #expect(guide.isAccepting(state) == expected.contains(end))
        checked += 1
      }
      #expect(checked == wanted.count)
    }
  }

  /// Random patterns, every text of up to five letters: the automata against sets of places; and no id is allowed
  /// that leads nowhere, none forbidden that leads to a text.
  @Test(arguments: 0..<6) func randomPatterns(seed: Int) throws {
    var random = Randomness(seed: 12, for: .testing).stream(seed)
    func pattern(_ depth: Int) -> PlainPattern {
      switch random.integer(below: depth > 0 ? 9 : 3) {
      case 0: return .letters("a", ["a"])
      case 1: return .letters("b", ["b"])
      case 2:
        return [
          .letters("[ab]", ["a", "b"]), .letters("[^a]", ["b", "é"]), .letters(".", ["a", "b", "é"]),
          .letters("é", ["é"]), .letters("[b-é]", ["b", "é"]),
        ][random.integer(below: 5)]
      case 3, 4: return .pair(pattern(depth - 1), pattern(depth - 1))
      case 5: return .either(pattern(depth - 1), pattern(depth - 1))
      case 6:
        let (sign, least, most) = [("*", 0, 9), ("+", 1, 9), ("?", 0, 1), ("*?", 0, 9), ("+?", 1, 9)][
          random.integer(below: 5)]
        return .repeated(pattern(depth - 1), sign, least, most)
      case 7:
        let (least, most) = (random.integer(below: 2), 1 + random.integer(below: 3))
        return .repeated(pattern(depth - 1), "{\(least),\(most)}", least, most)
      default: return .either(.letters("", []), pattern(depth - 1))
      }
    }
    let letters = ["a", "b", "é"]
    var texts = [""]
    var all = [""]
    for _ in 0..<5 {
      texts = texts.flatMap { text in letters.map { text + $0 } }
      all += texts
    }
    let tokens: [[UInt8]] = [[97], [98], [0xC3], [0xA9], Array("ab".utf8), Array("aé".utf8), [0xA9, 97]]
    let vocabulary = try GuideVocabulary(tokens: tokens, endIDs: [7])
    for _ in 0..<40 {
      let plain = pattern(4)
      let source = plain.text
      let found = try matching(RegexParser.parse(source), all)
      #expect(found == all.filter(plain.matches), "\(source)")
      let guide = try Guide(regex: source, vocabulary)
      // Every way of writing a text in tokens is open, and every way taken at random can be brought to an end.
      for text in found.prefix(60) {
        var state = guide.start
        var left = Array(text.utf8)[...]
        while !left.isEmpty {
          let fitting = tokens.indices.filter { left.starts(with: tokens[$0]) }
          let id = fitting[random.integer(below: fitting.count)]
          #expect(try guide.mask(state).contains(Int32(id)), "\(source) \(text)")
          state = try #require(try guide.next(state, Int32(id)))
          left = left.dropFirst(tokens[id].count)
        }
        #expect(guide.isAccepting(state))
      }
      var state = guide.start
      for _ in 0..<30 {
        let allowed = try guide.mask(state).ids
        #expect(!allowed.isEmpty && allowed.contains(7) == guide.isAccepting(state))
        guard let next = try guide.next(state, allowed[random.integer(below: allowed.count)]) else { break }
        state = next
      }
    }
  }

  /// What cannot be finished with the tokens there are is never begun: only whole words here.
  @Test func endlessWaysWithoutAnEndAreNotTaken() throws {
    let tokens = ["x", "aa", "b", "c"].map { Array($0.utf8) }
    let vocabulary = try GuideVocabulary(tokens: tokens, endIDs: [4])
    // An odd number of a cannot be written; x leads there only, and loops.
    let guide = try Guide(regex: "x+(aa)*a|b(aa)*c", vocabulary)
    #expect(try guide.mask(guide.start).ids == [2])
    let behind = try #require(try guide.next(guide.start, 2))
    #expect(try guide.mask(behind).ids == [1, 3])
    #expect(try guide.next(guide.start, 0) == nil)
    expectAttuneError(containing: "no text of the set") { _ = try Guide(regex: "x+a", vocabulary) }
  }

  @Test func anEndIsAllowedExactlyWhereTheTextIsWhole() throws {
    let toy = ToyTokens()
    let guide = try Guide(regex: "ab?", toy.vocabulary())
    #expect(!guide.isAccepting(guide.start))
    let a = try #require(try guide.next(guide.start, 0))
    #expect(try guide.mask(a).ids == [1, ToyTokens.end])
    let whole = try #require(try guide.next(a, 1))
    #expect(try guide.mask(whole).ids == [ToyTokens.end])
    #expect(try guide.next(whole, ToyTokens.end) == nil)
    let empty = try Guide(regex: "", toy.vocabulary())
    #expect(try empty.mask(empty.start).ids == [ToyTokens.end])
    expectAttuneError(containing: "no id ends a completion") {
      _ = try GuideVocabulary(tokens: toy.bytes, endIDs: [])
    }
  }

  /// With tokenizers as they are: one that drops the first space, one that does not. The text counts, not the token.
  @Test(arguments: ["llama2", "qwen"]) func theFirstTokenOfATokenizerCountsAsDecoded(name: String) throws {
    let tokenizer = try Tokenizer.load(folder: Fixtures.path("tokenizers/\(name)"))
    let end = try #require(tokenizer.addedTokens.first { $0.isSpecial }?.id)
    let guide = try Guide(
      regex: "[a-z]+ [a-z]+ é*", GuideVocabulary(tokenizer, endIDs: [end], size: tokenizer.vocabularySize))
    var random = Randomness(seed: 6, for: .testing).stream()
    var ended = 0
    for _ in 0..<40 {
      var state = guide.start
      var ids: [Int32] = []
      while ids.count < 200 {
        let allowed = try guide.mask(state).ids
        // An end as soon as one is allowed, half of the time.
        let id = allowed.contains(end) && random.uniform() < 0.5 ? end : allowed[random.integer(below: allowed.count)]
        ids.append(id)
        guard let next = try guide.next(state, id) else { break }
        state = next
      }
      guard ids.last == end else { continue }
      ended += 1
      let text = tokenizer.decode(ids, skipSpecialTokens: true)
      #expect(text.wholeMatch(of: /[a-z]+ [a-z]+ é*/) != nil, "\(String(reflecting: text)) \(ids)")
      #expect(!ids.dropLast().contains(where: tokenizer.isSpecial))
    }
    #expect(ended > 10)
  }

  @Test func theFirstTokenCountsAsDecoded() throws {
    let tokens = [" a", "a", " "].map { Array($0.utf8) }
    let first = ["a", "a", ""].map { Array($0.utf8) }
    let guide = try Guide(
      regex: "a a*", GuideVocabulary(tokens: tokens, firstTokens: first, endIDs: [3]))
    #expect(try guide.mask(guide.start).ids == [0, 1])
    let next = try #require(try guide.next(guide.start, 0))
    #expect(try guide.mask(next).ids == [0, 2])
  }

  /// What is recorded stays the model's own, and a guided row does not change one beside it, nor the other way round.
  @Test func guidesLeaveLogprobsAndNeighboursAlone() throws {
    let toy = try ToyModel()
    let guide = try Guide(regex: "[a-f]{4,9}", toy.tokens.vocabulary())
    let engine = LocalEngine(toy.model, decoder: toy.tokens, seed: 8)
    let free = RolloutRequest(prompt: toy.prompt, completions: 5, promptNumber: 0)
    let held = RolloutRequest(prompt: toy.prompt, completions: 5, promptNumber: 1, guide: guide)
    for parameters in [
      SamplingParameters(maxNewTokens: 12, stopIDs: [ToyTokens.end]), SamplingParameters(topK: 30, maxNewTokens: 12),
    ] {
      let both = try engine.generate([free, held], parameters)
      #expect(try engine.generate([free], parameters)[0].map(\.ids) == both[0].map(\.ids))
      #expect(try engine.generate([held], parameters)[0].map(\.ids) == both[1].map(\.ids))
      let batch = TrainingBatch([PromptTree(prompt: toy.prompt, completions: both[1].map(\.ids))])
      let tape = Tape(toy.model.backend, recording: false)
      let values = toy.model.backend.floats(toy.model.streams(tape, batch, temperature: 1, wanted: [.logprob]))
      for (range, completion) in zip(batch.completionRanges, both[1]) {
        #expect(values[range].map(\.bitPattern) == completion.logprobs.map(\.bitPattern))
      }
    }
    // Bans do not break a guide, and an end that it does not know is refused.
    let banned = SamplingParameters(maxNewTokens: 12, suppressedIDs: Set(0..<96), minNewTokens: 12)
    for completion in try engine.generate([held], banned)[0] {
      #expect(completion.finishReason == .stop && (4...9).contains(completion.text.count))
    }
    expectAttuneError(containing: "stop id 3 is no end id") {
      _ = try engine.generate([held], SamplingParameters(stopIDs: [3]))
    }
  }

  /// Over 150,000 tokens the walk gives what trying each token gives.
  @Test func masksOfALargeVocabulary() throws {
    let tokens = LargeVocabulary.tokens(150_000)
    let vocabulary = try GuideVocabulary(tokens: tokens, endIDs: [150_000])
    let pattern = #"\{"name": "[^"\\]{1,40}", "n": -?[1-9]\d{0,8}\}( [a-z]+)*"#
    let guide = try Guide(regex: pattern, vocabulary)
    var random = Randomness(seed: 4, for: .testing).stream()
    var state = guide.start
    for _ in 0..<12 {
      let allowed = try guide.mask(state)
      for id in stride(from: 0, to: Int32(tokens.count), by: 7) {
        #expect(try (guide.next(state, id) != nil) == allowed.contains(id))
      }
      #expect(allowed.contains(150_000) == guide.isAccepting(state))
      let ids = allowed.ids
      guard let next = try guide.next(state, ids[random.integer(below: ids.count)]) else { break }
      state = next
    }
  }

  // MARK: The dialect

  @Test(arguments: [
    (#"a|b{2}"#, ["a", "bb"], ["b", "ab", ""]), (#"^(?:a|b)$"#, ["a", "b"], ["ab", "^a$"]),
    (#"[]a]"#, [], ["a"]), (#"\x41\u{1F600}\u0042"#, ["A😀B"], ["AB"]), (#"\uD83D\uDE00"#, ["😀"], [""]),
    (#"\D\W\S"#, ["xé-", "a-€"], ["1-a", "aaa"]), (#"[^\n]"#, ["é", "😀", "a"], ["\n", ""]),
    (#"."#, ["\r", "é"], ["\n"]),
    (#"a{,2}"#, ["", "a", "aa"], ["aaa"]), (#"a{2,}?b+?"#, ["aab", "aaabb"], ["ab"]),
    (#"(a*)*b"#, ["b", "aab"], ["a"]),
    (#"[a\]b\-]+"#, ["]-ab"], ["c"]), (#"^a|b$"#, ["a", "b"], ["ax"]),
    (#"\t\n\r\f\v\0"#, ["\t\n\r\u{0C}\u{0B}\0"], [""]),
  ])
  func dialect(pattern: String, inside: [String], outside: [String]) throws {
    if inside.isEmpty {
      expectAttuneError(containing: "regex:1:1", "empty class") { _ = try RegexParser.parse(pattern) }
      return
    }
    let syntax = try RegexParser.parse(pattern)
    for text in inside { #expect(try matches(syntax, text), "\(pattern): \(String(reflecting: text))") }
    for text in outside { #expect(try !matches(syntax, text), "\(pattern): \(String(reflecting: text))") }
  }

  @Test(arguments: [
    (#"a(?=b)"#, "regex:1:2", "lookaround"), (#"(a)\1"#, "regex:1:4", "backreferences"), (#"a\b"#, "regex:1:2", "word"),
    (#"(ab"#, "regex:1:1", "not closed"), (#"ab)"#, "regex:1:3", "closes nothing"),
    (#"[a-"#, "regex:1:1", "not closed"),
    (#"*a"#, "regex:1:1", "nothing to repeat"), (#"a**"#, "regex:1:3", "behind a quantifier"),
    (#"a*+"#, "regex:1:3", "possessive"), (#"a{3,1}"#, "regex:1:2", "from 3 to 1"), (#"a{x}"#, "regex:1:2", "{m,n}"),
    (#"[z-a]"#, "regex:1:2", "ends before it begins"), (#"\q"#, "regex:1:1", "not known"),
    (#"a\"#, "regex:1:2", "at the end"),
    (#"\p{L}"#, "regex:1:1", "Unicode properties"), (#"(?i)a"#, "regex:1:1", "(?i"),
    (#"a^b"#, "regex:1:2", "whole text"),
    (#"a$b"#, "regex:1:2", "whole text"), (#"\ud800"#, "regex:1:1", "no character"),
    (#"[[:alpha:]]"#, "regex:1:2", "POSIX"),
    (#"a{9999999}"#, "regex:1:2", "above"),
  ])
  func refusals(pattern: String, place: String, reason: String) {
    expectAttuneError(containing: place, reason) { _ = try RegexParser.parse(pattern) }
  }

  /// Patterns made to hurt are refused or bounded.
  @Test func hostilePatterns() throws {
    let toy = try ToyTokens().vocabulary()
    let deep = String(repeating: "(", count: 100_000)
    expectAttuneError(containing: "nested deeper than 200") { _ = try Guide(regex: deep, toy) }
    expectAttuneError(containing: "states") { _ = try Guide(regex: "((a{1000}){1000}){1000}", toy) }
    expectAttuneError(containing: "states") { _ = try Guide(regex: "(()?){1000000}", toy) }
    expectAttuneError(containing: "no text") { _ = try Guide(regex: #"a[^\u{0}-\u{10FFFF}]"#, toy) }
    let everything = try Guide(regex: #"[\u{0}-\u{10FFFF}]*"#, toy)
    #expect(try everything.mask(everything.start).population == ToyTokens().bytes.compactMap { $0 }.count + 1 - 4)
    // Two to the power of forty states if all were made; those of one walk are few.
    let wide = try Guide(regex: "(a|b)*a(a|b){40}", toy)
    var state = wide.start
    var random = Randomness(seed: 1, for: .testing).stream()
    for _ in 0..<2000 {
      let allowed = try wide.mask(state).ids.filter { $0 != ToyTokens.end }
      state = try #require(try wide.next(state, allowed[random.integer(below: allowed.count)]))
    }
    #expect(wide.stateCount < 20_000)
    // Tokens of twenty letters make two to the power of twenty: the bound says so.
    let long = (0..<1 << 18).map { number in (0..<18).map { UInt8(ascii: number >> $0 & 1 == 1 ? "a" : "b") } }
    let vocabulary = try GuideVocabulary(tokens: long + [[97], [98]], endIDs: [1 << 18 + 2])
    expectAttuneError(containing: "automaton has more than") {
      _ = try Guide(regex: "(a|b)*a(a|b){18}", vocabulary)
    }
    _ = try Guide(regex: "(((a?)*)*)*(b|c*)+", toy)
    _ = try Guide(regex: String(repeating: "a?", count: 2000) + String(repeating: "a", count: 2000), toy)
  }
}
