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
final class HTTPClient: Sendable {
  private static let isReady = attune_curl_begin() == CURLE_OK
  private let idle = Mutex<[Handle]>([])

  /// A libcurl handle.
  ///
  /// Safety: it is used by the one thread that took it out of the pool.
  private final class Handle: @unchecked Sendable {
    let curl: UnsafeMutableRawPointer
    init?() {
      guard let curl = curl_easy_init() else { return nil }
      self.curl = curl
    }
    deinit { curl_easy_cleanup(curl) }
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

  /// Sends a request and waits for its answer.
  func post(_ request: HTTPRequest) throws(HTTPFailure) -> HTTPResponse {
    guard Self.isReady, let handle = idle.withLock({ $0.popLast() }) ?? Handle() else {
      throw .impossible("libcurl cannot be started")
    }
    let answer = Answer()
    let code = perform(request, handle.curl, answer)
    let status = Int(attune_curl_status(handle.curl))
    curl_easy_reset(handle.curl)
    idle.withLock { $0.append(handle) }
    switch code {
    case CURLE_OK: return HTTPResponse(status: status, headers: answer.headers, body: answer.body)
    case CURLE_OPERATION_TIMEDOUT: throw .timedOut
    case CURLE_WRITE_ERROR where answer.isTooLarge: throw .tooLarge
    case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_NOT_BUILT_IN, CURLE_OUT_OF_MEMORY,
      CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE:
      throw .impossible(String(cString: curl_easy_strerror(code)))
    default: throw .connection(String(cString: curl_easy_strerror(code)))
    }
  }

  private func perform(_ request: HTTPRequest, _ curl: UnsafeMutableRawPointer, _ answer: Answer) -> CURLcode {
    var list: UnsafeMutablePointer<curl_slist>?
    defer { curl_slist_free_all(list) }
    // An empty Expect keeps libcurl from waiting for a server's leave before a long body.
    for (name, value) in request.headers + [("Expect", "")] {
      guard let longer = curl_slist_append(list, value.isEmpty ? "\(name):" : "\(name): \(value)") else {
        return CURLE_OUT_OF_MEMORY
      }
      list = longer
    }
    let context = Unmanaged.passUnretained(answer).toOpaque()
    return request.body.withUnsafeBytes { body -> CURLcode in
      let steps: [() -> CURLcode] = [
        { attune_curl_set_text(curl, CURLOPT_URL, request.address) },
        { attune_curl_set_text(curl, CURLOPT_USERAGENT, "attune/\(RewardLoader.programVersion)") },
        // No signals: several threads wait at once.
        { attune_curl_set_long(curl, CURLOPT_NOSIGNAL, 1) },
        // A redirect would take the key to another host.
        { attune_curl_set_long(curl, CURLOPT_FOLLOWLOCATION, 0) },
        { attune_curl_set_long(curl, CURLOPT_TIMEOUT_MS, Int(max(1, min(request.timeout * 1000, 1e9)))) },
        { request.bypassesProxy ? attune_curl_set_text(curl, CURLOPT_NOPROXY, "*") : CURLE_OK },
        { attune_curl_set_body(curl, body.baseAddress, body.count) },
        { attune_curl_set_headers(curl, list) },
        {
          attune_curl_set_sinks(
            curl,
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
        { attune_curl_perform(curl) },
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
