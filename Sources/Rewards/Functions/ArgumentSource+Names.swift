import Core

extension ArgumentSource {
  /// The first words of all names, for people who mistype one.
  private static let roots =
    SampleText.allCases.map(\.rawValue) + TokenArray.allCases.map(\.rawValue) + SampleNumber.allCases.map(\.rawValue)
    + ["pixels", "encoded", "column", "parameter", "score", "component", "token_rewards", "log", "context"]

  /// What an argument means.
  ///
  /// - Throws: `AttuneError` at its place: a name that says nothing (with the nearest that does), a type that does not
  ///   fit, a default where there is always a value.
  init(_ argument: SignatureReader.Argument, _ reader: SignatureReader) throws {
    let type = argument.type
    switch argument.value {
    case .null: self = .null
    case .literal(let value):
      let form = try Self.form(of: nil, type, argument, reader, what: "the constant \(value.text())")
      if let complaint = form.complaint(about: value) {
        throw reader.problem("the constant \(value.text()) \(complaint), for \(type.words)", at: argument.column)
      }
      self = .constant(value, form)
    case .callback(let name, let parameters):
      self = .callback(try HostCallback(name, returning: type, parameters, at: argument.column, reader))
    case .name(let name): self = try Self.named(name, argument, reader)
    }
    guard let fallback = argument.fallback else { return }
    switch self {
    case .column(_, let form, _), .parameter(_, let form, _):
      if let complaint = form.complaint(about: fallback) {
        throw reader.problem("the default \(fallback.text()) \(complaint), for \(type.words)", at: argument.column)
      }
    default: throw reader.problem("only columns and parameters have defaults", at: argument.column)
    }
  }

  private static func named(
    _ name: SignatureReader.Name, _ argument: SignatureReader.Argument, _ reader: SignatureReader
  ) throws -> ArgumentSource {
    let type = argument.type
    func problem(_ message: String, _ hint: String? = nil) -> AttuneError {
      reader.problem(message, at: argument.column, hint: hint)
    }
    if name.index != nil, name.root != "pixels", name.root != "encoded" {
      throw problem(
        "only pictures are numbered, found \(name.words)",
        name.root == "image" || name.root == "images" ? "write pixels[\(name.index ?? 0)]" : nil)
    }
    /// A number's own type.
    func number() throws -> CNumber {
      guard let number = type.plain else { throw problem("\(name.words) is a number, found \(type.words)") }
      return number
    }
    func wholeNumber() throws -> CNumber {
      let number = try number()
      guard !number.isFloat, number != .bool else {
        throw problem("\(name.words) is a whole number, found \(type.words)", "write size_t \(name.words)")
      }
      return number
    }
    /// The only part after the root, for names that have at most one.
    func part(_ known: [String]) throws -> String? {
      guard let first = name.parts.first else { return nil }
      guard name.parts.count == 1, known.contains(first) else {
        let near = nearestName(to: first, among: known)
        throw problem(
          "\(name.root) has no '\(name.parts.joined(separator: "."))'",
          known.isEmpty
            ? nil : near.map { "did you mean \(name.root).\($0)?" } ?? "it has \(known.joined(separator: ", "))")
      }
      return first
    }
    func bytes() throws {
      guard type.pointsToBytes, type.isConst else {
        let wanted = "const \(name.root == "pixels" || name.root == "encoded" ? "uint8_t" : "char") *"
        throw problem(
          "\(name.words) is \(wanted), found \(type.words)",
          type.pointsToBytes ? "it may not be written to: declare it as \(wanted)" : nil)
      }
    }

    if name.root == "completion_raw" {
      var same = name
      same.root = SampleText.raw_completion.rawValue
      return try named(same, argument, reader)
    }
    if let text = SampleText(rawValue: name.root) {
      if try part(["size"]) != nil { return .textSize(text, try wholeNumber()) }
      try bytes()
      return .text(text)
    }
    if let array = TokenArray(rawValue: name.root) {
      _ = try part([])
      let fits = type.number == array.element || (array == .policy_mask && type.number?.size == 1)
      guard type.pointers == 1, fits, type.isConst else {
        throw problem("\(name.words) is const \(cName(array.element)) *, found \(type.words)")
      }
      return .tokens(array)
    }
    if let value = SampleNumber(rawValue: name.root) {
      _ = try part([])
      if value.isBits { return .number(value, try wholeNumber()) }
      return .number(value, try number())
    }
    switch name.root {
    case "pixels", "encoded":
      let fields = PictureField.allCases.map(\.rawValue).filter { $0.hasPrefix(name.root + ".") }
      let known = try part(fields.map { String($0.dropFirst(name.root.count + 1)) })
      guard let known else {
        try bytes()
        return .pictureBytes(name.root == "pixels" ? .pixels : .encoded, index: name.index ?? 0)
      }
      guard let field = PictureField(rawValue: "\(name.root).\(known)") else { preconditionFailure("a known part") }
      return .picture(field, index: name.index ?? 0, try number())
    case "column", "parameter":
      guard let first = name.parts.first else {
        throw problem("which \(name.root)?", "write \(name.root).NAME")
      }
      guard name.parts.count <= 2 else {
        throw problem("'\(name.words)' has too many parts", "a name with a dot in it is quoted: \(name.root).\"a.b\"")
      }
      let form = try form(
        of: name.parts.count > 1 ? name.parts[1] : nil, type, argument, reader, what: name.words)
      return name.root == "column"
        ? .column(first, form, fallback: argument.fallback) : .parameter(first, form, fallback: argument.fallback)
    case "score", "component":
      guard name.parts.count == (name.root == "score" ? 0 : 1) else {
        throw problem("'\(name.words)' is no place for a number", "write score, or component.NAME")
      }
      guard type.pointers == 1, let number = type.number, !type.isConst else {
        throw problem("\(name.words) is filled by the function: double *, found \(type.words)")
      }
      return name.root == "score" ? .score(number) : .component(name.parts[0], number)
    case "token_rewards":
      _ = try part([])
      guard type.pointers == 1, type.number == .float, !type.isConst else {
        throw problem("token_rewards is filled by the function: float *, found \(type.words)")
      }
      return .tokenRewards
    case "log":
      if try part(["capacity"]) != nil {
        let number = try wholeNumber()
        guard number.size > 1 else { throw problem("\(type.words) is too small for log.capacity, \(logBytes)") }
        return .logCapacity(number)
      }
      guard type.pointers == 1, type.number?.isCharacter == true, !type.isConst else {
        throw problem(
          "log is a buffer that the function fills: char *, found \(type.words)",
          "the host's function is written void (*log)(const char *)")
      }
      return .log
    case "context":
      guard type.isAnyPointer else { throw problem("context is void *, found \(type.words)") }
      return .null
    default: throw unknown(name, type, problem)
    }
  }

  private static func unknown(
    _ name: SignatureReader.Name, _ type: CType, _ problem: (String, String?) -> AttuneError
  ) -> AttuneError {
    if name.root == "image" || name.root == "images" {
      return problem(
        "'\(name.words)' says nothing about where it comes from", "a picture is written pixels, pixels.width")
    }
    let near = nearestName(to: name.root, among: roots)
    return problem(
      "'\(name.words)' says nothing about where it comes from",
      near.map { "did you mean '\($0)'?" }
        ?? "a column of the data set is written \(type.words)\(type.pointers > 0 ? "" : " ")column.\(name.words)")
  }

  /// How a value of the data set, of the recipe or of the signature is passed as `type`.
  private static func form(
    of part: String?, _ type: CType, _ argument: SignatureReader.Argument, _ reader: SignatureReader, what: String
  ) throws -> ValueForm {
    func problem(_ message: String, _ hint: String?) -> AttuneError {
      reader.problem(message, at: argument.column, hint: hint)
    }
    if let part {
      guard part == "size" || part == "count" else {
        throw problem(
          "'\(what)' has a part '\(part)', expected size (bytes of a text) or count (numbers of a list)",
          "a name with a dot in it is quoted: column.\"a.b\"")
      }
      guard let number = type.plain, !number.isFloat, number != .bool else {
        throw problem("\(what) is a whole number, found \(type.words)", "write size_t \(what)")
      }
      return part == "size" ? .size(number) : .count(number)
    }
    if let number = type.plain { return .number(number) }
    guard type.pointers == 1, type.isConst else {
      throw problem(
        "\(what) cannot be passed as \(type.words)",
        type.pointers == 1
          ? "it may not be written to: declare it const \(type.words)"
          : "expected a number, const char * (a text) or const double * (a list of numbers)")
    }
    guard let number = type.number, !number.isCharacter else { return .text }
    return .list(number)
  }

  private static func cName(_ number: CNumber) -> String {
    switch number {
    case .int32: "int32_t"
    case .uint32: "uint32_t"
    case .uint8: "uint8_t"
    default: "float"
    }
  }
}
