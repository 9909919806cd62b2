import Core
import TestSupport
import Testing

@testable import Lab

@Suite struct RecipeYAMLTests {
  /// The examples of YAML 1.2.2, section 10.3.2, and what YAML 1.1 read otherwise.
  @Test func coreSchemaScalars() throws {
    let cases: [(String, JSON)] = [
      ("null", .null), ("~", .null), ("", .null), ("Null", .null), ("true", true), ("TRUE", true), ("false", false),
      ("0", 0), ("0o7", 7), ("0x3A", 58), ("-19", -19), ("+12", 12), ("0.", 0.0), ("-0.0", -0.0), (".5", 0.5),
      ("+12e03", 12000.0), ("-2E+05", -200000.0), ("1e-6", 1e-6), ("1.5", 1.5), ("007", 7),
      ("yes", "yes"), ("on", "on"), ("1:30", "1:30"), ("1_000", "1_000"), ("1e", "1e"), ("e5", "e5"), (".", "."),
      ("-", "-"), ("+", "+"), ("0x", "0x"), ("0xg", "0xg"), ("0x-1", "0x-1"), ("nan", "nan"), ("inf", "inf"),
      ("1.2.3", "1.2.3"), ("9223372036854775807", JSON.int(Int64.max)), ("9223372036854775808", 9223372036854775808.0),
      ("2026-11-23", "2026-11-23"),
    ]
    for (text, expected) in cases {
      #expect(RecipeNode(YAMLScalar.resolve(text), at: .unknown).json == expected, "\(text)")
    }
    for (text, expected) in [(".inf", Double.infinity), ("-.INF", -.infinity), ("+.Inf", .infinity)] {
      #expect(RecipeNode(YAMLScalar.resolve(text), at: .unknown).json.double == expected)
    }
    #expect(RecipeNode(YAMLScalar.resolve(".NaN"), at: .unknown).json.double?.isNaN == true)
  }

  @Test func quotedScalarsAreStrings() throws {
    #expect(try YAML.parse("['1', \"true\", 'null', !!str 5, \"a\\nb\"]") == ["1", "true", "null", "5", "a\nb"])
    #expect(try YAML.parse("a: |\n  one\n  two\nb: >\n  one\n  two\n") == ["a": "one\ntwo\n", "b": "one two\n"])
    #expect(try YAML.parse("[!!int 5, !!float 5, !!bool true, !!null ~]") == [5, 5.0, true, .null])
  }

  @Test func positionsCountFromOneInCodePoints() throws {
    let root = try YAML.parse("a: 1\nünï: {b: [x, yy]}\n")
    #expect(root["a"]?.position == .init(line: 1, column: 4))
    #expect(root["ünï"]?["b"]?[1]?.position == .init(line: 2, column: 14))
    let node = try YAML.node(Array("a: 1\nb:\n  c: 2\n".utf8), file: "")
    #expect(node["b"]?.entries?.first?.place == .file(line: 3, column: 3))
  }

  @Test func emptyTextIsNull() throws {
    #expect(try YAML.parse("").isNull)
    #expect(try YAML.parse("# nothing\n").isNull)
    #expect(try YAML.parse("\u{FEFF}a: 1") == ["a": 1])
  }

  @Test func anchorsAreCopied() throws {
    #expect(
      try YAML.parse("a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]") == [
        "a": ["k": [1, 2]], "b": ["k": [1, 2]], "c": [["k": [1, 2]], ["k": [1, 2]]],
      ])
    let root = try YAML.parse("a: &x 5\nb: *x\n")
    #expect(root["b"]?.position == .init(line: 2, column: 4))
  }

  @Test(arguments: [
    ("a: [1, 2", "r.yaml:2:1:"), ("a: 1\n\tb: 2", "r.yaml:2:1:"),
    ("a: 1\na: 2", "r.yaml:2:1: the key 'a' stands twice"),
    ("a: 1\n---\nb: 2", "r.yaml:2:1: a second YAML document"), ("a: *b", "r.yaml:1:4: the alias '*b'"),
    ("a: &b [*b]", "r.yaml:1:8: the alias '*b'"), ("? [a]\n: 1", "a key must be"), ("<<: {a: 1}", "merge keys"),
    ("a: !!int x", "'x' cannot be read with the tag '!!int'"), ("a: !mine x", "'!mine'"), ("a: !!set {b}", "'!!set'"),
    ("a: \"x", "r.yaml:1:6:"), ("a: \u{1}", "r.yaml:1:4:"), ("%YAML 3.0\n---\na: 1", "r.yaml:1:1:"),
  ])
  func brokenTextsAreRefusedInPlace(text: String, expected: String) {
    expectAttuneError(containing: expected, "r.yaml") { _ = try YAML.parse(text, file: "r.yaml") }
  }

  @Test func bytesThatAreNotUTF8AreRefused() {
    expectAttuneError(containing: "r.yaml:2:4:", "UTF-8") {
      _ = try YAML.node([0x61, 0x3A, 0x20, 0x31, 0x0A, 0x62, 0x3A, 0x20, 0xFF, 0x0A], file: "r.yaml")
    }
  }

  @Test func depthAndAliasesAreBounded() {
    expectAttuneError(containing: "nested deeper") {
      _ = try YAML.parse(String(repeating: "[", count: 10_000))
    }
    // Ten levels of ten aliases each: 10^10 values from 300 bytes.
    var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in 1...9 { bomb += "a\(i): &a\(i) [\(Array(repeating: "*a\(i - 1)", count: 10).joined(separator: ", "))]\n" }
    expectAttuneError(containing: "more than 100000 values") { _ = try YAML.parse(bomb) }
    // Each level alone is flat, together they are deep.
    var chain = "- &b0 x\n"
    for i in 1...200 { chain += "- &b\(i) [*b\(i - 1)]\n" }
    expectAttuneError(containing: "nested deeper") { _ = try YAML.parse(chain) }
  }

  /// Every prefix of a valid file either parses or is refused; nothing crashes.
  @Test func prefixesAndDamageNeverCrash() throws {
    let text = Array("a: &x {b: [1, 'two', \"thr\\x41\"], c: *x0}\nd: |\n  text\n? e\n: !!str 5\n".utf8)
    for count in 0...text.count { _ = try? YAML.node(Array(text.prefix(count)), file: "") }
    var random = Randomness(seed: 9, for: .testing).stream()
    for _ in 0..<3_000 {
      var damaged = text
      for _ in 0..<3 { damaged[random.integer(below: text.count)] = UInt8(random.integer(below: 256)) }
      _ = try? YAML.node(damaged, file: "")
    }
  }
}
