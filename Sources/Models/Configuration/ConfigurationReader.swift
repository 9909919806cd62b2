import Core

/// Values of one section of a configuration, with errors that name file, line and key.
struct ConfigurationReader {
  let json: JSON
  let file: String
  /// Keys that lead to the section, each with a dot behind it.
  let path: String

  func location(_ key: String) -> AttuneError.Location { (json[key] ?? json).location(in: file) }

  func error(_ key: String, _ what: String, hint: String? = nil) -> AttuneError {
    .request("\(path)\(key) \(what)", at: location(key), hint: hint)
  }

  /// A setting that other programs may run, and this one does not.
  func unsupported(_ key: String, _ what: String) -> AttuneError {
    error(key, what, hint: "checkpoints with this setting are not run here; docs/models.md says what is")
  }

  func section(_ key: String) throws -> ConfigurationReader {
    guard let value = json[key], value.object != nil else {
      throw error(key, json[key].map { "is \($0.kind), a mapping was expected" } ?? "is missing")
    }
    return ConfigurationReader(json: value, file: file, path: "\(path)\(key).")
  }

  /// A value that is there and not null.
  func has(_ key: String) -> Bool { json[key].map { !$0.isNull } ?? false }

  func string(_ key: String) throws -> String {
    guard let value = json[key]?.string else {
      throw error(key, "is \(json[key]?.text() ?? "missing"), a string was expected")
    }
    return value
  }

  func optionalString(_ key: String) throws -> String? { has(key) ? try string(key) : nil }

  func int(_ key: String, in range: ClosedRange<Int>) throws -> Int {
    guard let value = try optionalInt(key, in: range) else { throw error(key, "is missing") }
    return value
  }

  func optionalInt(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let found = json[key], !found.isNull else { return nil }
    guard let value = found.int, range.contains(value) else {
      throw error(key, "is \(found.text()), a whole number in \(range.lowerBound)...\(range.upperBound) was expected")
    }
    return value
  }

  func optionalBool(_ key: String) throws -> Bool? {
    guard let found = json[key], !found.isNull else { return nil }
    guard let value = found.bool else { throw error(key, "is \(found.text()), true or false was expected") }
    return value
  }

  func optionalNumber(_ key: String) throws -> Double? {
    guard let found = json[key], !found.isNull else { return nil }
    guard let value = found.double, value.isFinite else {
      throw error(key, "is \(found.text()), a number was expected")
    }
    return value
  }

  func optionalNumber(_ key: String, in range: ClosedRange<Double>) throws -> Double? {
    guard let value = try optionalNumber(key) else { return nil }
    guard range.contains(value) else {
      throw error(key, "is \(json[key]!.text()), a number in \(range.lowerBound)...\(range.upperBound) was expected")
    }
    return value
  }

  func positiveNumber(_ key: String) throws -> Double {
    guard let value = try optionalNumber(key), value > 0 else {
      throw error(key, "is \(json[key]?.text() ?? "missing"), a positive number was expected")
    }
    return value
  }

  func ints(_ key: String, _ what: String, where holds: (Int) -> Bool) throws -> [Int] {
    guard let found = json[key], !found.isNull else { return [] }
    guard let values = found.array else { throw error(key, "is \(found.kind), a list of \(what) was expected") }
    return try values.map { value in
      guard let number = value.int, holds(number) else {
        throw error(key, "holds \(value.text()), \(what) were expected")
      }
      return number
    }
  }

  /// Refuses any value but the expected one; a missing value counts as expected.
  func require(_ key: String, _ expected: String) throws {
    guard let found = try optionalString(key), found != expected else { return }
    throw unsupported(key, "is \"\(found)\", \"\(expected)\" was expected")
  }
}
