import Core

/// A closed set of alternatives that a recipe names by a word, such as a loss type.
public protocol NamedChoice: RawRepresentable, CaseIterable, Sendable where RawValue == String {}

extension NamedChoice {
  /// The alternative called `name`.
  ///
  /// - Parameter key: the recipe key that holds the name, for the error.
  /// - Throws: `AttuneError` that lists the alternatives and hints at the nearest.
  public static func named(_ name: String, key: String, at location: AttuneError.Location? = nil) throws -> Self {
    if let choice = Self(rawValue: name) { return choice }
    let names = allCases.map(\.rawValue)
    throw AttuneError.request(
      "\(key) is '\(name)'; it can be \(names.joined(separator: ", "))", at: location,
      hint: nearestName(to: name, among: names).map { "did you mean '\($0)'?" })
  }
}
