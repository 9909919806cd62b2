import Core
import Foundation
import Models
import Rewards

/// Reads a tree of values by the recipe table: finds what is wrong and fills in what is not written.
struct RecipeReader {
  private let file: String
  private let checkFiles: Bool
  private(set) var problems: RecipeProblems
  /// Every key with its value, in the table's order; whole only if there are no problems.
  private(set) var effective = JSON.Object()
  /// Where values were written, by path with indices: `stages.0.steps`.
  private var places: [String: RecipeNode.Place] = [:]

  init(_ root: RecipeNode, file: String, checkFiles: Bool, problems: RecipeProblems) {
    self.file = file
    self.checkFiles = checkFiles
    self.problems = problems
    places[""] = root.place
    guard root.isNull || root.entries != nil else {
      self.problems.add("a recipe is a mapping of keys; found \(root.found)", at: root.place)
      return
    }
    readEntries(of: root, RecipeTree.root, path: "", isRoot: true) { $0.effective = $1 }
  }

  mutating func add(_ message: String, at path: String, hint: String? = nil) {
    problems.add(message, at: place(of: path), hint: hint)
  }

  /// Where the value at `path` was written; for a default, where the mapping around it was.
  func place(of path: String) -> RecipeNode.Place {
    var rest = path
    while true {
      if let place = places[rest] { return place }
      guard let dot = rest.lastIndex(of: ".") else { return places[""] ?? .unknown }
      rest = String(rest[..<dot])
    }
  }

  // MARK: Sections

  /// Reads the keys of one mapping. `store` is called after every key, so that later defaults see earlier values.
  private mutating func readEntries(
    of node: RecipeNode?, _ tree: RecipeTree, path: String, isRoot: Bool = false,
    enclosing: JSON.Object = JSON.Object(), store: (inout RecipeReader, JSON.Object) -> Void
  ) {
    let entries = node?.entries ?? []
    for entry in entries where tree[entry.key] == nil { refuse(entry, in: tree, path: path) }
    var out = JSON.Object()
    for child in tree.children {
      guard let first = child.key else { continue }
      let entry = entries.first { $0.key == child.name }
      // A condition whose key could not be read says nothing about this one.
      if let condition = first.condition, out[condition.key]?.string == nil { continue }
      guard let key = child.key(beside: out) else {
        if let entry, let condition = first.condition {
          let values = child.keys.flatMap { $0.condition?.values ?? [] }
          problems.add(
            "'\(child.name)' goes with \(condition.key): \(values.joined(separator: " or "))"
              + "; here \(condition.key) is \(out[condition.key]?.string ?? "")", at: entry.place,
            hint: nearestKey(to: child.name, in: tree, with: out))
        }
        continue
      }
      let childPath = path.isEmpty ? child.name : path + "." + child.name
      if let entry { places[childPath] = entry.value.place }
      if let value = read(entry?.value, child, key, path: childPath, siblings: out, enclosing: enclosing) {
        out[child.name] = value
      }
      store(&self, out)
    }
  }

  private mutating func refuse(_ entry: RecipeNode.Entry, in tree: RecipeTree, path: String) {
    let names = tree.children.map(\.name)
    let hint: String
    if let near = nearestName(to: entry.key, among: names) {
      hint = "did you mean '\(near)'?"
    } else if let row = RecipeTable.keys.first(where: { $0.name == entry.key }) {
      hint = "there is '\(row.path)'"
    } else {
      hint = "known here: " + names.joined(separator: ", ")
    }
    problems.add(
      "unknown key '\(entry.key)'" + (path.isEmpty ? "" : " in \(path)"), at: entry.place, hint: hint)
  }

  /// A key of the same mapping that does apply and has a similar name.
  private func nearestKey(to name: String, in tree: RecipeTree, with siblings: JSON.Object) -> String? {
    let candidates = tree.children.filter { child in
      child.name != name && child.key?.condition != nil && child.key(beside: siblings) != nil
    }
    return nearestName(to: name, among: candidates.map(\.name)).map { "did you mean '\($0)'?" }
  }

  /// The value of one key, or its default; nil if there is neither.
  private mutating func read(
    _ node: RecipeNode?, _ tree: RecipeTree, _ key: RecipeKey, path: String, siblings: JSON.Object,
    enclosing: JSON.Object
  ) -> JSON? {
    if key.hasKeys { return readSection(node, tree, key, path: path, enclosing: siblings) }
    guard let node else {
      if case .required = key.fallback {
        add("\(path) is missing; expected \(key.expectation)", at: parent(path))
        return nil
      }
      return fallback(of: key, siblings: siblings, enclosing: enclosing)
    }
    return leaf(node, key, path: path) ?? fallback(of: key, siblings: siblings, enclosing: enclosing)
  }

  private func fallback(of key: RecipeKey, siblings: JSON.Object, enclosing: JSON.Object) -> JSON? {
    switch key.fallback {
    case .required: return nil
    case .unset: return .null
    case .value(let value): return value
    case .sameAs(let other):
      guard other.hasPrefix(".") else { return siblings[other] }
      return RecipeTree.split(other).reduce(JSON(.object(effective))) { $0?[$1] }
    case .derived(_, let make):
      return make(.init(file: file, root: effective, siblings: siblings, enclosing: enclosing))
    }
  }

  private mutating func readSection(
    _ node: RecipeNode?, _ tree: RecipeTree, _ key: RecipeKey, path: String, enclosing: JSON.Object
  ) -> JSON? {
    let node = node?.isNull == true ? nil : node
    switch key.kind {
    case .sections:
      guard let items = node?.items else {
        if node != nil || isRequired(key) { addWrongType(node, key, path: path) }
        return .array([])
      }
      if items.isEmpty, isRequired(key) { addWrongType(node, key, path: path) }
      return .array(
        items.enumerated().map { index, item in element(item, tree, path: "\(path).\(index)", key) })
    case .namedSections:
      guard let entries = node?.entries else {
        if node != nil { addWrongType(node, key, path: path) }
        return .object([])
      }
      return .object(
        entries.map { entry in
          if !RecipePaths.isName(entry.key) {
            problems.add(
              "'\(entry.key)' is no name; expected a word of letters, digits, '_' and '-' that begins with a letter",
              at: entry.place)
          }
          return (entry.key, element(entry.value, tree, path: "\(path).\(entry.key)", key))
        })
    default:
      if let node, node.entries == nil {
        addWrongType(node, key, path: path)
        return nil
      }
      let isRoot = !path.contains(".")
      var result = JSON.Object()
      readEntries(of: node, tree, path: path, enclosing: enclosing) { reader, object in
        result = object
        if isRoot { reader.effective[path] = JSON(.object(object)) }
      }
      return JSON(.object(result))
    }
  }

  private mutating func element(_ node: RecipeNode, _ tree: RecipeTree, path: String, _ key: RecipeKey) -> JSON {
    places[path] = node.place
    guard let element = tree.element, node.entries != nil || node.isNull else {
      problems.add("\(path): found \(node.found), expected a mapping of keys", at: node.place)
      return .object([])
    }
    var result = JSON.Object()
    readEntries(of: node, element, path: path) { result = $1 }
    return JSON(.object(result))
  }

  // MARK: Leaves

  private mutating func leaf(_ node: RecipeNode, _ key: RecipeKey, path: String) -> JSON? {
    switch key.fallback {
    case .unset where node.isNull || isTheWordNone(node, key): return .null
    case .derived where node.isNull: return nil  // Written out as null: derived all the same.
    default: break
    }
    if let value = convert(node, key) {
      return resolvePath(value, node, key, path: path)
    }
    addWrongType(node, key, path: path)
    return nil
  }

  private func isTheWordNone(_ node: RecipeNode, _ key: RecipeKey) -> Bool {
    if case .number = key.kind { node.string == "none" } else { false }
  }

  /// The value in its normal form, or nil if it is not what the key takes.
  private func convert(_ node: RecipeNode, _ key: RecipeKey) -> JSON? {
    switch key.kind {
    case .string: return node.string.map { .string($0) }
    case .path: return node.string.flatMap { $0.isEmpty ? nil : .string($0) }
    case .name: return node.string.flatMap { RecipePaths.isName($0) ? .string($0) : nil }
    case .bool: return node.bool.map { .bool($0) }
    case .choice(let words): return node.string.flatMap { words.contains($0) ? .string($0) : nil }
    case .int: return int(node, key)
    case .number: return number(node, key)
    case .modules:
      if let text = node.string { return text.isEmpty ? nil : .string(text) }
      return names(node).flatMap { $0.isEmpty ? nil : .array($0.map { .string($0) }) }
    case .names, .folders: return names(node).map { .array($0.map { .string($0) }) }
    case .choices(let words):
      guard let names = names(node), names.allSatisfy(words.contains) else { return nil }
      return .array(names.map { .string($0) })
    case .ints(let count, let ascending): return list(node, count, ascending, key, int)
    case .numbers(let count, let ascending): return list(node, count, ascending, key, number)
    case .oneOrMore(let words):
      if let word = node.string { return words.contains(word) ? .string(word) : nil }
      guard let names = names(node), !names.isEmpty, names.allSatisfy(words.contains) else { return nil }
      return .array(names.map { .string($0) })
    case .numberList:
      guard let items = node.items else { return nil }
      let values = items.compactMap { number($0, key) }
      return values.count == items.count ? .array(values) : nil
    case .parameters: return node.entries == nil ? nil : node.json
    case .section, .sections, .namedSections: return nil
    }
  }

  private func names(_ node: RecipeNode) -> [String]? {
    guard let items = node.items else { return nil }
    let names = items.compactMap(\.string).filter { !$0.isEmpty }
    return names.count == items.count ? names : nil
  }

  private func int(_ node: RecipeNode, _ key: RecipeKey) -> JSON? {
    guard let x = node.int, key.bounds?.contains(Double(x)) != false else { return nil }
    return .int(x)
  }

  private func number(_ node: RecipeNode, _ key: RecipeKey) -> JSON? {
    guard let x = node.double, x.isFinite, key.bounds?.contains(x) != false else { return nil }
    return .double(x)
  }

  private func list(
    _ node: RecipeNode, _ count: Int, _ ascending: Bool, _ key: RecipeKey, _ convert: (RecipeNode, RecipeKey) -> JSON?
  ) -> JSON? {
    guard let items = node.items, items.count == count else { return nil }
    let values = items.compactMap { convert($0, key) }
    guard values.count == count else { return nil }
    let numbers = values.compactMap(\.double)
    if ascending, zip(numbers, numbers.dropFirst()).contains(where: { $0 > $1 }) { return nil }
    return .array(values)
  }

  private mutating func addWrongType(_ node: RecipeNode?, _ key: RecipeKey, path: String) {
    let expected = (isRequired(key) && key.hasKeys ? "at least one entry in " : "") + key.expectation
    problems.add(
      "\(path): found \(node?.found ?? "nothing"), expected \(expected)", at: node?.place ?? place(of: path),
      hint: node.flatMap { hint(for: $0, key) })
  }

  private func hint(for node: RecipeNode, _ key: RecipeKey) -> String? {
    switch (key.kind, node.content) {
    case (.choice(let words), .string(let text)), (.oneOrMore(let words), .string(let text)):
      return nearestName(to: text, among: words).map { "did you mean '\($0)'?" }
    case (.names, .string(let text)), (.folders, .string(let text)), (.choices, .string(let text)):
      return "a list is written [\(text)]"
    case (.choices(let words), _), (.oneOrMore(let words), _):
      let odd = node.items?.compactMap(\.string).first { !words.contains($0) }
      return odd.flatMap { nearestName(to: $0, among: words) }.map { "did you mean '\($0)'?" }
    case (.string, .int), (.string, .double), (.string, .bool), (.path, .int), (.path, .double):
      return node.source.map { "write it in quotes: '\($0)'" }
    case (.int, .string(let text)), (.number, .string(let text)):
      switch YAMLScalar.resolve(text) {
      case .int, .double: return "leave out the quotes"
      default: return nil
      }
    case (.bool, .string(let text)):
      switch text.lowercased() {
      case "yes", "on": return "write true"
      case "no", "off": return "write false"
      default: return nil
      }
    default: return nil
    }
  }

  // MARK: Paths

  /// Makes a path absolute, so that the stored recipe means the same from anywhere, and looks whether it leads somewhere.
  private mutating func resolvePath(_ value: JSON, _ node: RecipeNode, _ key: RecipeKey, path: String) -> JSON {
    if case .folders = key.kind {
      var one = key
      one.kind = .path(.folder)
      return .array((value.array ?? []).map { resolvePath($0, node, one, path: path) })
    }
    guard case .path(let role) = key.kind, role != .output, let text = value.string else { return value }
    let folder: String
    switch node.place {
    case .override: folder = FileManager.default.currentDirectoryPath
    case .base(let base, _, _): folder = RecipePaths.absolute("..", from: base)
    case .file, .unknown:
      folder = RecipePaths.absolute(
        "..", from: RecipePaths.absolute(file, from: FileManager.default.currentDirectoryPath))
    }
    if role == .model, text.hasPrefix(RecipePaths.presetPrefix) {
      if text == RecipePaths.presetPrefix {
        problems.add("\(path): 'preset:' is followed by no name", at: node.place)
      }
      return value
    }
    if role == .reward {
      if let fault = RewardLoader.signatureFault(text) {
        problems.add("\(path): \(fault.message)", at: node.place, hint: fault.hint)
      }
      guard let (written, rest) = RecipePaths.rewardFile(text) else { return value }
      let full = RecipePaths.absolute(written, from: folder)
      if checkFiles, !RecipePaths.isFile(full) {
        // A reward model's folder, or the name of one in Hugging Face's cache.
        if rest.isEmpty, RecipePaths.isFolder(full) {
          return .string((try? CheckpointFolder.resolve(full)) ?? full)
        }
        if rest.isEmpty, let found = try? CheckpointFolder.cached(text) { return .string(found) }
        addMissing(written, full, "file", node, path: path)
      }
      return .string(full + rest)
    }
    let full = RecipePaths.absolute(text, from: folder)
    // A folder of Hugging Face's cache, or the name of a model in it, stands for the snapshot inside.
    if role == .model, checkFiles {
      if let found = try? CheckpointFolder.resolve(full) { return .string(found) }
      if !RecipePaths.isFolder(full), let found = try? CheckpointFolder.cached(text) { return .string(found) }
    }
    let wantsFile = role == .file
    if checkFiles, !(wantsFile ? RecipePaths.isFile(full) : RecipePaths.isFolder(full)) {
      addMissing(text, full, wantsFile ? "file" : "folder", node, path: path)
    }
    return .string(full)
  }

  private mutating func addMissing(_ written: String, _ full: String, _ what: String, _ node: RecipeNode, path: String)
  {
    let here = RecipePaths.absolute(written, from: FileManager.default.currentDirectoryPath)
    let hint: String?
    if here != full, what == "file" ? RecipePaths.isFile(here) : RecipePaths.isFolder(here) {
      hint = "paths are read from the recipe's folder; there is one at \(here)"
    } else {
      hint = RecipePaths.nearestNeighbour(of: full).map { "did you mean '\($0)'?" }
    }
    problems.add("\(path): there is no \(what) at \(full)", at: node.place, hint: hint)
  }

  // MARK: Words

  private func isRequired(_ key: RecipeKey) -> Bool { if case .required = key.fallback { true } else { false } }

  private func parent(_ path: String) -> String {
    path.lastIndex(of: ".").map { String(path[..<$0]) } ?? ""
  }
}
