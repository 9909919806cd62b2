import Core

/// One row of the recipe table: a key, what it takes, what it is when it is not written, and what it does.
public struct RecipeKey: Sendable {
  /// What a key takes.
  public enum Kind: Sendable, Equatable {
    /// A mapping with the keys that the table lists beneath it.
    case section
    /// A list of such mappings.
    case sections
    /// A mapping from names of the author's choice to such mappings.
    case namedSections
    case string
    /// A word of letters, digits, `_` and `-` that begins with a letter; metrics and folders carry it.
    case name
    case int
    case number
    case bool
    /// One of these words.
    case choice([String])
    case path(PathRole)
    /// A list of strings, or one string: a pattern, or the word that stands for all of them.
    case modules(all: String)
    /// A list of strings.
    case names
    /// A list of folders that must exist.
    case folders
    /// A list of some of these words.
    case choices([String])
    /// A list of exactly `count` whole numbers; `ascending` asks that none is below the one before it.
    case ints(count: Int, ascending: Bool)
    /// A list of exactly `count` numbers.
    case numbers(count: Int, ascending: Bool)
    /// One of these words, or a list of them.
    case oneOrMore([String])
    /// A list of numbers, however many.
    case numberList
    /// A mapping that is handed on as it is.
    case parameters
  }

  /// What a path leads to, and so from where it is read and what must be there.
  public enum PathRole: Sendable, Equatable {
    /// A file that must exist.
    case file
    /// A folder that must exist.
    case folder
    /// A checkpoint folder that must exist, or `preset:NAME`.
    case model
    /// A reward's source file or library, a C signature with its library, or the name of a shipped reward.
    case reward
    /// A folder that is made when it is needed; relative to the working directory wherever it is written.
    case output
  }

  /// What a key is when it is not written.
  public enum Default: Sendable {
    case required
    /// Nothing; `meaning` says what happens then. `null` may also be written.
    case unset(meaning: String)
    case value(JSON)
    /// The value of another key: of a sibling, or of the recipe's root if the path begins with a dot.
    case sameAs(String)
    /// Worked out from what surrounds the key; `meaning` says how.
    case derived(meaning: String, @Sendable (Scope) -> JSON)
  }

  /// What a derived default may look at: everything that stands earlier in the table is resolved already.
  public struct Scope: Sendable {
    public var file: String
    public var root: JSON.Object
    public var siblings: JSON.Object
    /// What stands beside the mapping that the key is in.
    public var enclosing = JSON.Object()
  }

  public typealias Bounds = NumberBounds

  /// A key that exists only where a sibling has one of these values.
  public struct Condition: Sendable, Equatable {
    public var key: String
    public var values: [String]
  }

  /// Names from the root, joined by dots; `[]` stands for an index, `*` for a name of the author's choice.
  public var path: String
  public var kind: Kind
  public var fallback: Default
  /// For numbers and lists of numbers; nil takes every finite number.
  public var bounds: Bounds?
  public var condition: Condition?
  /// One line for `explain` and the documentation.
  public var summary: String

  /// The last name of the path.
  public var name: String { path.split(separator: ".").last.map(String.init) ?? path }
  /// The names of the path; `[]` and `*` stand alone.
  public var components: [String] {
    path.split(separator: ".").flatMap { part in
      part.hasSuffix("[]") ? [String(part.dropLast(2)), "[]"] : [String(part)]
    }
  }
}

extension RecipeKey {
  /// What the key takes, in the words of an error message: `a whole number, ≥ 1`.
  public var expectation: String {
    let numbers = bounds.map { ", \($0.description)" } ?? ""
    switch kind {
    case .section: return "a mapping of keys"
    case .sections: return "a list of mappings"
    case .namedSections: return "a mapping from names to mappings"
    case .string: return "a string"
    case .name: return "a word of letters, digits, '_' and '-' that begins with a letter"
    case .int: return "a whole number" + numbers
    case .number: return "a number" + numbers
    case .bool: return "true or false"
    case .choice(let words):
      return words.count == 1 ? "the word \(words[0])" : "one of " + words.joined(separator: ", ")
    case .path(.file): return "the path of a file"
    case .path(.folder), .path(.output): return "the path of a folder"
    case .path(.model): return "the path of a checkpoint folder, or preset:NAME"
    case .path(.reward): return "a reward's source file or library, or the name of a shipped reward"
    case .modules(let word): return "a list of names, a pattern, or \(word)"
    case .names: return "a list of names"
    case .folders: return "a list of folders' paths"
    case .choices(let words): return "a list of " + words.joined(separator: ", ")
    case .ints(let count, let ascending):
      return "a list of \(count) whole numbers" + numbers + (ascending ? ", in ascending order" : "")
    case .numbers(let count, let ascending):
      return "a list of \(count) numbers" + numbers + (ascending ? ", in ascending order" : "")
    case .oneOrMore(let words): return "one or a list of " + words.joined(separator: ", ")
    case .numberList: return "a list of numbers" + numbers
    case .parameters: return "a mapping"
    }
  }

  /// The type as the reference shows it: `int`, `list of 2 numbers`.
  public var typeName: String {
    switch kind {
    case .section, .namedSections, .parameters: "mapping"
    case .sections: "list"
    case .string: "string"
    case .name: "name"
    case .int: "int"
    case .number: "number"
    case .bool: "bool"
    case .choice(let words): words.joined(separator: ", ")
    case .path(.model): "path or preset:NAME"
    case .path(.reward): "path or name"
    case .path: "path"
    case .modules(let word): "list of strings, pattern, or \(word)"
    case .names: "list of strings"
    case .folders: "list of paths"
    case .choices(let words): "list of " + words.joined(separator: ", ")
    case .ints(let count, _): "list of \(count) ints"
    case .numbers(let count, _): "list of \(count) numbers"
    case .oneOrMore(let words): "one or a list of " + words.joined(separator: ", ")
    case .numberList: "list of numbers"
    }
  }

  /// The default as people read it.
  public var defaultText: String {
    switch fallback {
    case .required: "required"
    case .unset(let meaning): "unset: \(meaning)"
    case .value(let value): value.string.map { $0.isEmpty ? "empty" : $0 } ?? value.text()
    case .sameAs(let other): other.hasPrefix(".") ? "the recipe's `\(other.dropFirst())`" : "that of `\(other)`"
    case .derived(let meaning, _): meaning
    }
  }

  /// True for mappings and lists of mappings with keys of their own.
  var hasKeys: Bool {
    switch kind {
    case .section, .sections, .namedSections: true
    default: false
    }
  }
}
