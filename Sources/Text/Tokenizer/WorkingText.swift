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

  /// Replaces every piece by its parts.
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

  /// Rewrites every piece; `rewrite` gives the new bytes, each with the index of the old byte that it comes from.
  mutating func rewrite(
    _ rewrite: (_ piece: ArraySlice<UInt8>, _ index: Int, _ emit: (UInt8, Int) -> Void) -> Void
  ) {
    var newBytes: [UInt8] = []
    newBytes.reserveCapacity(bytes.count + pieces.count)
    var newOrigins: [Origin]? = origins == nil ? nil : []
    var newPieces: [Range<Int>] = []
    for (i, piece) in pieces.enumerated() {
      let start = newBytes.count
      rewrite(bytes[piece], i) { byte, source in
        newBytes.append(byte)
        if let origins { newOrigins?.append(origins[source]) }
      }
      newPieces.append(start..<newBytes.count)
    }
    bytes = newBytes
    origins = newOrigins
    pieces = newPieces
  }
}
