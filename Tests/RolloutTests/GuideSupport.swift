import AttuneTensor
import Core
import Foundation
import Models
import TestSupport
import Testing

@testable import Rollout

/// Tokens of a tiny model: the pieces of JSON and of simple texts, single bytes of one character, and an end.
struct ToyTokens: CompletionDecoder {
  static let end: Int32 = 96
  let bytes: [[UInt8]?]

  init() {
    var tokens = Array("abcdefghijklmnopqrstuvwxyz0123456789ABCTXYZ_ -+.,:;/@\"\\{}[]()<>".unicodeScalars).map {
      Array(String($0).utf8)
    }
    tokens += ["true", "alse", "null", "\": ", "\", \"", "00", "12", "ab", "ba", "é€", "\n", "\\u00", "{\"", "\"}"].map
    {
      Array($0.utf8)
    }
    tokens += [[0xC3], [0xA9], [0xE2, 0x82], [0xAC], [0xF0, 0x9F], [0x98], [0x80]]
    precondition(tokens.count <= Int(Self.end))
    // Ids without text: special tokens.
    bytes = tokens.map { $0 } + [[UInt8]?](repeating: nil, count: 97 - tokens.count)
  }

  func vocabulary() throws -> GuideVocabulary { try GuideVocabulary(tokens: bytes, endIDs: [Self.end]) }

  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    String(decoding: ids.flatMap { bytes[Int($0)] ?? [] }, as: UTF8.self)
  }
}

/// A random model whose ids are `ToyTokens`.
struct ToyModel {
  let tokens = ToyTokens()
  let model: LanguageModel
  let prompt: EncodedPrompt

  init(seed: UInt64 = 5, deviation: Double = 0.15) throws {
    model = try LanguageModel(
      ModelConfiguration(json: TinyModels.qwen3, file: "test"),
      from: RandomSource(seed: seed, deviation: deviation, backend: CPUBackend(threads: 2), precision: .full))
    prompt = try model.encode(ids: [1, 2, 3])
  }

  func sample(
    _ guide: Guide?, _ count: Int = 24, seed: UInt64 = 1, _ parameters: SamplingParameters = .init(maxNewTokens: 60)
  ) throws -> [Completion] {
    try LocalEngine(model, decoder: tokens, seed: seed).generate(
      [RolloutRequest(prompt: prompt, completions: count, promptNumber: 0, guide: guide)], parameters)[0]
  }
}

/// Whether `text` is in the set, by the automata alone.
func matches(_ syntax: GuideSyntax, _ text: String) throws -> Bool { try matching(syntax, [text]) == [text] }

/// The texts that are in the set.
func matching(_ syntax: GuideSyntax, _ texts: [String]) throws -> [String] {
  var automaton = try LazyAutomaton(
    ByteAutomaton(syntax), singleBytes: [Bool](repeating: true, count: 256))
  return try texts.filter { text in
    var state = automaton.start
    for byte in text.utf8 {
      state = try automaton.step(state, byte)
      if state == LazyAutomaton.dead { return false }
    }
    return automaton.isAccepting[Int(state)]
  }
}

/// Whole matches by another implementation.
struct OtherImplementation {
  private let expression: NSRegularExpression

  init(_ pattern: String) throws {
    expression = try NSRegularExpression(pattern: "\\A(?:\(pattern))\\z", options: .useUnixLineSeparators)
  }

  func matches(_ text: String) -> Bool {
    expression.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil
  }
}

/// A pattern that matches by the definition: where may it end, if it begins here? Backtracking implementations are no
/// yardstick where an empty text is repeated: they stop there.
indirect enum PlainPattern {
  /// One of the letters, or nothing at all if there is none.
  case letters(String, Set<Character>)
  case pair(PlainPattern, PlainPattern)
  case either(PlainPattern, PlainPattern)
  case repeated(PlainPattern, String, Int, Int)

  var text: String {
    switch self {
    case .letters(let text, _): text
    case .pair(let a, let b): a.text + b.text
    case .either(let a, let b): "(\(a.text)|\(b.text))"
    case .repeated(let a, let sign, _, _): "(?:\(a.text))\(sign)"
    }
  }

  func matches(_ text: String) -> Bool { ends(Array(text), [0]).contains(text.count) }

  private func ends(_ text: [Character], _ starts: Set<Int>) -> Set<Int> {
    switch self {
    case .letters(_, let letters):
      letters.isEmpty ? starts : Set(starts.filter { $0 < text.count && letters.contains(text[$0]) }.map { $0 + 1 })
    case .pair(let a, let b): b.ends(text, a.ends(text, starts))
    case .either(let a, let b): a.ends(text, starts).union(b.ends(text, starts))
    case .repeated(let a, _, let least, let most):
      (0..<most).reduce(into: (places: starts, all: least == 0 ? starts : [])) { result, round in
        result.places = a.ends(text, result.places)
        if round + 1 >= least { result.all.formUnion(result.places) }
      }.all
    }
  }
}

/// Tokens like those of a large byte-level vocabulary: every byte, words with and without a space, numbers, punctuation.
enum LargeVocabulary {
  static func tokens(_ count: Int) -> [[UInt8]] {
    var random = Randomness(seed: 1, for: .testing).stream()
    var seen: Set<[UInt8]> = []
    var tokens: [[UInt8]] = (0...255).map { [$0] }
    let common = Array("etaoinshrdlucmfwypvbgkqjxz".utf8)
    let others = ["é", "ü", "中", "文", "д", "а", "\": ", "\",", "{\"", "  ", "\n", "0", "12", "_", "(", "ing", "tion"]
      .map {
        Array($0.utf8)
      }
    while tokens.count < count {
      var token: [UInt8] = random.uniform() < 0.5 ? [0x20] : []
      let isWord = random.uniform() < 0.85
      for _ in 0..<1 + random.integer(below: 9) {
        let place = Int(Double(common.count) * random.uniform() * random.uniform())
        if isWord { token.append(common[place]) } else { token += others[random.integer(below: others.count)] }
      }
      if seen.insert(token).inserted { tokens.append(token) }
    }
    return tokens
  }
}
