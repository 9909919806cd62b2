import CRewardABI

/// A parameter that a recipe may set.
public struct Parameter: Sendable {
  let name: String
  let type: Int32
  let defaultJSON: String?
  let summary: String
  let bounds: ClosedRange<Double>?

  /// A number; without a default it must be given.
  public static func number(
    _ name: String, default value: Double? = nil, in bounds: ClosedRange<Double>? = nil, _ summary: String = ""
  ) -> Parameter {
    Parameter(
      name: name, type: ATTUNE_NUMBER, defaultJSON: value.map { "\($0)" }, summary: summary, bounds: bounds)
  }

  public static func bool(_ name: String, default value: Bool? = nil, _ summary: String = "") -> Parameter {
    Parameter(
      name: name, type: ATTUNE_BOOL, defaultJSON: value.map { "\($0)" }, summary: summary, bounds: nil)
  }

  public static func string(_ name: String, default value: String? = nil, _ summary: String = "") -> Parameter {
    Parameter(name: name, type: ATTUNE_STRING, defaultJSON: value.map(quoted), summary: summary, bounds: nil)
  }
}

/// The values that the recipe gave, defaults filled in.
public struct Parameters {
  let host: UnsafePointer<attune_host>

  /// nil if there is no such parameter or it is no number.
  public func number(_ name: String) -> Double? {
    let found = value(name)
    return found.type == ATTUNE_NUMBER ? found.number : nil
  }

  public func bool(_ name: String) -> Bool? {
    let found = value(name)
    return found.type == ATTUNE_BOOL ? found.number != 0 : nil
  }

  public func string(_ name: String) -> String? {
    let found = value(name)
    return found.type == ATTUNE_STRING ? found.text.string : nil
  }

  /// Any value as JSON text; a string without its quotes.
  public func json(_ name: String) -> String? { value(name).text.string }

  private func value(_ name: String) -> attune_value {
    var found = attune_value()
    _ = host.pointee.parameter(host, name, &found)
    return found
  }
}

extension attune_string {
  /// nil if absent.
  var string: String? {
    guard let data else { return nil }
    return String(decoding: UnsafeRawBufferPointer(start: data, count: size), as: UTF8.self)
  }
}

private func quoted(_ text: String) -> String {
  var out = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case _ where scalar.value < 0x20:
      let hex = String(scalar.value, radix: 16)
      out += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
    default: out.unicodeScalars.append(scalar)
    }
  }
  return out + "\""
}
