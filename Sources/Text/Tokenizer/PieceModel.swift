/// A part of a piece that became a token: its id and the bytes of the piece that it covers.
struct PieceSymbol: Sendable {
  var id: Int32
  var start: Int32
  var end: Int32
}

/// What makes ids of one piece of text.
protocol PieceModel: Sendable {
  /// Encodes one piece, which is not empty, into `out`; positions count from the beginning of the piece.
  func encode(_ piece: UnsafeBufferPointer<UInt8>, into out: inout [PieceSymbol])

  /// The next place behind `start` where a piece may be cut in two without a change of its tokens, or its end.
  func border(in piece: UnsafeBufferPointer<UInt8>, after start: Int) -> Int

  /// The unknown token, if it counts as the text that it stands for.
  var spelledUnknown: Int32? { get }
}

extension PieceModel {
  func border(in piece: UnsafeBufferPointer<UInt8>, after start: Int) -> Int { piece.count }

  var spelledUnknown: Int32? { nil }
}
