import Core
import TestSupport
import Testing

@Suite struct JSONTests {
  @Test func keepsOrderPositionsAndKinds() throws {
    let json = try JSON.parse(
      """
      {"z": 1, "a": [true, null, -2.5e3],
        "é": "x\\u00e9\\ud83d\\ude00\\n"}
      """)
    #expect(json.object?.keys == ["z", "a", "é"])
    #expect(json["z"]?.int == 1)
    #expect(json["a"]?[2]?.double == -2500)
    #expect(json["é"]?.string == "xé😀\n")
    #expect(json["é"]?.position == .init(line: 2, column: 8))
    #expect(json.text() == "{\"z\": 1, \"a\": [true, null, -2500.0], \"é\": \"xé😀\\n\"}")
    #expect(try JSON.parse(json.text()) == json)
    #expect(try JSON.parse(json.text(.pretty)) == json)
  }

  @Test(arguments: [
    ("", "1:1", "ends where a value"), ("[1,", "1:4", "ends where"), ("[1 2]", "1:4", "','"),
    ("{\"a\" 1}", "1:6", "':'"),
    ("{a: 1}", "1:2", "double quotes"), ("[01]", "1:2", "begins with 0"), ("\"\u{1}\"", "1:2", "control"),
    ("\"abc", "1:5", "not closed"), ("[1]\n x", "2:2", "more text"), ("tru", "1:1", "value"),
    ("\"\\q\"", "1:3", "backslash"),
    ("\"\\u12g4\"", "1:6", "hexadecimal"), ("-", "1:2", "digit"), ("1.e", "1:3", "digit"), ("nul", "1:1", "value"),
  ])
  func brokenTextIsRefusedWithItsPlace(text: String, place: String, words: String) {
    expectAttuneError(containing: "f:\(place)", words) { _ = try JSON.parse(text, file: "f") }
  }

  @Test func depthIsBounded() {
    expectAttuneError(containing: "nested deeper") { _ = try JSON.parse(String(repeating: "[", count: 100_000)) }
  }

  @Test func notUTF8IsRefused() {
    expectAttuneError(containing: "UTF-8") { _ = try JSON.parse([0x22, 0xFF, 0x22] as [UInt8]) }
  }

  @Test func numbersBeyond64BitsBecomeDoubles() throws {
    #expect(try JSON.parse("9223372036854775807").int == Int.max)
    #expect(try JSON.parse("92233720368547758080").double == 9.223372036854775808e19)
    #expect(try JSON.parse("-3").int == -3)
    #expect(JSON.double(.nan).text() == "null")
  }

  @Test func truncationsAndFlippedBytesNeverCrash() {
    let text = Array("{\"a\": [1, 2.5, {\"b\": \"\\ud83d\\ude00 x\"}], \"c\": null, \"d\": -0.5e-7}".utf8)
    for end in 0..<text.count { _ = try? JSON.parse(text[..<end]) }
    var random = Randomness(seed: 1, for: .testing).stream()
    for _ in 0..<5000 {
      var copy = text
      copy[random.integer(below: copy.count)] = UInt8(random.integer(below: 256))
      _ = try? JSON.parse(copy)
    }
  }

  @Test func objectsRemoveAndReplace() {
    var object = JSON.Object([("a", 1), ("b", 2), ("c", 3)])
    object["b"] = nil
    object["a"] = 9
    #expect(object.keys == ["a", "c"])
    #expect(object["c"]?.int == 3 && object["a"]?.int == 9 && object["b"] == nil)
  }
}

@Suite struct NearestNameTests {
  @Test func findsTypos() {
    let keys = ["learning_rate", "beta1", "weight_decay", "steps"]
    #expect(nearestName(to: "learning_rat", among: keys) == "learning_rate")
    #expect(nearestName(to: "Learning-Rate", among: keys) == "learning_rate")
    #expect(nearestName(to: "setps", among: keys) == "steps")
    #expect(nearestName(to: "step", among: keys) == "steps")
    #expect(nearestName(to: "temperature", among: keys) == nil)
    #expect(nearestName(to: "", among: keys) == nil)
  }
}

@Suite struct AttuneErrorTests {
  @Test func readsAsPlaceMessageHint() {
    let error = AttuneError.request("found x", at: .init(file: "a.yaml", line: 3, column: 7), hint: "did you mean y?")
    #expect(error.description == "a.yaml:3:7: found x\n  did you mean y?")
    #expect(error.exitStatus == 2 && AttuneError.work("x").exitStatus == 1)
    #expect(AttuneError.work("x").located(in: "f").description == "f: x")
  }
}
