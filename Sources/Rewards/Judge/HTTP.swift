import CCURL
import Core
import Synchronization

/// A request with a body.
struct HTTPRequest: Sendable {
  var address: String
  /// Name and value.
  var headers: [(String, String)]
  var body: [UInt8]
  /// Seconds for all of it.
  var timeout: Double
  /// Goes straight to its host, whatever the environment says of proxies.
  var bypassesProxy = false
}

/// What a server answered.
struct HTTPResponse: Sendable {
  var status: Int
  /// Names in lower case.
  var headers: [String: String]
  var body: [UInt8]
}

/// Why there is no answer.
enum HTTPFailure: Error {
  case timedOut
  /// No connection, or one that broke; what happened, in words.
  case connection(String)
  /// The answer is more than this program takes in.
  case tooLarge
  /// The request cannot be made at all.
  case impossible(String)
}

/// Sends requests with libcurl, from any number of threads. Connections are kept for the next request.
///
/// Safety: `library` is addresses of functions, `idle` is behind its lock.
final class HTTPClient: @unchecked Sendable {
  /// Safety: addresses of functions, written once. nil: there is no libcurl on this machine.
  private nonisolated(unsafe) static let library: attune_curl? = {
    var library = attune_curl()
    return attune_curl_open(&library) ? library : nil
  }()
  private let library: attune_curl
  private let idle = Mutex<[Handle]>([])

  /// A libcurl handle.
  ///
  /// Safety: it is used by the one thread that took it out of the pool.
  private final class Handle: @unchecked Sendable {
    let curl: UnsafeMutableRawPointer
    private let library: attune_curl
    init?(_ library: attune_curl) {
      guard let curl = library.easy_init() else { return nil }
      self.curl = curl
      self.library = library
    }
    deinit { library.easy_cleanup(curl) }
  }

  /// Takes in what the server sends.
  private final class Answer {
    static let largest = 32 << 20
    var body: [UInt8] = []
    var headers: [String: String] = [:]
    var isTooLarge = false

    func take(_ bytes: UnsafeRawBufferPointer) -> Int {
      guard body.count + bytes.count <= Self.largest else {
        isTooLarge = true
        return 0
      }
      body.append(contentsOf: bytes)
      return bytes.count
    }

    func take(header bytes: UnsafeRawBufferPointer) -> Int {
      let line = String(decoding: bytes, as: UTF8.self)
      if line.hasPrefix("HTTP/") {
        // Of an interim answer.
        headers = [:]
      } else if let colon = line.firstIndex(of: ":"), headers.count < 256 {
        headers[line[..<colon].lowercased()] = trimmed(line[line.index(after: colon)...])
      }
      return bytes.count
    }
  }

  /// - Throws: `.request` if libcurl is not there.
  init() throws {
    guard let library = Self.library else {
      throw AttuneError.request(
        "requests over the network need libcurl, which cannot be loaded here",
        hint: "install it: libcurl4 (Debian, Ubuntu)")
    }
    self.library = library
  }

  /// Sends a request and waits for its answer.
  func post(_ request: HTTPRequest) throws(HTTPFailure) -> HTTPResponse {
    guard let handle = idle.withLock({ $0.popLast() }) ?? Handle(library) else {
      throw .impossible("libcurl has no memory")
    }
    let answer = Answer()
    let code = perform(request, handle.curl, answer)
    let status = Int(attune_curl_status(library, handle.curl))
    library.easy_reset(handle.curl)
    idle.withLock { $0.append(handle) }
    switch code {
    case CURLE_OK: return HTTPResponse(status: status, headers: answer.headers, body: answer.body)
    case CURLE_OPERATION_TIMEDOUT: throw .timedOut
    case CURLE_WRITE_ERROR where answer.isTooLarge: throw .tooLarge
    case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_NOT_BUILT_IN, CURLE_OUT_OF_MEMORY,
      CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE:
      throw .impossible(words(code))
    default: throw .connection(words(code))
    }
  }

  private func words(_ code: CURLcode) -> String {
    library.easy_strerror(code).map { String(cString: $0) } ?? "error \(code.rawValue) of libcurl"
  }

  private func perform(_ request: HTTPRequest, _ curl: UnsafeMutableRawPointer, _ answer: Answer) -> CURLcode {
    let library = library
    var list: UnsafeMutablePointer<curl_slist>?
    defer { library.slist_free_all(list) }
    // An empty Expect keeps libcurl from waiting for a server's leave before a long body.
    for (name, value) in request.headers + [("Expect", "")] {
      guard let longer = library.slist_append(list, value.isEmpty ? "\(name):" : "\(name): \(value)") else {
        return CURLE_OUT_OF_MEMORY
      }
      list = longer
    }
    let context = Unmanaged.passUnretained(answer).toOpaque()
    return request.body.withUnsafeBytes { body -> CURLcode in
      let steps: [() -> CURLcode] = [
        { attune_curl_set_text(library, curl, CURLOPT_URL, request.address) },
        { attune_curl_set_text(library, curl, CURLOPT_USERAGENT, "attune/\(RewardLoader.programVersion)") },
        // No signals: several threads wait at once.
        { attune_curl_set_long(library, curl, CURLOPT_NOSIGNAL, 1) },
        // A redirect would take the key to another host.
        { attune_curl_set_long(library, curl, CURLOPT_FOLLOWLOCATION, 0) },
        { attune_curl_set_long(library, curl, CURLOPT_TIMEOUT_MS, Int(max(1, min(request.timeout * 1000, 1e9)))) },
        { request.bypassesProxy ? attune_curl_set_text(library, curl, CURLOPT_NOPROXY, "*") : CURLE_OK },
        { attune_curl_set_body(library, curl, body.baseAddress, body.count) },
        { attune_curl_set_headers(library, curl, list) },
        {
          attune_curl_set_sinks(
            library, curl,
            { bytes, size, count, context in
              guard let bytes, let context else { return 0 }
              return Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue().take(
                UnsafeRawBufferPointer(start: bytes, count: size * count))
            },
            { bytes, size, count, context in
              guard let bytes, let context else { return 0 }
              return Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue().take(
                header: UnsafeRawBufferPointer(start: bytes, count: size * count))
            }, context)
        },
        { attune_curl_perform(library, curl) },
      ]
      for step in steps {
        let code = step()
        if code != CURLE_OK { return code }
      }
      return CURLE_OK
    }
  }
}

private func trimmed(_ text: Substring) -> String {
  var text = text
  while text.first?.isWhitespace == true { text.removeFirst() }
  while text.last?.isWhitespace == true { text.removeLast() }
  return String(text)
}
