import Core

extension TokenizerReader {
  func normalizers(_ step: DescriptionNode) throws -> [Normalizer] {
    switch try step.type("a normalizer") {
    case "Sequence": return try step.required("normalizers").items().flatMap(normalizers)
    case "NFC": return [.form(.nfc)]
    case "NFD": return [.form(.nfd)]
    case "NFKC": return [.form(.nfkc)]
    case "NFKD": return [.form(.nfkd)]
    case "Lowercase": return [.lowercase]
    case "StripAccents": return [.stripAccents]
    case "Nmt": return [.nmt]
    case "ByteLevel": return [.byteCharacters]
    case "Strip":
      return [
        .strip(left: try step.required("strip_left").bool(), right: try step.required("strip_right").bool())
      ]
    case "Prepend": return [.prepend(try step.required("prepend").bytes())]
    case "Replace":
      return [.replace(try step.required("pattern").delimiter(), with: try step.required("content").bytes())]
    case "BertNormalizer":
      let lowercases = try step.required("lowercase").bool()
      var steps: [Normalizer] = []
      if try step.required("clean_text").bool() { steps.append(.cleanControls) }
      if try step.required("handle_chinese_chars").bool() { steps.append(.spaceChinese) }
      if try step.flag("strip_accents", default: lowercases) { steps += [.form(.nfd), .stripNonspacing] }
      if lowercases { steps.append(.lowercase) }
      return steps
    case let other: throw step.unsupported("the normalizer", other, Normalizer.supported)
    }
  }

  private static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  func preTokenizers(_ step: DescriptionNode) throws -> [PreTokenizer] {
    switch try step.type("a pre-tokenizer") {
    case "Sequence": return try step.required("pretokenizers").items().flatMap(preTokenizers)
    case "ByteLevel":
      _ = try step.required("trim_offsets").bool()
      return [
        .byteLevel(
          addsPrefixSpace: try step.required("add_prefix_space").bool(),
          pattern: try step.usesRegex() ? try step.pattern(Self.gpt2Pattern) : nil)
      ]
    case "BertPreTokenizer": return [.characters(.whitespace, .removed), .characters(.punctuation, .isolated)]
    case "CharDelimiterSplit": return [.characters(.one(try step.required("delimiter").character()), .removed)]
    case "Digits":
      let individual = try step.required("individual_digits").bool()
      return [.characters(.numeric, individual ? .isolated : .contiguous)]
    case "FixedLength":
      let length = try step["length"].map { try $0.count() } ?? 5
      guard length > 0 else { throw try step.required("length").unexpected("a length of 1 or more") }
      return [.fixedLength(length)]
    case "Metaspace":
      let (replacement, prepends) = try metaspace(step)
      return [.metaspace(replacement: replacement, prepends: prepends, splits: try step.flag("split", default: true))]
    case "Punctuation": return [.characters(.punctuation, try step["behavior"].map(behavior) ?? .isolated)]
    case "Split":
      return [
        .split(
          try step.required("pattern").delimiter(), try behavior(step.required("behavior")),
          inverted: try step.required("invert").bool())
      ]
    case "Whitespace": return [.words]
    case "WhitespaceSplit": return [.characters(.whitespace, .removed)]
    case let other: throw step.unsupported("the pre-tokenizer", other, PreTokenizer.supported)
    }
  }

  private func behavior(_ node: DescriptionNode) throws -> PreTokenizer.Behavior {
    guard let behavior = PreTokenizer.Behavior(rawValue: try node.text()) else {
      throw node.unexpected("one of \(PreTokenizer.Behavior.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return behavior
  }

  /// What stands for spaces, and where one is put in front. Old files say the latter by `add_prefix_space` alone.
  func metaspace(_ step: DescriptionNode) throws -> ([UInt8], PreTokenizer.Prepending) {
    let replacement = Array(String(Character(try step.required("replacement").character())).utf8)
    var prepends = PreTokenizer.Prepending.always
    if let node = step["prepend_scheme"] {
      guard let scheme = PreTokenizer.Prepending(rawValue: try node.text()) else {
        throw node.unexpected("one of \(PreTokenizer.Prepending.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      prepends = scheme
    }
    if let node = step["add_prefix_space"], try !node.bool(), prepends != .never {
      throw node.refusal("false does not go with the prepend_scheme \"\(prepends.rawValue)\"", hint: "\"never\" does")
    }
    return (replacement, prepends)
  }
}
