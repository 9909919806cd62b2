import Core
import Datasets

extension RewardSet {
  /// How many rows of a data source are looked at for the columns that rewards need.
  private static let rowsToSee = 16

  /// Refuses rewards whose columns no row has, before anything is sampled. A single row without one is that sample's `invalid`.
  ///
  /// - Throws: `AttuneError` (request) naming the reward, the column, the data source and the nearest column that there is.
  func checkColumns(_ recipe: Recipe, _ streams: [String: DataStream]) throws {
    for stage in recipe.stages {
      guard stage.rollouts != nil, let source = streams[stage.data]?.source else { continue }
      try checkColumns(of: source, named: stage.data, file: recipe.file)
    }
    for case .sampled(let sampled) in recipe.data.map(\.content) {
      guard let prompts = recipe.source(sampled.from) else { continue }
      let source = try DataSources.open(prompts, task: .rl)
      _ = try sampled.settings.promptCount(of: source, named: prompts.name)
      try checkColumns(of: source, named: prompts.name, file: recipe.file)
    }
  }

  /// The same for one source.
  func checkColumns(of source: any SampleSource, named name: String, file: String) throws {
    let needed = entries.flatMap { entry in entry.reward.descriptor.columns.map { (entry.settings.name, $0) } }
    guard !needed.isEmpty else { return }
    let count = min(Self.rowsToSee, source.count ?? Self.rowsToSee)
    let rows = try (0..<count).map { try source.sample(at: $0).columns }
    var known: [String] = []
    for name in rows.flatMap(\.keys) where !known.contains(name) { known.append(name) }
    for (reward, column) in needed where !rows.contains(where: { $0[column].map { !$0.isNull } ?? false }) {
      let near = nearestName(to: column, among: known)
      throw AttuneError.request(
        "the reward '\(reward)' needs the column '\(column)', which none of the first \(count) rows of the data source "
          + "'\(name)' has", at: .init(file: file),
        hint: near.map { "did you mean '\($0)'?" }
          ?? (known.isEmpty ? "its rows have no columns" : "it has \(known.joined(separator: ", "))"))
    }
  }
}
