import AttuneTensor
import Core
import Foundation
import Models

/// Log-probabilities of a frozen model on disk, one record for each prompt with a completion, in a file for each set of weights.
///
/// A record's key is the SHA-256 of everything beside the weights that its numbers depend on, which are the very bits that the
/// model computes: what stands beside a sequence in a batch changes none. Records are appended whole, each with a checksum; what
/// a process left unfinished is cut off by the next. Processes that write take turns.
final class ReferenceCache {
  let path: String
  private let descriptor: Int32
  private var places: [String: (offset: Int, count: Int)] = [:]
  private var end = 0
  /// Bytes that a broken end had.
  private(set) var dropped = 0

  /// Raised with every change of what is stored or of what a forward pass computes.
  private static let version = 1
  private static let keyLength = 64
  private static let sumLength = 16

  /// Opens the file of some weights, and makes it if it is not there. The process holds it alone until `finishWriting`.
  ///
  /// - Parameters:
  ///   - weights: the hash of all that the model is made of.
  ///   - wait: called between two attempts while another process holds the file; may throw to give up.
  /// - Throws: `AttuneError` naming the file if it cannot be read or written, or is no such file.
  init(folder: String, weights: String, wait: () throws -> Void) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    path = folder + "/\(weights.prefix(32)).logprobs"
    descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.failure("cannot be opened", path) }
    do {
      while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        guard errno == EWOULDBLOCK || errno == EINTR else { throw Self.failure("cannot be locked", path) }
        try wait()
      }
      try scan(header: Array("attune reference logprobs \(Self.version) \(weights)\n".utf8))
    } catch {
      close(descriptor)
      throw error
    }
  }

  deinit { close(descriptor) }

  /// Puts what was written on the disk, and lets others write.
  func finishWriting() throws {
    guard fsync(descriptor) == 0 else { throw Self.failure("cannot be synced", path) }
    flock(descriptor, LOCK_UN)
  }

  private static func failure(_ what: String, _ path: String) -> AttuneError {
    .work("the reference's cache \(what): \(String(cString: strerror(errno)))", at: .init(file: path))
  }

  // MARK: Keys

  /// One key for each completion, tree after tree.
  static func keys(_ trees: [PromptTree], temperature: Double) -> [String] {
    trees.flatMap { tree -> [String] in
      let prompt = key(of: tree.prompt)
      return tree.completions.map { completion in
        var bytes = Array("\(prompt) \(temperature.bitPattern) ".utf8)
        append(completion, to: &bytes)
        return SHA256.hex(bytes)
      }
    }
  }

  private static func key(of prompt: EncodedPrompt) -> String {
    var bytes: [UInt8] = []
    append(prompt.ids, to: &bytes)
    for row in prompt.pictureRows { append([row], to: &bytes) }
    for picture in prompt.pictures {
      bytes += Array("\(picture.kind) \(picture.values.count) ".utf8)
      for value in picture.values { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += Array($0) } }
    }
    return SHA256.hex(bytes)
  }

  private static func append(_ ids: [Int32], to bytes: inout [UInt8]) {
    withUnsafeBytes(of: UInt32(ids.count).littleEndian) { bytes += Array($0) }
    for id in ids { withUnsafeBytes(of: id.littleEndian) { bytes += Array($0) } }
  }

  // MARK: Records

  func holds(_ key: String) -> Bool { places[key] != nil }
  var count: Int { places.count }

  /// - Throws: `.work` if there is no record of that key, or its bytes cannot be read.
  func logprobs(_ key: String) throws -> [Float] {
    guard let place = places[key] else {
      throw AttuneError.work(
        "the reference's cache lacks a sequence of this step", at: .init(file: path),
        hint: "was the data changed while the run was on?")
    }
    var words = [UInt32](repeating: 0, count: place.count)
    let size = 4 * place.count
    let read = words.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, size, off_t(place.offset)) }
    guard size == 0 || read == size else { throw Self.failure("cannot be read", path) }
    return words.map { Float(bitPattern: UInt32(littleEndian: $0)) }
  }

  /// Adds a record behind the others.
  func add(_ key: String, _ logprobs: some Collection<Float>) throws {
    var record = Array(key.utf8)
    withUnsafeBytes(of: UInt32(logprobs.count).littleEndian) { record += Array($0) }
    for value in logprobs { withUnsafeBytes(of: value.bitPattern.littleEndian) { record += Array($0) } }
    record += Array(SHA256.hex(record).utf8.prefix(Self.sumLength))
    try write(record)
    places[key] = (end + Self.keyLength + 4, logprobs.count)
    end += record.count
  }

  private func write(_ bytes: [UInt8]) throws {
    var first = 0
    while first < bytes.count {
      let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress! + first, bytes.count - first) }
      guard written > 0 else { throw Self.failure("cannot be written", path) }
      first += written
    }
  }

  /// Finds all whole records, and cuts off what follows them.
  private func scan(header: [UInt8]) throws {
    let bytes = try MappedFile.read(path)
    if bytes.count < header.count {
      // Made just now, or the process that made it got no further.
      guard header.starts(with: bytes) else { throw wrongFile }
      try cut(to: 0)
      try write(header)
      end = header.count
      return
    }
    guard bytes.starts(with: header) else { throw wrongFile }
    end = header.count
    while let record = Self.record(bytes, at: end) {
      places[record.key] = (end + Self.keyLength + 4, record.count)
      end = record.end
    }
    dropped = bytes.count - end
    if dropped > 0 { try cut(to: end) }
  }

  private static func record(_ bytes: [UInt8], at start: Int) -> (key: String, count: Int, end: Int)? {
    let values = start + keyLength + 4
    guard values <= bytes.count else { return nil }
    let count = (0..<4).reduce(0) { $0 | Int(bytes[start + keyLength + $1]) << (8 * $1) }
    let sum = values + 4 * count
    guard sum + sumLength <= bytes.count,
      SHA256.hex(Array(bytes[start..<sum])).utf8.prefix(sumLength).elementsEqual(bytes[sum..<sum + sumLength])
    else { return nil }
    return (String(decoding: bytes[start..<start + keyLength], as: UTF8.self), count, sum + sumLength)
  }

  private func cut(to size: Int) throws {
    guard ftruncate(descriptor, off_t(size)) == 0 else { throw Self.failure("cannot be cut", path) }
  }

  private var wrongFile: AttuneError {
    .request(
      "this is no cache of these weights that this version of the program writes", at: .init(file: path),
      hint: "remove it: what it holds is computed again")
  }
}
