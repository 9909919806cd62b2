import Core

/// A tokenizer as its `tokenizer.json` describes it: text to ids and back.
///
/// Byte-pair encodings over bytes (Qwen, Llama 3, DeepSeek) and over characters with byte fallback (Llama 2), and the
/// models of other families; a step that is not supported is refused when it is read. Lengths are the caller's matter:
/// `truncation` and `padding` of the file are not applied. Values are immutable and may be shared between threads.
public final class Tokenizer: Sendable {
  /// A token and the code points of the text that it covers: from `start` up to, not including, `end`.
  public struct Token: Sendable, Equatable {
    public var id: Int32
    public var start: Int
    public var end: Int

    public init(id: Int32, start: Int, end: Int) {
      self.id = id
      self.start = start
      self.end = end
    }
  }

  let parts: TokenizerParts
  private let pool = WorkspacePool()

  init(_ parts: TokenizerParts) { self.parts = parts }

  /// The largest id plus one.
  public var vocabularySize: Int { parts.tokens.count }

  /// The id of a token's text, as `tokenizer.json` writes it (`Ġthe`, `<|im_end|>`).
  public func id(of token: String) -> Int32? { parts.ids.value(of: token) }

  /// The text of a token as `tokenizer.json` writes it (an added one that is `normalized`, normalized), or nil for an id
  /// without a token.
  public func token(of id: Int32) -> String? {
    parts.tokens.indices.contains(Int(id)) ? parts.tokens[Int(id)] : nil
  }

  /// True for tokens that `skipSpecialTokens` leaves out.
  public func isSpecial(_ id: Int32) -> Bool {
    parts.isSpecial.indices.contains(Int(id)) && parts.isSpecial[Int(id)]
  }

  /// The added tokens and their ids, in the order of the file; those that are special are marked.
  public var addedTokens: [(id: Int32, content: String, isSpecial: Bool)] {
    parts.added.map { ($0.id, $0.content, $0.isSpecial) }
  }

  /// The ids of `text`. Special tokens written in the text are recognised.
  ///
  /// - Parameter addSpecialTokens: also puts what the post-processor adds (a begin token) around them.
  public func encode(_ text: String, addSpecialTokens: Bool = false) -> [Int32] {
    var ids: [Int32] = []
    run(text, tracksOrigins: parts.needsOrigins) { id, _, _ in ids.append(id) }
    return parts.postProcessor.arranged(ids, addSpecialTokens: addSpecialTokens) { $0 }
  }

  /// The ids of a text that may have its begin token written out already: special tokens are added unless it begins with
  /// those that would stand in front.
  public func encodeOnce(_ text: String) -> [Int32] {
    let plain = encode(text)
    let first = parts.postProcessor.layout[0]
    guard first.isEmpty || !plain.starts(with: first) else { return plain }
    return parts.postProcessor.arranged(plain, addSpecialTokens: true) { $0 }
  }

  /// The ids of `text` and where each stood. Added special tokens cover nothing: their offsets are 0 and 0.
  public func encodeWithOffsets(_ text: String, addSpecialTokens: Bool = false) -> [Token] {
    var tokens: [Token] = []
    run(text, tracksOrigins: true) { id, start, end in tokens.append(Token(id: id, start: start, end: end)) }
    if parts.postProcessor.trimsOffsets { trim(&tokens, of: text) }
    return parts.postProcessor.arranged(tokens, addSpecialTokens: addSpecialTokens) {
      Token(id: $0, start: 0, end: 0)
    }
  }

  private func run(_ text: String, tracksOrigins: Bool, _ emit: (Int32, Int, Int) -> Void) {
    let bytes = Array(text.utf8)
    if bytes.isEmpty { return }
    let workspace = pool.take()
    var scratch: [PieceSymbol] = []
    let model = parts.model
    let cache = workspace.cache
    let origins = tracksOrigins ? Self.origins(of: bytes) : nil

    func encode(_ piece: Range<Int>, of section: WorkingText, _ bytes: UnsafeBufferPointer<UInt8>) {
      let slice = UnsafeBufferPointer(rebasing: bytes[piece])
      cache.withSymbols(of: slice, model, scratch: &scratch) { symbols in
        for symbol in symbols {
          guard let origins = section.origins else {
            emit(symbol.id, 0, 0)
            continue
          }
          let first = min(piece.lowerBound + Int(symbol.start), piece.upperBound - 1)
          let last = min(piece.lowerBound + Int(symbol.end), piece.upperBound) - 1
          emit(symbol.id, Int(origins[first].start), Int(origins[max(first, last)].end))
        }
      }
    }
    func encodePieces(of section: WorkingText) {
      section.bytes.withUnsafeBufferPointer { bytes in
        for piece in section.pieces {
          let slice = UnsafeBufferPointer(rebasing: bytes[piece])
          var start = 0
          while start < slice.count {
            let end = model.border(in: slice, after: start)
            encode(piece.lowerBound + start..<piece.lowerBound + end, of: section, bytes)
            start = end
          }
        }
      }
    }
    func cut(_ section: WorkingText, _ matcher: AddedTokenMatcher, _ rest: (WorkingText) -> Void) {
      let matches = matcher.matches(in: section.bytes)
      if matches.isEmpty {
        rest(section)
        return
      }
      func part(_ range: Range<Int>) -> WorkingText {
        WorkingText(
          bytes: Array(section.bytes[range]), origins: section.origins.map { Array($0[range]) },
          isFirst: section.isFirst && range.lowerBound == 0)
      }
      var end = 0
      for match in matches {
        if match.range.lowerBound > end { rest(part(end..<match.range.lowerBound)) }
        // All of it may have gone along with the token before.
        if match.range.isEmpty { continue }
        let origins = section.origins
        emit(
          parts.added[match.token].id, Int(origins?[match.range.lowerBound].start ?? 0),
          Int(origins?[match.range.upperBound - 1].end ?? 0))
        end = match.range.upperBound
      }
      if end < section.bytes.count { rest(part(end..<section.bytes.count)) }
    }

    cut(WorkingText(bytes: bytes, origins: origins, isFirst: true), parts.plainMatcher) { section in
      var section = section
      // A pattern that fails on a text (it ran out of memory) leaves it as it is; ids stay valid.
      for normalizer in parts.normalizers { try? normalizer.apply(to: &section, workspace.matcher) }
      cut(section, parts.normalizedMatcher) { section in
        var section = section
        for step in parts.preTokenizers {
          try? step.apply(to: &section, workspace.matcher)
        }
        encodePieces(of: section)
      }
    }
    pool.giveBack(workspace)
  }

  private static func origins(of bytes: [UInt8]) -> [WorkingText.Origin] {
    var result: [WorkingText.Origin] = []
    result.reserveCapacity(bytes.count)
    var place: Int32 = -1
    for byte in bytes {
      if byte & 0xC0 != 0x80 { place += 1 }
      result.append(.init(start: place, end: place + 1))
    }
    return result
  }

  /// Takes the spaces at the edges of byte-level tokens out of their offsets. An added token may have taken spaces of the
  /// text along, and what is unknown may be one.
  private func trim(_ tokens: inout [Token], of text: String) {
    func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == "Ġ" || scalar.properties.isWhitespace }
    var added = Set(parts.added.lazy.filter { $0.stripsLeft || $0.stripsRight }.map(\.id))
    if let unknown = parts.model.spelledUnknown { added.insert(unknown) }
    let scalars = added.isEmpty ? [] : Array(text.unicodeScalars)
    for i in tokens.indices {
      let text =
        added.contains(tokens[i].id)
        ? scalars[tokens[i].start..<tokens[i].end] : Array((token(of: tokens[i].id) ?? "").unicodeScalars)[...]
      var leading = text.prefix(while: isSpace).count
      let trailing = text.reversed().prefix(while: isSpace).count
      if leading > 0 {
        // One space may be the one that was put in front; of more, all stood in the text.
        if leading == 1, i == 0 || tokens[i].start == 0, parts.postProcessor.keepsPrefixSpace { leading = 0 }
        tokens[i].start = min(tokens[i].start + leading, tokens[i].end)
      }
      if trailing > 0, tokens[i].end >= trailing { tokens[i].end = max(tokens[i].end - trailing, tokens[i].start) }
    }
  }

  /// The text of `ids`. Ids without a token (a model may have more of them than its tokenizer) add nothing; bytes that
  /// are no UTF-8 become U+FFFD.
  public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool) -> String {
    switch parts.decoder {
    case .byteLevel:
      var bytes: [UInt8] = []
      for id in ids where !(skipSpecialTokens && isSpecial(id)) && parts.tokens.indices.contains(Int(id)) {
        bytes += parts.decodedBytes[parts.decodedStarts[Int(id)]..<parts.decodedStarts[Int(id) + 1]]
      }
      return String(decoding: bytes, as: UTF8.self)
    case .steps(let steps):
      let tokens = ids.lazy.filter { !(skipSpecialTokens && self.isSpecial($0)) }.compactMap { self.token(of: $0) }
      return Decoder.run(steps, tokens.map { Array($0.utf8) })
    }
  }

  /// Whether every decoding is the same with and without `id`. False where only the whole text can tell.
  func addsNothing(_ id: Int32, skipSpecialTokens: Bool) -> Bool {
    guard case .byteLevel = parts.decoder else { return false }
    return (skipSpecialTokens && isSpecial(id)) || bytes(of: id)?.isEmpty != false
  }

  /// The last bytes that `ids` stand for, before they are made characters; nil for decoders that look at whole texts.
  func bytesAtEnd(of ids: [Int32], atLeast count: Int) -> [UInt8]? {
    guard case .byteLevel = parts.decoder else { return nil }
    var bytes: [UInt8] = []
    for id in ids.reversed() {
      bytes = (self.bytes(of: id) ?? []) + bytes
      if bytes.count >= count { break }
    }
    return bytes
  }

  /// The bytes that an id adds to a decoded text, which need not be whole characters; nil for an id without a token.
  ///
  /// - Parameter atStart: for the first id of a text, where a leading space may be dropped (`dropsSpaceAtStart`).
  public func bytes(of id: Int32, atStart: Bool = false) -> [UInt8]? {
    guard let token = token(of: id) else { return nil }
    switch parts.decoder {
    case .byteLevel:
      return Array(parts.decodedBytes[parts.decodedStarts[Int(id)]..<parts.decodedStarts[Int(id) + 1]])
    case .steps(let steps): return Decoder.bytes(steps, Array(token.utf8), atStart: atStart)
    }
  }

  /// Whether decoding drops a space at the begin of a text.
  public var dropsSpaceAtStart: Bool {
    guard case .steps(let steps) = parts.decoder else { return false }
    return steps.contains {
      switch $0 {
      case .strip(_, let start, _): start > 0
      case .metaspace(_, let dropsFirst): dropsFirst
      default: false
      }
    }
  }

  /// Decodes ids as they come.
  public func stream(skipSpecialTokens: Bool) -> TokenStream {
    TokenStream(tokenizer: self, skipSpecialTokens: skipSpecialTokens)
  }
}

/// What `tokenizer.json` was read into.
struct TokenizerParts: Sendable {
  /// Token texts by id; nil where an id has none.
  var tokens: [String?] = []
  /// Ids by token text.
  var ids = ByteStringTable()
  var isSpecial: [Bool] = []
  var added: [AddedToken] = []
  var plainMatcher = AddedTokenMatcher([], of: [])
  var normalizedMatcher = AddedTokenMatcher([], of: [])
  var normalizers: [Normalizer] = []
  var preTokenizers: [PreTokenizer] = []
  var model: any PieceModel
  /// True if a step depends on where in the original text a piece stood.
  var needsOrigins = false
  var postProcessor = PostProcessor()
  var decoder = Decoder.byteLevel
  /// For byte-level decoding: the bytes of every token, one after the other, and where those of each id begin.
  var decodedBytes: [UInt8] = []
  var decodedStarts: [Int] = [0]
}
