import CYAML
import Core

/// Reads one YAML document through libyaml.
///
/// Scalars follow the core schema of YAML 1.2. Refused, each with line and column: syntax errors, a second document,
/// repeated keys, keys that are no scalars, merge keys, tags outside the core schema, nesting deeper than 64, and
/// aliases that would make more than 100 000 values of a small file.
enum YAML {
  /// The document as a JSON value with positions.
  ///
  /// - Throws: `AttuneError` (request) located in `file`.
  static func parse(_ text: String, file: String = "") throws -> JSON { try node(Array(text.utf8), file: file).json }

  /// The document with the places of its keys; an empty text is null.
  static func node(_ bytes: [UInt8], file: String) throws -> RecipeNode {
    try YAMLReader(bytes, file: file).document()
  }
}

/// Builds nodes from libyaml's events. A class, since the parser must be freed whatever is thrown.
private final class YAMLReader {
  private static let deepest = 64
  private static let mostValues = 100_000

  private let file: String
  private let input: UnsafeMutableBufferPointer<UInt8>
  private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
  private let event = UnsafeMutablePointer<yaml_event_t>.allocate(capacity: 1)
  private let isReady: Bool
  /// True while `event` holds memory of libyaml.
  private var holdsEvent = false
  private var anchors: [String: (value: RecipeNode, count: Int, height: Int)] = [:]
  private var count = 0
  /// The greatest depth met since the enclosing value began.
  private var reached = 0

  init(_ bytes: [UInt8], file: String) {
    self.file = file
    input = .allocate(capacity: bytes.count)
    _ = input.initialize(from: bytes)
    event.initialize(to: yaml_event_t())
    parser.initialize(to: yaml_parser_t())
    isReady = yaml_parser_initialize(parser) == 1
    if isReady {
      yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
      yaml_parser_set_input_string(parser, input.baseAddress, input.count)
    }
  }

  deinit {
    if holdsEvent { yaml_event_delete(event) }
    if isReady { yaml_parser_delete(parser) }
    parser.deallocate()
    event.deallocate()
    input.deallocate()
  }

  func document() throws -> RecipeNode {
    guard isReady else { throw AttuneError.work("out of memory while reading YAML", at: .init(file: file)) }
    try advance()  // The stream's start.
    try advance()
    guard event.pointee.type != YAML_STREAM_END_EVENT else { return RecipeNode(.null, at: .file(line: 1, column: 1)) }
    try advance()  // Past the document's start.
    let root = try value(depth: 0)
    try advance()  // The document's end.
    try advance()
    guard event.pointee.type == YAML_STREAM_END_EVENT else {
      throw error("a second YAML document begins here; expected one document in the file")
    }
    return root
  }

  /// Reads the next event into `event`.
  private func advance() throws {
    if holdsEvent { yaml_event_delete(event) }
    holdsEvent = false
    guard yaml_parser_parse(parser, event) == 1 else { throw syntaxError() }
    holdsEvent = true
  }

  private var place: RecipeNode.Place {
    .file(line: event.pointee.start_mark.line + 1, column: event.pointee.start_mark.column + 1)
  }

  private func error(_ message: String, at place: RecipeNode.Place? = nil, hint: String? = nil) -> AttuneError {
    .request(message, at: (place ?? self.place).location(in: file), hint: hint)
  }

  /// The value that begins at the current event; leaves its last event current.
  private func value(depth: Int) throws -> RecipeNode {
    try checkDepth(depth)
    try countValues(1)
    let reachedBefore = reached
    reached = depth
    defer { reached = max(reached, reachedBefore) }
    let anchor = attune_yaml_anchor(event).map { String(cString: $0) }
    let tag = attune_yaml_tag(event).map { String(cString: $0) }
    let start = place
    let before = count
    let result: RecipeNode
    switch event.pointee.type {
    case YAML_ALIAS_EVENT: return try alias(anchor ?? "", depth: depth)
    case YAML_SCALAR_EVENT: result = try scalar(tag)
    case YAML_SEQUENCE_START_EVENT:
      try checkTag(tag, "seq")
      var items: [RecipeNode] = []
      while true {
        try advance()
        if event.pointee.type == YAML_SEQUENCE_END_EVENT { break }
        items.append(try value(depth: depth + 1))
      }
      result = RecipeNode(.list(items), at: start)
    case YAML_MAPPING_START_EVENT:
      try checkTag(tag, "map")
      result = RecipeNode(.mapping(try entries(depth: depth)), at: start)
    default: throw error("expected a value")
    }
    // An anchor is known only after its value: a value cannot contain itself.
    if let anchor { anchors[anchor] = (result, count - before + 1, reached - depth) }
    return result
  }

  private func checkDepth(_ depth: Int) throws {
    guard depth < Self.deepest else { throw error("nested deeper than \(Self.deepest) levels") }
  }

  private func countValues(_ more: Int) throws {
    count += more
    guard count <= Self.mostValues else {
      throw error("the document holds more than \(Self.mostValues) values once its aliases are replaced")
    }
  }

  private func alias(_ name: String, depth: Int) throws -> RecipeNode {
    guard let known = anchors[name] else {
      throw error(
        "the alias '*\(name)' names no anchor that stands before it",
        hint: nearestName(to: name, among: anchors.keys.sorted()).map { "did you mean '*\($0)'?" })
    }
    try countValues(known.count)
    try checkDepth(depth + known.height)
    reached = depth + known.height
    var copy = known.value
    copy.place = place
    return copy
  }

  private func entries(depth: Int) throws -> [RecipeNode.Entry] {
    var entries: [RecipeNode.Entry] = []
    var lines: [String: Int] = [:]
    while true {
      try advance()
      if event.pointee.type == YAML_MAPPING_END_EVENT { return entries }
      guard event.pointee.type == YAML_SCALAR_EVENT else { throw error("a key must be a plain word or a string") }
      let keyPlace = place
      let key = scalarText()
      if key == "<<", attune_yaml_is_plain(event) == 1 {
        throw error(
          "merge keys ('<<') are not part of YAML 1.2",
          hint: "write the keys out, or give the whole mapping an anchor (&name) and use it as a value (*name)")
      }
      if let line = lines[key] { throw error("the key '\(key)' stands twice; the first is on line \(line)") }
      lines[key] = event.pointee.start_mark.line + 1
      try advance()
      entries.append(.init(key: key, place: keyPlace, value: try value(depth: depth + 1)))
    }
  }

  private func scalarText() -> String {
    var length = 0
    guard let bytes = attune_yaml_scalar(event, &length) else { return "" }
    return String(decoding: UnsafeBufferPointer(start: bytes, count: length), as: UTF8.self)
  }

  private func scalar(_ tag: String?) throws -> RecipeNode {
    let text = scalarText()
    let isPlain = attune_yaml_is_plain(event) == 1
    guard let tag, tag != "!" else {
      return tag == nil && isPlain
        ? RecipeNode(YAMLScalar.resolve(text), at: place, source: text) : RecipeNode(.string(text), at: place)
    }
    let content = YAMLScalar.resolve(text)
    switch (tag, content) {
    case ("tag:yaml.org,2002:str", _): return RecipeNode(.string(text), at: place)
    case ("tag:yaml.org,2002:null", .null), ("tag:yaml.org,2002:bool", .bool), ("tag:yaml.org,2002:int", .int),
      ("tag:yaml.org,2002:float", .double):
      return RecipeNode(content, at: place, source: text)
    case ("tag:yaml.org,2002:float", .int(let x)): return RecipeNode(.double(Double(x)), at: place, source: text)
    default: throw error("'\(text)' cannot be read with the tag '\(short(tag))'")
    }
  }

  private func checkTag(_ tag: String?, _ expected: String) throws {
    guard let tag, tag != "!", tag != "tag:yaml.org,2002:" + expected else { return }
    throw error("the tag '\(short(tag))' is not supported here")
  }

  private func short(_ tag: String) -> String {
    tag.hasPrefix("tag:yaml.org,2002:") ? "!!" + tag.dropFirst("tag:yaml.org,2002:".count) : tag
  }

  private func syntaxError() -> AttuneError {
    let broken = parser.pointee
    let problem = broken.problem.map { String(cString: $0) } ?? "the text cannot be read"
    switch broken.error {
    case YAML_MEMORY_ERROR: return .work("out of memory while reading YAML", at: .init(file: file))
    case YAML_READER_ERROR:
      // The reader counts bytes: not UTF-8, or a control character.
      return error("not valid YAML: \(problem)", at: place(ofByte: broken.problem_offset))
    default:
      var message = "not valid YAML: \(problem)"
      if let context = broken.context {
        message += " (\(String(cString: context)), which began on line \(broken.context_mark.line + 1))"
      }
      return error(
        message, at: .file(line: broken.problem_mark.line + 1, column: broken.problem_mark.column + 1))
    }
  }

  private func place(ofByte offset: Int) -> RecipeNode.Place {
    var line = 1
    var column = 1
    for byte in input.prefix(offset) {
      if byte == 0x0A {
        line += 1
        column = 1
      } else if byte & 0xC0 != 0x80 {
        column += 1
      }
    }
    return .file(line: line, column: column)
  }
}
