import Core

/// A schema of JSON Schema 2020-12: the keywords that describe a value, without those that need other documents.
///
/// Nodes lie in one array and name each other by index, so that a schema may refer to itself. `format` is an assertion here.
struct JSONSchema: Sendable {
  /// A schema, or a part of one. Absent keywords demand nothing.
  struct Node: Sendable {
    /// For the schemas `true` and `false`.
    var constant: Bool?
    var reference: Int?
    var types: [ValueType]?
    var values: [JSON]?

    var minimum: Double?
    var maximum: Double?
    var above: Double?
    var below: Double?
    var divisor: Double?

    var lengths = Bounds()
    var pattern: Pattern?
    var format: StringFormat?

    var prefixItems: [Int] = []
    var items: Int?
    var contains: Int?
    var containing = Bounds(minimum: 1)
    var itemCounts = Bounds()
    var isUnique = false

    /// Key to `.int(node)`; an object, since its keys are told apart by code points.
    var properties = JSON.Object()
    var patternProperties: [(pattern: Pattern, node: Int)] = []
    var additional: Int?
    var propertyNames: Int?
    var required: [String] = []
    var dependent: [(key: String, required: [String])] = []
    var propertyCounts = Bounds()

    var allOf: [Int] = []
    var anyOf: [Int] = []
    var oneOf: [Int] = []
    var not: Int?
    var condition: (test: Int, then: Int?, otherwise: Int?)?
  }

  enum ValueType: String, CaseIterable, Sendable {
    case null, boolean, integer, number, string, array, object

    func accepts(_ value: JSON) -> Bool {
      switch (self, value.value) {
      case (.null, .null), (.boolean, .bool), (.number, .int), (.number, .double), (.integer, .int),
        (.string, .string), (.array, .array), (.object, .object):
        true
      // A whole number that was written with a fraction is an integer.
      case (.integer, .double(let x)): x.isFinite && x == x.rounded()
      default: false
      }
    }
  }

  /// How many of something there may be.
  struct Bounds: Sendable {
    var minimum: Int?
    var maximum: Int?

    /// What is wrong with a number of things, such as "3 items, at most 2 were expected".
    func fault(_ count: Int, _ things: String) -> String? {
      if let minimum, count < minimum { return "\(count) \(things), at least \(minimum) were expected" }
      if let maximum, count > maximum { return "\(count) \(things), at most \(maximum) were expected" }
      return nil
    }
  }

  /// Why a schema is refused.
  struct Malformed: Error {
    /// A path from `$`, the schema's root.
    var path: String
    var words: String
    var hint: String?
  }

  var nodes: [Node] = []
  static let root = 0
}
