import CPCRE2
import Core

/// A regular expression over names of modules, as Python's `re` reads it.
///
/// What differs between the two dialects does not occur in patterns for ASCII names; atomic groups and the like work in both.
/// Safety: the compiled code is written by `init` alone, and every match has match data of its own.
public final class NamePattern: @unchecked Sendable {
  private let code: OpaquePointer
  public let text: String
  /// Steps that a match may take: names are short, and a pattern that needs more would never end.
  private static let matchLimit: UInt32 = 1_000_000

  /// - Throws: `.request` with the place in the pattern that is wrong.
  public init(_ pattern: String) throws {
    var number: Int32 = 0
    var offset = 0
    let bytes = Array(pattern.utf8)
    guard
      let code = pcre2_compile_8(
        bytes, bytes.count, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &offset, nil)
    else {
      var message = [UInt8](repeating: 0, count: 256)
      pcre2_get_error_message_8(number, &message, message.count)
      let text = String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
      throw AttuneError.request(
        "the pattern '\(pattern)' is no regular expression: \(text), at character \(offset + 1)")
    }
    self.code = code
    text = pattern
  }

  deinit { pcre2_code_free_8(code) }

  /// True if the pattern matches the whole name (`re.fullmatch`).
  public func matchesWhole(_ name: String) throws -> Bool {
    try match(name, UInt32(PCRE2_ANCHORED) | UInt32(PCRE2_ENDANCHORED), group: nil) != nil
  }

  /// What a named group holds if the pattern matches from the name's begin (`re.match`); the group must be in the pattern.
  public func beginning(of name: String, group: String) throws -> String? {
    try match(name, UInt32(PCRE2_ANCHORED), group: group)
  }

  private func match(_ name: String, _ options: UInt32, group: String?) throws -> String? {
    let data = pcre2_match_data_create_from_pattern_8(code, nil)
    let context = pcre2_match_context_create_8(nil)
    defer {
      pcre2_match_data_free_8(data)
      pcre2_match_context_free_8(context)
    }
    pcre2_set_match_limit_8(context, Self.matchLimit)
    let bytes = Array(name.utf8)
    let found = pcre2_match_8(code, bytes, bytes.count, 0, options, data, context)
    if found == PCRE2_ERROR_NOMATCH { return nil }
    guard found > 0 else {
      throw AttuneError.request(
        "matching '\(name)' with the pattern '\(text)' takes too long (PCRE2 error \(found))",
        hint: "write it without nested repetitions")
    }
    guard let group else { return "" }
    let number = pcre2_substring_number_from_name_8(code, Array(group.utf8) + [0])
    guard number > 0, number < found, let ends = pcre2_get_ovector_pointer_8(data) else { return nil }
    let (from, to) = (ends[2 * Int(number)], ends[2 * Int(number) + 1])
    guard from <= to, to <= bytes.count else { return nil }
    return String(decoding: bytes[from..<to], as: UTF8.self)
  }
}
