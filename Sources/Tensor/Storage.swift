#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Memory that a backend made: opaque to everyone else. A GPU backend subclasses it with device memory.
open class Storage: @unchecked Sendable {
  /// Safety: the base class holds no mutable state; a backend orders all access to what its subclasses hold.
  public let byteCount: Int

  public init(byteCount: Int) { self.byteCount = byteCount }
}

/// Host memory that is owned, borrowed from somebody else, or mapped from a file.
final class HostStorage: Storage, @unchecked Sendable {
  /// Safety: the pointer never changes; `CPUBackend` runs one primitive at a time over what it points to.
  let pointer: UnsafeMutableRawPointer
  private let release: @Sendable (UnsafeMutableRawPointer) -> Void
  /// Whatever owns borrowed or mapped memory.
  private let owner: AnyObject?

  init(
    pointer: UnsafeMutableRawPointer, byteCount: Int, owner: AnyObject? = nil,
    release: @escaping @Sendable (UnsafeMutableRawPointer) -> Void = { _ in }
  ) {
    self.pointer = pointer
    self.owner = owner
    self.release = release
    super.init(byteCount: byteCount)
  }

  /// Tells the system that the pages of a mapped file may leave memory. Memory that is not mapped from a file stays.
  func forgetMapped(_ from: Int, _ count: Int) {
    (owner as? MappedFile)?.forget(UnsafeRawBufferPointer(start: pointer + from, count: count))
  }

  deinit { release(pointer) }
}
