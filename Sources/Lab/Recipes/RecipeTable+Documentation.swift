import Core

extension RecipeTable {
  /// What `keyPath` takes, its default and its meaning, or the keys of a section; nil if there is no such key.
  ///
  /// Elements of lists may be left out or named: `stages.steps`, `stages[].steps`, `stages.grpo.steps`.
  public static func explain(_ keyPath: String) -> String? {
    let components = RecipeTree.split(keyPath)
    guard !components.isEmpty, let tree = RecipeTree.root.find(components[...]) else { return nil }
    // An element of a list is explained by the list.
    let row = tree.key ?? RecipeTree.root.find(components.dropLast()[...])?.key
    guard let row else { return nil }
    let others = tree.keys.dropFirst().map { "\n" + explanation(of: $0, tree) }
    return ([explanation(of: row, tree)] + others).joined(separator: "\n")
  }

  private static func explanation(of row: RecipeKey, _ tree: RecipeTree) -> String {
    var lines = [row.path, "  " + row.summary]
    if let condition = row.condition {
      lines.append("  only with \(condition.key): \(condition.values.joined(separator: " or "))")
    }
    guard row.hasKeys else {
      lines += ["  takes    \(row.expectation)", "  default  \(row.defaultText.replacing("`", with: ""))"]
      return lines.joined(separator: "\n")
    }
    let children = (tree.element ?? tree).children
    let width = children.map(\.name.count).max() ?? 0
    for child in children {
      guard let key = child.key else { continue }
      lines.append("  " + child.name + String(repeating: " ", count: width - child.name.count + 2) + key.summary)
    }
    return lines.joined(separator: "\n")
  }

  /// The path in the table that `keyPath` was probably meant to be.
  public static func nearestKeyPath(to keyPath: String) -> String? {
    let wanted = RecipeTree.split(keyPath).joined(separator: ".")
    let plain = keys.map { row in
      (row.path, RecipeTree.split(row.path.replacing(".*", with: "")).joined(separator: "."))
    }
    if let near = nearestName(to: wanted, among: plain.map(\.1)), let row = plain.first(where: { $0.1 == near }) {
      return row.0
    }
    let last = RecipeTree.split(keyPath).last ?? ""
    return nearestName(to: last, among: keys.map(\.name)).flatMap { name in keys.first { $0.name == name }?.path }
  }

  /// The reference of all keys as Markdown: one table per section. `docs/recipes.md` carries exactly this text.
  public static func markdown() -> String {
    var text = heading("Top level", nil, RecipeTree.root)
    for row in keys where row.hasKeys {
      guard let tree = RecipeTree.root.find(RecipeTree.split(row.path)[...]) else { continue }
      text += "\n" + heading("`\(shown(row))`", row, tree.element ?? tree)
    }
    return text
  }

  /// A section's path as the reference writes it: `stages[].grpo`, `data.NAME`.
  private static func shown(_ row: RecipeKey) -> String {
    switch row.kind {
    case .sections: row.path + "[]"
    case .namedSections: row.path + ".NAME"
    default: row.path
    }
  }

  private static func heading(_ title: String, _ row: RecipeKey?, _ tree: RecipeTree) -> String {
    var text = "### \(title)\n\n"
    if let row {
      text += row.summary
      if let condition = row.condition {
        text += " Only with `\(condition.key): \(condition.values.joined(separator: "` or `"))`."
      }
      text += "\n\n"
    }
    text += "| key | takes | default | meaning |\n| --- | --- | --- | --- |\n"
    for key in tree.children.flatMap(\.keys) {
      text += "| `\(key.name)` | \(cell(takes(key))) | \(cell(defaultCell(key))) | \(cell(meaning(key))) |\n"
    }
    return text
  }

  private static func takes(_ key: RecipeKey) -> String {
    if key.hasKeys { return "see `\(shown(key))`" }
    return key.typeName + (key.bounds.map { ", \($0.description)" } ?? "")
  }

  private static func defaultCell(_ key: RecipeKey) -> String {
    switch key.fallback {
    case .required: "**required**"
    case .value: "`\(key.defaultText)`"
    case .derived where key.hasKeys: ""
    default: key.defaultText
    }
  }

  private static func meaning(_ key: RecipeKey) -> String {
    guard let condition = key.condition else { return key.summary }
    return key.summary + " (\(condition.key): \(condition.values.joined(separator: ", ")))"
  }

  private static func cell(_ text: String) -> String { text.replacing("|", with: "\\|") }
}
