/// What regular expressions and JSON schemas are read into: a set of texts.
indirect enum GuideSyntax: Sendable {
  /// No text at all, not even the empty one: what cannot be fulfilled.
  case nothing
  /// One code point.
  case scalars(ScalarSet)
  case sequence([GuideSyntax])
  case choice([GuideSyntax])
  /// From `least` to `most` times; nil is any number.
  case repeated(GuideSyntax, least: Int, most: Int?)
  /// Members in order with separators between those that are there, then any number of `rest`.
  case members([Member], rest: GuideSyntax?, separator: GuideSyntax)

  struct Member: Sendable {
    var syntax: GuideSyntax
    var isOptional: Bool
  }

  /// The empty text.
  static let empty = GuideSyntax.sequence([])

  static func literal(_ text: String) -> GuideSyntax {
    .sequence(text.unicodeScalars.map { .scalars(ScalarSet($0)) })
  }

  static func optional(_ syntax: GuideSyntax) -> GuideSyntax { .repeated(syntax, least: 0, most: 1) }

  /// True if it is plainly unfulfillable; what is so in a roundabout way is found when the automaton is trimmed.
  var isNothing: Bool {
    switch self {
    case .nothing: true
    case .scalars(let set): set.isEmpty
    case .sequence(let parts): parts.contains(where: \.isNothing)
    case .choice(let parts): parts.allSatisfy(\.isNothing)
    case .repeated(let part, let least, _): least > 0 && part.isNothing
    case .members(let members, _, _): members.contains { !$0.isOptional && $0.syntax.isNothing }
    }
  }
}
