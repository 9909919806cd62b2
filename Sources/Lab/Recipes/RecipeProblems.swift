import Core

/// What is wrong with a recipe, collected so that all of it is told at once.
struct RecipeProblems {
  private var problems: [(message: String, place: RecipeNode.Place, hint: String?)] = []
  let file: String

  init(file: String) { self.file = file }

  var isEmpty: Bool { problems.isEmpty }

  mutating func add(_ message: String, at place: RecipeNode.Place, hint: String? = nil) {
    problems.append((message, place, hint))
  }

  /// One error for all problems, in the order of the file, those of overrides last; nil if there are none.
  ///
  /// The first problem gives location and message; each further one is a line of its own with its place.
  var error: AttuneError? {
    let sorted = problems.enumerated().sorted { rank($0) < rank($1) }.map(\.element)
    guard let first = sorted.first else { return nil }
    let location = first.place.location(in: file)
    if sorted.count == 1 { return .request(first.message, at: location, hint: first.hint) }
    let lines = sorted.enumerated().map { index, problem in
      let place = index == 0 ? "" : "\(problem.place.location(in: file)): "
      return place + problem.message + (problem.hint.map { "; \($0)" } ?? "")
    }
    return .request(lines.joined(separator: "\n"), at: location)
  }

  private func rank(_ item: (offset: Int, element: (message: String, place: RecipeNode.Place, hint: String?))) -> (
    Int, Int, Int
  ) {
    switch item.element.place {
    case .unknown: (0, 0, item.offset)
    case .file(let line, let column): (line, column, item.offset)
    case .base(_, let line, let column): (.max - 1, line * 1000 + min(column, 999), item.offset)
    case .override: (.max, 0, item.offset)
    }
  }
}
