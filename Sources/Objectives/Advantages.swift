import Core

/// How good each completion, or each of its tokens, was compared with what was to be expected.
public enum Advantages: Sendable {
  /// One value per row.
  case perRow([Double])
  /// One value per token; never read where the mask is false.
  case perToken([Double])

  /// Token rewards added to the advantages of their rows.
  func adding(_ tokenRewards: [[Double]?], _ streams: TokenStreams) -> Advantages {
    guard tokenRewards.contains(where: { $0 != nil }) else { return self }
    var values = [Double](repeating: 0, count: streams.tokenCount)
    for i in 0..<streams.rowCount {
      for (k, t) in streams.row(i).enumerated() {
        values[t] = value(row: i, token: t) + (tokenRewards[i]?[k] ?? 0)
      }
    }
    return .perToken(values)
  }
}

extension Advantages {
  /// - Throws: `AttuneError` if there isn't one value per row, or per token.
  func validate(_ streams: TokenStreams) throws {
    switch self {
    case .perRow(let values):
      guard values.count == streams.rowCount else {
        throw AttuneError.work("\(values.count) advantages for \(streams.rowCount) completions")
      }
    case .perToken(let values):
      guard values.count == streams.tokenCount else {
        throw AttuneError.work("\(values.count) token advantages for \(streams.tokenCount) tokens")
      }
    }
  }

  /// The advantage of token `t` in row `row`.
  func value(row: Int, token t: Int) -> Double {
    switch self {
    case .perRow(let values): values[row]
    case .perToken(let values): values[t]
    }
  }

  var isPerRow: Bool { if case .perRow = self { true } else { false } }

  /// The advantage of a row; nil where each token has its own.
  func rowValue(_ row: Int) -> Double? { if case .perRow(let values) = self { values[row] } else { nil } }
}
