import Core

/// The recipe table as a tree: what a mapping may hold, in the table's order.
final class RecipeTree: Sendable {
  /// The root's children are the recipe's top keys.
  static let root = RecipeTree(name: "", keys: [], depth: 0, rows: RecipeTable.keys[...])

  /// The last component of the path: a key, `[]`, or `*`.
  let name: String
  /// Empty for the root and for the elements of lists and of named mappings; several where a key means something else
  /// under another condition.
  let keys: [RecipeKey]
  let children: [RecipeTree]

  /// `rows` are those beneath the node, in the table's order.
  private init(name: String, keys: [RecipeKey], depth: Int, rows: ArraySlice<RecipeKey>) {
    self.name = name
    self.keys = keys
    var names: [String] = []
    var groups: [String: [RecipeKey]] = [:]
    for row in rows {
      let name = row.components[depth]
      if groups[name] == nil { names.append(name) }
      groups[name, default: []].append(row)
    }
    children = names.map { name in
      let rows = groups[name] ?? []
      return RecipeTree(
        name: name, keys: rows.filter { $0.components.count == depth + 1 }, depth: depth + 1,
        rows: rows.filter { $0.components.count > depth + 1 }[...])
    }
  }

  var key: RecipeKey? { keys.first }

  /// The row that holds beside these values.
  func key(beside siblings: JSON.Object) -> RecipeKey? {
    keys.first { key in key.condition.map { $0.values.contains(siblings[$0.key]?.string ?? "") } ?? true }
  }

  subscript(name: String) -> RecipeTree? { children.first { $0.name == name } }

  /// What an element of this list, or of this mapping from free names, may hold.
  var element: RecipeTree? { self["[]"] ?? self["*"] }

  /// Where `components` lead. Indices and names of elements may be given or left out: `stages.0.steps`,
  /// `stages.grpo.steps`, `stages[].steps` and `stages.steps` lead to the same row.
  func find(_ components: ArraySlice<String>) -> RecipeTree? {
    guard let first = components.first else { return self }
    if let child = self[first] { return child.find(components.dropFirst()) }
    guard let element else { return nil }
    return element.find(components) ?? element.find(components.dropFirst())
  }

  /// Splits `stages[0].grpo.beta` at dots and brackets.
  static func split(_ path: String) -> [String] {
    path.replacing("[]", with: "").replacing("[", with: ".").replacing("]", with: "")
      .split(separator: ".", omittingEmptySubsequences: true).map(String.init)
  }
}
