import Foundation

/// Answers of the MATH data set as texts that can be compared.
///
/// Source of the rules: Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset (2021), the
/// function `strip_string` of its published evaluation, which verl's `math_reward.py` uses as well.
enum HendrycksText {
  static func normalized(_ answer: String) -> String {
    var text = answer.replacingOccurrences(of: "\n", with: "")
    for (old, new) in [
      ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
      ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""),
    ] { text = text.replacingOccurrences(of: old, with: new) }
    // A unit is `\text{ ` and what follows it.
    if let unit = text.range(of: "\\text{ ") { text = String(text[..<unit.lowerBound]) }
    for (old, new) in [("\\%", ""), (" .", " 0."), ("{.", "{0.")] {
      text = text.replacingOccurrences(of: old, with: new)
    }
    if text.hasPrefix(".") { text = "0" + text }
    let sides = text.split(separator: "=", omittingEmptySubsequences: false)
    if sides.count == 2, sides[0].count <= 2 { text = String(sides[1]) }
    text = bracedRoots(text).replacingOccurrences(of: " ", with: "")
    text = bracedFractions(text)
    if text == "0.5" { return "\\frac{1}{2}" }
    return slashFraction(text)
  }

  /// `\sqrt3` as `\sqrt{3}`.
  private static func bracedRoots(_ text: String) -> String {
    let parts = text.components(separatedBy: "\\sqrt")
    return parts.dropFirst().reduce(parts[0]) { result, part in
      guard let first = part.first, first != "{" else { return result + "\\sqrt" + part }
      return result + "\\sqrt{\(first)}" + part.dropFirst()
    }
  }

  /// `\frac12` as `\frac{1}{2}`, and `\frac1{2}` likewise.
  private static func bracedFractions(_ text: String) -> String {
    let parts = text.components(separatedBy: "\\frac")
    var result = parts[0]
    for part in parts.dropFirst() {
      result += "\\frac"
      guard part.first != "{" else {
        result += part
        continue
      }
      // Nothing is mended in a text that is cut off.
      guard part.count >= 2, let numerator = part.first else { return text }
      let rest = part.dropFirst()
      result += "{\(numerator)}"
      result += rest.first == "{" ? String(rest) : "{\(rest.prefix(1))}" + rest.dropFirst()
    }
    return result
  }

  /// `2/3` as `\frac{2}{3}`.
  private static func slashFraction(_ text: String) -> String {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let a = Int(parts[0]), let b = Int(parts[1]), text == "\(a)/\(b)" else { return text }
    return "\\frac{\(a)}{\(b)}"
  }
}
