import Core
import Foundation

/// A judge behind an OpenAI-compatible endpoint (`POST /chat/completions`, platform.openai.com/docs/api-reference/chat).
///
/// It keeps to its limits of concurrency and rate, and asks again where that may help: after 408, 409, 429 and 5xx, a broken
/// connection or a time limit, waiting as long as the server says (`Retry-After`) or twice as long each time.
public final class EndpointJudge: Judge {
  public var name: String { configuration.name }
  public var concurrency: Int { configuration.concurrency }
  private let configuration: JudgeConfiguration
  private let address: String
  private let isLocal: Bool
  private let key: String?
  private let clock: any JudgeClock
  private let limit: MinuteLimit
  private let places: DispatchSemaphore
  private let client: HTTPClient

  /// Longest wait that a server may ask for, and longest of our own, in seconds.
  private static let longestWait = (asked: 300.0, own: 30.0)

  /// - Parameters:
  ///   - environment: where the key is looked up.
  ///   - clock: measures limits and waits; requests themselves are timed by the machine's clock.
  /// - Throws: `.request` if the endpoint is no address, or the variable with the key is not set.
  public init(
    _ configuration: JudgeConfiguration, environment: [String: String] = ProcessInfo.processInfo.environment,
    clock: any JudgeClock = SystemClock()
  ) throws {
    self.configuration = configuration
    address = try configuration.address()
    let host = URLComponents(string: address)?.host ?? ""
    isLocal = ["localhost", "127.0.0.1", "::1", "[::1]"].contains(host)
    if let variable = configuration.apiKeyVariable {
      guard let value = environment[variable], !value.isEmpty else {
        throw AttuneError.request(
          "the environment variable that holds the key of judge \(configuration.name) is not set: \(variable)",
          hint: "set it before starting, or leave api_key_variable out for an endpoint that needs no key")
      }
      guard value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
        throw AttuneError.request(
          "the environment variable \(variable) holds something that cannot be a key: spaces or characters beyond ASCII",
          hint: "look for a line break at its end")
      }
      key = value
    } else {
      key = nil
    }
    self.clock = clock
    client = try HTTPClient()
    limit = MinuteLimit(
      requests: configuration.requestsPerMinute, tokens: configuration.tokensPerMinute, clock: clock)
    places = DispatchSemaphore(value: max(1, configuration.concurrency))
  }

  public func answer(_ request: JudgeRequest) -> JudgeReply {
    guard request.continuation == nil else {
      return JudgeReply(
        status: .notApplicable,
        message: "judge \(name) is an endpoint, which tells no log-probability of a given text; "
          + "a judge with a model_path does")
    }
    let body = self.body(request)
    places.wait()
    defer { places.signal() }
    var attempt = 0
    while true {
      let ticket = limit.admit(tokens: estimate(request, bytes: body.count))
      switch send(body) {
      case .answer(let reply):
        if reply.promptTokens + reply.completionTokens > 0 {
          limit.settle(ticket, tokens: reply.promptTokens + reply.completionTokens)
        }
        return reply
      case .failure(let status, let why, let retry):
        // Refused requests take no tokens.
        limit.settle(ticket, tokens: 0)
        let wait: Double
        switch retry {
        case .never: return JudgeReply(status: status, message: message(why))
        case .after(let seconds?):
          guard seconds <= Self.longestWait.asked else {
            return JudgeReply(
              status: status,
              message: message("\(why); it asks to wait \(Int(seconds)) s, more than \(Int(Self.longestWait.asked)) s"))
          }
          wait = seconds
        case .after(nil): wait = min(Self.longestWait.own, 0.5 * Double(1 << min(attempt, 10)))
        }
        guard attempt < configuration.retries else {
          return JudgeReply(
            status: status, message: message(why + (attempt == 0 ? "" : ", and so \(attempt + 1) times")))
        }
        attempt += 1
        clock.sleep(wait)
      }
    }
  }

  // MARK: One request

  private func body(_ request: JudgeRequest) -> [UInt8] {
    var messages = request.messages.array ?? []
    if let system = configuration.system, messages.first?["role"]?.string != "system" {
      messages.insert(["role": "system", "content": .string(system)], at: 0)
    }
    let json: JSON = [
      "model": .string(configuration.model), "messages": .array(messages),
      "temperature": .double(request.temperature ?? configuration.temperature),
      "max_tokens": .int(request.maxTokens ?? configuration.maxTokens),
    ]
    return Array(json.text().utf8)
  }

  /// Tokens that a request may take: about four bytes are one.
  private func estimate(_ request: JudgeRequest, bytes: Int) -> Int {
    bytes / 4 + (request.maxTokens ?? configuration.maxTokens)
  }

  private enum Retry {
    case never
    /// nil: as long as we think fit.
    case after(Double?)
  }

  private enum Sent {
    case answer(JudgeReply)
    case failure(RewardStatus, String, Retry)
  }

  private func send(_ body: [UInt8]) -> Sent {
    var headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
    if let key { headers.append(("Authorization", "Bearer " + key)) }
    let response: HTTPResponse
    do throws(HTTPFailure) {
      response = try client.post(
        HTTPRequest(
          address: address, headers: headers, body: body, timeout: configuration.timeout, bypassesProxy: isLocal))
    } catch {
      switch error {
      case .timedOut:
        return .failure(.timedOut, "gave no answer within \(brief(configuration.timeout)) s", .after(nil))
      case .connection(let what): return .failure(.failed, "could not be reached: \(what)", .after(nil))
      case .impossible(let what): return .failure(.failed, "cannot be asked: \(what)", .never)
      case .tooLarge: return .failure(.failed, "answered with more than 32 MiB", .never)
      }
    }
    guard (200..<300).contains(response.status) else {
      let why = "answered with status \(response.status)" + (said(response.body).map { ": \($0)" } ?? "")
      let mayHelp = [408, 409, 429].contains(response.status) || response.status >= 500
      return .failure(
        .failed, why, mayHelp ? .after(RetryAfter.seconds(response.headers, now: Date())) : .never)
    }
    return read(response.body)
  }

  private func read(_ body: [UInt8]) -> Sent {
    guard let json = try? JSON.parse(body), json.object != nil else {
      return .failure(.failed, "answered with something that is no JSON mapping: \(quoted(body))", .after(nil))
    }
    guard let choice = json["choices"]?[0] else {
      let why = said(body).map { ": \($0)" } ?? ": \(quoted(body))"
      return .failure(.failed, "answered without \"choices\"" + why, .never)
    }
    let usage = json["usage"]
    let content = choice["message"]?["content"]
    // Some servers answer with parts.
    let parts = content?.array?.compactMap { $0["text"]?.string }
    guard let text = content?.string ?? parts?.joined() else {
      let reason = choice["finish_reason"]?.string.map { " (finish_reason \($0))" } ?? ""
      let refusal = choice["message"]?["refusal"]?.string.map { ": \(shortened($0))" } ?? ""
      return .failure(.failed, "answered without a text\(reason)\(refusal)", .never)
    }
    return .answer(
      JudgeReply(
        status: .ok, text: text, promptTokens: max(0, usage?["prompt_tokens"]?.int ?? 0),
        completionTokens: max(0, usage?["completion_tokens"]?.int ?? 0)))
  }

  // MARK: Words

  private func message(_ why: String) -> String { redacted("judge \(name) at \(address) \(why)") }

  /// What the body of a refusal says.
  private func said(_ body: [UInt8]) -> String? {
    guard let json = try? JSON.parse(body) else { return body.isEmpty ? nil : quoted(body) }
    let text =
      json["error"]?["message"]?.string ?? json["error"]?.string ?? json["message"]?.string ?? json["detail"]?.string
    return shortened(text ?? json.text())
  }

  private func quoted(_ body: [UInt8]) -> String {
    "\"\(shortened(String(decoding: body.prefix(2000), as: UTF8.self)))\""
  }

  /// Servers like to say which key they did not accept.
  private func redacted(_ text: String) -> String { key.map { text.replacing($0, with: "[key]") } ?? text }
}

/// The header by which a server says when to come again (RFC 9110, section 10.2.3).
enum RetryAfter {
  /// Seconds from `now`, or nil if the header is not there or not understood.
  static func seconds(_ headers: [String: String], now: Date) -> Double? {
    if let text = headers["retry-after-ms"], let value = Double(text), value >= 0, value.isFinite {
      return value / 1000
    }
    guard let text = headers["retry-after"] else { return nil }
    if let value = Double(text) { return value >= 0 && value.isFinite ? value : nil }
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = TimeZone(identifier: "GMT")
    format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
    return format.date(from: text).map { max(0, $0.timeIntervalSince(now)) }
  }
}

/// The begin of a text on one line, for messages.
func shortened(_ text: String, to limit: Int = 300) -> String {
  var line = ""
  for character in text.prefix(limit + 1) { line.append(character.isNewline ? " " : character) }
  return line.count > limit ? line.prefix(limit) + "…" : line
}

/// `60` for 60.0, `0.25` for 0.25.
private func brief(_ x: Double) -> String { Int(exactly: x).map(String.init) ?? String(x) }
