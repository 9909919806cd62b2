/// What stands in `<answer>...</answer>`; a tag that is not closed is no answer.
enum AnswerTags {
  /// Behind the last opening tag that is closed.
  static func last(_ text: String) -> String? {
    let bytes = [UInt8](text)
    guard let lastEnd = bytes.lastPosition(of: "</answer>"),
      let start = bytes.lastPosition(of: "<answer>", before: lastEnd),
      let end = bytes.position(of: "</answer>", from: start + 8)
    else { return nil }
    return bytes.text((start + 8)..<end)
  }

  /// From the first opening tag to the first closing one behind it.
  static func first(_ text: String) -> String? {
    let bytes = [UInt8](text)
    guard let start = bytes.position(of: "<answer>"), let end = bytes.position(of: "</answer>", from: start + 8) else {
      return nil
    }
    return bytes.text((start + 8)..<end)
  }
}
