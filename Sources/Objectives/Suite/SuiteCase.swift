import Core

/// One case of a suite file with typed access to its configuration and inputs; every error names the case's key.
struct SuiteCase {
  let json: JSON
  let id: String
  let objective: String
  let variant: String
  /// Keys with their values; null and a missing key both mean "unset".
  let configuration: JSON.Object
  private let inputs: JSON.Object

  init(_ json: JSON) throws {
    guard let object = json.object else { throw AttuneError.request("a case is \(json.kind), expected a mapping") }
    self.json = json
    id = object["id"]?.string ?? ""
    guard let objective = object["objective"]?.string else { throw AttuneError.request("the case names no objective") }
    self.objective = objective
    variant = object["variant"]?.string ?? ""
    configuration = object["config"]?.object ?? .init()
    inputs = object["inputs"]?.object ?? .init()
  }

  // MARK: Configuration of what is no objective's hyper-parameter.

  private func setting(_ key: String) -> JSON? {
    guard let value = configuration[key], !value.isNull else { return nil }
    return value
  }

  private func wrong(_ key: String, _ value: JSON, _ expected: String) -> AttuneError {
    .request("config key '\(key)' is \(value.kind), expected \(expected)")
  }

  func number(_ key: String) throws -> Double? {
    guard let value = setting(key) else { return nil }
    guard let number = SuiteTensor.number(value) else { throw wrong(key, value, "a number") }
    return number
  }

  func integer(_ key: String) throws -> Int? {
    guard let value = setting(key) else { return nil }
    guard let number = value.int else { throw wrong(key, value, "a whole number") }
    return number
  }

  func flag(_ key: String) throws -> Bool? {
    guard let value = setting(key) else { return nil }
    guard let flag = value.bool else { throw wrong(key, value, "true or false") }
    return flag
  }

  func word(_ key: String) throws -> String? {
    guard let value = setting(key) else { return nil }
    guard let word = value.string else { throw wrong(key, value, "a string") }
    return word
  }

  func numbers(_ key: String) throws -> [Double]? {
    guard let value = setting(key) else { return nil }
    guard let items = value.array else { throw wrong(key, value, "a list of numbers") }
    return try items.map {
      guard let number = SuiteTensor.number($0) else { throw wrong(key, $0, "a number") }
      return number
    }
  }

  func choice<T: NamedChoice>(_ key: String) throws -> T? { try word(key).map { try T.named($0, key: key) } }

  // MARK: Inputs.

  var inputNames: [String] { inputs.keys }

  func has(_ name: String) -> Bool { inputs[name] != nil }

  func optionalTensor(_ name: String, shape: [Int]? = nil) throws -> SuiteTensor? {
    guard let json = inputs[name], !json.isNull else { return nil }
    let tensor = try SuiteTensor(json, name: name)
    if let shape, tensor.shape != shape {
      throw AttuneError.request("the tensor '\(name)' has shape \(tensor.shape), expected \(shape)")
    }
    return tensor
  }

  func tensor(_ name: String, shape: [Int]? = nil) throws -> SuiteTensor {
    guard let tensor = try optionalTensor(name, shape: shape) else {
      throw AttuneError.request(
        "the input '\(name)' is missing",
        hint: nearestName(to: name, among: inputs.keys).map { "did you mean '\($0)'?" })
    }
    return tensor
  }

  /// A tensor with this many dimensions, each at least 1.
  func tensor(_ name: String, rank: Int) throws -> SuiteTensor {
    let tensor = try tensor(name)
    try requireRank(tensor, rank, name)
    return tensor
  }

  private func requireRank(_ tensor: SuiteTensor, _ rank: Int, _ name: String) throws {
    guard tensor.shape.count == rank, tensor.shape.allSatisfy({ $0 > 0 }) else {
      throw AttuneError.request(
        "the tensor '\(name)' has shape \(tensor.shape), expected \(rank) dimensions, none empty")
    }
  }

  func inputInteger(_ name: String) throws -> Int? {
    guard let value = inputs[name], !value.isNull else { return nil }
    guard let number = value.int, number >= 0 else {
      throw AttuneError.request("the input '\(name)' is \(value.kind), expected a whole number of at least 0")
    }
    return number
  }

  private func list(_ name: String) throws -> [JSON] {
    guard let value = inputs[name], let items = value.array else {
      throw AttuneError.request("the input '\(name)' is \(inputs[name]?.kind ?? "missing"), expected a list")
    }
    return items
  }

  /// A list of tensors.
  func tensors(_ name: String, rank: Int) throws -> [SuiteTensor] {
    try list(name).enumerated().map { i, json in
      let tensor = try SuiteTensor(json, name: "\(name)[\(i)]")
      try requireRank(tensor, rank, "\(name)[\(i)]")
      return tensor
    }
  }

  /// A list of lists of whole numbers.
  func integerLists(_ name: String) throws -> [[Int]] {
    try list(name).map { item in
      guard let numbers = item.array else {
        throw AttuneError.request("the input '\(name)' holds \(item.kind), expected lists of whole numbers")
      }
      return try numbers.map {
        guard let number = $0.int else {
          throw AttuneError.request("the input '\(name)' holds \($0.kind), expected whole numbers")
        }
        return number
      }
    }
  }

  /// A tensor of whole numbers with one dimension.
  func integers(_ name: String) throws -> [Int] {
    try tensor(name).data.map {
      guard let number = Int(exactly: $0) else {
        throw AttuneError.request("the tensor '\(name)' holds \($0), expected whole numbers")
      }
      return number
    }
  }
}
