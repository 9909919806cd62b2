/// The line that is drawn through noisy points.
enum CurveSmoothing {
  typealias Point = ReportContent.Point

  /// So few points are joined as they are.
  static let fewest = 24
  /// More points than a chart has pixels are averaged first.
  private static let most = 600

  /// True if the values go up and down more than a smooth curve does: of pure noise's steps, two in three turn back.
  static func isNoisy(_ points: [Point]) -> Bool {
    guard points.count > fewest else { return false }
    let steps = zip(points, points.dropFirst()).map { $1.y - $0.y }
    let turns = zip(steps, steps.dropFirst()).count { ($0 > 0) != ($1 > 0) && $0 != $1 }
    return turns * 5 > steps.count
  }

  /// Finite points in order of x.
  static func usable(_ points: [Point]) -> [Point] {
    let finite = points.filter { abs($0.x) < 1e300 && abs($0.y) < 1e300 }
    let isSorted = zip(finite, finite.dropFirst()).allSatisfy { $0.x <= $1.x }
    return isSorted ? finite : finite.sorted { $0.x < $1.x }
  }

  /// Locally weighted linear regression (Cleveland, *Robust locally weighted regression*, 1979, without the robust
  /// part): a sixth of the points around each, tricube weights. Unlike a moving average it does not lag, and it does
  /// not flatten at the ends.
  static func smooth(_ points: [Point]) -> [Point] {
    let points = averaged(points)
    let around = min(points.count, max(7, points.count / 6))
    return points.indices.map { center in
      // As many points at the ends as in the middle, or the ends would follow the noise.
      let from = min(max(0, center - around / 2), points.count - around)
      let to = from + around - 1
      let x0 = points[center].x
      let widest = max(x0 - points[from].x, points[to].x - x0)
      guard widest > 0 else { return points[center] }
      var (w, wx, wy, wxx, wxy) = (0.0, 0.0, 0.0, 0.0, 0.0)
      for i in from...to {
        let x = (points[i].x - x0) / widest
        let distance = abs(x) * 0.999
        let cubed = 1 - distance * distance * distance
        let weight = cubed * cubed * cubed
        w += weight
        wx += weight * x
        wy += weight * points[i].y
        wxx += weight * x * x
        wxy += weight * x * points[i].y
      }
      let determinant = w * wxx - wx * wx
      guard determinant > 1e-12 * w * wxx else { return Point(x0, wy / w) }
      return Point(x0, (wxx * wy - wx * wxy) / determinant)
    }
  }

  private static func averaged(_ points: [Point]) -> [Point] {
    guard points.count > most else { return points }
    return (0..<most).map { bin in
      let group = points[(bin * points.count / most)..<((bin + 1) * points.count / most)]
      let sum = group.reduce(into: Point(0, 0)) {
        $0.x += $1.x
        $0.y += $1.y
      }
      return Point(sum.x / Double(group.count), sum.y / Double(group.count))
    }
  }

  /// Points split where stages begin.
  static func stages(_ points: [Point], boundaries: [Double]) -> [[Point]] {
    var stages: [[Point]] = []
    var rest = points[...]
    for x in boundaries.sorted() {
      let part = rest.prefix { $0.x < x }
      if !part.isEmpty { stages.append(Array(part)) }
      rest = rest.dropFirst(part.count)
    }
    if !rest.isEmpty { stages.append(Array(rest)) }
    return stages
  }
}
