import Synchronization

/// Remembers how pieces were encoded. Words repeat, so most pieces of a text need no merging.
///
/// Open addressing over one arena of bytes and one of symbols; it starts over when it is full.
final class PieceCache {
  private static let slotCount = 1 << 15
  /// Longer pieces are rare and seldom come back.
  static let longestPiece = 40

  private struct Entry {
    var hash: UInt64
    var bytes: Int32
    var length: Int32
    var symbols: Int32
    var symbolCount: Int32
  }

  private var slots = [Entry](
    repeating: Entry(hash: 0, bytes: 0, length: -1, symbols: 0, symbolCount: 0), count: slotCount)
  private var arena: [UInt8] = []
  private var symbols: [PieceSymbol] = []
  private var used = 0

  /// Calls `body` with the symbols of `piece`, encoding it if it is new.
  @inline(__always)
  func withSymbols(
    of piece: UnsafeBufferPointer<UInt8>, _ model: any PieceModel, scratch: inout [PieceSymbol],
    _ body: (UnsafeBufferPointer<PieceSymbol>) -> Void
  ) {
    guard piece.count <= Self.longestPiece else {
      model.encode(piece, into: &scratch)
      scratch.withUnsafeBufferPointer(body)
      return
    }
    let hash = fastHash(piece)
    var slot = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
    while slots[slot].length >= 0 {
      let entry = slots[slot]
      if entry.hash == hash, Int(entry.length) == piece.count {
        let same = arena.withUnsafeBufferPointer {
          equalBytes(UnsafeBufferPointer(rebasing: $0[Int(entry.bytes)..<Int(entry.bytes) + piece.count]), piece)
        }
        if same {
          symbols.withUnsafeBufferPointer {
            body(
              UnsafeBufferPointer(rebasing: $0[Int(entry.symbols)..<Int(entry.symbols) + Int(entry.symbolCount)]))
          }
          return
        }
      }
      slot = (slot + 1) & (Self.slotCount - 1)
    }
    model.encode(piece, into: &scratch)
    if used * 2 > Self.slotCount {
      for i in slots.indices { slots[i].length = -1 }
      arena.removeAll(keepingCapacity: true)
      symbols.removeAll(keepingCapacity: true)
      used = 0
      slot = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
    }
    slots[slot] = Entry(
      hash: hash, bytes: Int32(arena.count), length: Int32(piece.count), symbols: Int32(symbols.count),
      symbolCount: Int32(scratch.count))
    arena.append(contentsOf: piece)
    symbols.append(contentsOf: scratch)
    used += 1
    scratch.withUnsafeBufferPointer(body)
  }
}

/// What one call of the encoder works with, kept from call to call.
final class EncoderWorkspace {
  let cache = PieceCache()
  let matcher = PatternMatcher()
}

/// Workspaces that no call is using at the moment; each call takes one for itself, so that none waits for another.
final class WorkspacePool: Sendable {
  // Invariant: a workspace is reachable either from this list or from one call, never from both.
  private struct Idle: @unchecked Sendable { var workspaces: [EncoderWorkspace] = [] }
  private let idle = Mutex(Idle())

  func take() -> EncoderWorkspace {
    let taken = idle.withLock { idle -> Idle in
      guard let last = idle.workspaces.popLast() else { return Idle() }
      return Idle(workspaces: [last])
    }
    return taken.workspaces.first ?? EncoderWorkspace()
  }

  func giveBack(_ workspace: EncoderWorkspace) {
    let returned = Idle(workspaces: [workspace])
    idle.withLock { if $0.workspaces.count < 64 { $0.workspaces += returned.workspaces } }
  }
}
