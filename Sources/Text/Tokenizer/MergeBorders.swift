/// Pairs of neighbouring characters that no merge joins. A piece can be cut between two such characters and the parts
/// encoded by themselves: where whole texts are one piece, words come out, which repeat.
struct MergeBorders: Sendable {
  /// The last byte of one character and the first of the next; U+2581, which stands for spaces, is a class of its own.
  private static let classCount = 257
  private static let space: [UInt8] = [0xE2, 0x96, 0x81]
  private var joined = [Bool](repeating: false, count: classCount * classCount)

  init(_ merges: some Sequence<(left: [UInt8], right: [UInt8])>) {
    for (left, right) in merges {
      guard let last = left.last, let first = right.first else { continue }
      let a = left.suffix(3).elementsEqual(Self.space) ? 256 : Int(last)
      let b = right.starts(with: Self.space) ? 256 : Int(first)
      joined[a * Self.classCount + b] = true
    }
  }

  /// - Parameter isKnown: whether a character is a token; others may be joined to one token, and are left alone.
  func next(
    in piece: UnsafeBufferPointer<UInt8>, after start: Int, _ isKnown: (UnsafeBufferPointer<UInt8>) -> Bool
  ) -> Int {
    func isSpace(_ at: Int) -> Bool {
      at + 2 < piece.count && piece[at] == 0xE2 && piece[at + 1] == 0x96 && piece[at + 2] == 0x81
    }
    var at = start
    var last = isSpace(at) ? 256 : -1
    while at < piece.count {
      let next = at + utf8Length(piece[at])
      guard next < piece.count else { return piece.count }
      let isNextSpace = piece[next] == 0xE2 && isSpace(next)
      if last < 0 { last = Int(piece[next - 1]) }
      if !joined[last * Self.classCount + (isNextSpace ? 256 : Int(piece[next]))] {
        let end = min(piece.count, next + utf8Length(piece[next]))
        if isKnown(UnsafeBufferPointer(rebasing: piece[at..<next])),
          isKnown(UnsafeBufferPointer(rebasing: piece[next..<end]))
        {
          return next
        }
      }
      at = next
      last = isNextSpace ? 256 : -1
    }
    return piece.count
  }
}
