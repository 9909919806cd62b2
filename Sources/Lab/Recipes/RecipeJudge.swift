import Core
import Rewards

extension Recipe {
  /// A model that rewards may ask.
  public struct Judge: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable { case endpoint, local }

    public enum Source: Sendable, Equatable {
      /// Behind an OpenAI-compatible address.
      case endpoint(JudgeConfiguration)
      /// A checkpoint folder, run by this program.
      case local(path: String, dtype: Precision)
    }

    public var name: String
    public var source: Source
    public var temperature: Double
    /// Longest reply, tokens.
    public var maxTokens: Int
    /// Text of a system message.
    public var system: String?

    init(_ values: RecipeValues) {
      name = values.string("name")
      temperature = values.number("temperature")
      maxTokens = values.int("max_tokens")
      system = values.optionalString("system")
      let kind: Kind = values.choice("kind")
      switch kind {
      case .local: source = .local(path: values.string("model_path"), dtype: values.choice("dtype"))
      case .endpoint:
        var configuration = JudgeConfiguration(
          name: name, endpoint: values.string("endpoint"), model: values.string("model"))
        configuration.apiKeyVariable = values.optionalString("api_key_variable")
        configuration.concurrency = values.int("concurrency")
        configuration.requestsPerMinute = values.int("requests_per_minute")
        configuration.tokensPerMinute = values.int("tokens_per_minute")
        configuration.timeout = values.number("timeout")
        configuration.retries = values.int("retries")
        configuration.temperature = temperature
        configuration.maxTokens = maxTokens
        configuration.system = system
        source = .endpoint(configuration)
      }
    }
  }
}

extension RecipeTable {
  /// Models that rewards may ask.
  static let judges: [RecipeKey] = {
    let endpoint = RecipeKey.Condition(key: "kind", values: [Recipe.Judge.Kind.endpoint.rawValue])
    let local = RecipeKey.Condition(key: "kind", values: [Recipe.Judge.Kind.local.rawValue])
    func key(
      _ name: String, _ kind: RecipeKey.Kind, _ fallback: RecipeKey.Default, in bounds: RecipeKey.Bounds? = nil,
      only condition: RecipeKey.Condition? = nil, _ summary: String
    ) -> RecipeKey { row("judges[]." + name, kind, fallback, in: bounds, only: condition, summary) }
    return [
      section("judges", as: .sections, "Models that rewards may ask, such as the reward `judge`."),
      key("name", .name, .required, "The judge's name, unlike any other judge's."),
      key(
        "model_path", .path(.model), .unset(meaning: "an endpoint"),
        "A checkpoint folder that this program runs itself."),
      key(
        "kind", choice(Recipe.Judge.Kind.self),
        .derived(meaning: "local with a model_path, else endpoint") {
          $0.siblings["model_path"]?.string == nil ? "endpoint" : "local"
        }, "Behind an OpenAI-compatible address, or a checkpoint of this machine."),
      key(
        "endpoint", .string, .required, only: endpoint,
        "Its address, `http://host:port/v1`; requests go to `/chat/completions` below it."),
      key("model", .string, .required, only: endpoint, "The model's name at the endpoint."),
      key(
        "api_key_variable", .string, .unset(meaning: "no key is sent"), only: endpoint,
        "The environment variable that holds the key; never the key itself."),
      key("concurrency", .int, .value(8), in: .within(1, 256), only: endpoint, "Requests at once."),
      key(
        "requests_per_minute", .int, .value(0), in: count(from: 0), only: endpoint,
        "Most requests in any 60 seconds; 0 is no limit."),
      key(
        "tokens_per_minute", .int, .value(0), in: count(from: 0), only: endpoint,
        "Most tokens of prompts and replies in any 60 seconds; 0 is no limit."),
      key("timeout", .number, .value(60), in: .above(0, upTo: 86_400), only: endpoint, "Seconds for one request."),
      key(
        "retries", .int, .value(3), in: .within(0, 100), only: endpoint,
        "Further attempts after 408, 409, 429, 5xx, a broken connection or a time limit."),
      key(
        "dtype", choice(Recipe.Precision.self), .sameAs(".dtype"), only: local, "Type of its weights and activations."),
      key(
        "temperature", .number, .value(0), in: .within(0, 100),
        "Sampling temperature; 0 takes the likeliest tokens."),
      key("max_tokens", .int, .value(512), in: .within(1, 1_000_000), "Longest reply, tokens."),
      key("system", .string, .unset(meaning: "none"), "Text of a system message before each request that has none."),
    ]
  }()
}

extension RecipeChecks {
  static func checkJudges(_ recipe: JSON, _ reader: inout RecipeReader) {
    let judges = recipe["judges"]?.array ?? []
    for (index, judge) in judges.enumerated() {
      let path = "judges.\(index)"
      if judge["kind"]?.string == Recipe.Judge.Kind.local.rawValue {
        guard let model = judge["model_path"]?.string else {
          reader.add("\(path).model_path is missing, which kind: local needs", at: path + ".kind")
          continue
        }
        if model.hasPrefix(RecipePaths.presetPrefix) {
          reader.add(
            "\(path).model_path: found \(model), expected a checkpoint folder: a preset knows nothing to judge by",
            at: path + ".model_path")
        }
        continue
      }
      if judge["model_path"]?.string != nil {
        reader.add("\(path).model_path goes with kind: local; here kind is endpoint", at: path + ".model_path")
      }
      // The value is not shown: it may be a key.
      if let variable = judge["api_key_variable"]?.string, !JudgeConfiguration.isVariableName(variable) {
        reader.add(
          "\(path).api_key_variable: expected the name of an environment variable, and never the key itself",
          at: path + ".api_key_variable", hint: "such as OPENAI_API_KEY")
      }
      if let name = judge["name"]?.string, let endpoint = judge["endpoint"]?.string, let model = judge["model"]?.string
      {
        do { _ = try JudgeConfiguration(name: name, endpoint: endpoint, model: model).address() } catch {
          let found = error as? AttuneError
          reader.add(
            "\(path).endpoint: \(found?.message ?? "\(error)")", at: path + ".endpoint", hint: found?.hint)
        }
      }
    }
    checkUse(recipe, judges.compactMap { $0["name"]?.string }, &reader)
  }

  /// Rewards `judge` ask a judge that is there.
  private static func checkUse(_ recipe: JSON, _ names: [String], _ reader: inout RecipeReader) {
    for (index, reward) in (recipe["rewards"]?.array ?? []).enumerated() where reward["source"]?.string == "judge" {
      let path = "rewards.\(index)"
      guard !names.isEmpty else {
        reader.add(
          "\(path): the reward judge needs a judge, and the recipe has none", at: path + ".source",
          hint: "add 'judges: [{name: ..., endpoint: http://host:port/v1, model: ...}]'")
        continue
      }
      let wanted = reward["parameters"]?["judge"]?.string ?? ""
      if wanted.isEmpty {
        guard names.count > 1 else { continue }
        reader.add(
          "\(path): there are \(names.count) judges, so parameters.judge has to name one", at: path + ".parameters",
          hint: "known: " + names.joined(separator: ", "))
      } else if !names.contains(wanted) {
        reader.add(
          "\(path).parameters.judge: there is no judge '\(wanted)'", at: path + ".parameters",
          hint: nearestName(to: wanted, among: names).map { "did you mean '\($0)'?" }
            ?? "known: " + names.joined(separator: ", "))
      }
    }
  }
}
