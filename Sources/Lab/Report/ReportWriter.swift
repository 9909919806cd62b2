import Core
import Foundation

/// Writes a report into a folder: `report.html`, `curves-….png` (one a chart) and `contact-sheet.png`.
public enum ReportWriter {
  /// Draws everything first, then writes; each file appears whole or not at all.
  ///
  /// - Parameter folder: made if it is not there.
  /// - Returns: the paths written: the page first, then the charts in order, then the sheet.
  /// - Throws: `AttuneError` naming the file that cannot be written and why (no space, no permission), or the font that
  ///   is missing.
  @discardableResult
  public static func write(_ content: ReportContent, folder: String) throws -> [String] {
    let report = try HTMLReport(content)
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw AttuneError.work(
        "the report's folder cannot be made: \(error.localizedDescription)", at: .init(file: folder))
    }
    var files: [(name: String, bytes: [UInt8])] = zip(curveNames(content.curves), report.curves).map {
      ($0, $1.light)
    }
    if let sheet = report.contactSheet { files.append(("contact-sheet.png", sheet.light)) }
    // The page comes last: where it is, the report is complete.
    files.append(("report.html", Array(report.html().utf8)))
    let paths = try files.map { try write($0.bytes, to: folder + "/" + $0.name) }
    try synchronize(folder: folder)
    return [paths[paths.count - 1]] + paths.dropLast()
  }

  /// File names made of the charts' titles, numbered where two would be equal.
  static func curveNames(_ curves: [ReportContent.Curve]) -> [String] {
    var used = Set<String>()
    return curves.enumerated().map { index, curve in
      let words = curve.title.lowercased().unicodeScalars.split {
        !(("a"..."z").contains($0) || ("0"..."9").contains($0))
      }
      let slug = words.map { String($0) }.joined(separator: "-").prefix(60)
      var name = slug.isEmpty ? "\(index + 1)" : String(slug)
      while !used.insert(name).inserted { name += "-\(index + 1)" }
      return "curves-\(name).png"
    }
  }

  /// A temporary name, synced, then renamed.
  private static func write(_ bytes: [UInt8], to path: String) throws -> String {
    let temporary = path + ".new"
    func failure(_ what: String) -> AttuneError {
      let reason = String(cString: strerror(errno))
      unlink(temporary)
      return .work("the file cannot be \(what): \(reason)", at: .init(file: path))
    }
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure("created") }
    let isWritten = bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = writeSome(descriptor, buffer, from: done)
        if count < 0 { return false }
        done += count
      }
      return fsync(descriptor) == 0
    }
    guard isWritten else {
      let error = failure("written")
      close(descriptor)
      throw error
    }
    guard close(descriptor) == 0 else { throw failure("written") }
    guard rename(temporary, path) == 0 else { throw failure("renamed") }
    return path
  }

  /// Bytes written, or -1 with `errno`; tried again when a signal interrupts.
  private static func writeSome(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, from start: Int) -> Int {
    while true {
      let rest = UnsafeRawBufferPointer(rebasing: buffer[start...])
      let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
      if count >= 0 || errno != EINTR { return count }
    }
  }

  /// Makes the renames last.
  private static func synchronize(folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // Some file systems cannot sync a folder; the files themselves are synced.
    if fsync(descriptor) != 0, errno != EINVAL, errno != EBADF {
      throw AttuneError.work(
        "the report's folder cannot be synced: \(String(cString: strerror(errno)))", at: .init(file: folder))
    }
  }
}
