import Core

/// A value of `tokenizer.json` with the path that leads to it, which every refusal names.
struct DescriptionNode {
  let json: JSON
  /// `model.merges[17]`; empty for the whole file.
  let path: String
  let file: String

  /// The child of a mapping; nil where the key is missing or its value null.
  subscript(key: String) -> DescriptionNode? {
    guard let child = json[key], !child.isNull else { return nil }
    return DescriptionNode(json: child, path: path(of: key), file: file)
  }

  func path(of key: String) -> String {
    let isPlain = !key.isEmpty && key.utf8.allSatisfy { ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7A || $0 == 0x5F }
    return isPlain ? (path.isEmpty ? key : "\(path).\(key)") : path + "[\(JSON.string(key).text())]"
  }

  func refusal(_ message: String, hint: String? = nil) -> AttuneError {
    .request(path.isEmpty ? message : "\(path): \(message)", at: json.location(in: file), hint: hint)
  }

  /// `found`, what was expected here.
  func unexpected(_ expected: String) -> AttuneError {
    let text = json.text()
    let found = text.utf8.count <= 60 ? text : json.kind
    return refusal("found \(found), expected \(expected)")
  }

  func unsupported(_ what: String, _ name: String, _ supported: [String]) -> AttuneError {
    let near = nearestName(to: name, among: supported).map { "did you mean \"\($0)\"? " } ?? ""
    return refusal(
      "\(what) \"\(name)\" is not supported", hint: near + "supported: \(supported.joined(separator: ", "))")
  }

  /// The child that must be there.
  func required(_ key: String) throws -> DescriptionNode {
    guard let child = json[key] else { throw refusal("no \"\(key)\"") }
    return DescriptionNode(json: child, path: path(of: key), file: file)
  }

  func type(_ what: String) throws -> String {
    guard json.object != nil else { throw unexpected("\(what): a mapping with \"type\"") }
    return try required("type").text()
  }

  func text() throws -> String {
    guard let text = json.string else { throw unexpected("a string") }
    return text
  }

  func bytes() throws -> [UInt8] { Array(try text().utf8) }

  func character() throws -> Unicode.Scalar {
    guard let scalars = json.string?.unicodeScalars, scalars.count == 1, let first = scalars.first else {
      throw unexpected("one character")
    }
    return first
  }

  func bool() throws -> Bool {
    guard let bool = json.bool else { throw unexpected("true or false") }
    return bool
  }

  func count() throws -> Int {
    guard case .int(let value) = json.value, value >= 0, let count = Int(exactly: value) else {
      throw unexpected("a whole number, 0 or more")
    }
    return count
  }

  /// Largest id taken from a file: enough for any vocabulary, and arrays by id stay small.
  static let largestID = 1 << 24

  func id() throws -> Int32 {
    guard case .int(let value) = json.value, (0..<Int64(Self.largestID)).contains(value) else {
      throw unexpected("an id, 0...\(Self.largestID - 1)")
    }
    return Int32(value)
  }

  /// A flag that may be left out.
  func flag(_ key: String, default value: Bool) throws -> Bool { try self[key].map { try $0.bool() } ?? value }

  /// GPT-2's split pattern, on unless the file says otherwise; not null.
  func usesRegex() throws -> Bool { json["use_regex"] == nil ? true : try required("use_regex").bool() }

  func items() throws -> [DescriptionNode] {
    guard let items = json.array else { throw unexpected("a list") }
    return items.enumerated().map { DescriptionNode(json: $1, path: "\(path)[\($0)]", file: file) }
  }

  /// `{"String": ".."}` or `{"Regex": ".."}`.
  func delimiter() throws -> Delimiter {
    guard let object = json.object, object.count == 1, let key = object.keys.first, ["String", "Regex"].contains(key)
    else { throw unexpected(#"a pattern: {"Regex": ".."} or {"String": ".."}"#) }
    let node = try required(key)
    if key == "String" { return .literal(try node.bytes()) }
    return .pattern(try node.pattern(node.text()))
  }

  func pattern(_ source: String) throws -> SplitPattern {
    do {
      return try SplitPattern(source)
    } catch let error as AttuneError {
      throw refusal(error.message)
    }
  }
}
