import Core
import Foundation

/// A row after import: checked, placeholders resolved, pictures still as paths.
struct ImportedRow: Sendable {
  var prompt: [Message]
  var pictures: [String]
  var completion: String?
  var rejected: String?
  var label: Bool?
  var margin: Double?
  var reference: String?
  var referenceColumn: String?
  var columns: JSON.Object
  var place: AttuneError.Location

  /// - Parameter loaded: what is in the files of `pictures`; empty for a sample that is only written on.
  func sample(id: Int, pictures loaded: [Picture]) -> Sample {
    var sample = Sample(
      id: id, prompt: prompt, pictures: loaded, completion: completion, rejected: rejected, label: label,
      margin: margin, reference: reference, referenceColumn: referenceColumn, columns: columns)
    sample.pictureFiles = pictures
    return sample
  }
}

/// Which columns of a row were taken for what.
struct RowReading: Hashable, CustomStringConvertible {
  struct Field: Hashable {
    var name: String
    /// A column, or in words the part of one.
    var column: String
  }

  var fields: [Field]

  /// Fields without a column are left out.
  init(_ fields: [(name: String, column: String?)]) {
    self.fields = fields.compactMap { name, column in column.map { Field(name: name, column: $0) } }
  }

  /// `prompt: question, completion: answer`.
  var description: String { fields.map { "\($0.name): \($0.column)" }.joined(separator: ", ") }
}

/// Turns rows of any accepted shape into the one that samples are made of.
struct RowImporter {
  let task: SampleTask
  let mapping: ColumnMapping
  let imageFolder: String

  /// What the row holds (a pair that is read unpaired is two), and which column was taken for what.
  func importRow(_ row: DataRow) throws -> (rows: [ImportedRow], reading: RowReading) {
    typealias Columns = ColumnMapping
    if try task == .preference || (task != .rl && holdsPair(row)) { return try importPair(row) }
    guard let promptField = try find(mapping.prompt, Columns.promptNames, "prompt", row) else {
      throw AttuneError.request(
        "the row has no prompt, expected a column 'messages', 'prompt' or 'question'; it has \(listed(row.columns.keys))",
        at: row.place, hint: "name the column in the recipe's column mapping")
    }
    let images = try find(mapping.images, Columns.imageNames, "images", row)
    let system = try find(mapping.system, Columns.systemNames, "system", row)
    let labelField = task == .unpaired ? try label(of: row) : nil
    let (completionField, referenceField) = try answers(
      row, prompt: promptField, taken: labelField.map { [$0.field.name] } ?? [])

    var messages = MessageReader(row: row, images: try paths(images, row), imageFolder: imageFolder)
    var prompt = try messages.read(promptField.value, named: promptField.name)
    try prependHistory(to: &prompt, &messages, row, promptField)
    var completion = try completionField.map { try completionText($0, row, &messages) }
    if let last = prompt.last, last.role == "assistant" {
      // A dialogue that ends with the answer: the answer is what is to be completed.
      guard completion == nil else {
        throw AttuneError.request(
          "the row has two answers: the last message and the column '\(completionField?.name ?? "")', expected one",
          at: row.place)
      }
      completion = last.text
      prompt.removeLast()
    }
    try prependSystem(system, to: &prompt, row)
    try messages.checkAllUsed()
    try check(prompt, row, promptField)
    if task != .rl { try checkCompletion(completion, row) }
    let imported = ImportedRow(
      prompt: prompt, pictures: messages.pictures, completion: completion, label: labelField?.value,
      reference: referenceField.flatMap(flat), referenceColumn: referenceField?.name, columns: row.columns,
      place: row.place)
    let answer = completionField?.name ?? completion.map { _ in "last message of \(promptField.name)" }
    return (
      [imported],
      RowReading([
        ("prompt", promptField.name), ("completion", answer), ("label", labelField?.field.name),
        ("reference", referenceField?.name), ("images", images?.name), ("system", system?.name),
      ])
    )
  }

  /// Which columns are the completion and the reference: what the task asks for first, and nothing lost.
  private func answers(
    _ row: DataRow, prompt: ColumnMapping.Field, taken: [String]
  ) throws -> (completion: ColumnMapping.Field?, reference: ColumnMapping.Field?) {
    typealias Columns = ColumnMapping
    var completion = try find(mapping.completion, Columns.completionNames, "completion", row)
    var reference = try find(mapping.reference, Columns.referenceNames, "reference", row)
    if task != .rl, completion == nil, !endsWithAnswer(prompt.value) {
      completion = try find(nil, Columns.imitatedAnswerNames, "completion", row, taken: taken)
    }
    if reference == nil {
      let imitated = completion.map { [$0.name] } ?? []
      reference = try find(nil, Columns.answerNames, "reference", row, taken: taken + imitated)
    }
    return (completion, reference)
  }

  /// Whether a value is a dialogue whose last message is the assistant's.
  func endsWithAnswer(_ value: JSON) -> Bool { value.array?.last.flatMap { role(of: $0) } == "assistant" }

  func find(
    _ mapped: String?, _ names: [String], _ field: String, _ row: DataRow, taken: [String] = []
  ) throws -> ColumnMapping.Field? {
    try ColumnMapping.find(mapped, names, for: field, in: row, taken: mapping.named + taken)
  }

  func role(of message: JSON) -> String? {
    (message["role"] ?? message["from"])?.string.map(MessageReader.canonicalRole)
  }

  func paths(_ field: ColumnMapping.Field?, _ row: DataRow) throws -> [JSON] {
    guard let field else { return [] }
    switch field.value.value {
    case .array(let list): return list
    case .null: return []
    case .string(let path) where path.isEmpty: return []
    default: return [field.value]
    }
  }

  /// Earlier turns from a `history` column of [question, answer] pairs.
  func prependHistory(
    to prompt: inout [Message], _ messages: inout MessageReader, _ row: DataRow, _ field: ColumnMapping.Field
  ) throws {
    guard field.value.string != nil, let history = row.columns["history"]?.array, !history.isEmpty else { return }
    // Placeholders count from the first turn, so the last question is read again after the earlier ones.
    messages.restart()
    var turns: [Message] = []
    for turn in history {
      guard let pair = turn.array, pair.count == 2, pair[0].string != nil, let answer = pair[1].string else {
        throw AttuneError.request(
          "a turn of 'history' is \(turn.kind), expected a list of two texts: question and answer",
          at: row.place(of: turn))
      }
      turns += try messages.read(pair[0], named: "history") + [Message(role: "assistant", text: answer)]
    }
    prompt = try turns + messages.read(field.value, named: field.name)
  }

  func completionText(
    _ field: ColumnMapping.Field, _ row: DataRow, _ messages: inout MessageReader
  ) throws -> String {
    let single = field.value.object != nil && role(of: field.value) != nil
    guard let list = single ? [field.value] : field.value.array else {
      guard let text = flat(field) else {
        throw AttuneError.request(
          "the completion '\(field.name)' is \(field.value.kind), expected a text or a list of one message",
          at: row.place(of: field.value))
      }
      return text
    }
    guard list.count == 1, role(of: list[0]) == "assistant" else {
      throw AttuneError.request(
        "the completion '\(field.name)' is a list of \(list.count) messages, expected one message of the assistant",
        at: row.place(of: field.value), hint: "earlier turns belong into the prompt")
    }
    return try messages.read(.array(list), named: field.name)[0].text
  }

  func prependSystem(_ field: ColumnMapping.Field?, to prompt: inout [Message], _ row: DataRow) throws {
    guard let field, let text = try text(field, row), !text.isEmpty else { return }
    guard prompt.first?.role != "system" else {
      throw AttuneError.request(
        "the row has two system texts: its first message and the column '\(field.name)', expected one", at: row.place)
    }
    prompt.insert(Message(role: "system", text: text), at: 0)
  }

  func text(_ field: ColumnMapping.Field, _ row: DataRow) throws -> String? {
    if field.value.isNull { return nil }
    guard let text = field.value.string else {
      throw AttuneError.request(
        "the column '\(field.name)' is \(field.value.kind), expected a text", at: row.place(of: field.value))
    }
    return text
  }

  /// A value as one text: numbers and booleans as JSON writes them, lists and mappings as JSON, null as nothing.
  func flat(_ field: ColumnMapping.Field) -> String? {
    if field.value.isNull { return nil }
    return field.value.string ?? field.value.text()
  }

  func check(_ prompt: [Message], _ row: DataRow, _ field: ColumnMapping.Field) throws {
    let place = row.place(of: field.value)
    guard prompt.contains(where: { $0.role != "system" }) else {
      throw AttuneError.request("the prompt '\(field.name)' is empty, expected at least one user message", at: place)
    }
    if prompt.allSatisfy({ $0.parts.allSatisfy { $0 == .text("") } }) {
      throw AttuneError.request("the prompt '\(field.name)' is an empty text, expected a question", at: place)
    }
  }

  private func checkCompletion(_ completion: String?, _ row: DataRow) throws {
    guard let completion else {
      throw AttuneError.request(
        "the row has no completion to learn from, expected a column 'completion', 'response' or 'answer', or a last "
          + "message of the assistant; it has \(listed(row.columns.keys))",
        at: row.place, hint: "name the column in the recipe's column mapping")
    }
    if completion.isEmpty {
      throw AttuneError.request("the completion is an empty text, expected an answer", at: row.place)
    }
  }
}
