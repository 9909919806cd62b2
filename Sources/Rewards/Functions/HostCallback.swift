import Core

/// A function of the host that a C function takes as a pointer, such as `void (*log)(const char *)`.
struct HostCallback {
  enum Service: String, CaseIterable {
    case log, metric, random, cancelled, column, column_text, judge

    var declaration: String {
      switch self {
      case .log: "void (*log)(const char *)"
      case .metric: "void (*metric)(const char *, double)"
      case .random: "uint64_t (*random)(uint64_t)"
      case .cancelled: "int (*cancelled)(void)"
      case .column: "double (*column)(const char *)"
      case .column_text: "const char *(*column_text)(const char *)"
      case .judge: "const char *(*judge)(const char *)"
      }
    }

    /// Whether a result is what the service gives.
    fileprivate func returns(_ type: CType) -> Bool {
      switch self {
      case .log, .metric: type.isVoid
      case .random: type.plain == .uint64
      case .cancelled: type.plain.map { !$0.isFloat } ?? false
      case .column: type.plain == .double
      case .column_text, .judge: type.pointers == 1 && type.number?.isCharacter == true
      }
    }

    fileprivate func takes(_ types: some Collection<CType>) -> Bool {
      let types = Array(types)
      func isText(_ type: CType) -> Bool { type.pointers == 1 && type.number?.isCharacter == true }
      switch self {
      case .log, .column, .column_text, .judge: return types.count == 1 && isText(types[0])
      case .metric: return types.count == 2 && isText(types[0]) && types[1].plain == .double
      case .random: return types.count == 1 && types[0].plain == .uint64
      case .cancelled: return types.isEmpty
      }
    }
  }

  let service: Service
  let result: CType
  let parameters: [CType]
  /// The place of the service's first argument: 1 if a `void *` that is the caller's own stands in front of it.
  let first: Int

  /// - Throws: `AttuneError` at the name: no such service (with the nearest), or other types than it has. A `void *`
  ///   before or after the arguments is allowed, and ignored.
  init(
    _ name: String, returning result: CType, _ parameters: [CType], at column: Int, _ reader: SignatureReader
  ) throws {
    guard let service = Service(rawValue: name) else {
      let near = nearestName(to: name, among: Service.allCases.map(\.rawValue))
      throw reader.problem(
        "the host has no function '\(name)'", at: column,
        hint: near.map { "did you mean '\($0)'?" }
          ?? "it has \(Service.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    let first: Int
    if service.takes(parameters) {
      first = 0
    } else if parameters.first?.isAnyPointer == true, service.takes(parameters.dropFirst()) {
      first = 1
    } else if parameters.last?.isAnyPointer == true, service.takes(parameters.dropLast()) {
      first = 0
    } else {
      throw reader.problem(
        "the host's function \(name) takes other arguments", at: column, hint: "it is \(service.declaration)")
    }
    guard service.returns(result) else {
      throw reader.problem(
        "the host's function \(name) does not return \(result.words)", at: column, hint: "it is \(service.declaration)")
    }
    self.service = service
    self.result = result
    self.parameters = parameters
    self.first = first
  }
}
