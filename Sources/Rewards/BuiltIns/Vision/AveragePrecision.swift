/// COCO's average precision for one picture and predictions without confidences.
///
/// As pycocotools computes it when every prediction has the same score: predictions are taken in the order in which they are
/// written, 100 a label at most; each takes the unmatched reference of its label with the largest overlap, at least the
/// threshold; precision is made monotone and read at 101 recalls. Means go over labels of the references and thresholds.
enum AveragePrecision {
  /// Corners; x to the right, y downward.
  struct Box: Equatable, Sendable {
    var x1: Double
    var y1: Double
    var x2: Double
    var y2: Double

    var area: Double { (x2 - x1) * (y2 - y1) }

    /// Intersection over union; 0 for boxes without area.
    func overlap(_ other: Box) -> Double {
      let width = min(x2, other.x2) - max(x1, other.x1)
      let height = min(y2, other.y2) - max(y1, other.y1)
      guard width > 0, height > 0 else { return 0 }
      let shared = width * height
      return shared / (area + other.area - shared)
    }
  }

  struct Item: Sendable {
    var label: String
    var box: Box
  }

  struct Result {
    var mean: Double
    /// In the order in which labels occur in the references.
    var labels: [(label: String, precision: Double)]
  }

  /// 0.5, 0.55 .. 0.95 as numpy's `linspace` makes them.
  static let cocoThresholds: [Double] = spaced(from: 0.5, to: 0.95, 10)
  private static let recalls: [Double] = spaced(from: 0, to: 1, 101)

  private static func spaced(from first: Double, to last: Double, _ count: Int) -> [Double] {
    let step: Double = (last - first) / Double(count - 1)
    return (0..<count).map { (i: Int) -> Double in i == count - 1 ? last : first + Double(i) * step }
  }

  private static let mostPredictions = 100

  /// - Parameter references: not empty.
  static func of(_ predictions: [Item], _ references: [Item], thresholds: [Double]) -> Result {
    var order: [String] = []
    var truths: [String: [Box]] = [:]
    for item in references {
      if truths[item.label] == nil { order.append(item.label) }
      truths[item.label, default: []].append(item.box)
    }
    var guesses: [String: [Box]] = [:]
    for item in predictions where guesses[item.label]?.count ?? 0 < mostPredictions {
      guesses[item.label, default: []].append(item.box)
    }
    let labels = order.map { label in
      let overlaps = (guesses[label] ?? []).map { guess in (truths[label] ?? []).map { guess.overlap($0) } }
      let sum = thresholds.reduce(0) { $0 + precision(overlaps, truths[label]?.count ?? 0, $1) }
      return (label: label, precision: sum / Double(max(1, thresholds.count)))
    }
    return Result(mean: labels.reduce(0) { $0 + $1.precision } / Double(max(1, labels.count)), labels: labels)
  }

  /// - Parameter overlaps: `[predictions][references]`.
  private static func precision(_ overlaps: [[Double]], _ count: Int, _ threshold: Double) -> Double {
    var taken = [Bool](repeating: false, count: count)
    var hits = 0
    var recall: [Double] = []
    var precision: [Double] = []
    for (i, row) in overlaps.enumerated() {
      var best = min(threshold, 1 - 1e-10)
      var match: Int?
      for (j, overlap) in row.enumerated() where !taken[j] && overlap >= best {
        best = overlap
        match = j
      }
      if let match {
        taken[match] = true
        hits += 1
      }
      recall.append(Double(hits) / Double(count))
      precision.append(Double(hits) / Double(i + 1))
    }
    for i in precision.indices.dropLast().reversed() { precision[i] = max(precision[i], precision[i + 1]) }
    var sum = 0.0
    var i = 0
    for wanted in recalls {
      while i < recall.count, recall[i] < wanted { i += 1 }
      if i < recall.count { sum += precision[i] }
    }
    return sum / Double(recalls.count)
  }
}
