import Core
import Foundation

/// Recipes that build on another: `extends: base.yaml` takes all that the base says, and changes what is written beside it.
///
/// Mappings are merged key by key, everything else is replaced. `add:` puts elements behind those of a list, `{stages: [...]}`;
/// `set:` then reaches into lists, with key paths as `--set` takes them: `{stages.warm-up.steps: 10}`. Paths that the base wrote
/// are read from the base's folder.
enum RecipeExtension {
  static let key = "extends"
  private static let changes = "set"
  private static let additions = "add"
  /// A chain longer than this is a mistake.
  private static let longestChain = 8

  /// The tree with everything that it builds on; a tree that extends nothing comes back as it is.
  ///
  /// - Throws: `AttuneError` if a base is missing or cannot be read, or if recipes extend each other in a circle.
  static func resolve(_ root: RecipeNode, file: String, problems: inout RecipeProblems) throws -> RecipeNode {
    try resolve(root, file: file, chain: [], problems: &problems)
  }

  private static func resolve(
    _ root: RecipeNode, file: String, chain: [String], problems: inout RecipeProblems
  ) throws -> RecipeNode {
    guard let entry = root.entries?.first(where: { $0.key == key }) else { return root }
    let here = absolute(file)
    guard let written = entry.value.string, !written.isEmpty else {
      throw AttuneError.request(
        "extends: found \(entry.value.found), expected the path of a recipe", at: entry.value.place.location(in: file))
    }
    let path = RecipePaths.absolute(written, from: RecipePaths.absolute("..", from: here))
    guard !chain.contains(path), path != here, chain.count < longestChain else {
      throw AttuneError.request(
        "extends: \(written) leads back to a recipe that extends this one, or through more than \(longestChain) recipes",
        at: entry.value.place.location(in: file))
    }
    guard RecipePaths.isFile(path), let bytes = FileManager.default.contents(atPath: path) else {
      throw AttuneError.request(
        "extends: there is no recipe at \(path)", at: entry.value.place.location(in: file),
        hint: RecipePaths.nearestNeighbour(of: path).map { "did you mean '\($0)'?" })
    }
    let own = try YAML.node([UInt8](bytes), file: path)
    var base = moved(try resolve(own, file: path, chain: chain + [here], problems: &problems), to: path)
    var changed: [RecipeNode.Entry] = []
    var added: [RecipeNode.Entry] = []
    for entry in root.entries ?? [] where entry.key != key {
      switch entry.key {
      case changes, additions:
        guard let inner = entry.value.entries else {
          problems.add("\(entry.key): found \(entry.value.found), expected a mapping of keys", at: entry.place)
          continue
        }
        if entry.key == changes { changed += inner } else { added += inner }
      default: base = merged(base, entry)
      }
    }
    for addition in added {
      guard let items = addition.value.items, base[addition.key] == nil || base[addition.key]?.items != nil else {
        problems.add(
          "add: \(addition.key): found \(addition.value.found), expected a list for a key that holds one",
          at: addition.value.place)
        continue
      }
      let all = (base[addition.key]?.items ?? []) + items
      base = merged(
        base, .init(key: addition.key, place: addition.place, value: RecipeNode(.list(all), at: addition.value.place)))
    }
    for change in changed {
      do { base = try RecipeOverrides.setting(change, in: base) } catch let error as AttuneError {
        problems.add("set: \(error.message)", at: change.place, hint: error.hint)
      }
    }
    return base
  }

  private static func absolute(_ file: String) -> String {
    RecipePaths.absolute(file, from: FileManager.default.currentDirectoryPath)
  }

  /// `node` with an entry of its mapping added, merged or replaced.
  private static func merged(_ node: RecipeNode, _ entry: RecipeNode.Entry) -> RecipeNode {
    var entries = node.entries ?? []
    if let index = entries.firstIndex(where: { $0.key == entry.key }) {
      if let inner = entry.value.entries, entries[index].value.entries != nil {
        entries[index].value = inner.reduce(entries[index].value) { merged($0, $1) }
      } else {
        entries[index] = entry
      }
    } else {
      entries.append(entry)
    }
    return RecipeNode(.mapping(entries), at: node.place)
  }

  /// The base's tree, its places those of its file.
  private static func moved(_ node: RecipeNode, to file: String) -> RecipeNode {
    func place(_ place: RecipeNode.Place) -> RecipeNode.Place {
      if case .file(let line, let column) = place { .base(file: file, line: line, column: column) } else { place }
    }
    var copy = node
    copy.place = place(node.place)
    switch node.content {
    case .list(let items): copy.content = .list(items.map { moved($0, to: file) })
    case .mapping(let entries):
      copy.content = .mapping(
        entries.map { .init(key: $0.key, place: place($0.place), value: moved($0.value, to: file)) })
    default: break
    }
    return copy
  }
}
