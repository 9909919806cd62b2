extension JSON {
  /// How a value is written.
  public struct Style: Sendable {
    /// Spaces per level; nil writes everything on one line.
    public var indent: Int?
    public var itemSeparator: String
    public var keySeparator: String
    public var sortKeys: Bool
    /// True escapes everything outside ASCII as `\u....`.
    public var ascii: Bool

    public init(
      indent: Int? = nil, itemSeparator: String = ", ", keySeparator: String = ": ", sortKeys: Bool = false,
      ascii: Bool = false
    ) {
      self.indent = indent
      self.itemSeparator = itemSeparator
      self.keySeparator = keySeparator
      self.sortKeys = sortKeys
      self.ascii = ascii
    }

    /// One line, `", "` and `": "` between things, as Python's `json.dumps` writes.
    public static let line = Style()
    /// Two spaces a level, for files that people read.
    public static let pretty = Style(indent: 2, itemSeparator: ",")
  }

  /// This value as JSON text. Numbers that are not finite become null, since JSON has no word for them.
  public func text(_ style: Style = .line) -> String {
    var out = ""
    write(into: &out, style, level: 0)
    return out
  }

  private func write(into out: inout String, _ style: Style, level: Int) {
    switch value {
    case .null: out += "null"
    case .bool(let x): out += x ? "true" : "false"
    case .int(let x): out += String(x)
    case .double(let x): out += x.isFinite ? String(x) : "null"
    case .string(let x): JSON.quote(x, into: &out, ascii: style.ascii)
    case .array(let items):
      guard !items.isEmpty else {
        out += "[]"
        return
      }
      out += "["
      for (i, item) in items.enumerated() {
        if i > 0 { out += style.itemSeparator }
        JSON.newLine(into: &out, style, level + 1)
        item.write(into: &out, style, level: level + 1)
      }
      JSON.newLine(into: &out, style, level)
      out += "]"
    case .object(let object):
      guard !object.isEmpty else {
        out += "{}"
        return
      }
      out += "{"
      let keys =
        style.sortKeys
        ? object.keys.sorted { $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars) } : object.keys
      for (i, key) in keys.enumerated() {
        if i > 0 { out += style.itemSeparator }
        JSON.newLine(into: &out, style, level + 1)
        JSON.quote(key, into: &out, ascii: style.ascii)
        out += style.keySeparator
        object[key]!.write(into: &out, style, level: level + 1)
      }
      JSON.newLine(into: &out, style, level)
      out += "}"
    }
  }

  private static func newLine(into out: inout String, _ style: Style, _ level: Int) {
    guard let indent = style.indent else { return }
    out += "\n"
    out += String(repeating: " ", count: indent * level)
  }

  /// `text` as a JSON string, quotes included.
  public static func quote(_ text: String, into out: inout String, ascii: Bool = false) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{08}": out += "\\b"
      case "\u{0C}": out += "\\f"
      case _ where scalar.value < 0x20 || (ascii && scalar.value > 0x7E):
        for unit in String(Character(scalar)).utf16 {
          let hex = String(unit, radix: 16)
          out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        }
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }
}
