import Core
import Foundation
import Synchronization

/// An HTTP server on this machine that answers as a test says, one thread a connection. It lives until it is stopped.
public final class ScriptedServer: Sendable {
  /// What a client sent.
  public struct Request: Sendable {
    public var method: String
    public var path: String
    /// Names in lower case.
    public var headers: [String: String]
    public var body: String

    public var json: JSON { (try? JSON.parse(body)) ?? .null }
  }

  /// What the server does about it.
  public enum Answer: Sendable {
    case reply(status: Int = 200, headers: [(String, String)] = [], String)
    /// Closes the connection without a word.
    case close
    /// Says nothing until the client gives up.
    case silence
    /// Begins to answer, a byte after each pause, until the client gives up.
    case trickle(pause: Double)
  }

  /// `http://127.0.0.1:PORT`.
  public let address: String
  private let socket: Int32
  private let respond: @Sendable (Request, Int) -> Answer
  private let state = Mutex(State())

  private struct State {
    var requests: [Request] = []
    var active = 0
    var most = 0
  }

  /// Everything that was asked so far.
  public var requests: [Request] { state.withLock { $0.requests } }
  /// The most requests that were being answered at one time.
  public var mostAtOnce: Int { state.withLock { $0.most } }

  /// - Parameter respond: called with a request and its number, from 0, on its connection's thread.
  public init(_ respond: @escaping @Sendable (Request, Int) -> Answer) throws {
    self.respond = respond
    let stream = Int32(SOCK_STREAM_VALUE)
    let socket = posixSocket(AF_INET, stream, 0)
    self.socket = socket
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &place) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(socket, address, length) == 0 && listen(socket, 128) == 0
          && getsockname(socket, address, &length) == 0
      }
    }
    guard socket >= 0, bound else { throw AttuneError.work("no socket: \(String(cString: strerror(errno)))") }
    address = "http://127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
    Thread.detachNewThread { [self] in
      while true {
        let connection = accept(socket, nil, nil)
        guard connection >= 0 else { break }
        Thread.detachNewThread { self.serve(connection) }
      }
      close(socket)
    }
  }

  /// Takes no more connections.
  public func stop() { shutdown(socket, Int32(SHUT_RDWR)) }

  // MARK: One connection

  private func serve(_ connection: Int32) {
    defer { close(connection) }
    var buffer: [UInt8] = []
    while let request = Self.read(connection, &buffer) {
      let number = state.withLock { state in
        state.requests.append(request)
        state.active += 1
        state.most = max(state.most, state.active)
        return state.requests.count - 1
      }
      let answer = respond(request, number)
      // Before the client can know of the answer and ask again.
      state.withLock { $0.active -= 1 }
      guard Self.send(answer, connection) else { return }
    }
  }

  /// True if the connection stays open.
  private static func send(_ answer: Answer, _ connection: Int32) -> Bool {
    switch answer {
    case .close: return false
    case .silence:
      waitForEnd(connection)
      return false
    case .trickle(let pause):
      guard write(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") else { return false }
      while write(connection, "{") { Thread.sleep(forTimeInterval: pause) }
      return false
    case .reply(let status, let headers, let body):
      var head =
        "HTTP/1.1 \(status) Scripted\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
      for (name, value) in headers { head += "\(name): \(value)\r\n" }
      return write(connection, head + "\r\n" + body)
    }
  }

  private static func waitForEnd(_ connection: Int32) {
    var byte: UInt8 = 0
    while recv(connection, &byte, 1, 0) > 0 {}
  }

  private static func write(_ connection: Int32, _ text: String) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      #if os(Linux)
        let flags = Int32(MSG_NOSIGNAL)
      #else
        let flags: Int32 = 0
      #endif
      let sent = rest.withUnsafeBytes { Foundation.send(connection, $0.baseAddress, $0.count, flags) }
      guard sent > 0 else { return false }
      rest = rest.dropFirst(sent)
    }
    return true
  }

  /// The next request, or nil when the client has gone.
  private static func read(_ connection: Int32, _ buffer: inout [UInt8]) -> Request? {
    func more() -> Bool {
      var chunk = [UInt8](repeating: 0, count: 65_536)
      let count = recv(connection, &chunk, chunk.count, 0)
      guard count > 0 else { return false }
      buffer += chunk[..<count]
      return true
    }
    let mark = Array("\r\n\r\n".utf8)
    var end: Int?
    while end == nil {
      end = (0..<max(0, buffer.count - 3)).first { Array(buffer[$0..<$0 + 4]) == mark }
      if end == nil, !more() { return nil }
    }
    guard let end else { return nil }
    let lines = String(decoding: buffer[..<end], as: UTF8.self).components(separatedBy: "\r\n")
    let words = lines[0].split(separator: " ").map(String.init)
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    let length = headers["content-length"].flatMap(Int.init) ?? 0
    while buffer.count < end + 4 + length { if !more() { return nil } }
    let body = String(decoding: buffer[end + 4..<end + 4 + length], as: UTF8.self)
    buffer.removeFirst(end + 4 + length)
    return Request(
      method: words.first ?? "", path: words.count > 1 ? words[1] : "", headers: headers, body: body)
  }
}

#if os(Linux)
  private let SOCK_STREAM_VALUE = SOCK_STREAM.rawValue
#else
  private let SOCK_STREAM_VALUE = SOCK_STREAM
#endif

private func posixSocket(_ domain: Int32, _ type: Int32, _ proto: Int32) -> Int32 {
  Foundation.socket(domain, type, proto)
}

extension ScriptedServer.Answer {
  /// A completion as OpenAI's API answers it.
  public static func says(_ text: String, promptTokens: Int = 11, completionTokens: Int = 5) -> Self {
    let json: JSON = [
      "id": "x", "object": "chat.completion",
      "choices": [
        ["index": 0, "finish_reason": "stop", "message": ["role": "assistant", "content": .string(text)]]
      ],
      "usage": ["prompt_tokens": .int(promptTokens), "completion_tokens": .int(completionTokens)],
    ]
    return .reply(json.text())
  }
}
