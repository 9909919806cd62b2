import Core

extension JSON {
  /// The part at a path such as `[2]` or `answers[0].text`; the empty path is the whole; nil if there is none.
  func part(at path: String) -> JSON? {
    var value = self
    var rest = Substring(path)
    while let first = rest.first {
      if first == "[" {
        guard let close = rest.firstIndex(of: "]"), let index = Int(rest[rest.index(after: rest.startIndex)..<close]),
          let list = value.array, list.indices.contains(index)
        else { return nil }
        value = list[index]
        rest = rest[rest.index(after: close)...]
        if rest.first == "." { rest.removeFirst() }
      } else {
        let end = rest.firstIndex { $0 == "." || $0 == "[" } ?? rest.endIndex
        guard let found = value.object?[String(rest[..<end])] else { return nil }
        value = found
        rest = rest[end...]
        if rest.first == "." { rest.removeFirst() }
      }
    }
    return value
  }
}
