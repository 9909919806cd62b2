import Core

/// Bytes being written, aligned to 16: every field begins at a multiple of 8, texts are sized and NUL-terminated.
final class ByteBuffer {
  private(set) var memory: UnsafeMutableRawPointer
  private(set) var count = 0
  private var capacity: Int
  /// False while the bytes lie in somebody else's memory.
  private(set) var isOwner = true

  init(capacity: Int = 4096) {
    self.capacity = max(64, capacity)
    memory = .allocate(byteCount: self.capacity, alignment: 16)
  }

  /// Writes into this memory, as long as it suffices; what takes more moves to memory of its own.
  init(into memory: UnsafeMutableRawBufferPointer) {
    capacity = memory.count
    isOwner = memory.baseAddress == nil
    self.memory = memory.baseAddress ?? .allocate(byteCount: 1, alignment: 16)
  }

  deinit { if isOwner { memory.deallocate() } }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: count) }

  func clear() { count = 0 }

  private func grow(by extra: Int) {
    let needed = count + extra
    guard needed > capacity else { return }
    capacity = max(needed, capacity * 2)
    let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    larger.copyMemory(from: memory, byteCount: count)
    if isOwner { memory.deallocate() }
    isOwner = true
    memory = larger
  }

  /// `count` fresh bytes to be filled by the caller.
  func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
    grow(by: count)
    defer { self.count += count }
    return UnsafeMutableRawBufferPointer(start: memory + self.count, count: count)
  }

  private func pad() {
    let rest = count & 7
    guard rest != 0 else { return }
    grow(by: 8)
    memory.advanced(by: count).initializeMemory(as: UInt8.self, repeating: 0, count: 8 - rest)
    count += 8 - rest
  }

  func append(_ value: UInt64) {
    grow(by: 8)
    memory.storeBytes(of: value, toByteOffset: count, as: UInt64.self)
    count += 8
  }

  func append(_ value: Int) { append(UInt64(bitPattern: Int64(value))) }
  func append(_ value: Double) { append(value.bitPattern) }

  func append(bytes source: UnsafeRawBufferPointer) {
    grow(by: source.count + 9)
    append(source.count)
    if let start = source.baseAddress { memory.advanced(by: count).copyMemory(from: start, byteCount: source.count) }
    count += source.count
    memory.storeBytes(of: 0, toByteOffset: count, as: UInt8.self)
    count += 1
    pad()
  }

  func append(_ text: String) {
    var copy = text
    copy.withUTF8 { append(bytes: UnsafeRawBufferPointer($0)) }
  }

  /// nil is told from an empty text.
  func append(optional text: String?) {
    if let text { append(text) } else { append(UInt64.max) }
  }

  /// Elements without references; nil is told from an empty array.
  func append<T>(array: [T]?) {
    guard let array else { return append(UInt64.max) }
    array.withUnsafeBufferPointer { append(array: $0) }
  }

  func append<T>(array: UnsafeBufferPointer<T>) {
    append(array.count)
    let source = UnsafeRawBufferPointer(array)
    grow(by: source.count)
    if let start = source.baseAddress { memory.advanced(by: count).copyMemory(from: start, byteCount: source.count) }
    count += source.count
    pad()
  }
}

/// Reads what a `ByteBuffer` wrote, trusting nothing: the writer may have been a process with a broken plugin in it.
struct ByteReader {
  private let bytes: UnsafeRawBufferPointer
  private var at = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  private static var damaged: AttuneError { .work("a message between the program and a reward's worker is damaged") }

  private mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
    guard count >= 0, count <= bytes.count - at else { throw Self.damaged }
    defer { at += count }
    return UnsafeRawBufferPointer(rebasing: bytes[at..<(at + count)])
  }

  private mutating func pad() throws {
    let rest = at & 7
    if rest != 0 { _ = try take(8 - rest) }
  }

  mutating func word() throws -> UInt64 { try take(8).loadUnaligned(as: UInt64.self) }
  mutating func double() throws -> Double { Double(bitPattern: try word()) }

  /// A count or an index: not negative, at most `limit`.
  mutating func integer(atMost limit: Int = Int.max) throws -> Int {
    guard let value = Int(exactly: try word()), value <= limit else { throw Self.damaged }
    return value
  }

  mutating func signed() throws -> Int { Int(Int64(bitPattern: try word())) }

  /// The bytes of a text or a file, followed by a NUL; nil if absent.
  mutating func optionalBytes() throws -> UnsafeRawBufferPointer? {
    let size = try word()
    if size == .max { return nil }
    guard size < UInt64(bytes.count) else { throw Self.damaged }
    let result = try take(Int(size))
    _ = try take(1)
    try pad()
    return result
  }

  /// Bytes that are not UTF-8 become U+FFFD.
  mutating func optionalString() throws -> String? {
    try optionalBytes().map { String(decoding: $0, as: UTF8.self) }
  }

  mutating func string() throws -> String { try optionalString() ?? "" }

  /// An array in place; nil if absent.
  mutating func array<T>(of type: T.Type) throws -> UnsafeBufferPointer<T>? {
    let count = try word()
    if count == .max { return nil }
    guard count <= UInt64(bytes.count) / UInt64(MemoryLayout<T>.stride) else { throw Self.damaged }
    let raw = try take(Int(count) * MemoryLayout<T>.stride)
    try pad()
    return UnsafeBufferPointer(start: raw.baseAddress?.assumingMemoryBound(to: T.self), count: Int(count))
  }
}
