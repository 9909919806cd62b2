import CRewardABI
import Core
import Foundation

/// Where the parts of a batch lie while a plugin reads them.
protocol BatchRoom: AnyObject {
  /// Cleared memory for structs, aligned to 16.
  ///
  /// - Throws: `AttuneError` if the batch would be larger than 1 GiB.
  func allocate(_ size: Int, _ purpose: String) throws -> UnsafeMutableRawPointer
  /// Memory for a text, not cleared, without an alignment.
  func allocate(text size: Int) throws -> UnsafeMutableRawPointer
  var emptyText: attune_string { get }
  /// The address at which the plugin sees this memory.
  func seen(_ memory: UnsafeRawPointer) -> UInt
  /// Writes the `attune_string` of a text to `place`, at the latest when the batch is complete. Texts of one `kind` are
  /// often equal one after the other.
  func lend(_ text: String, _ kind: TextKind, to place: UnsafeMutableRawPointer) throws
  /// Writes the address of the elements to `places`, at the latest when the batch is complete.
  func lend<T: BitwiseCopyable>(_ elements: [T], to places: [UnsafeMutableRawPointer]) throws
}

/// Texts that are likely equal to the one before of their kind.
enum TextKind: Int, CaseIterable {
  case prompt, prefix, completion, stop, reference, dataset, row, channel, other
}

extension BatchRoom {
  /// Copies bytes, with a NUL behind them.
  func copy(_ bytes: UnsafeRawBufferPointer) throws -> attune_string {
    let memory = try allocate(text: bytes.count + 1)
    if let start = bytes.baseAddress { memory.copyMemory(from: start, byteCount: bytes.count) }
    memory.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
    return attune_string(data: UnsafePointer(bitPattern: seen(memory)), size: bytes.count)
  }

  func copy(_ text: String) throws -> attune_string {
    if text.isEmpty { return emptyText }
    var text = text
    return try text.withUTF8 { try copy(UnsafeRawBufferPointer($0)) }
  }

  static var tooLarge: AttuneError {
    .work("a batch for a reward takes more than 1 GiB", hint: "score fewer samples at a time")
  }
}

/// Memory that a worker reads too: everything is copied into it, and addresses are the worker's.
final class SharedRoom: BatchRoom {
  private let memory: UnsafeMutableRawBufferPointer
  private let shift: UInt
  private(set) var used = 0
  private var last: [(text: String, lent: attune_string)?] = Array(repeating: nil, count: TextKind.allCases.count)

  /// - Parameter address: where the worker sees the memory.
  init(_ memory: UnsafeMutableRawBufferPointer, seenAt address: UInt) {
    self.memory = memory
    shift = address &- UInt(bitPattern: memory.baseAddress)
  }

  private(set) lazy var emptyText: attune_string = {
    guard let place = try? allocate(16, "") else { return attune_string() }
    return attune_string(data: UnsafePointer(bitPattern: seen(place)), size: 0)
  }()

  private func take(_ size: Int) throws -> UnsafeMutableRawPointer {
    guard let start = memory.baseAddress, size >= 0, size <= memory.count - used - 16 else { throw Self.tooLarge }
    defer { used += (size + 15) & ~15 }
    return start + used
  }

  func allocate(_ size: Int, _ purpose: String) throws -> UnsafeMutableRawPointer {
    let place = try take(size)
    // What an earlier call left there.
    place.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    return place
  }

  func seen(_ memory: UnsafeRawPointer) -> UInt { UInt(bitPattern: memory) &+ shift }

  func allocate(text size: Int) throws -> UnsafeMutableRawPointer { try take(size) }

  func lend(_ text: String, _ kind: TextKind, to place: UnsafeMutableRawPointer) throws {
    if text.isEmpty { return place.storeBytes(of: emptyText, as: attune_string.self) }
    let lent: attune_string
    // Completions of a group have one prompt. Texts are equal here only if their bytes are.
    if let known = last[kind.rawValue], Self.haveEqualBytes(known.text, text) {
      lent = known.lent
    } else {
      var text = text
      lent = try text.withUTF8 { try copy(UnsafeRawBufferPointer($0)) }
      last[kind.rawValue] = (text, lent)
    }
    place.storeBytes(of: lent, as: attune_string.self)
  }

  /// `==` also takes different spellings of a character for the same.
  private static func haveEqualBytes(_ a: String, _ b: String) -> Bool {
    guard a.utf8.count == b.utf8.count else { return false }
    var (a, b) = (a, b)
    return a.withUTF8 { a in
      b.withUTF8 { b in
        guard let a = a.baseAddress, let start = b.baseAddress else { return true }
        return a == start || memcmp(a, start, b.count) == 0
      }
    }
  }

  func lend<T: BitwiseCopyable>(_ elements: [T], to places: [UnsafeMutableRawPointer]) throws {
    let copy = try elements.withUnsafeBytes { source in
      let copy = try take(source.count)
      if let start = source.baseAddress { copy.copyMemory(from: start, byteCount: source.count) }
      return copy
    }
    for place in places { place.storeBytes(of: seen(copy), as: UInt.self) }
  }
}

/// Memory of this process: long texts, arrays and pixels stay where they are and are held in place during the call.
final class LocalRoom: BatchRoom {
  let arena = GuardedArena()
  private var holds: [Hold] = []
  /// Swift keeps texts of up to 15 bytes in no memory of their own; somewhat longer ones are as quickly copied as held.
  static let shortest = 64

  /// A value that has to stay in place, and who wants to know where.
  private enum Hold {
    case text(String, UnsafeMutableRawPointer)
    case array(any HeldArray, [UnsafeMutableRawPointer])
  }

  func allocate(_ size: Int, _ purpose: String) throws -> UnsafeMutableRawPointer {
    guard let memory = arena.allocate(size, purpose) else { throw Self.tooLarge }
    return memory
  }

  func seen(_ memory: UnsafeRawPointer) -> UInt { UInt(bitPattern: memory) }

  /// Short texts lie one behind the other, with a guard behind the last.
  func allocate(text size: Int) throws -> UnsafeMutableRawPointer {
    guard size <= textsLeft || size > Self.textBlock / 4 else {
      texts = try allocate(Self.textBlock, "texts of the batch")
      textsLeft = Self.textBlock
      return try allocate(text: size)
    }
    guard size <= textsLeft, let place = texts else { return try allocate(size, "a text of the batch") }
    texts = place + size
    textsLeft -= size
    return place
  }

  private(set) lazy var emptyText: attune_string = {
    guard let place = try? allocate(16, "an empty text") else { return attune_string() }
    return attune_string(data: UnsafePointer(bitPattern: seen(place)), size: 0)
  }()

  private static let textBlock = 1 << 12
  private var texts: UnsafeMutableRawPointer?
  private var textsLeft = 0

  func lend(_ text: String, _ kind: TextKind, to place: UnsafeMutableRawPointer) throws {
    if text.utf8.count < Self.shortest {
      place.storeBytes(of: try copy(text), as: attune_string.self)
    } else {
      holds.append(.text(text, place))
    }
  }

  func lend<T: BitwiseCopyable>(_ elements: [T], to places: [UnsafeMutableRawPointer]) throws {
    holds.append(.array(HeldElements(elements), places))
  }

  /// Runs `body` while everything that was lent stays where it is. Each value is held by a scope of its own inside that of
  /// the one before, so that many need a deep stack.
  func holdingAll(_ body: () throws -> Void) throws {
    guard holds.count > Self.mostOnThisStack else { return try hold(from: 0, body) }
    try DeepStack.run(bytes: Self.plainStack + holds.count * Self.stackOfOne) { try hold(from: 0, body) }
  }

  private static let mostOnThisStack = 256
  /// For the plugin itself.
  private static let plainStack = 8 << 20
  /// More than twice what a scope was seen to take without optimization.
  private static let stackOfOne = 2048

  private func hold(from first: Int, _ body: () throws -> Void) throws {
    guard first < holds.count else { return try body() }
    switch holds[first] {
    case .text(let text, let place):
      try text.withCString {
        place.storeBytes(of: attune_string(data: $0, size: text.utf8.count), as: attune_string.self)
        try hold(from: first + 1, body)
      }
    case .array(let array, let places):
      try array.withAddress { address in
        for place in places { place.storeBytes(of: UInt(bitPattern: address), as: UInt.self) }
        try hold(from: first + 1, body)
      }
    }
  }
}

/// An array whose elements a plugin reads in place.
private protocol HeldArray {
  func withAddress(_ body: (UnsafeRawPointer?) throws -> Void) throws
}

private struct HeldElements<Element: BitwiseCopyable>: HeldArray {
  let elements: [Element]
  init(_ elements: [Element]) { self.elements = elements }

  func withAddress(_ body: (UnsafeRawPointer?) throws -> Void) throws {
    try elements.withUnsafeBytes { try body($0.baseAddress) }
  }
}
