import AttuneTensor
import Core
import Models
import Rewards

extension Recipe {
  /// Everything that can be known before judges are asked and models are read.
  func checkJudges() throws {
    for judge in judges {
      do {
        switch judge.source {
        case .endpoint(let configuration): _ = try EndpointJudge(configuration)
        case .local(let path, _): _ = try ModelConfiguration.load(folder: path)
        }
      } catch let error as AttuneError { throw error.location == nil ? error.located(in: file) : error }
    }
  }

  /// The recipe's judges, ready to be asked.
  ///
  /// - Throws: `.request` naming the judge whose key is missing, or whose model cannot be loaded.
  public func judgeService() throws -> JudgeService {
    try JudgeService(
      judges.map { judge -> any Rewards.Judge in
        do {
          switch judge.source {
          case .endpoint(let configuration): return try EndpointJudge(configuration)
          case .local(let path, let dtype):
            let policy = try Policy(
              folder: path, backend: CPUBackend(threads: threads), precision: dtype == .bf16 ? .bf16 : .full)
            return LocalJudge(
              .init(
                name: judge.name, temperature: judge.temperature, maxTokens: judge.maxTokens, system: judge.system),
              policy: policy)
          }
        } catch let error as AttuneError { throw error.location == nil ? error.located(in: file) : error }
      })
  }
}
