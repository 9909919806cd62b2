import Core
import Foundation

/// A judge behind an OpenAI-compatible endpoint: where it is, and how much it may be asked.
public struct JudgeConfiguration: Sendable, Equatable {
  /// Its name in the recipe.
  public var name: String
  /// `http://host:port/v1`; requests go to `/chat/completions` below it.
  public var endpoint: String
  public var model: String
  /// The environment variable that holds the key; nil sends none. The key itself stands nowhere.
  public var apiKeyVariable: String?
  /// Requests at once.
  public var concurrency = 8
  /// In any 60 seconds; 0 is no limit.
  public var requestsPerMinute = 0
  /// Of prompts and replies, in any 60 seconds; 0 is no limit.
  public var tokensPerMinute = 0
  /// Seconds that one request may take.
  public var timeout: Double = 60
  /// Further attempts after one that may succeed when it is made again.
  public var retries = 3
  public var temperature: Double = 0
  public var maxTokens = 512
  /// Text of a system message before each request that has none.
  public var system: String?

  public init(name: String, endpoint: String, model: String) {
    self.name = name
    self.endpoint = endpoint
    self.model = model
  }

  /// Where requests go.
  ///
  /// - Throws: `.request` if the endpoint is no address of the web, or has a password in it.
  public func address() throws -> String {
    func refuse(_ why: String, _ hint: String) -> AttuneError {
      .request("the endpoint of judge \(name) \(why)", hint: hint)
    }
    let shape = "expected http://HOST:PORT/v1"
    guard let parts = URLComponents(string: endpoint), let scheme = parts.scheme?.lowercased(),
      ["http", "https"].contains(scheme), let host = parts.host, !host.isEmpty
    else { throw refuse("is '\(endpoint)', which is no http or https address", shape) }
    guard parts.user == nil, parts.password == nil else {
      throw refuse(
        "has a name or a password in it", "put the key into an environment variable and name it in api_key_variable")
    }
    guard parts.query == nil, parts.fragment == nil else {
      throw refuse("is '\(endpoint)', which has a query behind its path", shape)
    }
    var base = endpoint
    while base.hasSuffix("/") { base.removeLast() }
    return base.hasSuffix("/chat/completions") ? base : base + "/chat/completions"
  }

  /// True for what the shell takes as a variable's name. A key that was written in its place is not one, most of the time.
  public static func isVariableName(_ text: String) -> Bool {
    guard let first = text.utf8.first, !(0x30...0x39).contains(first) else { return false }
    return text.utf8.allSatisfy { byte in
      byte == 0x5F || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
  }
}
