import Core

extension Sample {
  /// The sample as a row of a JSONL file that reads back to it: `prompt` as messages, then `completion`, or `chosen` and
  /// `rejected`, or `completion` and `label`; `images`, `reference`, and the original columns.
  ///
  /// Original columns whose names would be read for something else go into one mapping, `columns`. References keep the
  /// form of their column, which may be a list.
  ///
  /// - Parameters:
  ///   - images: a path for each of `pictures`.
  ///   - scores: columns that say how the answers were judged.
  ///   - answersAreMessages: answers are lists of one message and not texts.
  public func row(
    images: [String], scores: [(name: String, value: JSON)] = [], answersAreMessages: Bool = false
  ) -> JSON.Object {
    func answer(_ text: String) -> JSON {
      answersAreMessages ? [["role": "assistant", "content": .string(text)]] : .string(text)
    }
    var row = JSON.Object()
    let places = prompt.flatMap(\.parts).compactMap { part -> Int? in if case .image(let i) = part { i } else { nil } }
    row["prompt"] = .array(prompt.map { $0.row(hasPictures: !places.isEmpty) })
    row[rejected == nil ? "completion" : "chosen"] = completion.map(answer)
    row["rejected"] = rejected.map(answer)
    row["label"] = label.map { .bool($0) }
    row["margin"] = margin.map { .double($0) }
    for (name, value) in scores { row[name] = value }
    if !places.isEmpty { row["images"] = .array(places.map { .string(images[$0]) }) }
    row["reference"] = referenceColumn.flatMap { columns[$0] } ?? reference.map { .string($0) }
    var others = JSON.Object()
    for (name, value) in columns.entries {
      if name == "columns", let earlier = value.object {
        for (name, value) in earlier.entries { others[name] = value }
      } else if ColumnMapping.isRead(name) || row[name] != nil {
        others[name] = value
      } else {
        row[name] = value
      }
    }
    if !others.isEmpty { row["columns"] = JSON(.object(others)) }
    return row
  }
}

extension Sample {
  /// The sample with those of its columns that no field is read from by its name, and what an earlier row kept of others.
  public var withUnreadColumns: Sample {
    var sample = self
    sample.columns = JSON.Object(columns.entries.filter { name, _ in !ColumnMapping.isRead(name) || name == "columns" })
    if let referenceColumn, sample.columns[referenceColumn] == nil { sample.referenceColumn = nil }
    return sample
  }
}

extension Message {
  /// Beside pictures a text is a typed part: one that holds `<image>` would be read as a place for another.
  fileprivate func row(hasPictures: Bool) -> JSON {
    guard hasPictures, role != "assistant" else { return ["role": .string(role), "content": .string(text)] }
    let content = parts.map { part -> JSON in
      switch part {
      case .text(let text): ["type": "text", "text": .string(text)]
      case .image: ["type": "image"]
      }
    }
    return ["role": .string(role), "content": .array(content)]
  }
}
