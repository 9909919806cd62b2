import CRewardABI
import Core

/// What a library says about one of its rewards.
public struct RewardDescriptor: Sendable {
  /// The file that was loaded.
  public var path: String
  public var library: String
  public var libraryVersion: String
  public var abiMajor: UInt32
  public var abiMinor: UInt32
  public var reward: String
  public var summary: String
  /// Equal samples get equal outcomes, the plugin promises.
  public var isDeterministic: Bool
  /// `ATTUNE_NEEDS_...` bits.
  public var needs: UInt32
  /// The expected range of scores, if the plugin names one.
  public var range: ClosedRange<Double>?
  /// Columns without which no sample can be scored.
  public var columns: [String]
  /// nil: the reward takes anything.
  public var parameters: [RewardParameter]?

  /// The completions of a prompt must come in one call.
  public var needsGroup: Bool { needs & ATTUNE_NEEDS_GROUP != 0 }
  public var needsTokens: Bool { needs & ATTUNE_NEEDS_TOKENS != 0 }
  public var needsImageBytes: Bool { needs & ATTUNE_NEEDS_IMAGE_BYTES != 0 }
  public var needsImages: Bool { needs & (ATTUNE_NEEDS_IMAGES | ATTUNE_NEEDS_IMAGE_BYTES) != 0 }

  init(
    path: String, library: String, libraryVersion: String, abiMajor: UInt32, abiMinor: UInt32, reward: String,
    summary: String, isDeterministic: Bool, needs: UInt32, range: ClosedRange<Double>?, columns: [String],
    parameters: [RewardParameter]?
  ) {
    self.path = path
    self.library = library
    self.libraryVersion = libraryVersion
    self.abiMajor = abiMajor
    self.abiMinor = abiMinor
    self.reward = reward
    self.summary = summary
    self.isDeterministic = isDeterministic
    self.needs = needs
    self.range = range
    self.columns = columns
    self.parameters = parameters
  }

  /// Of a reward that no plugin brings.
  ///
  /// - Parameter needsImages: it looks at the prompt's pictures.
  package init(
    ofHost path: String, kind: String, reward: String, summary: String, isDeterministic: Bool, needsImages: Bool,
    range: ClosedRange<Double>?, parameters: [RewardParameter]
  ) {
    self.init(
      path: path, library: kind, libraryVersion: RewardLoader.programVersion, abiMajor: ATTUNE_ABI_MAJOR,
      abiMinor: ATTUNE_ABI_MINOR, reward: reward, summary: summary, isDeterministic: isDeterministic,
      needs: needsImages ? ATTUNE_NEEDS_IMAGES : 0, range: range, columns: [], parameters: parameters)
  }

  public var json: JSON {
    [
      "path": .string(path), "library": .string(library), "version": .string(libraryVersion),
      "abi": [.int(abiMajor), .int(abiMinor)], "reward": .string(reward), "summary": .string(summary),
      "deterministic": .bool(isDeterministic), "needs": .int(needs),
      "range": range.map { [.double($0.lowerBound), .double($0.upperBound)] } ?? .null,
      "columns": .array(columns.map(JSON.string)),
      "parameters": parameters.map { .array($0.map(\.json)) } ?? .null,
    ]
  }

  init(_ json: JSON) throws {
    guard let path = json["path"]?.string, let reward = json["reward"]?.string else {
      throw AttuneError.work("a reward's worker answered with a description that has no name")
    }
    func word(_ value: JSON?) -> UInt32 { UInt32(clamping: value?.int ?? 0) }
    self.path = path
    self.reward = reward
    library = json["library"]?.string ?? ""
    libraryVersion = json["version"]?.string ?? ""
    abiMajor = word(json["abi"]?[0])
    abiMinor = word(json["abi"]?[1])
    summary = json["summary"]?.string ?? ""
    isDeterministic = json["deterministic"]?.bool ?? false
    needs = word(json["needs"])
    if let low = json["range"]?[0]?.double, let high = json["range"]?[1]?.double, low <= high { range = low...high }
    columns = json["columns"]?.array?.compactMap(\.string) ?? []
    parameters = json["parameters"]?.array?.map(RewardParameter.init)
  }
}

/// A parameter that a reward accepts.
public struct RewardParameter: Sendable {
  public var name: String
  /// `ATTUNE_BOOL` to `ATTUNE_OBJECT`.
  public var type: Int32
  /// nil: it must be given.
  public var defaultValue: JSON?
  public var summary: String
  public var bounds: ClosedRange<Double>?

  init(name: String, type: Int32, defaultValue: JSON?, summary: String, bounds: ClosedRange<Double>?) {
    self.name = name
    self.type = type
    self.defaultValue = defaultValue
    self.summary = summary
    self.bounds = bounds
  }

  init(_ json: JSON) {
    name = json["name"]?.string ?? ""
    type = Int32(clamping: json["type"]?.int ?? 0)
    defaultValue = json["default"]
    summary = json["summary"]?.string ?? ""
    if let low = json["minimum"]?.double, let high = json["maximum"]?.double, low <= high { bounds = low...high }
  }

  var json: JSON {
    var object = JSON.Object([("name", .string(name)), ("type", .int(type)), ("summary", .string(summary))])
    if let defaultValue { object["default"] = defaultValue }
    if let bounds {
      object["minimum"] = .double(bounds.lowerBound)
      object["maximum"] = .double(bounds.upperBound)
    }
    return JSON(.object(object))
  }

  /// The type in the words of an error message.
  var kind: String {
    switch type {
    case ATTUNE_BOOL: "a boolean"
    case ATTUNE_NUMBER: "a number"
    case ATTUNE_STRING: "a string"
    case ATTUNE_LIST: "a list"
    case ATTUNE_OBJECT: "a mapping"
    default: "anything"
    }
  }
}

extension [RewardParameter] {
  /// The given values with defaults filled in.
  ///
  /// - Throws: `AttuneError` naming the reward and, if `file` is given, the place: a name that the reward does not know
  ///   (with the nearest that it does), a wrong type, a number out of bounds, a missing value.
  package func complete(_ given: JSON.Object, reward: String, file: String?) throws -> JSON.Object {
    func place(_ value: JSON) -> AttuneError.Location? { file.map { value.location(in: $0) } }
    for (key, value) in given.entries where !contains(where: { $0.name == key }) {
      guard !isEmpty else {
        throw AttuneError.request("the reward \(reward) takes no parameters, found '\(key)'", at: place(value))
      }
      let near = nearestName(to: key, among: map(\.name))
      throw AttuneError.request(
        "the reward \(reward) has no parameter '\(key)'", at: place(value),
        hint: near.map { "did you mean '\($0)'?" }
          ?? "it has \(map { "'\($0.name)'" }.joined(separator: ", "))")
    }
    var complete = JSON.Object()
    for parameter in self {
      guard let value = given[parameter.name] ?? parameter.defaultValue else {
        throw AttuneError.request(
          "the reward \(reward) needs the parameter '\(parameter.name)' (\(parameter.kind)), which is missing",
          at: file.map { .init(file: $0) },
          hint: parameter.summary.isEmpty || parameter.summary == parameter.kind ? nil : parameter.summary)
      }
      guard parameter.type == ATTUNE_ABSENT || parameter.kind == value.kind else {
        throw AttuneError.request(
          "the parameter '\(parameter.name)' of the reward \(reward) is \(value.kind), expected \(parameter.kind)",
          at: place(value))
      }
      if let bounds = parameter.bounds, let number = value.double, !bounds.contains(number) {
        throw AttuneError.request(
          "the parameter '\(parameter.name)' of the reward \(reward) is \(number), "
            + "expected \(bounds.lowerBound) to \(bounds.upperBound)", at: place(value))
      }
      complete[parameter.name] = value
    }
    return complete
  }
}
