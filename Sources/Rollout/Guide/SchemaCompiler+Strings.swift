import Core

extension SchemaCompiler {
  /// The formats that strings are held to, as regular expressions.
  static let formats: [String: String] = {
    let leap = "([0-9][0-9](0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
    let date =
      "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|\(leap)-02-29)"
    let clock = "([01][0-9]|2[0-3]):[0-5][0-9]"
    let time = "\(clock):[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]\(clock))"
    let word = "[A-Za-z0-9_%+-]{1,31}"
    let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    return [
      "date": date, "time": time, "date-time": "\(date)T\(time)",
      "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
      "email": "\(word)(\\.\(word))?@\(label)(\\.\(label)){1,3}", "ipv4": "\(byte)(\\.\(byte)){3}",
    ]
  }()

  func string(_ schema: JSON, at path: String) throws -> GuideSyntax {
    let least = try count("minLength", schema, at: path) ?? 0
    let most = try count("maxLength", schema, at: path)
    if let most, most < least {
      throw refusal("minLength is \(least) and maxLength \(most): no string is both", schema, at: path)
    }
    let given = ["pattern", "format"].filter { schema[$0] != nil }
    guard let key = given.first else {
      return JSONSyntax.quoted(.repeated(JSONSyntax.anyCharacter, least: least, most: most))
    }
    if given.count == 2 || least > 0 || most != nil {
      let other = given.count == 2 ? given[1] : schema["minLength"] != nil ? "minLength" : "maxLength"
      throw refusal(
        "\"\(key)\" together with \"\(other)\" is not supported", schema, at: path,
        hint: "say both in the pattern, as in ^[a-z]{3,8}$")
    }
    let value = schema[key]!
    guard let text = value.string else {
      throw refusal("\(key) is \(value.kind), a string was expected", value, at: path)
    }
    if key == "pattern" { return JSONSyntax.quoted(try pattern(text, value, at: path)) }
    guard let pattern = Self.formats[text] else {
      throw refusal(
        "the format \"\(text)\" is not known, one of \(Self.formats.keys.sorted().joined(separator: ", ")) was expected",
        value, at: path,
        hint: nearestName(to: text, among: Self.formats.keys.sorted()).map { "did you mean \"\($0)\"?" }
          ?? "use a pattern")
    }
    return JSONSyntax.quoted(JSONSyntax.encoded(try RegexParser.parse(pattern)))
  }

  /// A pattern is found anywhere in the string unless it is anchored.
  private func pattern(_ text: String, _ value: JSON, at path: String) throws -> GuideSyntax {
    do {
      return .choice(
        try RegexParser.alternatives(text).map { alternative in
          .sequence([
            alternative.isAnchoredAtStart ? .empty : JSONSyntax.anyCharacters, JSONSyntax.encoded(alternative.syntax),
            alternative.isAnchoredAtEnd ? .empty : JSONSyntax.anyCharacters,
          ])
        })
    } catch let error as AttuneError {
      throw refusal(
        "the pattern \"\(text)\", character \(error.location?.column ?? 1): \(error.message)", value, at: path,
        hint: error.hint)
    }
  }
}
