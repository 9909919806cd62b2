/// Why an answer counts as equal to a reference; the log of a sample names it.
enum MathRule: String, Sendable {
  /// The same characters, but for spaces and styles.
  case string
  /// The same tree.
  case structure
  case integer, rational
  /// Equal to six places, or to about fifteen digits.
  case numeric
  /// A percentage and its number, as `10\%` and `10`.
  case percent
  /// The same quotient of polynomials.
  case polynomial
  /// Equal at pseudo-random points.
  case sampled
  case relation, set, tuple, interval, matrix
  /// A letter.
  case choice
  case word
  /// `3,14` for `3.14`.
  case decimalComma = "decimal comma"
}
