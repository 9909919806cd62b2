import Core

/// Values of a processor's configuration file, each checked where it is read. A null counts as not said, as in the library.
struct ProcessorConfiguration {
  let root: JSON
  let file: String

  init(_ root: JSON, file: String) throws {
    guard root.object != nil else {
      throw AttuneError.request(
        "found \(root.kind), expected a mapping with the processor's settings", at: root.location(in: file))
    }
    self.root = root
    self.file = file
  }

  /// Checks the class that the configuration names.
  ///
  /// - Parameter older: the key that said it before, if any.
  func checkKind(among supported: [String], key: String, older: String? = nil) throws {
    let found = value(key) ?? older.flatMap { value($0) }
    guard let entry = found, let kind = entry.string else {
      throw AttuneError.request(
        "\"\(key)\" is missing or no string", at: (found ?? root).location(in: file),
        hint: "supported are \(supported.joined(separator: ", "))")
    }
    guard supported.contains(kind) else {
      throw AttuneError.request(
        "the processor '\(kind)' is not supported", at: entry.location(in: file),
        hint: "supported are \(supported.joined(separator: ", "))")
    }
  }

  func error(_ key: String, _ message: String) -> AttuneError {
    .request("\"\(key)\" \(message)", at: (value(key) ?? root).location(in: file))
  }

  func integer(_ key: String, default fallback: Int, in range: ClosedRange<Int>) throws -> Int {
    guard let value = value(key) else { return fallback }
    return try integer(value, key, in: range)
  }

  func number(_ key: String, default fallback: Double) throws -> Double {
    guard let value = value(key) else { return fallback }
    guard let number = value.double, number.isFinite else {
      throw error(key, "is \(value.text()), expected a number")
    }
    return number
  }

  func flag(_ key: String, default fallback: Bool) throws -> Bool {
    guard let value = value(key) else { return fallback }
    guard let flag = value.bool else { throw error(key, "is \(value.text()), expected true or false") }
    return flag
  }

  func triple(_ key: String, default fallback: [Double]) throws -> [Double] {
    guard let value = value(key) else { return fallback }
    let numbers = value.array?.compactMap(\.double) ?? []
    guard numbers.count == 3, value.array?.count == 3, numbers.allSatisfy(\.isFinite) else {
      throw error(key, "is \(value.text()), expected three numbers: red, green, blue")
    }
    return numbers
  }

  func filter() throws -> Resampling {
    let code = try integer("resample", default: 3, in: 0...5)
    guard let filter = Resampling(pillowCode: code) else {
      throw error("resample", "is 0 (nearest), expected 1 lanczos, 2 bilinear, 3 bicubic, 4 box or 5 hamming")
    }
    return filter
  }

  func integer(_ value: JSON, _ name: String, in range: ClosedRange<Int>) throws -> Int {
    guard let number = value.int, range.contains(number) else {
      throw AttuneError.request(
        "\"\(name)\" is \(value.text()), expected a whole number from \(range.lowerBound) to \(range.upperBound)",
        at: value.location(in: file))
    }
    return number
  }

  /// What is said under `key`; nil for null.
  func value(_ key: String) -> JSON? {
    guard let value = root[key], !value.isNull else { return nil }
    return value
  }
}
