import Core

/// A value of a recipe and where it was written: a place in the file, or an override on the command line.
///
/// Recipes are read into these rather than into `JSON` alone, because errors point at keys as well as at values, and
/// because an override has no line.
struct RecipeNode: Sendable {
  /// Where a key or a value was written.
  enum Place: Sendable, Equatable {
    case file(line: Int, column: Int)
    /// In the recipe that this one extends.
    case base(file: String, line: Int, column: Int)
    /// The text after `--set`.
    case override(String)
    case unknown
  }

  struct Entry: Sendable {
    var key: String
    var place: Place
    var value: RecipeNode
  }

  enum Content: Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case list([RecipeNode])
    case mapping([Entry])
  }

  var content: Content
  var place: Place
  /// A plain scalar as it was written, for errors: `1e-6` and not `1e-06`.
  var source: String?

  init(_ content: Content, at place: Place, source: String? = nil) {
    self.content = content
    self.place = place
    self.source = source
  }

  /// A tree without places, of a value that was stored and not written by a person.
  init(_ json: JSON) {
    let place: Place =
      json.position == .none ? .unknown : .file(line: Int(json.position.line), column: Int(json.position.column))
    switch json.value {
    case .null: self.init(.null, at: place)
    case .bool(let x): self.init(.bool(x), at: place)
    case .int(let x): self.init(.int(x), at: place)
    case .double(let x): self.init(.double(x), at: place)
    case .string(let x): self.init(.string(x), at: place)
    case .array(let items): self.init(.list(items.map { RecipeNode($0) }), at: place)
    case .object(let object):
      self.init(
        .mapping(object.entries.map { Entry(key: $0, place: .unknown, value: RecipeNode($1)) }), at: place)
    }
  }

  /// The value without the places of keys.
  var json: JSON {
    var position = JSON.Position.none
    if case .file(let line, let column) = place {
      position = .init(line: Int32(clamping: line), column: Int32(clamping: column))
    }
    switch content {
    case .null: return JSON(.null, at: position)
    case .bool(let x): return JSON(.bool(x), at: position)
    case .int(let x): return JSON(.int(x), at: position)
    case .double(let x): return JSON(.double(x), at: position)
    case .string(let x): return JSON(.string(x), at: position)
    case .list(let items): return JSON(.array(items.map(\.json)), at: position)
    case .mapping(let entries):
      return JSON(.object(JSON.Object(entries.map { ($0.key, $0.value.json) })), at: position)
    }
  }

  var isNull: Bool { if case .null = content { true } else { false } }
  var bool: Bool? { if case .bool(let x) = content { x } else { nil } }
  /// The integer, also if it was written as a whole number with a fraction or an exponent.
  var int: Int? {
    switch content {
    case .int(let x): Int(x)
    case .double(let x): Int(exactly: x)
    default: nil
    }
  }
  var double: Double? {
    switch content {
    case .int(let x): Double(x)
    case .double(let x): x
    default: nil
    }
  }
  var string: String? { if case .string(let x) = content { x } else { nil } }
  var entries: [Entry]? { if case .mapping(let x) = content { x } else { nil } }
  var items: [RecipeNode]? { if case .list(let x) = content { x } else { nil } }

  /// The value of `key`; nil if this is no mapping or has no such key.
  subscript(key: String) -> RecipeNode? { entries?.first { $0.key == key }?.value }

  /// What was found, in the words of an error message.
  var found: String {
    switch content {
    case .null: "nothing"
    case .bool(let x): source ?? (x ? "true" : "false")
    case .int(let x): source ?? String(x)
    case .double(let x): source ?? JSON.double(x).text()
    case .string(let x): x.count <= 60 ? "'\(x)'" : "'\(x.prefix(57))...'"
    case .list(let items): items.isEmpty ? "an empty list" : items.count <= 4 ? json.text() : "a list of \(items.count)"
    case .mapping: "a mapping"
    }
  }
}

extension RecipeNode.Place {
  /// The location that an error shows.
  func location(in file: String) -> AttuneError.Location {
    switch self {
    case .file(let line, let column): .init(file: file, line: line, column: column)
    case .base(let base, let line, let column): .init(file: base, line: line, column: column)
    case .override(let text): .init(file: "--set \(text)")
    case .unknown: .init(file: file)
    }
  }
}
