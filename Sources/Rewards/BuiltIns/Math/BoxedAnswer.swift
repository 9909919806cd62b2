/// The last `\boxed{...}` or `\fbox{...}` of a text, with balanced braces.
enum BoxedAnswer {
  /// The content; nil if there is no box, or if the last one does not end.
  static func last(in text: String) -> String? { last([UInt8](text)) }

  static func last(_ bytes: [UInt8]) -> String? {
    let boxed = bytes.lastPosition(of: "\\boxed")
    let fbox = bytes.lastPosition(of: "\\fbox")
    // verl takes a frame only where there is no box.
    guard let start = boxed ?? fbox else { return nil }
    var at = start + (boxed == nil ? 5 : 6)
    if at < bytes.count, bytes[at] == 0x20, boxed != nil {
      // `\boxed 5`, up to the next dollar sign.
      let end = bytes[at...].firstIndex(of: 0x24) ?? bytes.count
      return bytes.text((at + 1)..<end)
    }
    guard at < bytes.count, bytes[at] == 0x7B else { return nil }
    let first = at + 1
    var depth = 0
    while at < bytes.count {
      if bytes[at] == 0x7B { depth += 1 }
      if bytes[at] == 0x7D { depth -= 1 }
      if depth == 0 { return bytes.text(first..<at) }
      at += 1
    }
    return nil
  }
}
