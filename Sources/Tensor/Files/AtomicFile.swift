import Core

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Writes files so that a reader sees the old contents or the new, never a part: temporary name, sync, rename, sync the folder.
public enum AtomicFile {
  /// Replaces `path` with what `body` writes. A symbolic link stays, and what it leads to is replaced; a device, a pipe or a
  /// socket is written into as it is.
  ///
  /// - Throws: what `body` throws, or `.work` naming the file and the system's reason; the old file then stands unchanged.
  public static func write(_ path: String, _ body: (inout Writer) throws -> Void) throws {
    let path = target(of: path)
    var kind = stat()
    if stat(path, &kind) == 0, kind.st_mode & S_IFMT != S_IFREG, kind.st_mode & S_IFMT != S_IFDIR {
      return try writeInto(path, body)
    }
    let temporary = "\(path).\(getpid()).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure("cannot create", temporary) }
    var writer = Writer(descriptor: descriptor, path: path)
    do {
      try body(&writer)
      try writer.flush()
      guard fsync(descriptor) == 0 else { throw failure("cannot sync", path) }
    } catch {
      close(descriptor)
      unlink(temporary)
      throw error
    }
    close(descriptor)
    guard rename(temporary, path) == 0 else {
      let error = failure("cannot rename a finished file to", path)
      unlink(temporary)
      throw error
    }
    try syncFolder(of: path)
  }

  /// The file that a path's symbolic links lead to, whether it exists or not.
  private static func target(of path: String) -> String {
    var path = path
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    // As many links as the system itself would follow.
    for _ in 0..<40 {
      let count = readlink(path, &buffer, buffer.count - 1)
      guard count > 0 else { return path }
      let link = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
      path = link.hasPrefix("/") ? link : folder + link
    }
    return path
  }

  /// Writes into what cannot be replaced.
  private static func writeInto(_ path: String, _ body: (inout Writer) throws -> Void) throws {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("cannot open", path) }
    defer { close(descriptor) }
    var writer = Writer(descriptor: descriptor, path: path)
    try body(&writer)
    try writer.flush()
  }

  /// Replaces `path` with `bytes`.
  public static func write(_ path: String, bytes: some Sequence<UInt8>) throws {
    let contents = Array(bytes)
    try write(path) { writer in try contents.withUnsafeBytes { try writer.append($0) } }
  }

  /// Replaces `path` with `text` in UTF-8.
  public static func write(_ path: String, text: String) throws { try write(path, bytes: text.utf8) }

  /// Makes a rename in the folder that holds `path` survive a power cut.
  public static func syncFolder(of path: String) throws {
    var folder = "."
    if let slash = path.lastIndex(of: "/") { folder = slash == path.startIndex ? "/" : String(path[..<slash]) }
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("cannot open the folder", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("cannot sync the folder", folder) }
  }

  static func failure(_ what: String, _ path: String) -> AttuneError {
    .work("\(what) \(path): \(String(cString: strerror(errno)))")
  }

  /// Collects bytes and writes them in large pieces.
  public struct Writer {
    private let descriptor: Int32
    private let path: String
    private var buffer: [UInt8] = []

    init(descriptor: Int32, path: String) {
      self.descriptor = descriptor
      self.path = path
    }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) throws {
      if bytes.count >= 1 << 20 {
        try flush()
        try put(bytes)
      } else {
        buffer.append(contentsOf: bytes)
        if buffer.count >= 1 << 20 { try flush() }
      }
    }

    /// Leaves a hole of zeros that takes no room on the disk.
    mutating func skip(_ count: Int) throws {
      try flush()
      let end = lseek(descriptor, off_t(count), SEEK_CUR)
      guard end >= 0, ftruncate(descriptor, end) == 0 else { throw AtomicFile.failure("cannot leave a hole in", path) }
    }

    mutating func flush() throws {
      let pending = buffer
      buffer.removeAll(keepingCapacity: true)
      try pending.withUnsafeBytes { try put($0) }
    }

    private func put(_ bytes: UnsafeRawBufferPointer) throws {
      var at = 0
      while at < bytes.count {
        let written = systemWrite(descriptor, bytes.baseAddress! + at, bytes.count - at)
        if written < 0 {
          if errno == EINTR { continue }
          throw AtomicFile.failure("cannot write", path)
        }
        at += written
      }
    }
  }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}
