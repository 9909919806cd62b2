import Core

/// One hyper-parameter of an objective: what recipes, suites, errors and the documentation know of it.
public struct ObjectiveParameter: Sendable {
  /// What it takes.
  public enum Kind: Sendable, Equatable {
    case number, int, bool
    /// One of these words.
    case choice([String])
    /// One of these words, or a list of them.
    case oneOrMore([String])
    /// A list of numbers.
    case numbers
  }

  /// What it is where it is not given.
  public enum Default: Sendable {
    case value(JSON)
    /// Nothing; `meaning` says what happens then.
    case unset(meaning: String)
    /// The value of another parameter, which stands earlier.
    case sameAs(String)
  }

  /// Where a recipe has it.
  public enum Place: Sendable, Equatable {
    /// In the objective's own section of a stage.
    case section
    /// It is this key of the stage.
    case stage(String)
    /// Nowhere: it means something only for numbers that come from elsewhere.
    case suites
  }

  /// The name in snake case, as recipes, suites and the reference implementation have it.
  public var name: String
  public var kind: Kind
  public var fallback: Default
  /// For numbers; nil takes every finite one.
  public var bounds: NumberBounds?
  public var place: Place
  /// Other spellings of its words.
  var spellings: [(JSON, JSON)] = []
  /// One sentence.
  public var summary: String

  public init(
    _ name: String, _ kind: Kind, _ fallback: Default, in bounds: NumberBounds? = nil, place: Place = .section,
    _ summary: String
  ) {
    self.name = name
    self.kind = kind
    self.fallback = fallback
    self.bounds = bounds
    self.place = place
    self.summary = summary
  }

  static func choice<T: NamedChoice>(
    _ name: String, _ type: T.Type, _ fallback: T, place: Place = .section, _ summary: String
  ) -> ObjectiveParameter {
    .init(
      name, .choice(T.allCases.map(\.rawValue)), .value(.string(fallback.rawValue)), place: place, summary)
  }

  /// The same parameter that also takes `spelling` where it means `word`.
  func taking(_ spelling: JSON, as word: JSON) -> ObjectiveParameter {
    var copy = self
    copy.spellings.append((spelling, word))
    return copy
  }

  /// What it takes, in the words of an error message.
  public var expectation: String {
    let interval = bounds.map { ", \($0.description)" } ?? ""
    switch kind {
    case .number: return "a number" + interval
    case .int: return "a whole number" + interval
    case .bool: return "true or false"
    case .choice(let words): return "one of " + words.joined(separator: ", ")
    case .oneOrMore(let words): return "one or a list of " + words.joined(separator: ", ")
    case .numbers: return "a list of numbers" + interval
    }
  }

  /// The value in its normal form; nil if it is not what the parameter takes.
  func accepted(_ given: JSON) -> JSON? {
    let value = spellings.first { $0.0 == given }?.1 ?? given
    func number(_ value: JSON) -> JSON? {
      guard let x = SuiteTensor.number(value), x.isFinite, bounds?.contains(x) != false else { return nil }
      return .double(x)
    }
    switch kind {
    case .number: return number(value)
    case .int:
      guard let x = value.int, bounds?.contains(Double(x)) != false else { return nil }
      return value
    case .bool: return value.bool == nil ? nil : value
    case .choice(let words): return value.string.flatMap { words.contains($0) ? value : nil }
    case .oneOrMore(let words):
      let names = value.array ?? [value]
      guard !names.isEmpty, names.allSatisfy({ $0.string.map(words.contains) ?? false }) else { return nil }
      return .array(names)
    case .numbers:
      guard let items = value.array else { return nil }
      let numbers = items.compactMap(number)
      return numbers.count == items.count ? .array(numbers) : nil
    }
  }
}

/// The hyper-parameters of an objective with their values, every default filled in.
public struct ObjectiveSettings: Sendable {
  private var values: [String: JSON] = [:]
  /// True if a parameter that the others leave without meaning is passed over, as in the reference implementation, and not
  /// refused.
  let isLenient: Bool

  /// Reads the parameters from a mapping; keys that are no parameters are passed over, null is as good as not given.
  ///
  /// - Parameter isLenient: pass over parameters that the others leave without meaning.
  /// - Throws: `AttuneError` that begins with the parameter's name and says what was found and what it takes.
  public init(_ given: JSON.Object, of parameters: [ObjectiveParameter], isLenient: Bool = false) throws {
    self.isLenient = isLenient
    for parameter in parameters {
      if let value = given[parameter.name], !value.isNull {
        guard let accepted = parameter.accepted(value) else {
          throw AttuneError.request(
            "\(parameter.name) is \(value.text()), expected \(parameter.expectation)",
            hint: Self.nearest(to: value, parameter.kind))
        }
        values[parameter.name] = accepted
        continue
      }
      switch parameter.fallback {
      case .value(let value): values[parameter.name] = parameter.accepted(value) ?? value
      case .sameAs(let other): values[parameter.name] = values[other]
      case .unset: break
      }
    }
  }

  private static func nearest(to value: JSON, _ kind: ObjectiveParameter.Kind) -> String? {
    switch kind {
    case .choice(let words), .oneOrMore(let words):
      let odd = (value.array ?? [value]).compactMap(\.string).first { !words.contains($0) }
      return odd.flatMap { nearestName(to: $0, among: words) }.map { "did you mean '\($0)'?" }
    default: return nil
    }
  }

  // A miss below is a mistake of this program: the table has been read.

  func number(_ name: String) -> Double { found(name, optionalNumber(name)) }
  func optionalNumber(_ name: String) -> Double? { values[name]?.double }
  func int(_ name: String) -> Int { found(name, values[name]?.int) }
  func bool(_ name: String) -> Bool { found(name, values[name]?.bool) }
  func choice<T: NamedChoice>(_ name: String) -> T {
    found(name, values[name]?.string.flatMap { T(rawValue: $0) })
  }
  func choices<T: NamedChoice>(_ name: String) -> [T] {
    (values[name]?.array ?? []).map { found(name, $0.string.flatMap { T(rawValue: $0) }) }
  }
  func optionalNumbers(_ name: String) -> [Double]? { values[name]?.array.map { $0.compactMap(\.double) } }

  private func found<T>(_ name: String, _ value: T?) -> T {
    guard let value else { preconditionFailure("the parameters do not provide '\(name)' as \(T.self)") }
    return value
  }
}
