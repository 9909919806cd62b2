extension String {
  /// The text with control characters written as in code (`\u001b`), so that it cannot steer a terminal.
  ///
  /// - Parameter keepingLines: line feeds and tabs stay as they are.
  public func escapingControls(keepingLines: Bool = true) -> String {
    func isEscaped(_ scalar: Unicode.Scalar) -> Bool {
      scalar.properties.generalCategory == .control && !(keepingLines && (scalar == "\n" || scalar == "\t"))
    }
    guard unicodeScalars.contains(where: isEscaped) else { return self }
    var text = String.UnicodeScalarView()
    for scalar in unicodeScalars {
      guard isEscaped(scalar) else {
        text.append(scalar)
        continue
      }
      switch scalar {
      case "\n": text.append(contentsOf: "\\n".unicodeScalars)
      case "\r": text.append(contentsOf: "\\r".unicodeScalars)
      case "\t": text.append(contentsOf: "\\t".unicodeScalars)
      default:
        let digits = String(scalar.value, radix: 16)
        text.append(
          contentsOf: ("\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits).unicodeScalars)
      }
    }
    return String(text)
  }
}
