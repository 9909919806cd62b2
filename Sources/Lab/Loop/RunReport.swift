import AttuneVision
import Core
import Objectives

/// The report of a finished run, read back from its store: before and after, curves, and a sheet of answers.
public struct RunReport {
  public let content: ReportContent

  /// - Parameter pictures: cards on the contact sheet.
  public init(_ folder: RunFolder, title: String, pictures: Int) throws {
    let store = try RunStore.read(folder)
    let summary = try store.show()
    let stages = summary["stages"]?.array ?? []
    let steps = stages.map { $0["steps"]?.int ?? 0 }
    let starts = steps.indices.map { steps[..<$0].reduce(0, +) }
    // Places on one axis: the steps of all stages after one another.
    func x(_ stage: Int, _ step: Int) -> Double {
      stage < 0 ? 0 : Double((starts.indices.contains(stage) ? starts[stage] : 0) + step + 1)
    }
    let places = try store.evaluationPlaces()
    func label(_ stage: Int) -> String {
      stage < 0
        ? "before training" : "after \(stages.indices.contains(stage) ? stages[stage]["name"]?.string ?? "" : "")"
    }
    func exact(_ rows: [RunStore.EvaluationRow]) -> Double {
      rows.isEmpty ? 0 : Double(rows.filter(\.correct).count) / Double(rows.count)
    }
    // The last evaluation of every stage.
    var ends: [Int: (step: Int, rows: [RunStore.EvaluationRow])] = [:]
    var accuracy: [ReportContent.Point] = []
    for place in places {
      let rows = try store.evaluation(stage: place.stage, step: place.step)
      accuracy.append(.init(x(place.stage, place.step), exact(rows)))
      if place.step >= ends[place.stage]?.step ?? -1 { ends[place.stage] = (place.step, rows) }
    }
    let order = ends.keys.sorted()
    let table = ReportContent.Table(
      headers: ["", "held-out exact match", "pictures"],
      rows: order.map { stage in
        let rows = ends[stage]!.rows
        let tenths = Int((exact(rows) * 1000).rounded())
        return [label(stage), "\(tenths / 10).\(tenths % 10) %", "\(rows.count)"]
      })
    let boundaries = starts.indices.map {
      ReportContent.StageBoundary(x: Double(starts[$0]), label: stages[$0]["name"]?.string ?? "")
    }
    func series(_ metric: String, _ name: String) throws -> ReportContent.Series {
      ReportContent.Series(
        name: name,
        points: try store.series(metric).map { .init(x($0.stage, $0.step), $0.value) }.filter { $0.y.isFinite })
    }
    func curve(_ title: String, _ yLabel: String, _ metrics: [(String, String)]) throws -> ReportContent.Curve? {
      let all = try metrics.map { try series($0.0, $0.1) }.filter { !$0.points.isEmpty }
      return all.isEmpty ? nil : ReportContent.Curve(title: title, yLabel: yLabel, series: all, boundaries: boundaries)
    }
    let names = try store.metricNames()
    let rewards = names.filter { $0.hasPrefix("rewards/") && $0.hasSuffix("/mean") }
      .map { ($0, String($0.dropFirst("rewards/".count).dropLast("/mean".count))) }
    var curves: [ReportContent.Curve] = []
    if let reward = try curve("Reward", "mean reward", [("reward", "total")] + rewards) { curves.append(reward) }
    if !accuracy.isEmpty {
      curves.append(
        ReportContent.Curve(
          title: "Held-out exact match", yLabel: "share of pictures",
          series: [.init(name: "exact match", points: accuracy)], boundaries: boundaries))
    }
    if let loss = try curve(
      "Supervised loss", "nats per token",
      stages.contains { $0["objective"]?.string == "sft" } ? [("loss", "loss")] : [])
    {
      curves.append(loss)
    }
    curves += try Self.preferences(stages, metricNames: names, series)
      .map { .init(title: $0.title, yLabel: $0.yLabel, series: $0.series, boundaries: boundaries) }
    if let entropy = try curve("Entropy", "nats per token", [("entropy", "policy")]) { curves.append(entropy) }

    var cards: [ReportContent.AnswerCard] = []
    if let last = order.last, let first = order.dropLast().last ?? order.last {
      let before = Dictionary(ends[first]!.rows.map { ($0.sample, $0) }, uniquingKeysWith: { $1 })
      for row in ends[last]!.rows where cards.count < pictures {
        guard let hash = row.pictures.first, let png = try store.picture(hash), let old = before[row.sample] else {
          continue
        }
        cards.append(
          ReportContent.AnswerCard(
            picture: try PictureDecoder.decode(png, name: hash, options: .display), reference: row.reference ?? "",
            before: old.answer ?? "", beforeCorrect: old.correct, after: row.answer ?? "", afterCorrect: row.correct))
      }
    }
    let seconds = summary["seconds"]?.double ?? 0
    var facts: [ReportContent.Fact] = [
      .init("run", folder.id), .init("time", "\(Int(seconds.rounded())) s"),
    ]
    for stage in stages {
      facts.append(
        .init(
          "stage \(stage["name"]?.string ?? "")",
          "\(stage["objective"]?.string ?? ""), \(stage["steps"]?.int ?? 0) steps, \(Int((stage["seconds"]?.double ?? 0).rounded())) s"
        ))
    }
    content = ReportContent(
      title: title, subtitle: "Run \(folder.id)", table: table, curves: curves, cards: cards, facts: facts,
      notices: (summary["alarms"]?.array ?? []).map { alarm in
        .init(
          place: "\(alarm["stage_name"]?.string ?? ""), step \(alarm["step"]?.int ?? 0)",
          text: alarm["text"]?.string ?? "",
          detail: "\(alarm["meaning"]?.string ?? "") \(alarm["look"]?.string ?? "")")
      })
  }

  /// Curves of stages that learn from preferences, and of held-out pairs.
  private static func preferences(
    _ stages: [JSON], metricNames: [String], _ series: (_ metric: String, _ name: String) throws -> ReportContent.Series
  ) throws -> [ReportContent.Curve] {
    let learners = ObjectiveRegistry.names(of: .pairs, .unpaired, .scores)
    let isLearner = stages.map { learners.contains($0["objective"]?.string ?? "") }
    // The loss of another stage is another quantity.
    let losses =
      isLearner.allSatisfy { $0 } && !isLearner.isEmpty ? [("loss", "trained"), ("eval/loss", "held-out")] : []
    let curves = [
      ("Loss of preferences", "nats", losses),
      (
        "Implicit rewards", "β times the log-ratio",
        [("rewards/chosen", "chosen"), ("rewards/rejected", "rejected"), ("rewards/margins", "margin")]
      ),
      (
        "Pairs told apart", "share of pairs",
        [
          ("rewards/accuracies", "trained"), ("eval/rewards/accuracies", "held-out"), ("accuracy", "trained"),
          ("eval/accuracy", "held-out"),
        ]
      ),
    ]
    return try curves.compactMap { title, yLabel, metrics in
      let all = try metrics.filter { metricNames.contains($0.0) }.map { try series($0.0, $0.1) }
        .filter { !$0.points.isEmpty }
      return all.isEmpty ? nil : ReportContent.Curve(title: title, yLabel: yLabel, series: all, boundaries: [])
    }
  }

  /// Writes PNGs and the page; returns their paths.
  public func write(folder: String) throws -> [String] { try ReportWriter.write(content, folder: folder) }

  /// The table as people see it on a terminal.
  public var terminalTable: String { TerminalTable.render(headers: content.table.headers, rows: content.table.rows) }
}
