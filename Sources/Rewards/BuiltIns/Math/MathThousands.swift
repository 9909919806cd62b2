/// Joins digits that belong to one number: `1,234,567`, `1{,}234`, `1\,234`, `1 234`.
enum MathThousands {
  static func joined(_ tokens: [MathToken], spaced: [Bool]) -> [MathToken] {
    guard tokens.count > 1 else { return tokens }
    let mayJoin = commasThatMayJoin(tokens, spaced)
    var out: [MathToken] = []
    out.reserveCapacity(tokens.count)
    var at = 0
    while at < tokens.count {
      guard case .number(let first) = tokens[at], isLeading(first) else {
        out.append(tokens[at])
        at += 1
        continue
      }
      // An exponent or an index is never the beginning of a longer number.
      if let last = out.last, last == .symbol("^") || last == .symbol("_") || last == .command("frac") {
        out.append(tokens[at])
        at += 1
        continue
      }
      let (digits, next) = run(tokens, spaced, mayJoin, from: at)
      out.append(.number(digits))
      at = next
    }
    return out
  }

  private static func isLeading(_ digits: String) -> Bool {
    (1...3).contains(digits.utf8.count) && digits.first != "0" && !digits.contains(".")
  }

  /// The digits from `start` on, and the token behind them.
  private static func run(
    _ tokens: [MathToken], _ spaced: [Bool], _ mayJoin: [Bool], from start: Int
  ) -> (digits: String, next: Int) {
    guard case .number(let first) = tokens[start] else { return ("", start) }
    var digits = first
    var at = start + 1
    while at < tokens.count {
      let group: Int
      if at + 3 < tokens.count, tokens[at] == .symbol("{"), tokens[at + 1] == .comma, tokens[at + 2] == .symbol("}") {
        group = at + 3
      } else if tokens[at] == .comma, mayJoin[at], !spaced[at], at + 1 < tokens.count, !spaced[at + 1] {
        group = at + 1
      } else if spaced[at], case .number = tokens[at] {
        group = at
      } else {
        break
      }
      guard group < tokens.count, case .number(let next) = tokens[group] else { break }
      let whole = next.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)[0]
      guard whole.utf8.count == 3 else {
        // "1,2345" is a list, all of it.
        return tokens[at] == .comma ? (first, start + 1) : (digits, at)
      }
      digits += next
      at = group + 1
      if next.contains(".") { break }
    }
    return (digits, at)
  }

  /// Inside brackets a comma separates elements, unless other commas there are followed by a space and this one is not.
  private static func commasThatMayJoin(_ tokens: [MathToken], _ spaced: [Bool]) -> [Bool] {
    var may = [Bool](repeating: false, count: tokens.count)
    var groups: [(commas: [Int], hasSpaced: Bool)] = [([], true)]
    for (i, token) in tokens.enumerated() {
      switch token {
      case .symbol("("), .symbol("["), .command("{"): groups.append(([], false))
      case .symbol(")"), .symbol("]"), .command("}"):
        if groups.count > 1 {
          let group = groups.removeLast()
          if group.hasSpaced { for comma in group.commas { may[comma] = true } }
        }
      case .comma:
        groups[groups.count - 1].commas.append(i)
        if i + 1 < tokens.count, spaced[i + 1] { groups[groups.count - 1].hasSpaced = true }
      default: break
      }
    }
    for comma in groups[0].commas { may[comma] = true }
    return may
  }
}
