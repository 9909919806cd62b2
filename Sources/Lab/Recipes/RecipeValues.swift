import Core

/// Typed access to one mapping of an effective recipe. The reader has made sure that every key of the table is there
/// with its type, so a miss is a mistake of this program and not of the recipe.
struct RecipeValues {
  let object: JSON.Object

  init(_ json: JSON?) { object = json?.object ?? JSON.Object() }

  func section(_ key: String) -> RecipeValues { RecipeValues(object[key]) }
  func sections(_ key: String) -> [RecipeValues] { (object[key]?.array ?? []).map { RecipeValues($0) } }

  func string(_ key: String) -> String { value(key, object[key]?.string) }
  func int(_ key: String) -> Int { value(key, object[key]?.int) }
  func number(_ key: String) -> Double { value(key, object[key]?.double) }
  func bool(_ key: String) -> Bool { value(key, object[key]?.bool) }
  func json(_ key: String) -> JSON { value(key, object[key]) }
  func choice<T: RawRepresentable>(_ key: String) -> T where T.RawValue == String {
    value(key, T(rawValue: string(key)))
  }
  func optionalString(_ key: String) -> String? { object[key]?.string }
  func optionalInt(_ key: String) -> Int? { object[key]?.int }
  func optionalNumber(_ key: String) -> Double? { object[key]?.double }

  func ints(_ key: String) -> (Int, Int) {
    (value(key, object[key]?[0]?.int), value(key, object[key]?[1]?.int))
  }
  func numbers(_ key: String) -> (Double, Double) {
    (value(key, object[key]?[0]?.double), value(key, object[key]?[1]?.double))
  }

  private func value<T>(_ key: String, _ found: T?) -> T {
    guard let found else { preconditionFailure("the recipe table does not provide '\(key)' as \(T.self)") }
    return found
  }
}
