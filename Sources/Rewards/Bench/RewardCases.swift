import Core
import Foundation

/// A `cases.jsonl`: lines as for `attune reward try`, each with what is `expected` of it.
///
/// `expected` holds any of `reward`, `status`, `components` and `log`; `parameters` sets parameters for the line, `run` says
/// where the run stands (`step`, `total_steps`), and `for` names the reward if the library has several. To a reward that
/// sees whole groups, lines with one prompt, one set of parameters and one `run` are a group.
struct RewardCases {
  struct Case {
    var line: Int
    var sample: RewardSample
    var expected: JSON.Object
    var parameters: JSON.Object
    var context: RewardContext
    /// What of the line must be equal for another to be in its group.
    var group: String
    var rewardName: String?
  }

  let path: String
  let cases: [Case]

  init(path: String, pictures: RewardBench.PictureReader) throws {
    self.path = path
    guard let data = FileManager.default.contents(atPath: path) else {
      throw AttuneError.request("there is no file \(path)")
    }
    var cases: [Case] = []
    for (i, bytes) in data.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
      guard bytes.contains(where: { $0 > 0x20 }) else { continue }
      let place = AttuneError.Location(file: path, line: i + 1)
      let json: JSON
      do { json = try JSON.parse(bytes) } catch let error as AttuneError {
        throw AttuneError.request(error.message, at: place)
      }
      guard var object = json.object, let expected = object["expected"]?.object else {
        throw AttuneError.request(
          "a case has no \"expected\"", at: place,
          hint: "such as {\"completion\": \"..\", \"expected\": {\"reward\": 1}}")
      }
      let parameters = object["parameters"]?.object ?? .init()
      let rewardName = object["for"]?.string
      let context = try Self.context(object["run"], place)
      let group = JSON.array([object["prompt"] ?? .null, JSON(.object(parameters)), object["run"] ?? .null]).text()
      for key in ["expected", "parameters", "run", "for"] { object[key] = nil }
      do {
        cases.append(
          Case(
            line: i + 1, sample: try RewardBench.sample(JSON(.object(object)), pictures: pictures), expected: expected,
            parameters: parameters, context: context, group: group, rewardName: rewardName))
      } catch let error as AttuneError {
        throw AttuneError.request(error.message, at: place, hint: error.hint)
      }
    }
    self.cases = cases
  }

  private static func context(_ run: JSON?, _ place: AttuneError.Location) throws -> RewardContext {
    var context = RewardContext()
    context.phase = .test
    guard let run else { return context }
    for (key, value) in run.object?.entries ?? JSON.Object([("run", run)]).entries {
      guard let number = value.int, number >= 0, ["step", "total_steps"].contains(key) else {
        throw AttuneError.request(
          "\"run\" is \(run.text()), expected such as {\"step\": 10, \"total_steps\": 100}", at: place)
      }
      if key == "step" { context.step = number } else { context.totalSteps = number }
    }
    return context
  }

  /// A case that did not end as expected.
  struct Failure {
    var line: Int
    var difference: String
  }

  /// Scores the cases of one reward.
  ///
  /// - Parameter start: makes an instance with parameters; called once for each set of them. All are closed at the end.
  /// - Returns: how many cases there were, and those that did not end as expected.
  func replay(
    _ descriptor: RewardDescriptor, services: (any RewardServices)? = nil,
    start: (JSON.Object) throws -> any PluginReward
  ) throws -> (count: Int, failures: [Failure]) {
    var rewards: [String: any PluginReward] = [:]
    defer { for reward in rewards.values { reward.close() } }
    let own = cases.filter { $0.rewardName == nil || $0.rewardName == descriptor.reward }
    var done: Set<Int> = []
    var failures: [Failure] = []
    for entry in own where !done.contains(entry.line) {
      let call = descriptor.needsGroup ? own.filter { $0.group == entry.group } : [entry]
      done.formUnion(call.map(\.line))
      let key = JSON(.object(entry.parameters)).text()
      let reward = try rewards[key] ?? start(entry.parameters)
      rewards[key] = reward
      let samples = RewardBench.grouped(call.map(\.sample))
      var context = entry.context
      context.services = services
      for (entry, outcome) in zip(call, try reward.score(samples, context: context)) {
        if let difference = Self.difference(outcome, entry.expected) {
          failures.append(Failure(line: entry.line, difference: difference))
        }
      }
    }
    return (own.count, failures.sorted { $0.line < $1.line })
  }

  /// The file beside a source or a library, if there is one.
  static func path(beside source: String) -> String? {
    let folder = (source as NSString).deletingLastPathComponent
    let path = (folder.isEmpty ? "." : folder) + "/cases.jsonl"
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }

  /// What differs from what was expected, or nil. Numbers may differ by 1e-9.
  static func difference(_ outcome: RewardOutcome, _ expected: JSON.Object) -> String? {
    func differ(_ a: Double, _ b: Double) -> Bool { !(abs(a - b) <= 1e-9 * max(1, abs(b))) }
    for (key, value) in expected.entries {
      switch key {
      case "reward":
        if let wanted = value.double {
          if outcome.score.map({ differ($0, wanted) }) ?? true {
            return
              "reward \(outcome.score.map { "\($0)" } ?? "null (\(outcome.status.rawValue): \(outcome.log))"), expected \(wanted)"
          }
        } else if let score = outcome.score {
          return "reward \(score), expected null"
        }
      case "status":
        if value.string != outcome.status.rawValue {
          return "status \(outcome.status.rawValue), expected \(value.string ?? value.text())"
        }
      case "log":
        if value.string != outcome.log { return "log \"\(outcome.log)\", expected \"\(value.string ?? value.text())\"" }
      case "components":
        for (name, wanted) in value.object?.entries ?? JSON.Object().entries {
          guard let found = outcome.components.first(where: { $0.name == name }) else {
            return "no component \(name), found \(outcome.components.map(\.name).joined(separator: ", "))"
          }
          if differ(found.value, wanted.double ?? .nan) {
            return "component \(name) \(found.value), expected \(wanted.text())"
          }
        }
      default: return "the key \"\(key)\" of \"expected\" is not known, expected reward, status, components or log"
      }
    }
    return nil
  }
}
