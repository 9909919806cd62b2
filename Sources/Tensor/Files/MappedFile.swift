import Core

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A file's bytes mapped read-only into memory; pages are read when they are touched.
public final class MappedFile: @unchecked Sendable {
  // Safety: the mapping is read-only and lives as long as this object; `withBytes` keeps it alive.
  private let bytes: UnsafeRawBufferPointer
  public let path: String

  /// - Throws: `.request` if the file is missing or no file, `.work` if it cannot be read.
  public convenience init(_ path: String) throws { try self.init(path, inStretches: false) }

  /// - Parameter inStretches: most of it will be read in long stretches from front to back, as weights are packed. The system
  ///   then reads ahead of the page that is touched, as it does for an ordinary file; else around it, and whoever touched it
  ///   waits. (To ask for the stretches one by one costs more processor time than reading them: it brings single small pages.)
  init(_ path: String, inStretches: Bool) throws {
    self.path = path
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw MappedFile.cannotOpen(path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw AtomicFile.failure("cannot inspect", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw AttuneError.request("this is not a file", at: .init(file: path))
    }
    let size = Int(status.st_size)
    guard size > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw AtomicFile.failure("cannot map", path)
    }
    bytes = UnsafeRawBufferPointer(start: base, count: size)
    if inStretches {
      #if canImport(Glibc)
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
      #endif
      madvise(base, size, MADV_SEQUENTIAL)
    }
  }

  private static func cannotOpen(_ path: String) -> AttuneError {
    let reason = errno
    guard reason == ENOENT || reason == ENOTDIR else {
      errno = reason
      return AtomicFile.failure("cannot open", path)
    }
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else {
      return AttuneError.request("no such file", at: .init(file: path))
    }
    return AttuneError.request(
      "this link leads to a file that is not there", at: .init(file: path),
      hint: "a download was not finished or its target was removed; download the file again")
  }

  public var count: Int { bytes.count }

  /// Calls `body` with the file's bytes; they are gone when it returns.
  public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try withExtendedLifetime(self) { try body(bytes) }
  }

  /// A copy of a whole file.
  public static func read(_ path: String) throws -> [UInt8] { try MappedFile(path).withBytes { Array($0) } }

  /// The SHA-256 hash of a whole file, of which a MiB is in memory at a time.
  public static func hash(_ path: String) throws -> String {
    let file = try MappedFile(path, inStretches: true)
    return file.withBytes { bytes in
      SHA256.hex(bytes) { file.forget(UnsafeRawBufferPointer(rebasing: bytes[$0])) }
    }
  }

  // MARK: What will be read, and what was

  /// Asks the system to have `part` in memory soon.
  func willNeed(_ part: UnsafeRawBufferPointer) {
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    let first = UInt(bitPattern: part.baseAddress) / page * page
    madvise(
      UnsafeMutableRawPointer(bitPattern: first), Int(UInt(bitPattern: part.baseAddress) - first) + part.count,
      MADV_WILLNEED)
  }

  /// Tells the system that the pages that lie wholly in `part` need not stay in memory; they come back when they are read.
  func forget(_ part: UnsafeRawBufferPointer) {
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    let first = (UInt(bitPattern: part.baseAddress) + page - 1) / page * page
    let last = (UInt(bitPattern: part.baseAddress) + UInt(part.count)) / page * page
    if last > first { madvise(UnsafeMutableRawPointer(bitPattern: first), Int(last - first), MADV_DONTNEED) }
  }

  deinit {
    if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
  }
}
