import CPCRE2
import Core

/// A compiled pattern that finds matches in UTF-8.
///
/// Safety: the compiled code is written by `init` alone; PCRE2 allows any number of threads to match with it, each with
/// match data of its own (`PatternMatcher`).
final class SplitPattern: @unchecked Sendable {
  fileprivate let code: OpaquePointer
  fileprivate let usesJIT: Bool

  /// - Throws: `AttuneError` if the pattern has something that cannot be translated, or is no pattern at all.
  init(_ pattern: String) throws {
    let translated = try PatternTranslation.translate(pattern)
    let context = pcre2_compile_context_create_8(nil)
    defer { pcre2_compile_context_free_8(context) }
    pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF))
    var number: Int32 = 0
    var offset = 0
    let bytes = Array(translated.utf8)
    let options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C
    guard let code = pcre2_compile_8(bytes, bytes.count, options, &number, &offset, context) else {
      var message = [UInt8](repeating: 0, count: 256)
      pcre2_get_error_message_8(number, &message, message.count)
      let text = String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
      throw AttuneError.request("the split pattern \(pattern) cannot be compiled: \(text)")
    }
    self.code = code
    usesJIT = pcre2_jit_compile_8(code, UInt32(PCRE2_JIT_COMPLETE)) == 0
  }

  deinit { pcre2_code_free_8(code) }
}

/// What one thread needs to match: PCRE2's result block and a stack for compiled code, made when first needed.
final class PatternMatcher {
  private final class Resources {
    let data = pcre2_match_data_create_8(1, nil)
    let context = pcre2_match_context_create_8(nil)
    let stack = pcre2_jit_stack_create_8(32 << 10, 4 << 20, nil)

    init() {
      if let stack { pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack)) }
      // Pieces of megabytes are legitimate; time stays linear for the patterns of published tokenizers.
      pcre2_set_match_limit_8(context, .max)
      pcre2_set_depth_limit_8(context, .max)
    }

    deinit {
      pcre2_match_data_free_8(data)
      pcre2_match_context_free_8(context)
      pcre2_jit_stack_free_8(stack)
    }
  }

  private lazy var resources = Resources()

  /// Calls `found` with every match in `text`, from left to right. An empty match right behind the one before it does
  /// not count.
  func forEachMatch(
    of pattern: SplitPattern, in text: UnsafeBufferPointer<UInt8>, _ found: (Range<Int>) -> Void
  ) throws {
    guard let base = text.baseAddress, !text.isEmpty else { return }
    let data = resources.data
    let context = resources.context
    let results = pcre2_get_ovector_pointer_8(data)
    var at = 0
    var lastEnd = -1
    while at <= text.count {
      var code: Int32
      if pattern.usesJIT {
        code = pcre2_jit_match_8(pattern.code, base, text.count, at, PCRE2_NO_UTF_CHECK, data, context)
        if code == PCRE2_ERROR_JIT_STACKLIMIT {
          code = pcre2_match_8(
            pattern.code, base, text.count, at, PCRE2_NO_UTF_CHECK | UInt32(PCRE2_NO_JIT), data, context)
        }
      } else {
        code = pcre2_match_8(pattern.code, base, text.count, at, PCRE2_NO_UTF_CHECK, data, context)
      }
      if code == PCRE2_ERROR_NOMATCH { return }
      guard code >= 0, let results else {
        throw AttuneError.work("matching the tokenizer's split pattern failed (PCRE2 error \(code))")
      }
      let range = results[0]..<max(results[0], results[1])
      if range.isEmpty, range.lowerBound == lastEnd {
        at += at < text.count ? utf8Length(text[at]) : 1
        continue
      }
      found(range)
      at = range.upperBound
      lastEnd = range.upperBound
    }
  }
}
