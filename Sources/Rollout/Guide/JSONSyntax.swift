import Core

/// The spelling of guided JSON.
///
/// No space but one after a comma and one after a colon, each left to the model. Strings are spelled one way only:
/// characters as they are, `\" \\ \b \f \n \r \t`, and `\u00HH` for the other control characters. Integers have at most
/// 18 digits; other numbers at most 16 before the point, 16 behind it and 2 in the exponent, so that all are finite.
enum JSONSyntax {
  static let comma = GuideSyntax.sequence([.literal(","), .optional(.literal(" "))])
  static let colon = GuideSyntax.sequence([.literal(":"), .optional(.literal(" "))])

  private static let plain = ScalarSet([0...0x1F, 0x22...0x22, 0x5C...0x5C]).inverted
  private static let shortEscapes: [(scalar: UInt32, letter: Unicode.Scalar)] = [
    (0x22, "\""), (0x5C, "\\"), (0x08, "b"), (0x0C, "f"), (0x0A, "n"), (0x0D, "r"), (0x09, "t"),
  ]

  /// How a character of the set stands inside a string.
  static func encoded(_ set: ScalarSet) -> GuideSyntax {
    var parts = [GuideSyntax.scalars(set.intersection(plain))]
    let letters = shortEscapes.filter { set.contains($0.scalar) }.map { $0.letter...$0.letter }
    if !letters.isEmpty {
      parts.append(.sequence([.literal("\\"), .scalars(ScalarSet(letters.map(ScalarSet.range)))]))
    }
    for high in 0..<UInt32(2) {
      let digits = (0..<UInt32(16)).filter { low in
        set.contains(high << 4 | low) && !shortEscapes.contains { $0.scalar == high << 4 | low }
      }
      let hex = digits.map { Array("0123456789abcdef".unicodeScalars)[Int($0)] }.map { $0...$0 }
      if !hex.isEmpty {
        parts.append(.sequence([.literal("\\u00\(high)"), .scalars(ScalarSet(hex.map(ScalarSet.range)))]))
      }
    }
    return .choice(parts)
  }

  /// The inside of a string whose characters are of `syntax`.
  static func encoded(_ syntax: GuideSyntax) -> GuideSyntax {
    switch syntax {
    case .nothing: .nothing
    case .scalars(let set): encoded(set)
    case .sequence(let parts): .sequence(parts.map(encoded))
    case .choice(let parts): .choice(parts.map(encoded))
    case .repeated(let part, let least, let most): .repeated(encoded(part), least: least, most: most)
    case .members(let members, let rest, let separator):
      .members(
        members.map { .init(syntax: encoded($0.syntax), isOptional: $0.isOptional) }, rest: rest.map(encoded),
        separator: encoded(separator))
    }
  }

  static let anyCharacter = encoded(ScalarSet.all)
  static let anyCharacters = GuideSyntax.repeated(anyCharacter, least: 0, most: nil)

  static func quoted(_ inside: GuideSyntax) -> GuideSyntax { .sequence([.literal("\""), inside, .literal("\"")]) }

  static let string = quoted(anyCharacters)

  static let number: GuideSyntax = {
    let digit = GuideSyntax.scalars(.digits)
    let whole = GuideSyntax.choice([
      .literal("0"), .sequence([.scalars(ScalarSet("1"..."9")), .repeated(digit, least: 0, most: 15)]),
    ])
    let fraction = GuideSyntax.sequence([.literal("."), .repeated(digit, least: 1, most: 16)])
    let exponent = GuideSyntax.sequence([
      .choice([.literal("e"), .literal("E")]), .optional(.choice([.literal("+"), .literal("-")])),
      .repeated(digit, least: 1, most: 2),
    ])
    return .sequence([.optional(.literal("-")), whole, .optional(fraction), .optional(exponent)])
  }()

  static let boolean = GuideSyntax.choice([.literal("true"), .literal("false")])

  static func object(_ members: [GuideSyntax.Member], rest: GuideSyntax?) -> GuideSyntax {
    .sequence([.literal("{"), .members(members, rest: rest, separator: comma), .literal("}")])
  }

  static func member(_ key: GuideSyntax, _ value: GuideSyntax) -> GuideSyntax { .sequence([key, colon, value]) }

  /// A key or a string as it is spelled.
  static func literal(_ text: String) -> GuideSyntax {
    var spelled = ""
    JSON.quote(text, into: &spelled)
    return .literal(spelled)
  }

  /// One given value, its keys in the order given.
  static func literal(_ value: JSON) -> GuideSyntax {
    if let array = value.array {
      let items = array.map { GuideSyntax.Member(syntax: literal($0), isOptional: false) }
      return .sequence([.literal("["), .members(items, rest: nil, separator: comma), .literal("]")])
    }
    if let entries = value.object?.entries {
      return object(
        entries.map { .init(syntax: member(literal($0), literal($1)), isOptional: false) }, rest: nil)
    }
    return .literal(value.text())
  }

  /// Any value, lists and mappings inside each other at most `depth` deep.
  static func free(depth: Int) -> GuideSyntax {
    let scalars = [string, number, boolean, .literal("null")]
    guard depth > 0 else { return .choice(scalars) }
    let inner = free(depth: depth - 1)
    return .choice(scalars + [freeList(of: inner), object([], rest: member(string, inner))])
  }

  static func freeList(of item: GuideSyntax) -> GuideSyntax {
    .sequence([.literal("["), .members([], rest: item, separator: comma), .literal("]")])
  }

  /// A string that is none of `keys`.
  static func key(otherThan keys: [String]) -> GuideSyntax {
    quoted(rest(otherThan: keys.map { Array($0.unicodeScalars)[...] }))
  }

  /// What may follow what the keys share, so that none of them comes out.
  private static func rest(otherThan keys: [ArraySlice<Unicode.Scalar>]) -> GuideSyntax {
    if keys.isEmpty { return anyCharacters }
    var parts: [GuideSyntax] = keys.contains { $0.isEmpty } ? [] : [.empty]
    let longer = Dictionary(grouping: keys.filter { !$0.isEmpty }) { $0.first! }
    let others = ScalarSet(longer.keys.map { ScalarSet.range($0...$0) }).inverted
    parts.append(.sequence([encoded(others), anyCharacters]))
    for (scalar, keys) in longer.sorted(by: { $0.key < $1.key }) {
      parts.append(.sequence([encoded(ScalarSet(scalar)), rest(otherThan: keys.map { $0.dropFirst() })]))
    }
    return .choice(parts)
  }
}
