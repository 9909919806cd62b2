/// The answer inside a completion: the last `<answer>…</answer>` span, or the whole text; without white space around it.
public func answer(in completion: String) -> String {
  var text = Substring(completion)
  if let open = lastRange(of: "<answer>", in: text) {
    text = text[open.upperBound...]
    if let close = firstRange(of: "</answer>", in: text) { text = text[..<close.lowerBound] }
  }
  while let first = text.first, first.isWhitespace { text.removeFirst() }
  while let last = text.last, last.isWhitespace { text.removeLast() }
  return String(text)
}

private func firstRange(of needle: String, in text: Substring) -> Range<Substring.Index>? {
  text.ranges(of: needle).first
}
private func lastRange(of needle: String, in text: Substring) -> Range<Substring.Index>? {
  text.ranges(of: needle).last
}
