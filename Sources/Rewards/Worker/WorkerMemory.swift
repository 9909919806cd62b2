import CConfinement
import Core
import Foundation

/// The memory that the program and one worker share: requests, which the worker can only read, and what comes back: words
/// of progress, the last words of a fault, and replies.
///
/// Pages of it take room when they are first written, and keep it as long as the worker lives.
///
/// Safety: the mappings stay while this lives. Requests are written by the program alone, between calls.
final class WorkerMemory: @unchecked Sendable {
  /// The most that a request or a reply can take.
  static let largest = 1 << 30
  private static let faultAt = ProgressPage.bytes
  private static let replyAt = faultAt + (1 << 14)
  private static let resultBytes = replyAt + largest

  let request: UnsafeMutableRawBufferPointer
  let progress: ProgressPage
  private let results: UnsafeMutableRawPointer
  /// For the worker, while it has not been started.
  private(set) var descriptors: [Int32] = []

  /// Fresh memory, for the program.
  init() throws {
    func failed(_ what: String, _ status: Int32) -> AttuneError {
      .work(
        "no memory can be shared with a reward's worker: \(what): \(String(cString: strerror(status < 0 ? -status : errno)))"
      )
    }
    var kept: [Int32] = []
    var files: [Int32] = []
    defer { for file in files where file >= 0 && !kept.contains(file) { close(file) } }
    func file(_ name: String, _ size: Int) throws -> (writer: Int32, reader: Int32) {
      var reader: Int32 = -1
      let writer = attune_anonymous_file(name, NSTemporaryDirectory(), size, &reader)
      files += [writer, reader]
      guard writer >= 0, reader >= 0 else { throw failed("no file", writer) }
      return (writer, reader)
    }
    let (resultFile, _) = try file("attune-results", Self.resultBytes)
    let (requestWriter, requestReader) = try file("attune-request", Self.largest)
    guard let results = attune_map(resultFile, Self.resultBytes, 1),
      let request = attune_map(requestWriter, Self.largest, 1)
    else { throw failed("no mapping", 0) }
    // After the mapping: from here on nobody else can write to requests, whatever descriptor they come by.
    for (file, writers) in [(requestWriter, Int32(0)), (resultFile, 1)] {
      let status = attune_seal(file, writers)
      guard status == 0 || status == -ENOSYS else { throw failed("no seal", status) }
    }
    kept = [resultFile, requestReader]
    self.results = results
    self.request = UnsafeMutableRawBufferPointer(start: request, count: Self.largest)
    progress = ProgressPage(results)
    descriptors = kept
  }

  /// The memory behind the descriptors that a worker was given, for the worker.
  init(results resultFile: Int32, request requestFile: Int32) throws {
    guard let results = attune_map(resultFile, Self.resultBytes, 1),
      let request = attune_map(requestFile, Self.largest, 0)
    else { throw AttuneError.work("a worker's memory cannot be mapped: \(String(cString: strerror(errno)))") }
    // What is mapped needs no descriptor, and nobody is to find one.
    close(resultFile)
    close(requestFile)
    self.results = results
    self.request = UnsafeMutableRawBufferPointer(start: request, count: Self.largest)
    progress = ProgressPage(results)
  }

  deinit {
    munmap(results, Self.resultBytes)
    munmap(request.baseAddress, request.count)
    for file in descriptors { close(file) }
  }

  /// Gives up the descriptor of requests, and on Linux that of results.
  func workerHasStarted() {
    #if os(Linux)
      for file in descriptors { close(file) }
      descriptors = []
    #else
      close(descriptors.removeLast())
    #endif
  }

  /// Where the worker writes replies.
  var reply: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: results + Self.replyAt, count: Self.largest)
  }

  /// A copy of a reply, which its writer can change no more; nil if there can be no such reply.
  func copyOfReply(_ count: Int) -> ByteBuffer? {
    guard count >= 0, count <= Self.largest else { return nil }
    let copy = ByteBuffer(capacity: count)
    let target = copy.reserve(count)
    #if os(Linux)
      target.copyMemory(from: UnsafeRawBufferPointer(start: results + Self.replyAt, count: count))
    #else
      // A file that is no longer as long as it was ends a read early, but would end this process at a mapping.
      guard let file = descriptors.first, pread(file, target.baseAddress, count, off_t(Self.replyAt)) == count else {
        return nil
      }
    #endif
    return copy
  }

  /// What the worker wrote down when a signal ended it.
  var fault: UnsafeMutablePointer<attune_fault> {
    (results + Self.faultAt).bindMemory(to: attune_fault.self, capacity: 1)
  }
}
