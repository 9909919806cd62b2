import AttuneTensor
import Core
import Foundation
import Models
import Rewards

/// Judges that no recipe describes.
public enum JudgeServices {
  /// The one judge of a command line.
  ///
  /// - Parameters:
  ///   - place: an OpenAI-compatible address, or a checkpoint folder.
  ///   - model: the model's name at the address.
  ///   - keyVariable: the environment variable that holds the address's key.
  public static func one(
    _ place: String, model: String?, keyVariable: String?, threads: Int = 0
  ) throws -> JudgeService {
    if !place.contains("://") {
      for (flag, value) in [("--judge-model", model), ("--judge-key-variable", keyVariable)] where value != nil {
        throw AttuneError.request("\(flag) goes with an address, but --judge is '\(place)'")
      }
      let policy = try Policy(
        folder: try CheckpointFolder.resolve(place), backend: CPUBackend(threads: threads), precision: .full)
      return try JudgeService([
        LocalJudge(.init(name: "judge", temperature: 0, maxTokens: 512, system: nil), policy: policy)
      ])
    }
    guard let model else {
      throw AttuneError.request(
        "--judge needs --judge-model, the model's name at the endpoint", hint: "such as --judge-model gpt-4o-mini")
    }
    if let keyVariable, !JudgeConfiguration.isVariableName(keyVariable) {
      throw AttuneError.request(
        "--judge-key-variable takes the name of an environment variable, and never the key itself",
        hint: "such as OPENAI_API_KEY")
    }
    var configuration = JudgeConfiguration(name: "judge", endpoint: place, model: model)
    configuration.apiKeyVariable = keyVariable
    return try JudgeService([EndpointJudge(configuration)])
  }
}
