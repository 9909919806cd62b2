import CPCRE2
import Core

/// A regular expression in PCRE2's dialect over UTF-8, with limits under which no pattern and no text can hang the program.
///
/// Safety: the compiled code is written by `init` alone, and every search has match data of its own.
final class Pattern: @unchecked Sendable {
  /// One match: byte ranges of the whole and of the groups, nil for a group that took no part.
  struct Match {
    var range: Range<Int>
    var groups: [Range<Int>?]
  }

  struct Exhausted: Error {
    var words: String
  }

  /// Why a pattern is refused.
  struct Malformed: Error {
    var words: String
    /// In characters, from 1.
    var place: Int
  }

  let source: String
  let groupCount: Int
  private let code: OpaquePointer
  /// Steps of one attempt at one place; ordinary patterns stay far below.
  private static let matchLimit: UInt32 = 1_000_000
  /// In KiB.
  private static let heapLimit: UInt32 = 64 << 10
  /// How many places are tried between two looks at the clock.
  private static let window = 512
  /// Longer patterns are refused: they are data by mistake.
  private static let longest = 65_536

  /// - Throws: `Malformed`.
  init(_ source: String, caseless: Bool = false) throws {
    let bytes = [UInt8](source)
    guard bytes.count <= Self.longest else {
      throw Malformed(words: "the pattern has \(bytes.count) bytes, at most \(Self.longest) are read", place: 1)
    }
    var number: Int32 = 0
    var offset = 0
    let options =
      UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_NEVER_BACKSLASH_C) | UInt32(PCRE2_USE_OFFSET_LIMIT)
      | (caseless ? UInt32(PCRE2_CASELESS) : 0)
    guard let code = pcre2_compile_8(bytes, bytes.count, options, &number, &offset, nil) else {
      var message = [UInt8](repeating: 0, count: 256)
      pcre2_get_error_message_8(number, &message, message.count)
      throw Malformed(
        words: String(decoding: message.prefix { $0 != 0 }, as: UTF8.self),
        place: bytes.text(0..<min(offset, bytes.count)).unicodeScalars.count + 1)
    }
    self.code = code
    self.source = source
    var groups: UInt32 = 0
    pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_CAPTURECOUNT), &groups)
    groupCount = Int(groups)
  }

  deinit { pcre2_code_free_8(code) }

  /// The matches that do not overlap, from the front, until `visit` says false.
  ///
  /// - Parameters:
  ///   - text: UTF-8, as `String.utf8` gives it.
  ///   - whole: only a match of the whole text counts.
  /// - Throws: `Exhausted` if a limit or the time is used up.
  func search(
    _ text: [UInt8], whole: Bool = false, isCancelled: () -> Bool = { false }, _ visit: (Match) -> Bool
  ) throws {
    guard let data = pcre2_match_data_create_from_pattern_8(code, nil), let context = pcre2_match_context_create_8(nil)
    else { throw Exhausted(words: "there is no memory to match with") }
    defer {
      pcre2_match_data_free_8(data)
      pcre2_match_context_free_8(context)
    }
    pcre2_set_match_limit_8(context, Self.matchLimit)
    pcre2_set_heap_limit_8(context, Self.heapLimit)
    var options = UInt32(PCRE2_NO_UTF_CHECK)
    if whole { options |= UInt32(PCRE2_ANCHORED) | UInt32(PCRE2_ENDANCHORED) }
    // One byte more, so that an empty text has an address too.
    let bytes = text + [0]
    var from = 0
    // Behind an empty match only a longer one may begin at the same place.
    var isBehindEmpty = false
    while from <= text.count {
      let last = min(text.count, from + Self.window)
      pcre2_set_offset_limit_8(context, last)
      let found = pcre2_match_8(
        code, bytes, text.count, from, options | (isBehindEmpty ? UInt32(PCRE2_NOTEMPTY_ATSTART) : 0), data, context)
      if found == PCRE2_ERROR_NOMATCH {
        if isCancelled() { throw Exhausted(words: "the time is up while the pattern is matched") }
        if whole || last == text.count { return }
        from = Self.boundary(text, last)
        isBehindEmpty = false
        continue
      }
      guard found > 0, let ends = pcre2_get_ovector_pointer_8(data) else { throw Exhausted(words: Self.words(found)) }
      // \K may put the start behind the end.
      let range = min(ends[0], ends[1])..<max(ends[0], ends[1])
      let groups: [Range<Int>?] = (0..<groupCount).map { i in
        guard i + 1 < found, ends[2 * i + 2] <= ends[2 * i + 3], ends[2 * i + 3] <= text.count else { return nil }
        return ends[2 * i + 2]..<ends[2 * i + 3]
      }
      if !visit(Match(range: range, groups: groups)) || whole { return }
      let stays = range.upperBound <= from
      from = stays && isBehindEmpty ? Self.boundary(text, from + 1) : max(from, range.upperBound)
      isBehindEmpty = range.isEmpty || stays
    }
  }

  /// Is there a match?
  func matches(_ text: String, whole: Bool = false, isCancelled: () -> Bool = { false }) throws -> Bool {
    var found = false
    try search([UInt8](text), whole: whole, isCancelled: isCancelled) { _ in
      found = true
      return false
    }
    return found
  }

  private static func boundary(_ text: [UInt8], _ place: Int) -> Int {
    var i = place
    while i < text.count, text[i] & 0xC0 == 0x80 { i += 1 }
    return i
  }

  private static func words(_ code: Int32) -> String {
    switch code {
    case PCRE2_ERROR_MATCHLIMIT, PCRE2_ERROR_DEPTHLIMIT, PCRE2_ERROR_HEAPLIMIT:
      return "the pattern backtracks without end on this text (more than \(matchLimit) steps at one place)"
    default: return "the pattern cannot be matched (PCRE2 error \(code))"
    }
  }
}
