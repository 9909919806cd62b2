import Core

/// Applies `--set key.path=value` to a recipe's tree before it is read.
enum RecipeOverrides {
  /// The tree with every override that leads somewhere; the others become problems.
  static func apply(_ overrides: [String], to root: RecipeNode, problems: inout RecipeProblems) -> RecipeNode {
    overrides.reduce(root) { node, text in
      do {
        return try apply(text, to: node)
      } catch let error as AttuneError {
        problems.add(error.message, at: .override(text), hint: error.hint)
      } catch {
        problems.add("\(error)", at: .override(text))
      }
      return node
    }
  }

  /// The tree with the value at a key path replaced.
  static func setting(_ change: RecipeNode.Entry, in root: RecipeNode) throws -> RecipeNode {
    let components = RecipeTree.split(change.key)
    guard !components.isEmpty else { throw AttuneError.request("expected a key path, found nothing") }
    return try replacing(root, RecipeTree.root, components[...], path: "", with: change.value, at: change.place)
  }

  private static func apply(_ text: String, to root: RecipeNode) throws -> RecipeNode {
    guard let equals = text.firstIndex(of: "=") else {
      throw AttuneError.request("expected key.path=value", hint: "for example: --set optimizer.learning_rate=1e-6")
    }
    let components = RecipeTree.split(String(text[..<equals]))
    guard !components.isEmpty else { throw AttuneError.request("expected a key before '='") }
    let new = try value(String(text[text.index(after: equals)...]), at: .override(text))
    return try replacing(root, RecipeTree.root, components[...], path: "", with: new, at: .override(text))
  }

  /// `text` as a YAML scalar, or as a list or mapping in brackets.
  private static func value(_ text: String, at place: RecipeNode.Place) throws -> RecipeNode {
    guard let first = text.first, "[{\"'".contains(first) else {
      return RecipeNode(YAMLScalar.resolve(text), at: place, source: text)
    }
    do {
      return moved(try YAML.node(Array(text.utf8), file: ""), to: place)
    } catch let error as AttuneError {
      throw AttuneError.request(error.message, hint: error.hint)
    }
  }

  private static func moved(_ node: RecipeNode, to place: RecipeNode.Place) -> RecipeNode {
    var copy = node
    copy.place = place
    switch node.content {
    case .list(let items): copy.content = .list(items.map { moved($0, to: place) })
    case .mapping(let entries):
      copy.content = .mapping(entries.map { .init(key: $0.key, place: place, value: moved($0.value, to: place)) })
    default: break
    }
    return copy
  }

  /// `node` with the value at `components` replaced; mappings on the way are made where they are missing.
  private static func replacing(
    _ node: RecipeNode?, _ tree: RecipeTree, _ components: ArraySlice<String>, path: String, with new: RecipeNode,
    at place: RecipeNode.Place
  ) throws -> RecipeNode {
    guard let name = components.first else { return new }
    let rest = components.dropFirst()
    let here = path.isEmpty ? "" : " in \(path)"
    let deeper = path.isEmpty ? name : path + "." + name
    switch tree.key?.kind {
    case .sections:
      var items = node?.items ?? []
      let index = try index(of: name, in: items, path: path)
      items[index] = try replacing(items[index], tree.element ?? tree, rest, path: deeper, with: new, at: place)
      return RecipeNode(.list(items), at: node?.place ?? place)
    case .namedSections:
      let names = node?.entries?.map(\.key) ?? []
      // A new source is given as a whole; a lone key of an unknown source is a slip.
      if !rest.isEmpty, !names.contains(name) {
        throw AttuneError.request(
          "there is no '\(name)'\(here)",
          hint: nearestName(to: name, among: names).map { "did you mean '\($0)'?" }
            ?? (names.isEmpty ? nil : "known: " + names.joined(separator: ", ")))
      }
      return try replacingEntry(name, of: node, tree.element ?? tree, rest, path: deeper, with: new, at: place)
    case .parameters:
      return try replacingEntry(name, of: node, tree, rest, path: deeper, with: new, at: place)
    case .section, nil:
      guard let child = tree[name] else { throw unknown(name, in: tree, here: here) }
      return try replacingEntry(name, of: node, child, rest, path: deeper, with: new, at: place)
    default: throw AttuneError.request("'\(path)' takes \(tree.key?.expectation ?? "a value"); it has no key '\(name)'")
    }
  }

  private static func replacingEntry(
    _ name: String, of node: RecipeNode?, _ tree: RecipeTree, _ rest: ArraySlice<String>, path: String,
    with new: RecipeNode, at place: RecipeNode.Place
  ) throws -> RecipeNode {
    if let node, !node.isNull, node.entries == nil {
      throw AttuneError.request("\(path) cannot be set: the recipe has \(node.found) where a mapping was expected")
    }
    var entries = node?.entries ?? []
    let index = entries.firstIndex { $0.key == name }
    let value = try replacing(index.map { entries[$0].value }, tree, rest, path: path, with: new, at: place)
    if let index {
      entries[index].value = value
    } else {
      entries.append(.init(key: name, place: place, value: value))
    }
    return RecipeNode(.mapping(entries), at: node?.place ?? place)
  }

  /// An element by its index or by its name; a stage without a name goes by its objective, a reward by its source's.
  private static func index(of name: String, in items: [RecipeNode], path: String) throws -> Int {
    let names = items.map { item in
      item["name"]?.string ?? item["objective"]?.string ?? item["source"]?.string.map(RecipePaths.rewardName)
    }
    if let index = names.firstIndex(of: name) { return index }
    if let index = Int(name), items.indices.contains(index) { return index }
    let known = names.enumerated().map { $1 ?? String($0) }
    throw AttuneError.request(
      items.isEmpty ? "the recipe has no \(path)" : "there is no '\(name)' in \(path); it has \(items.count)",
      hint: nearestName(to: name, among: known).map { "did you mean '\($0)'?" }
        ?? (known.isEmpty ? nil : "known: " + known.joined(separator: ", ")))
  }

  private static func unknown(_ name: String, in tree: RecipeTree, here: String) -> AttuneError {
    let names = tree.children.map(\.name)
    if let near = nearestName(to: name, among: names) {
      return .request("unknown key '\(name)'\(here)", hint: "did you mean '\(near)'?")
    }
    if let row = RecipeTable.keys.first(where: { $0.name == name }) {
      return .request("unknown key '\(name)'\(here)", hint: "there is '\(row.path)'")
    }
    return .request("unknown key '\(name)'\(here)", hint: "known here: " + names.joined(separator: ", "))
  }
}
