/// The candidate that `name` was probably meant to be, or nil if none is near.
///
/// Damerau–Levenshtein distance (optimal string alignment) without regard to case, at most a third of the longer
/// name's length, or one name beginning with the other. Ties go to the earlier candidate.
public func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
  let wanted = Array(name.lowercased().unicodeScalars)
  var best: (name: String, distance: Int)?
  for candidate in candidates {
    let other = Array(candidate.lowercased().unicodeScalars)
    var distance = editDistance(wanted, other)
    let limit = max(1, (max(wanted.count, other.count) + 1) / 3)
    if distance > limit {
      let shorter = min(wanted.count, other.count)
      guard shorter >= 3, wanted.starts(with: other) || other.starts(with: wanted) else { continue }
      distance = limit + 1
    }
    if best == nil || distance < best!.distance { best = (candidate, distance) }
  }
  return best?.name
}

private func editDistance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
  if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
  var beforeLast = [Int](repeating: 0, count: b.count + 1)
  var last = Array(0...b.count)
  for i in 1...a.count {
    var row = [i] + [Int](repeating: 0, count: b.count)
    for j in 1...b.count {
      row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
      if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { row[j] = min(row[j], beforeLast[j - 2] + 1) }
    }
    beforeLast = last
    last = row
  }
  return last[b.count]
}
