import Core

/// Decodes ids one by one, holding text back while a character is unfinished.
///
/// Follows `DecodeStream` of the tokenizers library: text that ends in U+FFFD is held back, and ids that later text can
/// no longer change are forgotten.
public struct TokenStream: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecialTokens: Bool
  private var ids: [Int32] = []
  private var prefix: [UInt8] = []
  private var prefixIndex = 0

  init(tokenizer: Tokenizer, skipSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
  }

  /// The text that `id` releases, or nil if there is none yet. An id without a token releases nothing.
  ///
  /// - Throws: `AttuneError` for a negative id.
  public mutating func append(_ id: Int32) throws -> String? {
    guard id >= 0 else { throw AttuneError.request("\(id) is no token id: ids count from 0") }
    if tokenizer.addsNothing(id, skipSpecialTokens: skipSpecialTokens) { return nil }
    if prefix.isEmpty, !ids.isEmpty, !endIsHeldBack() {
      let text = decoded()
      if !Self.isHeldBack(text) {
        prefix = text
        prefixIndex = ids.count
      }
    }
    ids.append(id)
    if endIsHeldBack() { return nil }
    let text = decoded()
    guard text.count > prefix.count, !Self.isHeldBack(text) else { return nil }
    // Where the new text does not begin with the old one (no text was ever tokenized into such ids), what they share
    // counts as released.
    var shared = zip(text, prefix).prefix { $0 == $1 }.count
    while shared > 0, shared < text.count, text[shared] & 0xC0 == 0x80 { shared -= 1 }
    let released = String(decoding: text[shared...], as: UTF8.self)
    let newIndex = ids.count - prefixIndex
    ids.removeFirst(min(prefixIndex, ids.count))
    prefix = decoded()
    prefixIndex = newIndex
    return released
  }

  /// What is held back at the end: the rest of the text, unfinished characters as U+FFFD.
  public mutating func finish() -> String? {
    let text = decoded()
    let shared = zip(text, prefix).prefix { $0 == $1 }.count
    ids = []
    prefix = []
    prefixIndex = 0
    return shared < text.count ? String(decoding: text[shared...], as: UTF8.self) : nil
  }

  private func decoded() -> [UInt8] { Array(tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens).utf8) }

  /// Whether the last bytes alone tell that the text is held back: long runs of unfinished characters would otherwise be
  /// decoded once for every id. After four bytes at most, decoding from the middle agrees with decoding from the start.
  private func endIsHeldBack() -> Bool {
    guard let bytes = tokenizer.bytesAtEnd(of: ids, atLeast: 8) else { return false }
    return Self.isHeldBack(Array(String(decoding: bytes, as: UTF8.self).utf8))
  }

  private static func isHeldBack(_ text: [UInt8]) -> Bool { text.suffix(3).elementsEqual([0xEF, 0xBF, 0xBD]) }
}
