import Core

extension RowImporter {
  /// The row's verdict on its completion.
  ///
  /// - Throws: `AttuneError` for a row without a label and for anything that is not plainly one of two: a text "false"
  ///   that is taken for true, or a mark of 1 to 5 taken for a yes, turns the objective round.
  func label(of row: DataRow) throws -> (field: ColumnMapping.Field, value: Bool) {
    guard let field = try find(mapping.label, ColumnMapping.labelNames, "label", row) else {
      throw AttuneError.request(
        "the row has no label, expected a column 'label' or 'kto_tag', or a pair 'chosen' and 'rejected'; it has "
          + listed(row.columns.keys),
        at: row.place, hint: "name the column in the recipe's column mapping")
    }
    guard let value = RowImporter.label(field.value) else {
      let found = field.value.string.map { "'\($0)'" } ?? field.value.double.map { _ in field.value.text() }
      throw AttuneError.request(
        "the label '\(field.name)' is \(found ?? field.value.kind), expected true or false, yes or no, 1 or 0, + or -",
        at: row.place(of: field.value),
        hint: field.value.double == nil ? nil : "make a score a label first: true from a threshold on, false below")
    }
    return (field, value)
  }

  private static func label(_ value: JSON) -> Bool? {
    if let label = value.bool { return label }
    switch value.string?.lowercased() ?? value.int.map(String.init) {
    case "true", "yes", "1", "+", "chosen": return true
    case "false", "no", "0", "-", "rejected": return false
    default: return nil
    }
  }

  /// How much better the chosen completion is: a column, or the difference of two where the mapping says `a - b`.
  func margin(of row: DataRow) throws -> (name: String, value: Double)? {
    if let mapped = mapping.margin, row.columns[mapped] == nil, let operands = RowImporter.difference(mapped) {
      let chosen = try find(operands.0, [], "margin", row)
      let rejected = try find(operands.1, [], "margin", row)
      guard let a = try chosen.flatMap({ try number($0, row) }), let b = try rejected.flatMap({ try number($0, row) })
      else { return nil }
      return (mapped, a - b)
    }
    guard let field = try find(mapping.margin, ColumnMapping.marginNames, "margin", row) else { return nil }
    return try number(field, row).map { (field.name, $0) }
  }

  private static func difference(_ text: String) -> (String, String)? {
    guard let minus = text.firstRange(of: " - ") else { return nil }
    return (String(text[..<minus.lowerBound]), String(text[minus.upperBound...]))
  }

  /// The number of a cell; a text table's cells are texts, and an empty one is no number.
  private func number(_ field: ColumnMapping.Field, _ row: DataRow) throws -> Double? {
    if field.value.isNull || field.value.string == "" { return nil }
    guard let number = field.value.double ?? field.value.string.flatMap(Double.init), number.isFinite else {
      let found = field.value.string.map { "'\($0)'" } ?? field.value.kind
      throw AttuneError.request(
        "the column '\(field.name)' is \(found), expected a finite number", at: row.place(of: field.value))
    }
    return number
  }
}
