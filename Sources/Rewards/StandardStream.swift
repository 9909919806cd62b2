import Core
import Foundation

/// Standard input, output and error as a program's descriptors, whose failures are errors and no end of the process.
public enum StandardStream {
  /// Nobody reads standard output any more: the program ends without words.
  public struct ReaderIsGone: Error {}

  /// Makes the three descriptors exist, so that no file that is opened later takes the place of one that the program was
  /// started without. Each is opened the wrong way round: using it fails, as it does while it is closed.
  public static func reserveDescriptors() {
    for (descriptor, mode) in [(STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDONLY)]
    where fcntl(descriptor, F_GETFD) < 0 {
      // The lowest free number is this one.
      _ = open("/dev/null", mode)
    }
  }

  /// Writes a result to standard output.
  ///
  /// - Throws: `ReaderIsGone`, or `.work` if it cannot be written whole.
  public static func write(_ text: String) throws {
    var text = text
    let code = text.withUTF8 { put(UnsafeRawBufferPointer($0), to: STDOUT_FILENO) }
    if code == EPIPE { throw ReaderIsGone() }
    guard code == 0 else { throw AttuneError.work("standard output cannot be written: \(words(code))") }
  }

  /// Writes a remark to standard error. What cannot be written is lost: work does not end for want of a listener.
  public static func remark(_ text: String) {
    var text = text
    text.withUTF8 { remark(UnsafeRawBufferPointer($0)) }
  }

  static func remark(_ bytes: UnsafeRawBufferPointer) {
    // A pipe without a reader raises a signal in this thread, which would end the program.
    var pipe = sigset_t()
    var before = sigset_t()
    sigemptyset(&pipe)
    sigaddset(&pipe, SIGPIPE)
    guard pthread_sigmask(SIG_BLOCK, &pipe, &before) == 0 else { return }
    let code = put(bytes, to: STDERR_FILENO)
    guard sigismember(&before, SIGPIPE) == 0 else { return }
    var waiting = sigset_t()
    if code == EPIPE, sigpending(&waiting) == 0, sigismember(&waiting, SIGPIPE) == 1 {
      var number: Int32 = 0
      sigwait(&pipe, &number)
    }
    pthread_sigmask(SIG_SETMASK, &before, nil)
  }

  /// All of standard input.
  ///
  /// - Throws: `.work` if it cannot be read to its end.
  public static func read() throws -> Data {
    var all = Data()
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let got = Foundation.read(STDIN_FILENO, &buffer, buffer.count)
      if got > 0 {
        all.append(contentsOf: buffer[..<got])
      } else if got == 0 {
        return all
      } else if errno == EAGAIN {
        wait(for: STDIN_FILENO, POLLIN)
      } else if errno != EINTR {
        throw AttuneError.work("standard input cannot be read: \(words(errno))")
      }
    }
  }

  /// - Returns: 0, or the error number that ended it.
  private static func put(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
    var left = bytes[...]
    while !left.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: left)
      let done = Foundation.write(descriptor, part.baseAddress, part.count)
      if done >= 0 {
        left = left.dropFirst(done)
      } else if errno == EAGAIN {
        // Whoever shares the descriptor made it one that does not wait.
        wait(for: descriptor, POLLOUT)
      } else if errno != EINTR {
        return errno
      }
    }
    return 0
  }

  private static func wait<Events: BinaryInteger>(for descriptor: Int32, _ events: Events) {
    var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    _ = poll(&entry, 1, -1)
  }

  private static func words(_ code: Int32) -> String { String(cString: strerror(code)) }
}
