import AttuneTensor
import AttuneVision
import Core
import Datasets
import Foundation

/// A JSONL file of samples. Pictures that were drawn stand beside it as PNG files named by their content, in
/// `NAME.images`; those of files stay where they are.
struct SampleFile {
  let path: String
  private let folder: String
  private let answersAreMessages: Bool
  private var lines = ""

  /// - Parameters:
  ///   - path: the JSONL file, which `finish` writes; until then it stays as it is.
  ///   - answersAreMessages: answers are lists of one message, as prompts are, and not texts.
  init(_ path: String, answersAreMessages: Bool = false) {
    self.answersAreMessages = answersAreMessages
    let url = URL(fileURLWithPath: path).standardizedFileURL
    self.path = path
    folder = url.deletingLastPathComponent().path
  }

  /// Adds a sample's row.
  mutating func add(_ sample: Sample, images: [String], scores: [(name: String, value: JSON)] = []) {
    let row = sample.row(images: images, scores: scores, answersAreMessages: answersAreMessages)
    lines += JSON(.object(row)).text() + "\n"
  }

  /// A path for each picture of a sample, as the rows have them: relative if it is below the file's folder. Those that
  /// were drawn are written.
  func images(of sample: Sample) throws -> [String] {
    guard sample.pictureFiles.isEmpty else { return sample.pictureFiles.map(relative) }
    let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent + ".images"
    return try sample.pictures.map { picture in
      let bytes = try PNGEncoder.encode(picture)
      let place = name + "/" + SHA256.hex(bytes) + ".png"
      let full = folder + "/" + place
      if !FileManager.default.fileExists(atPath: full) {
        try makeFolder(folder + "/" + name)
        try AtomicFile.write(full, bytes: bytes)
      }
      return place
    }
  }

  private func relative(_ file: String) -> String {
    let full = URL(fileURLWithPath: file).standardizedFileURL.path
    return full.hasPrefix(folder + "/") ? String(full.dropFirst(folder.count + 1)) : full
  }

  /// Puts the whole file in its place at once.
  func finish() throws {
    try makeFolder(folder)
    try AtomicFile.write(path, text: lines)
  }

  private func makeFolder(_ folder: String) throws {
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
      throw AttuneError.work("the folder cannot be made: \(error.localizedDescription)", at: .init(file: folder))
    }
  }
}
