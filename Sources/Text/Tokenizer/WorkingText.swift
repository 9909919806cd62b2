/// A section of text on its way through the pipeline: UTF-8 bytes, the pieces they are cut into, and, if asked for,
/// where in the original text every byte came from.
struct WorkingText {
  /// Where a byte's character stood in the original text, in code points.
  struct Origin {
    var start: Int32
    var end: Int32
  }

  var bytes: [UInt8]
  /// One entry a byte, or nil if nobody asked for offsets.
  var origins: [Origin]?
  var pieces: [Range<Int>]
  /// True for the section with which the original text begins.
  var isFirst: Bool

  init(bytes: [UInt8], origins: [Origin]?, isFirst: Bool) {
    self.bytes = bytes
    self.origins = origins
    self.isFirst = isFirst
    pieces = bytes.isEmpty ? [] : [0..<bytes.count]
  }

  /// Whether the piece at `index` begins the original text.
  func beginsText(_ index: Int) -> Bool {
    if let origins { return isFirst && origins[pieces[index].lowerBound].start == 0 }
    return isFirst && index == 0
  }

  /// Replaces every piece by its parts; empty ones are left out.
  mutating func split(_ parts: (UnsafeBufferPointer<UInt8>, (Range<Int>) -> Void) throws -> Void) rethrows {
    var result: [Range<Int>] = []
    result.reserveCapacity(pieces.count * 2)
    try bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces {
        try parts(UnsafeBufferPointer(rebasing: bytes[piece])) { part in
          if !part.isEmpty { result.append(piece.lowerBound + part.lowerBound..<piece.lowerBound + part.upperBound) }
        }
      }
    }
    pieces = result
  }

  /// Rewrites every piece; `rewrite` gives the new bytes, each with the index of the old byte that it comes from, or -1
  /// for one that stands before everything.
  mutating func rewrite(
    _ rewrite: (_ piece: ArraySlice<UInt8>, _ index: Int, _ emit: (UInt8, Int) -> Void) throws -> Void
  ) rethrows {
    var newBytes: [UInt8] = []
    newBytes.reserveCapacity(bytes.count + pieces.count)
    var newOrigins: [Origin]? = origins == nil ? nil : []
    var newPieces: [Range<Int>] = []
    for (i, piece) in pieces.enumerated() {
      let start = newBytes.count
      try rewrite(bytes[piece], i) { byte, source in
        newBytes.append(byte)
        if let origins { newOrigins?.append(source < 0 ? Origin(start: 0, end: 0) : origins[source]) }
      }
      if newBytes.count > start { newPieces.append(start..<newBytes.count) }
    }
    bytes = newBytes
    origins = newOrigins
    pieces = newPieces
  }

  /// Rewrites every piece character by character: `rewrite` gives what each becomes, nil where it stays.
  mutating func rewriteCharacters(_ rewrite: (Unicode.Scalar) -> [Unicode.Scalar]?) {
    self.rewrite { piece, _, emit in
      var at = piece.startIndex
      piece.withUnsafeBufferPointer { slice in
        while at < piece.endIndex {
          let (value, length) = decodeValue(slice, at - piece.startIndex)
          let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
          if let changed = rewrite(scalar) {
            for new in changed { for byte in UTF8.encode(new) ?? UTF8.encodedReplacementCharacter { emit(byte, at) } }
          } else {
            for i in at..<at + length { emit(piece[i], i) }
          }
          at += length
        }
      }
    }
  }
}

/// The code point that begins at `at` of valid UTF-8, and its length in bytes.
@inline(__always)
func decodeValue(_ bytes: UnsafeBufferPointer<UInt8>, _ at: Int) -> (value: UInt32, length: Int) {
  let first = UInt32(bytes[at])
  let length = utf8Length(bytes[at])
  guard length > 1, at + length <= bytes.count else { return (first, 1) }
  var value = first & (0x7F >> UInt32(length))
  for i in 1..<length { value = value << 6 | UInt32(bytes[at + i] & 0x3F) }
  return (value, length)
}

/// The length that a UTF-8 character's first byte announces; 1 for a byte that begins none.
@inline(__always)
func utf8Length(_ first: UInt8) -> Int {
  first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
}
