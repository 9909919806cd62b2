import AttuneTensor
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
    let paths = try files.map { file in
      let path = folder + "/" + file.name
      try AtomicFile.write(path, bytes: file.bytes)
      return path
    }
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
}
