import Core

extension RowImporter {
  /// Two answers to one prompt, as a row's columns give them.
  private struct Pair {
    var prompt: [Message]
    var pictures: [String]
    var chosen: String
    var rejected: String
    /// Where the prompt and the chosen answer were found, for the list of decisions.
    var promptName: String
    var chosenName: String
    /// The column that an error about the prompt points to.
    var promptField: ColumnMapping.Field
  }

  /// Whether a row that is to hold one answer holds a better and a worse one instead. A label column that the user named
  /// says that it does not, and for supervised fine-tuning so does a completion.
  func holdsPair(_ row: DataRow) throws -> Bool {
    typealias Columns = ColumnMapping
    if task == .unpaired, mapping.label != nil { return false }
    if task == .sft, try find(mapping.completion, Columns.completionNames, "completion", row) != nil { return false }
    return try find(mapping.rejected, Columns.rejectedNames, "rejected", row) != nil
  }

  /// One row with both answers; for unpaired data two rows with their labels, the chosen one and then the rejected one;
  /// for supervised fine-tuning the chosen one alone.
  func importPair(_ row: DataRow) throws -> (rows: [ImportedRow], reading: RowReading) {
    typealias Columns = ColumnMapping
    guard let rejected = try find(mapping.rejected, Columns.rejectedNames, "rejected", row) else {
      throw AttuneError.request(
        "the row has no rejected completion, expected columns 'chosen' and 'rejected'; it has \(listed(row.columns.keys))",
        at: row.place, hint: "name the column in the recipe's column mapping")
    }
    let chosen =
      try find(mapping.chosen, Columns.chosenNames, "chosen", row)
      ?? find(mapping.completion, Columns.completionNames, "completion", row)
    let images = try find(mapping.images, Columns.imageNames, "images", row)
    let system = try find(mapping.system, Columns.systemNames, "system", row)
    let margin = task == .preference ? try margin(of: row) : nil
    let taken = [rejected.name] + [chosen?.name, margin?.name].compactMap { $0 } + Columns.labelNames
    let reference =
      try find(mapping.reference, Columns.referenceNames, "reference", row)
      ?? find(nil, Columns.answerNames, "reference", row, taken: taken)

    var pair = try pair(row, chosen, rejected, try paths(images, row), taken: taken)
    try prependSystem(system, to: &pair.prompt, row)
    try check(pair.prompt, row, pair.promptField)
    try check(pair, row, rejected)

    func imported(_ completion: String) -> ImportedRow {
      ImportedRow(
        prompt: pair.prompt, pictures: pair.pictures, completion: completion, reference: reference.flatMap(flat),
        referenceColumn: reference?.name, columns: row.columns, place: row.place)
    }
    var rows = [imported(pair.chosen)]
    switch task {
    case .preference:
      rows[0].rejected = pair.rejected
      rows[0].margin = margin?.value
    case .unpaired:
      rows.append(imported(pair.rejected))
      rows[0].label = true
      rows[1].label = false
    case .sft, .rl: break
    }
    return (
      rows,
      RowReading([
        ("prompt", pair.promptName), ("chosen", pair.chosenName), ("rejected", rejected.name),
        ("margin", margin?.name), ("reference", reference?.name), ("images", images?.name), ("system", system?.name),
      ])
    )
  }

  private func pair(
    _ row: DataRow, _ chosen: ColumnMapping.Field?, _ rejected: ColumnMapping.Field, _ images: [JSON], taken: [String]
  ) throws -> Pair {
    let prompt = try find(mapping.prompt, ColumnMapping.promptNames, "prompt", row, taken: taken)
    if let chosen, let dialogue = try dialogue(chosen, row, hasPrompt: prompt != nil) {
      return try pair(row, dialogue, of: chosen, rejected, images, promptIsNamed: prompt != nil)
    }
    guard let prompt else {
      throw AttuneError.request(
        "the row has no prompt, expected a column 'prompt' or 'messages', or whole dialogues as 'chosen' and "
          + "'rejected'; it has \(listed(row.columns.keys))",
        at: row.place, hint: "name the column in the recipe's column mapping")
    }
    if endsWithAnswer(prompt.value) {
      guard chosen == nil else {
        throw AttuneError.request(
          "the row has two answers: the last message of '\(prompt.name)' and the column '\(chosen?.name ?? "")', "
            + "expected one", at: row.place)
      }
      return try pair(row, prompt.value, of: prompt, rejected, images, promptIsNamed: false)
    }
    guard let chosen else {
      throw AttuneError.request(
        "the row has no chosen completion, expected a column 'chosen' or 'chosen_response', or a last message of the "
          + "assistant; it has \(listed(row.columns.keys))",
        at: row.place, hint: "name the column in the recipe's column mapping")
    }
    var messages = MessageReader(row: row, images: images, imageFolder: imageFolder)
    var turns = try messages.read(prompt.value, named: prompt.name)
    try prependHistory(to: &turns, &messages, row, prompt)
    let texts = (
      try completionText(chosen, row, &messages), try completionText(rejected, row, &messages)
    )
    try messages.checkAllUsed()
    return Pair(
      prompt: turns, pictures: messages.pictures, chosen: texts.0, rejected: texts.1, promptName: prompt.name,
      chosenName: chosen.name, promptField: prompt)
  }

  /// A pair whose chosen side is a whole dialogue: its last message is the answer, the ones before are the prompt.
  private func pair(
    _ row: DataRow, _ dialogue: JSON, of field: ColumnMapping.Field, _ rejected: ColumnMapping.Field, _ images: [JSON],
    promptIsNamed: Bool
  ) throws -> Pair {
    var messages = MessageReader(row: row, images: images, imageFolder: imageFolder)
    let turns = try messages.read(dialogue, named: field.name)
    try messages.checkAllUsed()
    guard let answer = turns.last, answer.role == "assistant" else {
      throw AttuneError.request(
        "the dialogue '\(field.name)' ends with a message of the role '\(turns.last?.role ?? "none")', expected one of "
          + "the assistant", at: row.place(of: field.value))
    }
    var pair = Pair(
      prompt: Array(turns.dropLast()), pictures: messages.pictures, chosen: answer.text, rejected: "",
      promptName: "messages before the last of \(field.name)", chosenName: "last message of \(field.name)",
      promptField: field)
    if let other = try self.dialogue(rejected, row, hasPrompt: promptIsNamed) {
      let again = try row.columns["rejected_images"].map {
        try paths(.init(name: "rejected_images", value: $0), row)
      }
      var reader = MessageReader(row: row, images: again ?? images, imageFolder: imageFolder)
      let turnsOfRejected = try reader.read(other, named: rejected.name)
      try reader.checkAllUsed()
      pair.rejected = try answers(turns, turnsOfRejected, row, field, rejected)
      guard reader.pictures == pair.pictures else {
        throw AttuneError.request(
          "the pictures of '\(field.name)' and '\(rejected.name)' differ, expected two answers to the same prompt",
          at: row.place(of: rejected.value))
      }
    } else {
      pair.rejected = try completionText(rejected, row, &messages)
    }
    try checkPromptColumn(pair, row, images)
    return pair
  }

  /// The answer of the rejected dialogue, which must be the chosen one's up to the last message. The cut is between
  /// messages: inside one it could fall into a token.
  private func answers(
    _ chosen: [Message], _ rejected: [Message], _ row: DataRow, _ field: ColumnMapping.Field,
    _ rejectedField: ColumnMapping.Field
  ) throws -> String {
    let shared = zip(chosen, rejected).prefix { $0 == $1 }.count
    let place = row.place(of: rejectedField.value)
    if shared == chosen.count, shared == rejected.count {
      throw equalAnswers(field.name, rejectedField.name, at: place)
    }
    guard shared == chosen.count - 1, rejected.count == chosen.count, let answer = rejected.last,
      answer.role == "assistant"
    else {
      throw AttuneError.request(
        "'\(field.name)' has \(chosen.count) messages and '\(rejectedField.name)' \(rejected.count), of which the first "
          + "\(shared) agree; expected dialogues that differ in the last message alone, the assistant's", at: place)
    }
    return answer.text
  }

  /// The messages of a column that holds a whole dialogue, or nil if it holds an answer alone.
  private func dialogue(_ field: ColumnMapping.Field, _ row: DataRow, hasPrompt: Bool) throws -> JSON? {
    if let list = field.value.array, let first = list.first.flatMap({ role(of: $0) }), first != "assistant" {
      return field.value
    }
    guard !hasPrompt, let text = field.value.string, let turns = Transcript.messages(of: text) else { return nil }
    return JSON(.array(turns), at: field.value.position)
  }

  /// A prompt column beside whole dialogues must say what they say.
  private func checkPromptColumn(_ pair: Pair, _ row: DataRow, _ images: [JSON]) throws {
    guard let field = try find(mapping.prompt, ["prompt"], "prompt", row), field.name != pair.promptField.name else {
      return
    }
    let agrees: Bool
    if let text = field.value.string {
      // A text with placeholders is not the text of a message.
      agrees = !images.isEmpty || text.isEmpty || pair.prompt.contains { $0.role != "assistant" && $0.text == text }
    } else {
      var messages = MessageReader(row: row, images: images, imageFolder: imageFolder)
      agrees = try messages.read(field.value, named: field.name).starts(with: pair.prompt)
    }
    guard agrees else {
      throw AttuneError.request(
        "the column '\(field.name)' is not what the dialogues of this row begin with, expected one prompt for both",
        at: row.place(of: field.value), hint: "leave out the column, or keep only the answers in the others")
    }
  }

  private func check(_ pair: Pair, _ row: DataRow, _ rejected: ColumnMapping.Field) throws {
    for (text, name) in [(pair.chosen, "chosen"), (pair.rejected, "rejected")] where text.isEmpty {
      throw AttuneError.request("the \(name) completion is an empty text, expected an answer", at: row.place)
    }
    if pair.chosen.utf8.elementsEqual(pair.rejected.utf8) {
      throw equalAnswers(pair.chosenName, rejected.name, at: row.place(of: rejected.value))
    }
  }

  private func equalAnswers(_ chosen: String, _ rejected: String, at place: AttuneError.Location) -> AttuneError {
    .request("'\(chosen)' and '\(rejected)' are the same text, expected a better and a worse answer", at: place)
  }
}
