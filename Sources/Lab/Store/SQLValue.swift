/// A value on its way into a statement.
enum SQLValue: Sendable {
  case null
  case int(Int)
  /// NaN becomes NULL: SQLite has no NaN.
  case double(Double)
  case text(String)
  case blob([UInt8])

  static func optional(_ x: Double?) -> SQLValue { x.map { .double($0) } ?? .null }
  static func optional(_ x: Int?) -> SQLValue { x.map { .int($0) } ?? .null }
  static func optional(_ x: String?) -> SQLValue { x.map { .text($0) } ?? .null }
}
