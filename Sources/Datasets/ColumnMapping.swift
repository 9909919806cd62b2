import Core

/// Which columns of a row hold what. A field left nil is found by the names in common use.
///
/// A name is a column's; `reward_model.ground_truth` reaches into a mapping if no column has the whole name.
public struct ColumnMapping: Sendable {
  public var prompt: String?
  public var completion: String?
  public var chosen: String?
  public var rejected: String?
  public var label: String?
  /// A column, or the difference of two: `score_chosen - score_rejected`.
  public var margin: String?
  public var reference: String?
  public var images: String?
  public var system: String?

  public init(
    prompt: String? = nil, completion: String? = nil, chosen: String? = nil, rejected: String? = nil,
    label: String? = nil, margin: String? = nil, reference: String? = nil, images: String? = nil, system: String? = nil
  ) {
    self.prompt = prompt
    self.completion = completion
    self.chosen = chosen
    self.rejected = rejected
    self.label = label
    self.margin = margin
    self.reference = reference
    self.images = images
    self.system = system
  }

  /// A mapping of fields by their names in recipes.
  ///
  /// - Throws: `.request` with the nearest name for a field that there is not.
  public init(_ columns: [(field: String, column: String)]) throws {
    self.init()
    for (field, column) in columns {
      guard let path = ColumnMapping.fields.first(where: { $0.name == field })?.path else {
        let names = ColumnMapping.fields.map(\.name)
        throw AttuneError.request(
          "there is no field '\(field)', expected one of \(listed(names))",
          hint: nearestName(to: field, among: names).map { "did you mean '\($0)'?" })
      }
      self[keyPath: path] = column
    }
  }

  private static var fields: [(name: String, path: WritableKeyPath<ColumnMapping, String?>)] {
    [
      ("prompt", \.prompt), ("completion", \.completion), ("chosen", \.chosen), ("rejected", \.rejected),
      ("label", \.label), ("margin", \.margin), ("reference", \.reference), ("images", \.images), ("system", \.system),
    ]
  }

  // The names in common use, best first; compared without regard to case.
  static let promptNames = [
    "messages", "prompt", "conversations", "conversation", "query", "question", "problem", "instruction", "input",
  ]
  static let completionNames = ["completion", "response", "output"]
  static let chosenNames = ["chosen", "chosen_response", "response_j"]
  static let rejectedNames = ["rejected", "rejected_response", "rejected_messages", "response_k"]
  static let labelNames = ["label", "kto_tag"]
  static let marginNames = ["margin"]
  static let referenceNames = ["reference", "ground_truth", "reward_model.ground_truth"]
  /// Compared with in reinforcement learning, imitated in supervised fine-tuning if there is no completion.
  static let answerNames = ["answer", "target", "label", "answer_key", "answers", "targets", "solution"]
  /// The same as completions: a worked solution is the better text to imitate.
  static let imitatedAnswerNames = ["solution"] + answerNames.filter { $0 != "solution" }
  static let imageNames = ["images", "image"]
  static let systemNames = ["system", "system_prompt"]

  /// Whether a column of this name may be taken for a field without being mapped to it.
  public static func isRead(_ column: String) -> Bool { readNames.contains(column.lowercased()) }
  private static let readNames = Set(
    promptNames + completionNames + chosenNames + rejectedNames + labelNames + marginNames + referenceNames
      + answerNames
      + imageNames + systemNames + ["history", "rejected_images"])

  /// A field of a row that a mapping or a common name led to.
  struct Field {
    var name: String
    var value: JSON
  }

  /// The columns that the user named; no common name may claim them for something else.
  var named: [String] {
    [prompt, completion, chosen, rejected, label, margin, reference, images, system].compactMap { $0 }
  }

  /// The mapped column (an error if the row lacks it), or the first of the common names, `taken` ones left out, that
  /// the row has with a value.
  static func find(
    _ mapped: String?, _ names: [String], for field: String, in row: DataRow, taken: [String]
  ) throws -> Field? {
    if let mapped {
      if let found = value(at: mapped, in: row.columns) { return found }
      throw AttuneError.request(
        "the row has no column '\(mapped)', which the column mapping gives to \(field); it has \(listed(row.columns.keys))",
        at: row.place, hint: nearestName(to: mapped, among: row.columns.keys).map { "did you mean '\($0)'?" })
    }
    for name in names {
      if let found = value(at: name, in: row.columns), !found.value.isNull, !taken.contains(found.name) { return found }
    }
    return nil
  }

  private static func value(at path: String, in columns: JSON.Object) -> Field? {
    if let value = columns[path] { return Field(name: path, value: value) }
    if let key = columns.keys.first(where: { $0.lowercased() == path }), let value = columns[key] {
      return Field(name: key, value: value)
    }
    let steps = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard steps.count > 1, var value = columns[steps[0]] else { return nil }
    for step in steps.dropFirst() {
      guard let next = value[step] else { return nil }
      value = next
    }
    return Field(name: path, value: value)
  }
}

/// Names in quotes, at most a dozen.
func listed(_ names: some Collection<String>) -> String {
  if names.isEmpty { return "none" }
  let shown = names.prefix(12).map { "'\($0)'" }.joined(separator: ", ")
  return names.count > 12 ? shown + " and \(names.count - 12) more" : shown
}
